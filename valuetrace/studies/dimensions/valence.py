"""How much of a construct's position is valence alone? Means, so that the parts add up.

In each prompt a cubic curve predicts a word's percentile from its rating (0 where it was not rated: neutral); a
straight line would not do, since percentiles end at 0 and 100. A construct's distance from chance, its mean percentile
− 50, is what the curve predicts from its words' ratings and the rest. Many words that are good or bad have no rating,
and their valence is in the rest; so the same is told of rated words alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.studies.dimensions.panels import Panel, members

CHANCE, ONLY, MORE = "at chance", "valence alone", "more than valence"
ALL, RATED = "all words", "rated words"


def tables(own: Panel, lexicon: pd.DataFrame, rating: np.ndarray, draws: int, seed: int) -> pd.DataFrame:
    """``decompose`` of all words (neutral without a rating) and of rated words alone, told by ``based_on``."""
    at, found = rating != 0, []
    rated = replace(own, words=own.words[at], percentiles=own.percentiles[at])
    for name, panel, of in ((ALL, own, rating), (RATED, rated, rating[at])):
        if len(panel.words):
            found.append(decompose(panel, lexicon, of, draws, seed).assign(based_on=name))
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)


def decompose(own: Panel, lexicon: pd.DataFrame, rating: np.ndarray, draws: int, seed: int) -> pd.DataFrame:
    """``model, construct, words, rated, distance, explained, rest`` with 95 % over words, and ``verdict``, of one
    framing's prompts, in percentile points.

    rating: (words,). Verdict: ``at chance`` where neither distance nor rest is told from 0; ``valence alone`` where the
    distance is and the rest is not; else ``more than valence``.
    """
    names, member = members(lexicon, own.words)
    values = own.percentiles.mean(axis=2)  # (words, models)
    curve = fitted(values, rating) + values.mean(axis=0) - 50
    rows = []
    for at, name in enumerate(names):
        words = member[at]
        if words.sum() < FEWEST_WORDS:
            continue
        weights = np.concatenate([c[0] for c in word_draws(words[None], draws, np.random.default_rng([seed, at]))])
        weights = weights / words.sum()
        for i, model in enumerate(own.models):
            row = {"model": model, "construct": name, "words": int(words.sum())}
            row |= {"rated": int((rating[words] != 0).sum())}
            parts = {"distance": values[:, i] - 50, "explained": curve[:, i], "rest": values[:, i] - 50 - curve[:, i]}
            for key, part in parts.items():
                low, high = percentile_interval(weights @ part)
                row |= {key: float(part[words].mean()), f"{key}_low": low, f"{key}_high": high}
            rows.append(row | {"verdict": verdict(row)})
    return pd.DataFrame(rows)


def verdict(row: dict) -> str:
    """One of the three, from the intervals of ``distance`` and ``rest``."""
    if row["rest_low"] > 0 or row["rest_high"] < 0:
        return MORE
    return ONLY if row["distance_low"] > 0 or row["distance_high"] < 0 else CHANCE


def fitted(values: np.ndarray, rating: np.ndarray) -> np.ndarray:
    """What a cubic in the rating predicts of each column, by least squares over words, less its mean: like ``values``.

    values: (words, columns); rating: (words,).
    """
    powers = np.stack([rating, rating**2, rating**3], axis=1)
    powers = powers - powers.mean(axis=0)
    return powers @ np.linalg.lstsq(powers, values - values.mean(axis=0), rcond=None)[0]


def without(own: Panel, rating: np.ndarray) -> Panel:
    """The panel with what the rating predicts taken out of every prompt's percentiles."""
    columns = own.percentiles.reshape(len(own.words), -1)
    return replace(own, percentiles=(columns - fitted(columns, rating)).reshape(own.percentiles.shape))


def explained_variance(values: np.ndarray, rating: np.ndarray) -> np.ndarray:
    """The share of the words' variance that valence explains, R²: (models,). values: (words, models)."""
    return fitted(values, rating).var(axis=0) / values.var(axis=0)
