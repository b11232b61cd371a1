"""The forecast: what RLHF with a reward model, or best-of-n, would do to the values of a policy; nothing is trained."""

from valuetrace.forecast.inputs import Request
from valuetrace.forecast.run import Done, forecast, plan

__all__ = ["Done", "Request", "forecast", "plan"]
