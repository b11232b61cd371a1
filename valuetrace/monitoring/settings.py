"""How our own trainings are watched (``monitoring:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Monitoring:
    """every: optimizer steps; prompts: of the 54, a framing; words: a construct and a side of the
    known groups; seed: which ones."""

    every: int
    prompts: int
    words: int
    seed: int

    def __post_init__(self):
        if self.every < 1 or not 1 <= self.prompts <= 27 or self.words < 6:
            raise ValueError("every must be at least 1, prompts lie in 1 to 27, words be at least 6")
