"""Do the base models rank value words differently? (Section 3.1)

In every cell (``cells``): rank the shared words by log-probability, take each construct's median rank a prompt, and
compare two models (``contrasts``), unless the cell cannot be read.
"""

from __future__ import annotations

import pandas as pd

from valuetrace.measures import validity
from valuetrace.measures.bases.cells import Analysis, cell, medians, probability_on_words
from valuetrace.measures.bases.contrasts import panels, paper_anova
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS

MEDIANS = ["comparison", "format", "case", "construct", "framing", "prompt", "model", "median_rank", "words"]


def assess(
    tables: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    form: Format,
    case: str,
    chosen: Analysis,
) -> tuple[dict, pd.DataFrame | None]:
    """One cell's part of metrics/base_preferences.json, and its medians (None where the cell is refused).

    tables: model → score table; known: the known groups. A cell is refused (``refused``, ``needs``) where it has too
    few words, where they are too improbable, or where a model does not read the prompts (``readings``).
    """
    prompts, rule = value_laden(), validity.rule()
    made = cell(tables, lexicon, prompts, form, case)
    counts = made.words["construct"].value_counts().reindex(chosen.constructs, fill_value=0)
    probability = probability_on_words(made)
    result: dict = {"words": counts.to_dict(), "probability_on_words": probability}
    if counts.min() < FEWEST_WORDS:
        few = f"{counts.min()} words of {counts.idxmin()} are single tokens of both vocabularies"
        return result | {"refused": few, "needs": f"{FEWEST_WORDS} words: another format or spelling"}, None
    framing, keys = prompts.set_index("key")["framing"], list(prompts["key"])
    asked = [*made.words["word"], *known["word"]]
    result["readings"] = {
        model: validity.of_log_probabilities(
            validity.reading(
                word_scores(table, asked, keys, form, case), framing, known, rule, pd.Index(made.words["word"])
            ),
            probability[model],
            rule,
        )
        for model, table in tables.items()
    }
    refused = {model: told["refused"] for model, told in result["readings"].items() if told["refused"]}
    if refused:
        needs = "a format and spelling in which the models answer with such words, and answer the question"
        return result | {"refused": "; ".join(f"{m}: {why}" for m, why in refused.items()), "needs": needs}, None
    of_cell = medians(made)
    panels_found, contrast = panels(made, chosen.draws, chosen.seed)
    of_cell = of_cell.assign(words=of_cell["construct"].map(counts))
    return result | paper_anova(of_cell) | {"panels": panels_found, "three_way": contrast}, of_cell


def summary(cells: list[dict], level: float = 0.05) -> dict:
    """How far the cells agree: signs of the three-way contrast, and how many tests fall below ``level``.

    cells: those that can be read, of one comparison, ``corrected``.
    """
    three_way = [cell["three_way"] for cell in cells]
    return {
        "cells": len(cells),
        "negative_contrast": sum(row["contrast"] < 0 for row in three_way),  # the paper's direction, Llama − Gemma
        "level": level,
        "anova_below_level": sum(cell["three_way_anova"]["p"] < level for cell in cells),
        "prompts_below_level": sum(row["p_prompts"] < level for row in three_way),
        "words_below_level": sum(row["p_words"] < level for row in three_way),
        "words_below_level_holm": sum(row["p_words_holm"] < level for row in three_way),
    }


def grid_row(result: dict) -> dict:
    """``assess``'s result as a row of the grid: words, probability, known groups, the contrast or why it is refused."""
    readings = result.get("readings", {}).values()
    known = [
        told["known_groups"]["difference"]["estimate"] for told in readings if "difference" in told["known_groups"]
    ]
    least = min(mass for of in result["probability_on_words"].values() for mass in of.values())
    row = {"words": sum(result["words"].values()), "probability": least}
    row |= {"known": min(known, default=None), "refused": result.get("refused", "")}
    contrast, anova = result.get("three_way", {}), result.get("three_way_anova", {})
    low, high = contrast.get("ci_words", (None, None))
    row |= {"contrast": contrast.get("contrast"), "low": low, "high": high}
    row |= {name: contrast.get(name) for name in ("p_words", "p_words_holm", "p_prompts")}
    return row | {"p_anova": anova.get("p"), "F": anova.get("F")}
