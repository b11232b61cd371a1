"""L, the lean of a ranking to one construct before another, and whether the ranking reads the prompts at all.

L = ½ (A⁺ − A⁻), where A⁺ and A⁻ are the probabilities that a word of the first construct is ranked above one of the
second after positive and after negative prompts: −½ to ½, 0 for no lean. What a model likes whatever it is asked
cancels; it is told apart as ``both`` = ½ (A⁺ + A⁻) − ½ (a plant that leaks into every ranking moves it).
"""

from __future__ import annotations

import numpy as np

from valuetrace.stats.blocks import auc


def framed(scores: np.ndarray, first: np.ndarray, second: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """A⁺ − ½ and A⁻ − ½ of many rankings: (rankings, 2), means over the prompts of a framing.

    scores: (rankings, prompts, words). first, second: (words,) booleans. positive: (prompts,) booleans.
    """
    rankings, prompts, words = scores.shape
    found = auc(scores.reshape(-1, words).T, first, second).reshape(rankings, prompts) - 0.5
    return np.stack([found[:, positive].mean(axis=1), found[:, ~positive].mean(axis=1)], axis=1)


def lean(of: np.ndarray) -> np.ndarray:
    """L from ``framed``: (…, 2) → (…,)."""
    return (of[..., 0] - of[..., 1]) / 2


def both(of: np.ndarray) -> np.ndarray:
    """What holds under both framings alike, from ``framed``: (…, 2) → (…,)."""
    return (of[..., 0] + of[..., 1]) / 2


def known(scores: np.ndarray, virtue: np.ndarray, vice: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Mean percentile of virtues less vices by framing, (rankings, 2): the check of ``measures.validity``.

    scores: (rankings, prompts, words); ranks are among all words.
    """
    ranks = np.argsort(np.argsort(scores, axis=-1), axis=-1)  # 0 = lowest; rewards hardly tie
    percentiles = 100 * ranks / (scores.shape[-1] - 1)
    found = percentiles[..., virtue].mean(axis=-1) - percentiles[..., vice].mean(axis=-1)
    return np.stack([found[:, positive].mean(axis=1), found[:, ~positive].mean(axis=1)], axis=1)
