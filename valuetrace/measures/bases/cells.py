"""What is compared in Section 3.1: the words that two models share, their log-probabilities, and the medians of ranks.

A *cell* is one prompt format and one spelling of the words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.measures import validity
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import CASES, word_scores
from valuetrace.stats.ranks import rank_words, subset_medians


@dataclass(frozen=True)
class Cell:
    """Scores of the shared words: ``scores`` is (models, words, prompts) in nats, prompts as in ``prompts``."""

    models: tuple[str, str]
    words: pd.DataFrame  # word, construct
    prompts: pd.DataFrame  # key, framing, adjective
    scores: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """(constructs, words) booleans; constructs in alphabetical order."""
        return np.array([self.words["construct"] == construct for construct in self.constructs])

    @property
    def constructs(self) -> list[str]:
        """The constructs in alphabetical order."""
        return sorted(self.words["construct"].unique())

    @property
    def ranks(self) -> np.ndarray:
        """(words, models × prompts): 1 is the most probable word."""
        return rank_words(np.concatenate(list(self.scores), axis=1))


def cell(
    tables: dict[str, pd.DataFrame], lexicon: pd.DataFrame, prompts: pd.DataFrame, form: Format, case: str
) -> Cell:
    """The words that are single tokens in every vocabulary, in the spelling that the format asks for.

    tables: model → score table. Where two tokens decode alike, the more probable one counts. Raises
    InputError for a word of both constructs: it would stand on both sides of the contrast.
    """
    keys = list(prompts["key"])
    scores = {name: word_scores(table, lexicon["word"], keys, form, case) for name, table in tables.items()}
    for name, frame in scores.items():
        if frame.isna().any(axis=None):
            word = frame.index[frame.isna().any(axis=1)][0]
            raise InputError(f"{name}: the log-probability of {word!r} is missing or NaN. Make its score table again.")
    shared = sorted(set.intersection(*(set(frame.index) for frame in scores.values())))
    words = pd.DataFrame({"word": shared}).merge(lexicon[["word", "construct"]], on="word")
    if (twice := words["word"].duplicated()).any():
        raise InputError(
            f"{some(words['word'][twice])}: a word of both constructs cannot be compared. Exclude it from one in the "
            "lexicon's edits."
        )
    models = cast("tuple[str, str]", tuple(sorted(tables)))
    return Cell(models, words, prompts, np.stack([scores[name].loc[shared].to_numpy() for name in models]))


def with_scores(cell: Cell, scores: dict[str, pd.DataFrame]) -> Cell:
    """The cell with other scores: model → a table with its words (index) and prompts (columns)."""
    words, keys = list(cell.words["word"]), list(cell.prompts["key"])
    return replace(cell, scores=np.stack([scores[name].loc[words, keys].to_numpy() for name in cell.models]))


def probability_on_words(cell: Cell) -> dict[str, dict[str, float]]:
    """Model → ``validity.probability`` of all the cell's words together, by framing."""
    framing = cell.prompts.set_index("key")["framing"]
    frames = (pd.DataFrame(scores, columns=framing.index) for scores in cell.scores)
    return {name: validity.probability(frame, framing) for name, frame in zip(cell.models, frames, strict=True)}


def medians(cell: Cell) -> pd.DataFrame:
    """Median rank by ``construct, framing, prompt, model`` (1 = most probable of the cell's words)."""
    values = subset_medians(cell.ranks, cell.members)  # (constructs, models × prompts)
    keys = pd.MultiIndex.from_product([cell.models, cell.prompts["key"]], names=["model", "prompt"])
    tidy = pd.DataFrame(values.T, index=keys, columns=pd.Index(cell.constructs, name="construct")).stack()
    tidy = cast(pd.Series, tidy).rename("median_rank").reset_index()
    tidy["framing"] = tidy["prompt"].map(cell.prompts.set_index("key")["framing"])
    return tidy[["construct", "framing", "prompt", "model", "median_rank"]]


def coverage(lexicon: pd.DataFrame, texts: set[str], where: dict) -> list[dict]:
    """How many words of each construct are single tokens of a vocabulary, by spelling.

    texts: the decoded texts of the vocabulary. Returns rows of ``where`` + construct, words and the
    counts ``bare``, ``space`` (lower case), ``bare_capitalised``, ``space_capitalised``.
    """
    rows = []
    for construct, words in lexicon.groupby("construct")["word"]:
        words = words.unique()
        spellings = {"": CASES["lower"], "_capitalised": CASES["capitalised"]}
        counts = {
            f"{start}{case}": sum(space + spell(word) in texts for word in words)
            for case, spell in spellings.items()
            for start, space in {"bare": "", "space": " "}.items()
        }
        rows.append(where | {"construct": construct, "words": len(words)} | counts)
    return rows
