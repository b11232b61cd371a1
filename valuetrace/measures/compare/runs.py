"""What the comparisons of Section 2 are told (``compare:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from valuetrace.core import settings

LISTS = ("bases", "reward_models")
"""Lists of models in params.yaml that a comparison may be of."""


@dataclass(frozen=True)
class Run:
    """One comparison: whose scores of which kind (log-probabilities in a format), the lexicon and others beside it."""

    title: str
    lexicon: str
    also: list[str]
    scores: Literal["token_logprobs", "rewards"]
    models: Literal["bases", "reward_models"] | list[str]  # a list of params.yaml, or the models themselves
    format: str | None = None

    def __post_init__(self):
        if isinstance(self.models, list) and (not self.models or len(set(self.models)) < len(self.models)):
            raise ValueError("models names the models, once each")
        if (self.format is None) == (self.scores == "token_logprobs"):
            raise ValueError("log-probabilities are of one format, rewards of the model's own")

    def files(self) -> list[Path]:
        """The score file of each model, where the stages write it."""
        models = settings.get(self.models, list[str]) if isinstance(self.models, str) else self.models
        within = "" if self.format is None else f"/{self.format}"
        return [Path("data", self.scores, f"{model}{within}.parquet") for model in models]


@dataclass(frozen=True)
class Compare:
    """The group: the comparisons by name, and the draws of all."""

    seed: int
    draws: int
    lexicon_draws: int
    runs: dict[str, Run]
