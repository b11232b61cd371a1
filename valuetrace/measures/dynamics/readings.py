"""Do the checkpoints read the prompts? ``measures.validity`` at every step of every base."""

from __future__ import annotations

import pandas as pd

from valuetrace.measures import validity


def readings(
    scores: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    prompts: pd.DataFrame,
    steps: list[int],
    rule: validity.Rule,
) -> pd.DataFrame:
    """A row a base and step: agreement of the framings, known groups, and whether the scores can be read.

    scores: base → table of checkpoint scores. Columns ``base, step, within, across`` (Spearman), ``positive, negative,
    difference`` (percentile points, virtue − vice) each with ``_low, _high``, ``reads, refused, needs``.
    """
    framing = prompts.set_index("key")["framing"]
    rows = []
    for base, table in sorted(scores.items()):
        words = table[table["token_id"].isna()]
        for step in steps:
            frame = words[words["step"] == step].set_index("word")[list(framing.index)]
            found = validity.reading(frame, framing, known, rule, pd.Index(lexicon["word"].unique()))
            row = {"base": base, "step": step}
            for name, part in (found["framing"] | found["known_groups"]).items():
                if isinstance(part, dict):
                    row |= {name: part["estimate"], f"{name}_low": part["low"], f"{name}_high": part["high"]}
            refused, needs = found["refused"] or "", found["needs"] or ""
            rows.append(row | {"reads": not refused, "refused": refused, "needs": needs})
    return pd.DataFrame(rows)
