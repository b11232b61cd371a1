"""Reward models trained from preference pairs: low-rank adapters and a scalar head on a frozen base."""

from valuetrace.training.recipe import Lora, Training

__all__ = ["Lora", "Training"]
