"""The audit of one model: what it will cost, its scores, its value profile, and a page beside the references."""

from valuetrace.audit.inputs import Request
from valuetrace.audit.run import Audit, audit, plan

__all__ = ["Audit", "Request", "audit", "plan"]
