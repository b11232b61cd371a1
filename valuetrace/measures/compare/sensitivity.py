"""The same differences under other choices: other lexicons, other ties, each model left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.measures.compare.effects import effects, three_way_model_unit
from valuetrace.measures.compare.inputs import Table
from valuetrace.measures.compare.scores import Scores, join


def sensitivity(
    scores: Scores,
    medians: np.ndarray,
    tables: list[Table],
    lexicon: pd.DataFrame,
    variants: dict[str, pd.DataFrame],
    draws: int,
    seed: int,
) -> list[dict]:
    """The differences and model-unit p-values again: other lexicons, other treatment of ties, each model left out.

    Lexicons: ``variants``, and the parts of ``lexicon`` by polarity (virtue, vice) and part of
    speech (nouns) where it names them. A variant that cannot be joined has the reason in its row.
    """
    rows = [_variant("as given", "lexicon", scores, medians, draws, seed)]
    for label, part in (lexicon_parts(lexicon) | variants).items():
        try:
            other = join(tables, part)
        except InputError as error:
            rows.append({"variant": label, "kind": "lexicon", "reason": str(error)})
            continue
        rows.append(_variant(label, "lexicon", other, other.medians(), draws, seed))
    for ties in ("min", "max"):
        retied = scores.medians(scores.ranks(ties))
        rows.append(_variant(f"tied words take their {ties}imum rank", "ties", scores, retied, draws, seed))
    for m, model in enumerate(scores.models):
        rest = scores.without_model(model)
        if len(set(rest.base_of)) < 2:
            rows.append({"variant": f"without {model}", "kind": "model", "reason": "no other model of its base"})
        else:
            rows.append(_variant(f"without {model}", "model", rest, np.delete(medians, m, axis=1), draws, seed))
    return rows


def lexicon_parts(lexicon: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Parts of a lexicon that say something else than the whole: virtue only, vice only, words that can be nouns."""
    parts = {}
    for column, value, label in (
        ("polarity", "virtue", "virtue only"),
        ("polarity", "vice", "vice only"),
        ("part_of_speech", "noun", "nouns only"),
    ):
        if column in lexicon.columns:
            mask = lexicon[column].astype(str).str.split("|").map(lambda values, value=value: value in values)
            if mask.any() and not mask.all():
                parts[label] = lexicon[mask]
    return parts


def _variant(label: str, kind: str, scores: Scores, medians: np.ndarray, draws: int, seed: int) -> dict:
    rows = effects(scores, medians, draws, seed, permute=False)
    interaction = three_way_model_unit(scores, medians, draws, seed)
    keep = ("construct", "framing", "difference", "p_model_unit", "p_model_unit_studentised", "p_lineage")
    return {
        "variant": label,
        "kind": kind,
        "words": len(scores.words),
        "models": len(scores.models),
        "panels": [{key: row[key] for key in keep} for row in rows],
        "three_way": {key: interaction[key] for key in ("coefficient", *keep[3:])},
        "reason": interaction["model_unit_reason"],
    }
