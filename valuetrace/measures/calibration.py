"""Calibrated log-probabilities: what a prompt adds to a word, beside what the model says whatever is asked.

log p(word | prompt) less the mean of log p(word | neutral prompts), i.e. the pointwise mutual information of word and
question (Holtzman et al. 2021, "Surface form competition"), in nats. Raw ranks mostly order words by their frequency.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import yaml

from valuetrace.core.settings import ROOT
from valuetrace.prompts import DESIGN

NEUTRAL = ROOT / "prompts" / "neutral.yaml"
ALL = "all"  # every set of neutral prompts together


def neutral() -> pd.DataFrame:
    """The prompts that ask for nothing good or bad: the wordings of ``prompts.value_laden``, their adjective replaced.

    Columns: ``key`` (``plain_ever_one`` …), ``text``, ``set`` (as in prompts/neutral.yaml).
    """
    design, sets = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (DESIGN, NEUTRAL))
    rows = [
        (
            f"{name}_{superlative}_{concision}",
            text.replace("{adjective} ", f"{adjective} " if adjective else "").format(superlative=how),
            name,
        )
        for name, adjective in sets["sets"].items()
        for superlative, how in design["superlative"].items()
        for concision, text in design["concision"].items()
    ]
    return pd.DataFrame(rows, columns=["key", "text", "set"])


def sets() -> dict[str, list[str]]:
    """Set → the keys of its prompts; ``all`` of them first."""
    prompts = neutral()
    return {ALL: list(prompts["key"])} | {
        str(name): list(own["key"]) for name, own in prompts.groupby("set", sort=False)
    }


def calibrated(raw: pd.DataFrame, after_neutral: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """``raw`` (nats, index word, a column a prompt key) less each word's mean after the neutral prompts in ``keys``.

    after_neutral: the same words and more after the neutral prompts. Float64; a word without a row there becomes NaN.
    """
    mean = after_neutral[keys].astype(np.float64).mean(axis=1)
    return raw.astype(np.float64).sub(mean.reindex(raw.index), axis=0)
