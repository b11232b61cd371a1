"""Section 3.1: do two base models rank agency and communion words differently?

In:  data/logprobs/<model>/<format>.parquet, lexicons/*.csv; params.yaml: analysis, formats
Out: metrics/log_probabilities.json       every comparison × format × spelling: ANOVA, panels, three-way
                                          contrast, words, probability on them; coverage of the lexicons
     plots/log_probabilities/medians.csv  comparison, format, case, construct, framing, prompt, model,
                                          median_rank (1 = most probable), words (n of the construct)
     plots/log_probabilities/grid.csv     comparison, format, case, cell (all three as one label), contrast
                                          and low, high (ranks), p_words, p_anova, F, words, probability
Run: python stages/log_probabilities.py
"""

from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.analysis.bases import preferences as section
from valuetrace.analysis.bases.settings import Analysis
from valuetrace.core import settings, stage
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

LOGPROBS = Path("data/logprobs")
PLOTS = Path("plots/log_probabilities")


def main() -> None:
    chosen = settings.get("analysis", Analysis)
    formats = settings.get("formats", dict[str, Format])
    prompts = value_laden()
    lexicon = pd.read_csv(f"lexicons/{chosen.lexicon}.csv", keep_default_na=False)
    lexicon = lexicon[lexicon["construct"].isin(chosen.constructs)]

    comparisons, medians, grid = [], [], []
    for label, pair in chosen.comparisons.items():
        cells = []
        for name, files in tables.score_files(*(LOGPROBS / model for model in pair)).items():
            scores = {model: tables.read_scores(path) for model, path in zip(pair, files, strict=True)}
            for case in chosen.cases:
                cell = section.cell(scores, lexicon, prompts, formats[name], case)
                counts = cell.words["construct"].value_counts().reindex(chosen.constructs, fill_value=0)
                where = {"comparison": label, "format": name, "case": case}
                result = {"format": name, "case": case, "words": counts.to_dict()}
                result["probability_on_words"] = section.probability_on_words(cell)
                if counts.min() < section.FEWEST_WORDS:
                    few = f"fewer than {section.FEWEST_WORDS} shared single-token words of {counts.idxmin()}"
                    cells.append(result | {"refused": few})
                    continue
                of_cell = section.medians(cell)
                anova = section.three_way_anova(of_cell)
                panels, contrast = section.panels(cell, chosen.draws, chosen.seed)
                three_way = anova.set_index("term").loc["model × construct × framing"]
                result |= {"anova": _records(anova), "three_way_anova": three_way[["F", "p"]].to_dict()}
                cells.append(result | {"panels": panels, "three_way": contrast})
                medians.append(of_cell.assign(**where, words=of_cell["construct"].map(counts)))
                low, high = contrast["ci_words"]
                probability = min(result["probability_on_words"].values())
                grid.append(
                    where
                    | {"cell": f"{label}: {name}, {case}", "contrast": contrast["contrast"], "low": low, "high": high}
                )
                grid[-1] |= {"p_words": contrast["p_words"], "p_anova": three_way["p"], "F": three_way["F"]}
                grid[-1] |= {"words": int(counts.sum()), "probability": probability}
        summary = section.summary([cell for cell in cells if "refused" not in cell])
        comparisons.append({"comparison": label, "models": sorted(pair), "summary": summary, "cells": cells})

    where = ["comparison", "format", "case"]
    medians = pd.concat(medians)
    files.write_csv(medians[where + [c for c in medians.columns if c not in where]], PLOTS / "medians.csv")
    files.write_csv(pd.DataFrame(grid), PLOTS / "grid.csv")
    metrics = {"lexicon": chosen.lexicon, "prompts": len(prompts), "draws": chosen.draws, "seed": chosen.seed}
    metrics |= {
        "comparisons": comparisons,
        "coverage": _coverage(sorted({m for p in chosen.comparisons.values() for m in p})),
    }
    files.write_json(metrics, "metrics/log_probabilities.json")


def _coverage(models: list[str]) -> list[dict]:
    """How many words of each lexicon and construct are single tokens, by model and spelling."""
    found = []
    for name in models:
        path = next(iter(tables.score_files(LOGPROBS / name).values()))[0]
        texts = set(tables.read_scores(path, prompts=["greatest_ever_one"])["token_decoded"])
        for lexicon in ("big_two", "big_two_nouns", "mfd2"):
            words = pd.read_csv(f"lexicons/{lexicon}.csv", keep_default_na=False)
            found += section.coverage(words, texts, {"model": name, "lexicon": lexicon})
    return found


def _records(frame: pd.DataFrame) -> list[dict]:
    return [row.dropna().to_dict() for _, row in frame.iterrows()]


if __name__ == "__main__":
    stage.run(main)
