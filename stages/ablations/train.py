"""Train one row of the ablation, a base with a data size and a seed; then search its first and last checkpoints.

In:  data/models/<base>/, data/ablations/pairs/<seed>/{<size>,held_out}.parquet, lexicons/unrolled/*.csv;
     params.yaml: training, models.<base>.scoring, dynamics.search, ablations.checkpoints
Out: data/ablations/runs/<size>-<seed>/<base>.parquet  scores as in stages/train.py
     data/ablations/runs/<size>-<seed>/<base>.json     pairs; held-out loss (nats) and accuracy a checkpoint
     Scratch: data/checkpoints/<size>-<seed>/<base>/
Run: python -m stages.ablations.train BASE SIZE SEED
"""

import sys
from dataclasses import replace
from pathlib import Path

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.models.rows import Scoring
from valuetrace.training.recipe import Search, Training
from valuetrace.training.study import train_and_search


def main(base: str, size: str, seed: str) -> None:
    how = settings.get(f"models.{base}.scoring", Scoring)
    params = replace(settings.get("training", Training), seed=int(seed))
    search = replace(settings.get("dynamics.search", Search), checkpoints=settings.get("ablations.checkpoints", int))
    pairs, row = Path("data/ablations/pairs", seed), f"{size}-{seed}"
    made = train_and_search(base, how, pairs / f"{size}.parquet", pairs / "held_out.parquet", params, search, row)
    if made.writes:
        out = Path("data/ablations/runs", row)
        files.write_json(made.metrics, out / f"{base}.json")
        tables.write_checkpoints(made.scores, out / f"{base}.parquet", made.made_by)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
