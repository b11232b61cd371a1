"""Which training repeats? The same training from weights a millionth away, with two threads, and with other seeds.

In:  data/models/<base>/, lexicons/unrolled/*.csv (dvc repro models lexicons); params.yaml: stability, training …
Out: data/stability/<recipe>/<base>/<variant>-<seed>.parquet, .json   scores of the last checkpoint; held-out accuracy
     benchmarks/stability.csv        a row a run: recipe, base, variant, seed, pairs, held-out accuracy by kind, known
                                     groups (points), gap (points) by framing, reads, minutes
     benchmarks/stability_pairs.csv  a row a pair of runs that differ in one thing: Spearman correlation of their word
                                     ranks by framing and of the difference, largest change of the gap (points)
Run: python -m benchmarks.stability RECIPE BASE VARIANT SEED    trains one (variant: plain, perturbed, two_threads)
     python -m benchmarks.stability                             both tables
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from benchmarks import mixtures
from valuetrace import tables
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError, some
from valuetrace.lexicon import unrolled
from valuetrace.measures import repeatability, validity
from valuetrace.measures.dynamics.trajectories import readings
from valuetrace.measures.repeatability import Stability
from valuetrace.models.rows import MODELS, Scoring, provenance
from valuetrace.training import run
from valuetrace.training.checkpoint import CHECKPOINTS
from valuetrace.training.recipe import Search, Training
from valuetrace.training.study import score_checkpoints

OUT = Path("data/stability")
TABLE, PAIRS = Path("benchmarks/stability.csv"), Path("benchmarks/stability_pairs.csv")
VARIANTS = ("plain", "perturbed", "two_threads")


def train(recipe: str, base: str, variant: str, seed: int) -> None:
    """Train one reward model and keep the scores of its last checkpoint."""
    import torch

    stability = settings.get("stability", Stability)
    for given, known in ((recipe, stability.recipes), (variant, VARIANTS)):
        if given not in known:
            raise InputError(f"{given}: unknown. There are: {some(known, 20)}.")
    how = stability.recipes[recipe]
    torch.set_num_threads(2 if variant == "two_threads" else 1)
    told = settings.load()["training"] | how.training | {"seed": seed}
    params = settings.build(Training, told, f"params.yaml: 'stability.recipes.{recipe}.training'")
    if variant == "perturbed":
        params = replace(params, perturbation=stability.perturbation)
    drawn = mixtures.draw(how.size, how.share, seed)
    search, form = settings.get("dynamics.search", Search), settings.get(f"models.{base}.scoring", Scoring)
    params = replace(params, format=replace(params.format, arguments=form.chat_arguments))
    folder, scratch = MODELS / base, CHECKPOINTS / "stability" / f"{recipe}-{variant}-{seed}" / base
    began = time.perf_counter()
    metrics = run.train(folder, drawn.train, drawn.held_out, params, scratch)
    prompts = dict(search.prompts()[["key", "text"]].itertuples(index=False))
    last = [metrics["checkpoints"][-1]["step"]]
    scores = score_checkpoints(folder, scratch, search.words(), prompts, params.format, last)
    told = {"metrics": metrics, "training": asdict(params), "share": how.share, "seconds": time.perf_counter() - began}
    out = OUT / recipe / base
    files.write_json(told, out / f"{variant}-{seed}.json")
    made_by = {"base": base, "origin": provenance(folder), "pairs": metrics["pairs"], "seed": seed}
    tables.write_checkpoints(scores, out / f"{variant}-{seed}.parquet", made_by)


def results() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a run, and a row a pair of runs: recipe, first, second, what differs, Spearman by framing, gap's change."""
    search = settings.get("dynamics.search", Search)
    lexicon, known = (unrolled.read_lexicon(name) for name in (search.lexicon, unrolled.KNOWN_GROUPS))
    words, prompts = list(dict.fromkeys(lexicon["word"])), search.prompts()
    constructs = settings.get("dynamics.constructs", list[str])
    member = np.stack([np.isin(words, lexicon.loc[lexicon["construct"] == name, "word"]) for name in constructs])
    rows, ranks = [], {}
    for path in sorted(OUT.glob("*/*/*.json")):
        recipe, base = path.parts[-3:-1]
        variant, _, seed = path.stem.rpartition("-")
        told, scores = json.loads(path.read_text()), tables.read_checkpoints(path.with_suffix(".parquet"))
        last = int(scores["step"].max())
        table = scores[(scores["step"] == last) & scores["token_id"].isna()].set_index("word")
        own = repeatability.mean_ranks(table, words, prompts)
        ranks[recipe, base, variant, int(seed)] = own
        checked = readings({base: scores}, lexicon, known, prompts, [last], validity.rule()).iloc[0]
        reads = {name: checked[name] for name in ("positive", "negative", "within", "across", "reads")}
        held = {k: v for k, v in told["metrics"]["checkpoints"][-1].items() if k.startswith("held_out_accuracy_")}
        gaps = {f"gap_{framing}": value for framing, value in repeatability.gap(own, member).items()}
        row = {"recipe": recipe, "base": base, "variant": variant, "seed": int(seed), "pairs": told["metrics"]["pairs"]}
        rows.append(row | held | reads | gaps | {"minutes": round(told["seconds"] / 60, 1)})
    pairs = []
    for first, second in itertools.combinations(sorted(ranks), 2):
        differs = [
            name for name, a, b in zip(("base", "variant", "seed"), first[1:], second[1:], strict=True) if a != b
        ]
        plain = "plain" in (first[2], second[2])
        if first[0] != second[0] or not plain or ("variant" in differs and len(differs) > 1):
            continue
        gaps = [repeatability.gap(ranks[at], member) for at in (first, second)]
        change = max(abs(gaps[0][framing] - gaps[1][framing]) for framing in gaps[0])
        kind = "base" if "base" in differs else ({first[2], second[2]} - {"plain"} or {"seed"}).pop()
        told = [f"{at[1]} {at[2]} {at[3]}" for at in (first, second)]
        pairs.append(
            {"recipe": first[0], "differs": kind, "base": first[1], "first": told[0], "second": told[1]}
            | repeatability.agreement(ranks[first], ranks[second])
            | {"gap_change": change}
        )
    return pd.DataFrame(rows), pd.DataFrame(pairs)


