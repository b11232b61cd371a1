"""The prompt sets of the paper, unfolded from the factorial design in ``prompts/design.yaml``."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import pandas as pd
import yaml

from valuetrace.core.settings import ROOT

DESIGN = ROOT / "prompts" / "design.yaml"
COLUMNS = ("key", "text", "framing", "adjective", "superlative", "concision")


@cache
def _design() -> dict:
    return yaml.safe_load(DESIGN.read_text(encoding="utf-8"))


def value_laden() -> pd.DataFrame:
    """The 54 prompts of Appendix E, 27 positive and 27 negative, in the authors' column order.

    Columns: ``key`` (``best_ever_one`` …), ``text``, ``framing`` (positive, negative), ``adjective``,
    ``superlative``, ``concision``.
    """
    design = _design()
    rows = [
        (
            f"{adjective}_{superlative}_{concision}",
            text.format(adjective=adjective_text, superlative=superlative_text),
            framing,
            adjective,
            superlative,
            concision,
        )
        for framing, adjectives in design["framing"].items()
        for adjective, adjective_text in adjectives.items()
        for superlative, superlative_text in design["superlative"].items()
        for concision, text in design["concision"].items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def authority_boost() -> pd.DataFrame:
    """The 36 training and 9 held-out prompts of Appendix F. Columns: ``key``, ``text``, ``split`` (train, test)."""
    design = _design()["authority"]
    positive = value_laden().query("framing == 'positive'")[["key", "text"]]
    held_out = positive["key"].isin(design["held_out"])
    orders = design["orders"]
    variations = [
        orders["text"].format(first=first, second=second, third=third, adjective=adjective)
        for adjective in orders["adjectives"]
        for first, second, third in permutations(orders["kinds"])
    ] + design["others"]
    extra = pd.DataFrame({"key": [f"variation_{i:02d}" for i in range(1, len(variations) + 1)], "text": variations})
    train = pd.concat([positive[~held_out], extra]).assign(split="train")
    return pd.concat([train, positive[held_out].assign(split="test")], ignore_index=True)


def authority_words() -> list[str]:
    """The ten boosted words of Appendix F.1."""
    return list(_design()["authority"]["words"])
