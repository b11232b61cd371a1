"""Section 3.1: do two base models rank agency and communion words differently?

In:  data/token_logprobs/<model>/<format>.parquet, data/neutral_logprobs/<model>/<format>.parquet,
     lexicons/unrolled/*.csv; params.yaml: analysis, formats, validity
Out: metrics/base_preferences.json       every comparison × format × spelling × reading (raw, calibrated): whether it
                                         can be read, ANOVA, panels, three-way contrast, each model's own levels,
                                         words, probability on them; coverage of the lexicons
     plots/base_preferences/medians.csv  comparison, format, case, reading, construct, framing, prompt, model,
                                         median_rank (1 = most probable), words (n of the construct)
     plots/base_preferences/grid.csv     comparison, format, case, reading, cell (all as one label), words, probability,
                                         known (the weaker model's known groups), refused (why, or empty), contrast
                                         and low, high (ranks), p_words, p_words_holm, p_prompts, p_anova, F
Run: python -m stages.base_preferences
"""

from itertools import product
from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.lexicon import unrolled
from valuetrace.measures.bases import cells, contrasts
from valuetrace.measures.bases.implicit import Analysis
from valuetrace.scoring.chat import Format

LOGPROBS, NEUTRAL = Path("data/token_logprobs"), Path("data/neutral_logprobs")
PLOTS = Path("plots/base_preferences")


def main() -> None:
    chosen = settings.get("analysis", Analysis)
    formats = settings.get("formats", dict[str, Format])
    lexicon = unrolled.read_lexicon(chosen.lexicon)
    lexicon, known = lexicon[lexicon["construct"].isin(chosen.constructs)], unrolled.read_lexicon(unrolled.KNOWN_GROUPS)

    comparisons, medians = [], [pd.DataFrame(columns=contrasts.MEDIANS)]
    for label, pair in chosen.comparisons.items():
        of_pair = []
        for name, paths in tables.score_files(*(LOGPROBS / model for model in pair)).items():
            scores = {model: tables.read_scores(path) for model, path in zip(pair, paths, strict=True)}
            neutral = {model: tables.read_scores(NEUTRAL / model / paths[0].name) for model in pair}
            for case, (reading, against) in product(chosen.cases, {"raw": None, "calibrated": neutral}.items()):
                where = {"format": name, "case": case, "reading": reading}
                result, of_cell = contrasts.assess(scores, lexicon, known, formats[name], case, chosen, against)
                of_pair.append(where | result)
                of_cell = None if of_cell is None else of_cell.assign(comparison=label, **where)
                medians += [] if of_cell is None else [of_cell[contrasts.MEDIANS]]
        comparisons.append({"comparison": label, "models": sorted(pair), "cells": of_pair})

    contrasts.corrected([cell for found in comparisons for cell in found["cells"]])
    for found in comparisons:
        read = [cell for cell in found["cells"] if "refused" not in cell]
        found["summary"] = contrasts.summary(read) | {"of": len(found["cells"])}
    files.write_csv(pd.concat(medians), PLOTS / "medians.csv")
    files.write_csv(_grid(comparisons), PLOTS / "grid.csv")
    metrics = {"lexicon": chosen.lexicon, "draws": chosen.draws, "seed": chosen.seed, "comparisons": comparisons}
    metrics["coverage"] = _coverage(sorted({m for pair in chosen.comparisons.values() for m in pair}), chosen)
    files.write_json(metrics, "metrics/base_preferences.json")


def _grid(comparisons: list[dict]) -> pd.DataFrame:
    """Every comparison, format and spelling: plots/base_preferences/grid.csv."""
    rows = [
        {"comparison": found["comparison"]}
        | {key: cell[key] for key in ("format", "case", "reading")}
        | contrasts.grid_row(cell)
        | {"cell": f"{found['comparison']}: {cell['format']}, {cell['case']}, {cell['reading']}"}
        for found in comparisons
        for cell in found["cells"]
    ]
    return pd.DataFrame(rows)


def _coverage(models: list[str], chosen: Analysis) -> list[dict]:
    """How many words of the lexicons compared are single tokens, by model and spelling."""
    found = []
    for name in models:
        path = next(iter(tables.score_files(LOGPROBS / name).values()))[0]
        texts = set(tables.read_scores(path, prompts=[chosen.tokens.prompt])["token_decoded"])
        for lexicon in (chosen.lexicon, unrolled.KNOWN_GROUPS):
            words = unrolled.read_lexicon(lexicon)
            found += cells.coverage(words, texts, {"model": name, "lexicon": lexicon})
    return found


if __name__ == "__main__":
    stage.run(main)
