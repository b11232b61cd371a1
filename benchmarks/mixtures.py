"""How many valence pairs make a small reward model read the question? Trains one model a mixture, and checks it.

In:  data/models/<base>/, lexicons/unrolled/*.csv (dvc repro models lexicons); params.yaml
Out: benchmarks/mixtures.csv, a row a run: base, seed, definitions, valence (pairs), held-out accuracy by kind, within,
     across (Spearman, Big Two nouns), positive, negative, difference (percentile points, virtue − vice) with intervals
Run: python -m benchmarks.mixtures BASE DEFINITIONS VALENCE SEED …   (about four minutes a run on one core)
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

from valuetrace import preferences, tables
from valuetrace.analysis import validity
from valuetrace.analysis.dynamics.readings import readings
from valuetrace.core import files, settings
from valuetrace.models.rows import Scoring
from valuetrace.training.settings import Search, Training
from valuetrace.training.study import train_and_search

OUT = Path("benchmarks/mixtures.csv")
KEY = ["base", "definitions", "valence", "seed"]
"""A run measured again replaces its row."""


def run(base: str, definitions: int, valence: int, seed: int) -> dict:
    params = settings.get("preferences", preferences.Preferences)
    source = params.sources["wordnet_valence"]
    mixed = replace(source, valence=replace(source.valence, share=valence / (definitions + valence)))
    drawn = preferences.draw(replace(params, source="mixed", sources={"mixed": mixed}), definitions + valence, seed)
    how, training = settings.get(f"models.{base}.scoring", Scoring), settings.get("training", Training)
    search = replace(settings.get("dynamics.search", Search), checkpoints=2)
    with tempfile.TemporaryDirectory() as folder:
        preferences.write({"train": drawn.train, "held_out": drawn.held_out}, Path(folder))
        pairs = [Path(folder, f"{name}.parquet") for name in ("train", "held_out")]
        made = train_and_search(base, how, *pairs, replace(training, seed=seed), search, scratch="mixtures")
    lexicon, known = (tables.read_lexicon(name) for name in (search.lexicon, tables.KNOWN_GROUPS))
    last = int(made.scores["step"].max())
    checked = readings({base: made.scores}, lexicon, known, search.prompts(), [last], validity.rule()).iloc[0]
    accuracy = {k: v for k, v in made.metrics["checkpoints"][-1].items() if k.startswith("held_out_accuracy_")}
    row = {"base": base, "seed": seed, "definitions": definitions, "valence": valence, "step": last} | accuracy
    checked = checked.drop(["base", "step", "refused", "needs"])
    return row | checked.to_dict() | {"prompts": len(search.prompts())}


def main(arguments: list[str]) -> None:
    rows = [pd.read_csv(OUT)] if OUT.is_file() else []
    for at in range(0, len(arguments), 4):
        base, *numbers = arguments[at : at + 4]
        rows.append(pd.DataFrame([run(base, *map(int, numbers))]))
        table = pd.concat(rows, ignore_index=True)
        files.write_csv(table.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True), OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
