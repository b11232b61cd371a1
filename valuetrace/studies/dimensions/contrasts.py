"""Every construct × framing between two models, tested against random lists and corrected as one family."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.inference import fdr_bh, holm, two_tailed_p
from valuetrace.studies.dimensions.panels import Panel, members, orders, readings


def contrasts(own: Panel, lexicon: pd.DataFrame, draws: int, permutations: int, seed: int) -> pd.DataFrame:
    """Second − first of a panel's two models: ``construct, framing, words, difference, low, high, p``.

    difference: percentile points, of the median word, mean over the framing's prompts; 95 % over the construct's
    words; p: two-sided, the list's labels exchanged among all words of the same frequency and length. It asks whether
    these two models differ more on this list than on any, not whether their bases do.
    """
    names, member = members(lexicon, own.words)
    framings = list(dict.fromkeys(own.framing))
    exchanged, rows = orders(own.words, permutations, np.random.default_rng(seed)), []
    for at, name in enumerate(names):
        if member[at].sum() < FEWEST_WORDS:
            continue
        rng = np.random.default_rng([seed, at])
        one = member[at][None]
        observed = _difference(own, one, framings)[0]
        words = np.concatenate([counts[0] for counts in word_draws(one, draws, rng)])
        drawn = _difference(own, words, framings)
        random = _difference(own, one[0][exchanged], framings)
        for i, framing in enumerate(framings):
            low, high = percentile_interval(drawn[:, i])
            row = {"construct": name, "framing": framing, "words": int(one.sum()), "difference": observed[i]}
            rows.append(row | {"low": low, "high": high, "p": two_tailed_p(observed[i], random[:, i])})
    return pd.DataFrame(rows)


def family(tests: pd.DataFrame) -> pd.DataFrame:
    """All tests as one family: ``p_holm`` (family-wise error) and ``p_bh`` (false discovery rate) beside ``p``."""
    return tests.assign(p_holm=holm(tests["p"].to_numpy()), p_bh=fdr_bh(tests["p"].to_numpy()))


def _difference(own: Panel, counts: np.ndarray, framings: list[str]) -> np.ndarray:
    """(lists, framings) from counts (lists, words)."""
    values = readings(own, counts)
    change = values[:, 1] - values[:, 0]
    return np.stack([change[:, own.framing == name].mean(axis=1) for name in framings], axis=1)
