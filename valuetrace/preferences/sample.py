"""Pair tables: the size asked for, the held-out split, evenly spaced rows, and what a table is like (``summary``)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from valuetrace.core.errors import InputError
from valuetrace.tables import evenly_spaced

COLUMNS = ("prompt", "chosen", "rejected", "source", "key", "history")


def parse_size(value: object) -> int | None:
    """``data_size`` as a number of pairs: ``13k``, ``26k``, ``2.5k``, ``480``, ``"480"``; None for ``full``.

    YAML and ``dvc exp run -S`` turn ``1e3`` into a float and ``10_000`` into a whole number: both are
    read as what they say. InputError for anything else, and for less than one pair.
    """
    size: Any = value
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "full":
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(k?)", text)
        size = float(found[1]) * (1000 if found[2] else 1) if found else value
    whole = isinstance(size, (int, float)) and not isinstance(size, bool) and float(size).is_integer()
    if not whole or size < 1:
        raise InputError(f"data_size is {value!r}; it must be a number of pairs (480, 13k, 106k) or 'full'.")
    return int(size)


def take(pairs: pd.DataFrame, size: object, strides: dict[str, int]) -> pd.DataFrame:
    """The rows of a source that ``data_size`` asks for, in their order.

    ``strides`` names sizes that are every s-th row (Unified-Feedback in the paper: "13k" is every 64th).
    """
    if isinstance(size, str) and size in strides:
        return pairs.iloc[:: strides[size]].reset_index(drop=True)
    wanted = parse_size(size)
    if wanted is None:
        return pairs.reset_index(drop=True)
    return pairs.iloc[evenly_spaced(len(pairs), wanted)].reset_index(drop=True)


def read(path: str | Path) -> pd.DataFrame:
    """A pair table; InputError where the file is missing or is no pair table."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run the stage that writes it (stages/preferences.py).")
    try:
        pairs = pd.read_parquet(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a parquet file ({error}). Make it again.") from None
    missing = [name for name in COLUMNS if name not in pairs.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing; a pair table has {', '.join(COLUMNS)}.")
    return pairs


def split(pairs: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(train, held out): a pair goes where its ``key`` goes, whatever else the table holds."""
    out = pairs["key"].map(lambda key: is_held_out(key, share, seed)).to_numpy(dtype=bool)
    return pairs[~out].reset_index(drop=True), pairs[out].reset_index(drop=True)


def is_held_out(key: str, share: float, seed: int) -> bool:
    """A fixed pseudo-random choice of about ``share`` of all keys: SHA-256 of seed and key."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8]) < share * 2**64


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
