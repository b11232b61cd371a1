"""What the analyses of Section 3 are told (``analysis:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from valuetrace.measures.bases.implicit import MEASURES


@dataclass(frozen=True)
class Tokens:
    """Tables 1, A2, A3 and Figure 3: one prompt, one measure; ``models`` from (1) to (2), every pair."""

    prompt: str
    measure: str
    top: int
    contrast: dict[str, list[str]]
    first: list[str] = field(default_factory=list)
    second: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.measure not in MEASURES:
            raise ValueError(f"measure {self.measure!r} is not one of {', '.join(MEASURES)}")
        if len(self.contrast) != 2:
            raise ValueError("contrast names two word lists")


@dataclass(frozen=True)
class Analysis:
    """The pairs of models compared, the words, and the numbers of draws."""

    lexicon: str
    constructs: list[str]
    cases: list[Literal["lower", "capitalised"]]
    draws: int
    seed: int
    comparisons: dict[str, list[str]]
    tokens: Tokens

    def __post_init__(self):
        if len(self.constructs) != 2:
            raise ValueError("constructs names two constructs of the lexicon")
        for label, pair in self.comparisons.items():
            if len(set(pair)) != 2:
                raise ValueError(f"comparison {label!r} must name two models, not {pair}")
