"""Does a training come out again? Two reward models of one recipe, set side by side word by word.

What repeats under a perturbation of a millionth is a property of base, pairs and recipe; what does not is one draw of
rounding. What two seeds share is a property of the base; what they do not is the seed's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from valuetrace.core.errors import InputError
from valuetrace.measures.dynamics.trajectories import FRAMINGS
from valuetrace.stats.ranks import rank_words


@dataclass(frozen=True)
class Recipe:
    """A way of training. size: pairs; share: of valence pairs among them; training: what it changes in ``training``."""

    size: int
    share: float
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stability:
    """Group ``stability`` of params.yaml: recipes by name, and what is asked of one that repeats.

    perturbation: relative, of every weight. same_ranks: least Spearman correlation of the word ranks after it, and
    between thread counts; same_gap: largest change of the gap between the constructs, percentile points. seeds_agree:
    least correlation of two seeds of one base, mean over pairs of seeds. held_out: least accuracy of each kind of pair.
    """

    recipes: dict[str, Recipe]
    seeds: list[int]
    perturbation: float
    same_ranks: float
    same_gap: float
    seeds_agree: float
    held_out: float


def mean_ranks(scores: pd.DataFrame, words: list[str], prompts: pd.DataFrame) -> dict[str, np.ndarray]:
    """Framing → each word's rank, mean over the framing's prompts (1 is the highest reward), (words,).

    scores: index word, a column a prompt key; prompts: ``key, framing``. InputError where a word is missing.
    """
    missing = [word for word in words if word not in scores.index]
    if missing:
        raise InputError(f"scores without {len(missing)} of the words, as {missing[0]!r}.")
    ranks = rank_words(scores.loc[words, prompts["key"]].to_numpy(np.float64))  # (words, prompts)
    return {framing: ranks[:, (prompts["framing"] == framing).to_numpy()].mean(axis=1) for framing in FRAMINGS}


def agreement(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, float]:
    """Spearman correlation of two ``mean_ranks`` by framing, and of the difference between the framings."""
    both = [(ranks | {"difference": ranks["positive"] - ranks["negative"]}) for ranks in (first, second)]
    return {name: float(spearmanr(both[0][name], both[1][name]).statistic) for name in both[0]}


def gap(ranks: dict[str, np.ndarray], member: np.ndarray) -> dict[str, float]:
    """How far the first construct stands above the second, percentile points by framing, from the medians.

    member: (2, words) booleans.
    """
    return {
        framing: float(np.subtract(*[np.median(values[own]) for own in member[::-1]]) * 100 / len(values))
        for framing, values in ranks.items()
    }
