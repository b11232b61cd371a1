"""How many valence pairs make a small reward model read the question? Trains one model a mixture, and checks it.

In:  data/models/<base>/, lexicons/unrolled/*.csv (dvc repro models lexicons); params.yaml
Out: benchmarks/mixtures.csv, a row a run: base, seed, definitions, valence (pairs), held-out accuracy by kind, within,
     across (Spearman, Big Two nouns), positive, negative, difference (percentile points, virtue − vice) with intervals
Run: python -m benchmarks.mixtures BASE DEFINITIONS VALENCE SEED …   (about four minutes a run on one core)
     python -m benchmarks.mixtures   prints the table of benchmarks/README.md: these runs and those of the ablation
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace import preferences
from valuetrace.core import files, settings
from valuetrace.lexicon import unrolled
from valuetrace.measures import validity
from valuetrace.measures.dynamics.trajectories import readings
from valuetrace.models.rows import Scoring
from valuetrace.preferences.sources import Drawn
from valuetrace.training.recipe import Search, Training
from valuetrace.training.study import train_and_search

OUT, ABLATIONS = Path("benchmarks/mixtures.csv"), Path("plots/ablations")
KEY = ["base", "definitions", "valence", "seed"]
"""A run measured again replaces its row."""


def draw(size: int, share: float, seed: int) -> Drawn:
    """So many pairs of definitions and valence pairs, the latter's share of all as given."""
    params = settings.get("preferences", preferences.Preferences)
    source = params.sources["wordnet_valence"]
    mixed = replace(source, valence=replace(cast(Any, source.valence), share=share))
    return preferences.draw(replace(params, source="mixed", sources={"mixed": mixed}), size, seed)


def run(base: str, definitions: int, valence: int, seed: int) -> dict:
    drawn = draw(definitions + valence, valence / (definitions + valence), seed)
    how, training = settings.get(f"models.{base}.scoring", Scoring), settings.get("training", Training)
    search = replace(settings.get("dynamics.search", Search), checkpoints=2)
    with tempfile.TemporaryDirectory() as folder:
        preferences.write({"train": drawn.train, "held_out": drawn.held_out}, Path(folder))
        pairs = [Path(folder, f"{name}.parquet") for name in ("train", "held_out")]
        made = train_and_search(
            base, how, *cast("tuple[Path, Path]", pairs), replace(training, seed=seed), search, scratch="mixtures"
        )
    lexicon, known = (unrolled.read_lexicon(name) for name in (search.lexicon, unrolled.KNOWN_GROUPS))
    last = int(made.scores["step"].max())
    checked = readings({base: made.scores}, lexicon, known, search.prompts(), [last], validity.rule()).iloc[0]
    accuracy = {k: v for k, v in made.metrics["checkpoints"][-1].items() if k.startswith("held_out_accuracy_")}
    row = {"base": base, "seed": seed, "definitions": definitions, "valence": valence, "step": last} | accuracy
    checked = checked.drop(["base", "step", "refused", "needs"])
    return row | checked.to_dict() | {"prompts": len(search.prompts())}


def table() -> str:
    """Markdown: every run of OUT and, of the default's share, of the ablation (†); step 0 is an untrained head."""
    ours, ablation = pd.read_csv(OUT), _ablation()
    runs = pd.concat([ours.assign(mark=""), ablation.assign(mark=" †")]).drop_duplicates(KEY, keep="last")
    runs["pairs"] = runs["definitions"] + runs["valence"]
    order = ["base", "pairs", "definitions", "seed"]
    runs = runs.sort_values(order, ascending=[True, True, False, True])
    lines = [
        "| base | definitions + valence | seed | held out: definitions / valence | within | across | "
        "virtues − vices, positive / negative | reads |",
        "|---|---|---:|---|---:|---:|---|---|",
    ]
    labels = settings.get("models", dict[str, dict])
    told: tuple = ()
    for row in cast(Any, runs.itertuples()):
        mixture = f"{row.definitions} + {row.valence}" if row.pairs else "untrained"
        same_base, same = told[:1] == (row.base,), told == (row.base, mixture)
        told = (row.base, mixture)
        held = " / ".join(map(_number, (row.held_out_accuracy_wordnet, row.held_out_accuracy_valence)))
        cells = [
            "" if same_base else labels[row.base]["label"],
            "" if same else mixture,
            f"{row.seed}{row.mark}",
            held if row.pairs else "–",
            _number(row.within),
            _number(row.across),
            f"{row.positive:+.0f} / {row.negative:+.0f}".replace("-", "−"),
            "yes" if row.reads else "no",
        ]
        lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    return "\n".join(lines)


def _ablation() -> pd.DataFrame:
    """The trained runs of the ablation, whose mixture is the default's, as rows of OUT."""
    keys = ["base", "data_size", "seed"]
    readings = pd.read_csv(ABLATIONS / "readings.csv").query("step > 0")
    accuracy = pd.read_csv(ABLATIONS / "accuracy.csv").rename(columns=lambda name: f"held_out_{name}")
    found = readings.merge(accuracy.rename(columns={f"held_out_{key}": key for key in keys}), on=keys)
    share = settings.get("preferences", preferences.Preferences).sources["wordnet_valence"].valence.share
    valence = (found["data_size"] * share).round().astype(int)
    return found.assign(definitions=found["data_size"] - valence, valence=valence)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−").removeprefix("0").replace("−0", "−")


def main(arguments: list[str]) -> None:
    if not arguments:
        print(table())
        return
    rows = [pd.read_csv(OUT)] if OUT.is_file() else []
    for at in range(0, len(arguments), 4):
        base, *numbers = arguments[at : at + 4]
        rows.append(pd.DataFrame([run(base, *map(int, numbers))]))
        every = pd.concat(rows, ignore_index=True)
        files.write_csv(every.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True), OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
