"""What a model likes most and least: both ends of a score table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.stats.ranks import rank_words

SHOWN = 20
"""Tokens (or words) at the top and at the bottom."""


def extremes(table: pd.DataFrame, prompts: pd.DataFrame, shown: int = SHOWN) -> list[dict]:
    """The best and worst rows of a score table by mean rank over the prompts of each framing.

    Returns ``framing, end`` (top, bottom), ``place`` (1 = the very best or worst), ``text``, ``token_id``
    (None for words), ``mean_rank`` and ``ranked`` (how many were). Rows without a text and rows with a
    score that is not finite are left out; a prompt without any finite score, too.
    """
    keys = [key for key in prompts["key"] if np.isfinite(table[key]).mean() > 0.5]
    known = table[(table["token_decoded"] != "") & np.isfinite(table[keys]).all(axis=1)]  # type: ignore[operator]
    found = []
    for framing, of_framing in prompts[prompts["key"].isin(keys)].groupby("framing", sort=False):
        mean = rank_words(known[list(of_framing["key"])].to_numpy()).mean(axis=1)
        order = np.argsort(mean, kind="stable")
        for end, chosen in (("top", order[:shown]), ("bottom", order[::-1][:shown])):
            for place, at in enumerate(chosen, start=1):
                row = known.iloc[at]
                found.append({"framing": framing, "end": end, "place": place, "text": row["token_decoded"]})
                found[-1]["token_id"] = None if pd.isna(row["token_id"]) else int(row["token_id"])
                found[-1] |= {"mean_rank": float(mean[at]), "ranked": len(known)}
    return found
