"""Train a reward model on one base, or go on where a killed run stopped.

In:  data/models/<base>/, data/preferences/{train,held_out}.parquet; params.yaml: training, models.<base>
Out: data/checkpoints/<base>/step-<n>/  adapter and head (safetensors), provenance.json
     metrics/training/<base>.json       pairs, cut pairs; held-out loss (nats) and accuracy a checkpoint
     plots/training/<base>/curve.csv    step, pairs, loss (nats), accuracy, margin, learning_rate (a step)
     plots/training/<base>/held_out.csv step, pairs, held_out_loss (nats), held_out_accuracy (a checkpoint)
Run: python stages/train.py BASE; on several GPUs: accelerate launch --num_processes N stages/train.py BASE
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from valuetrace import models, settings, stage, tables
from valuetrace.training import Training, run
from valuetrace.training.checkpoint import CHECKPOINTS

PAIRS = Path("data/preferences")


def main(base: str) -> None:
    params = settings.get("training", Training)
    row = settings.get(f"models.{base}", models.Model)
    params = replace(params, format=replace(params.format, arguments=row.chat_arguments))
    pairs = [pd.read_parquet(PAIRS / f"{name}.parquet") for name in ("train", "held_out")]
    out = CHECKPOINTS / base
    metrics = run.train(models.MODELS / base, *pairs, params, row.attention, out)
    if PartialState().is_main_process:
        tables.write_json(metrics, f"metrics/training/{base}.json")
        plots = Path("plots/training", base)
        tables.write_csv(pd.read_csv(out / run.LOG), plots / "curve.csv")
        tables.write_csv(pd.DataFrame(metrics["checkpoints"]), plots / "held_out.csv")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
