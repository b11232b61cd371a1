"""What a pair table is like: lengths, duplicates, overlaps, and what length alone would predict."""

from __future__ import annotations

import numpy as np
import pandas as pd

_TEXTS = ["prompt", "chosen", "rejected"]
_PAIR = [*_TEXTS, "history"]


def summary(train: pd.DataFrame, held_out: pd.DataFrame) -> dict:
    """Counts of pairs, lengths in words, duplicates and overlaps; shares between 0 and 1."""
    replies = set(held_out["chosen"]) | set(held_out["rejected"])
    same = train.merge(held_out[_PAIR].drop_duplicates(), on=_PAIR, how="inner")
    return {
        "train": _of_one(train),
        "held_out": _of_one(held_out),
        "train_pairs_also_held_out": {
            "prompt": int(train["prompt"].isin(set(held_out["prompt"])).sum()),
            "chosen_or_rejected": int((train["chosen"].isin(replies) | train["rejected"].isin(replies)).sum()),
            "whole_pair": len(same),
        },
    }


def length_only_accuracy(pairs: pd.DataFrame) -> float | None:
    """How often the chosen reply is the longer one (characters; equal lengths count one half)."""
    if pairs.empty:
        return None
    difference = pairs["chosen"].str.len() - pairs["rejected"].str.len()
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _of_one(pairs: pd.DataFrame) -> dict:
    result = {
        "pairs": len(pairs),
        "sources": pairs["source"].value_counts().sort_index().to_dict(),
        "with_history": int((pairs["history"] != "").sum()),
        "duplicates": int(pairs.duplicated(_PAIR).sum()),
        "same_prompt_as_an_earlier_pair": int(pairs.duplicated(["prompt", "history"]).sum()),
        "length_only_accuracy": length_only_accuracy(pairs),
    }
    for column in _TEXTS:
        words = pairs[column].str.split().str.len().to_numpy(dtype=float)  # type: ignore[misc]
        if len(words):
            result[f"{column}_words"] = {
                "mean": float(words.mean()),
                "median": float(np.median(words)),
                "p99": float(np.quantile(words, 0.99)),
                "max": int(words.max()),
            }
    return result
