"""The words that move most, and where those that end first and last came from (Figures 5, A6 to A8)."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from valuetrace.measures.dynamics.trajectories import FRAMINGS, Trajectories
from valuetrace.stats.ranks import rank_words


def mover_table(paths: Trajectories, count: int) -> pd.DataFrame:
    """The ``count`` words a side whose mean rank changes most from the early to the last checkpoint.

    Columns ``base, framing, direction`` (up: towards rank 1), ``place`` (1 = most), ``word, construct,
    change`` (ranks, early − last: positive is up), ``words`` (how many there are), ``early`` (its step) and the
    path ``step, rank`` (mean over the framing's prompts), one row a step. A side holds only words that moved its way;
    ties fall in alphabetical order.
    """
    mean = paths.by_framing(paths.ranks)  # (bases, steps, words, framings)
    rows = []
    for b, base in enumerate(paths.bases):
        for f, framing in enumerate(FRAMINGS):
            change = mean[b, paths.early, :, f] - mean[b, -1, :, f]
            for direction, towards in (("up", change), ("down", -change)):
                order = sorted(range(len(change)), key=lambda w: (-towards[w], paths.words[w]))[:count]
                for place, w in enumerate((w for w in order if towards[w] > 0), start=1):
                    word = {"word": paths.words[w], "construct": paths.label(paths.words[w]), "change": change[w]}
                    word |= {"words": len(paths.words), "early": paths.steps[paths.early]}
                    head = {"base": base, "framing": framing, "direction": direction, "place": place} | word
                    rows += [head | {"step": step, "rank": mean[b, s, w, f]} for s, step in enumerate(paths.steps)]
    columns = ["base", "framing", "direction", "place", "word", "construct", "change", "words", "early", "step", "rank"]
    return pd.DataFrame(rows, columns=columns)


def extreme_table(
    paths: Trajectories, scores: dict[str, pd.DataFrame], prompts: pd.DataFrame, count: int
) -> pd.DataFrame:
    """The first and last ``count`` candidates at the early and the last checkpoint, and their paths (A4, A8).

    Candidates are every token where the vocabulary was searched (``set`` = vocabulary), else the lexicon's
    words. Columns ``base, framing, set, candidates, chosen_at`` (early, last), ``side`` (top, bottom),
    ``place`` (1 = the extreme), ``word, token_id, construct`` (empty for tokens), ``step, rank`` (mean over
    the framing's prompts of the rank among the candidates).
    """
    rows = []
    for b, base in enumerate(cast(list, paths.bases)):
        tokens = scores[base][scores[base]["token_id"].notna()]  # none where the vocabulary was not searched
        if tokens.empty:
            texts, ids, mean = paths.words, [None] * len(paths.words), paths.by_framing(paths.ranks[b])
        else:
            texts, ids, mean = _token_ranks(paths, tokens, prompts)
        for f, framing in enumerate(FRAMINGS):
            for chosen_at, at in (("early", paths.early), ("last", len(paths.steps) - 1)):
                order = sorted(range(len(texts)), key=lambda w: (mean[at, w, f], texts[w], w))
                for side, chosen in (("top", order[:count]), ("bottom", order[::-1][:count])):
                    for place, w in enumerate(chosen, start=1):
                        head = {"base": base, "framing": framing, "set": "vocabulary" if len(tokens) else "lexicon"}
                        head |= {"candidates": len(texts), "chosen_at": chosen_at, "side": side, "place": place}
                        head |= {"word": texts[w], "token_id": ids[w]}
                        head["construct"] = "" if len(tokens) else paths.label(texts[w])
                        rows += [head | {"step": step, "rank": mean[s, w, f]} for s, step in enumerate(paths.steps)]
    return pd.DataFrame(rows).astype({"token_id": "Int64"})


def _token_ranks(paths: Trajectories, tokens: pd.DataFrame, prompts: pd.DataFrame):
    """Texts, ids and mean ranks (steps, tokens, framings) of the vocabulary."""
    keys = [key for key in prompts["key"] if key in tokens.columns]
    by_step = [tokens[tokens["step"] == step].sort_values("token_id") for step in paths.steps]
    ranks = (rank_words(frame[keys].to_numpy()) for frame in by_step)  # one step at a time: it is large
    mean = np.stack([paths.by_framing(of_step) for of_step in ranks])
    return by_step[0]["word"].tolist(), by_step[0]["token_id"].tolist(), mean
