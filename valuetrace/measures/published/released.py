"""What is recomputed from the released files (``published:`` in params.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.lexicon.unrolled import find_lexicon
from valuetrace.measures.published.sources import FETCHED, Sources


@dataclass(frozen=True)
class Comparison:
    """One comparison of Section 2. scores: a folder of released rewards; without: construct → polarity left out.

    known: another such folder, whose files score the known groups (the check of the readings).
    """

    title: str
    scores: str
    lexicon: str
    without: dict[str, str] = field(default_factory=dict)
    known: str | None = None

    def files(self, folder: str | None = None) -> list[Path]:
        """The released score files of ``scores``, or of another ``folder``. InputError where there is none."""
        path = FETCHED / "reward_model_scores" / (folder or self.scores)
        found = sorted(path.glob("*.csv"))
        if not found:
            raise InputError(f"{path}: no score file. Fetch what the authors released: make published.")
        return found

    def words(self) -> pd.DataFrame:
        """The lexicon table of ``find_lexicon``, less what is left out."""
        lexicon = find_lexicon(FETCHED / "corpora" / self.lexicon)
        for construct, polarity in self.without.items():
            lexicon = lexicon[(lexicon["construct"] != construct) | (lexicon["polarity"] != polarity)]
        return lexicon


@dataclass(frozen=True)
class Published:
    """pairs: of Figure 2; tables: a table of the paper → (first model, second model); movers, extremes: a side.

    checkpoints_of: the training (conf/published/training_runs.csv) whose rewards ``sources.checkpoints`` are.
    """

    sources: Sources
    comparisons: dict[str, Comparison]
    pairs: dict[str, list[str]]
    tables: dict[str, list[str]]
    checkpoints_of: str
    movers: int
    extremes: int
    draws: int
    seed: int

    def __post_init__(self):
        for name, pair in (self.pairs | self.tables).items():
            if len(set(pair)) != 2:
                raise ValueError(f"{name} must name two models, not {pair}")
