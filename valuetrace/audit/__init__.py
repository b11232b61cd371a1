"""The audit of one model: what it will cost, its scores, its value profile, and a page beside the references."""

from valuetrace.audit.run import Audit, audit, plan
from valuetrace.subjects.inputs import Request

__all__ = ["Audit", "Request", "audit", "plan"]
