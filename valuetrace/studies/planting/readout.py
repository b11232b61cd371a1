"""What is read of one planted base at one dose: its log-probabilities, ridge heads on its states, and heads that are no
reading (random ones, with a subspace taken away). Every number is a row: the same columns for every source.

``source``  logprobs, ridge, lora, lora_untrained
``part``    planted or held_out words that are one token in the base, so that all sources rank the same words
``lean, both, positive, negative``  L and its parts (``planting.preference``)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from valuetrace.stats.ranks import rank_words
from valuetrace.studies.planting import folders, preference
from valuetrace.studies.planting.design import Planting
from valuetrace.training import ridge

PARTS = ("planted", "held_out")


@dataclass(frozen=True)
class PlantedBase:
    """One planted base at one dose. words: ``word, construct, part`` of everything scored, in the states' order.

    logprobs: (prompts, words), NaN for words of several tokens. states: set → layer → array (``planting.folders``).
    kinds: (held-out pairs,) their sources.
    """

    block: int
    plant: str
    dose: float
    words: pd.DataFrame
    logprobs: np.ndarray
    states: dict[str, dict[str, np.ndarray]]
    kinds: np.ndarray
    positive: np.ndarray
    constructs: list[str]

    @property
    def about(self) -> dict[str, object]:
        """The cell's columns in every row: ``block, plant, dose``."""
        return {"block": self.block, "plant": self.plant, "dose": self.dose}

    def member(self, construct: str, part: str | None = None) -> np.ndarray:
        """(words,) booleans; with a part, only words that are one token."""
        of_construct = (self.words["construct"] == construct).to_numpy()
        if part is None:
            return of_construct
        return of_construct & (self.words["part"] == part).to_numpy() & ~np.isnan(self.logprobs).any(axis=0)

    def framed(self, scores: np.ndarray, part: str) -> np.ndarray:
        """A⁺ − ½ and A⁻ − ½ (``preference.framed``) of scores (rankings, prompts, words): (rankings, 2)."""
        first, second = (self.member(name, part) for name in self.constructs)
        return preference.framed(scores, first, second, self.positive)


def read_cell(chosen: Planting, block: int, plant: str, dose: float) -> PlantedBase:
    """A cell from its folder; InputError where it was not made."""
    folder, of = folders.planted(block, plant), folders.read_block(block)
    words, table = of.scored, folders.read_logprobs(folder)
    logprobs = table[table["dose"] == dose].set_index("word")[chosen.prompts].reindex(words["word"]).to_numpy().T
    found = folders.read_states(folders.states_file(folder, dose))
    kinds = of.held_out["source"].to_numpy()
    return PlantedBase(block, plant, dose, words, logprobs, found, kinds, positive(chosen), chosen.constructs)


def positive(chosen: Planting) -> np.ndarray:
    """(prompts,) booleans: which prompts ask for what is good."""
    return (chosen.asked()["framing"] == "positive").to_numpy()


class Head:
    """Ridge heads on one layer of a cell: margins and words in units of the standard deviation of the study's pairs.

    margins: (pairs, hidden) of the study; every: of all pairs whose states were kept, the study's first.
    """

    def __init__(self, cell: PlantedBase, pairs: int, layer: str = folders.LAST):
        self.cell = cell
        both = cell.states["pairs"][layer].astype(np.float32)
        self.unit = ridge.scale(both[:pairs]).astype(np.float32)
        self.every = (both[:, 0] - both[:, 1]) / self.unit
        self.margins = self.every[:pairs]
        self.words = cell.states["words"][layer].astype(np.float32) / self.unit

    def scores(self, heads: np.ndarray) -> np.ndarray:
        """Rewards (heads, prompts, words). heads: (heads, hidden)."""
        return np.einsum("pwd,hd->hpw", self.words, heads.astype(np.float32), optimize=True)

    def held_out(self, head: np.ndarray) -> dict[str, float]:
        """Accuracy on the held-out pairs, all and by kind."""
        pairs = self.cell.states["held_out"][folders.LAST].astype(np.float32)
        margins = (pairs[:, 0] - pairs[:, 1]) / self.unit
        found = {"accuracy": ridge.accuracy(margins, head)}
        for kind in np.unique(self.cell.kinds):
            found[f"accuracy_{kind}"] = ridge.accuracy(margins[self.cell.kinds == kind], head)
        return found


def rows(cell: PlantedBase, source: str, scores: np.ndarray, **more: object) -> list[dict[str, object]]:
    """A row a part of one ranking. scores: (prompts, words)."""
    virtue, vice = (cell.member(name) for name in ("virtue", "vice"))
    known = {}
    if not np.isnan(scores).any():
        above, below = preference.known(scores[None], virtue, vice, cell.positive)[0]
        known = {"known_positive": above, "known_negative": below}
    found = []
    for part in PARTS:
        counts = [int(cell.member(name, part).sum()) for name in cell.constructs]
        of = cell.framed(scores[None], part)[0]
        row = cell.about | {"source": source, "part": part}
        row |= {"lean": preference.preference(of), "both": preference.both(of), "positive": of[0], "negative": of[1]}
        found.append(row | {"first_words": counts[0], "second_words": counts[1]} | known | more)
    return found


def audit_measure(cell: PlantedBase, scores: np.ndarray) -> np.ndarray:
    """What an audit shows: percentile of the first construct's median rank less the second's, positive less negative
    framing, over all of the lexicon's words; (rankings,). scores: (rankings, prompts, words)."""
    listed = np.logical_or(*(cell.member(name) for name in cell.constructs))
    ranks = rank_words(scores[..., listed].reshape(-1, listed.sum()).T)  # (words, rankings × prompts)
    first, second = (np.median(ranks[cell.member(name)[listed]], axis=0) for name in cell.constructs)
    gap = (100 * (second - first) / (listed.sum() - 1)).reshape(scores.shape[:2])
    return gap[:, cell.positive].mean(axis=1) - gap[:, ~cell.positive].mean(axis=1)