def table(runs: pd.DataFrame) -> str:
    """Markdown: every run of TABLE."""
    labels = settings.get("models", dict[str, dict])
    lines = [
        "| recipe | base | variant, seed | held out: definitions / valence | across | virtues − vices, positive / "
        "negative | gap, positive / negative |",
        "|---|---|---|---|---:|---|---|",
    ]
    for row in cast(Any, runs.itertuples()):
        pairs = ((row.positive, row.negative), (row.gap_positive, row.gap_negative))
        known, gaps = (" / ".join(f"{value:+.0f}" for value in pair) for pair in pairs)
        held = f"{row.held_out_accuracy_wordnet:.2f} / {row.held_out_accuracy_valence:.2f}"
        cells = [
            row.recipe,
            labels[row.base]["label"],
            f"{row.variant}, {row.seed}",
            held,
            f"{row.across:.2f}",
            known,
            gaps,
        ]
        lines.append("| " + " | ".join(cells).replace("-", "−") + " |")
    return "\n".join(lines)


def main() -> None:
    runs, pairs = results()
    if len(runs):
        files.write_csv(runs, TABLE)
        files.write_csv(pairs, PAIRS)
    print(table(pd.read_csv(TABLE)))
    print()
    print(pd.read_csv(PAIRS).round(3).to_string(index=False))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        recipe, base, variant, seed = sys.argv[1:]
        train(recipe, base, variant, int(seed))
    else:
        main()
