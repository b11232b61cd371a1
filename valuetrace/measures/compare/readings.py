"""Does each model read the prompts? The manipulation check of a comparison (``measures.validity``), model by model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from valuetrace.core.settings import ROOT
from valuetrace.lexicon.unrolled import KNOWN_GROUPS, find_lexicon, lexicon_path
from valuetrace.measures import validity
from valuetrace.measures.compare.inputs import Table
from valuetrace.measures.compare.scores import Scores
from valuetrace.stats.bootstrap import FEWEST_WORDS

NOT_CHECKED = "not checked: the file does not score the known groups"


def readings(
    tables: list[Table], lexicon: pd.DataFrame, scores: Scores, also: list[Table] | None = None
) -> dict[str, dict]:
    """Model → ``validity.reading`` of its file on the lexicon's words and the known groups that it scores.

    also: further tables of the same models, asked for the words of the known groups that a file lacks.
    Log-probabilities are refused, too, where the lexicon's words together are improbable after the prompts of a
    framing. A model with too few words of the known groups, the lexicon's own virtues and vices among them, is not
    refused: its ``note`` says NOT_CHECKED.
    """
    rule = validity.rule()
    there = any((root / lexicon_path(KNOWN_GROUPS)).is_file() for root in (Path(), ROOT))
    groups = [find_lexicon(KNOWN_GROUPS)] if there else []
    parts = [part.reindex(columns=["word", "polarity"]) for part in (*groups, lexicon)]
    known = validity.with_own(pd.concat(parts[:-1] or [parts[0].head(0)]), parts[-1])
    framing, more = pd.Series(scores.framing, index=scores.prompts), {table.model: table for table in also or []}
    result = {}
    for table, values in zip(tables, scores.values, strict=True):
        asked = pd.Index([*scores.words, *known["word"]]).unique()
        found = table.words(asked, scores.prompts).dropna()
        if table.model in more:
            rest = more[table.model].words(asked.difference(found.index, sort=False), scores.prompts)
            found = pd.concat([found, rest.dropna()])
        told = validity.reading(found, framing, known, rule, scores.words) | {"note": None}
        if min(told["known_groups"][name] for name in validity.POLARITIES) < FEWEST_WORDS:
            told |= {"refused": None, "needs": None, "note": NOT_CHECKED}
        if table.made_by.get("kind") == "logprob":
            ranked = pd.DataFrame(values.T, index=scores.words, columns=scores.prompts)
            told = validity.of_log_probabilities(told, validity.probability(ranked, framing), rule)
        result[table.model] = told
    return result


def refused(read: dict[str, dict]) -> dict[str, dict[str, str]] | None:
    """Model → ``reason`` and ``needs`` of those that do not read; None where all do, or were not checked."""
    rows = {name: {"reason": row["refused"], "needs": row["needs"]} for name, row in read.items() if row["refused"]}
    return rows or None
