"""Train a reward model on one base, or go on where a killed run stopped; then search its checkpoints.

In:  data/models/<base>/, data/preferences/{train,held_out}.parquet, lexicons/unrolled/*.csv; params.yaml: training,
     monitoring, models.<base>.scoring, dynamics.search
Out: metrics/training/<base>.json       pairs, cut pairs; held-out loss (nats) and accuracy a checkpoint
     plots/training/<base>/curve.csv    step, pairs, loss (nats), accuracy, margin, learning_rate (a step)
     plots/training/<base>/held_out.csv step, pairs, held_out_loss (nats), held_out_accuracy (a checkpoint)
     plots/training/<base>/values.csv   step, construct, framing, prompts, words; percentile (50 is chance),
                                        known_groups (points), framing_within, framing_across,
                                        correlation_with_start, reads
     data/checkpoint_scores/<base>.parquet  step, word, token_id (missing for a lexicon's word), then the reward
                                        after each prompt, one float32 column a key (the model's own units)
     Scratch: data/checkpoints/<base>/step-<n>/, adapter and head, what a killed run and `valuetrace publish` read
Run: python -m stages.train BASE; on several GPUs: accelerate launch --num_processes N -m stages.train BASE
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.models.rows import Scoring
from valuetrace.monitoring import record
from valuetrace.monitoring.callback import RECORD, watch
from valuetrace.monitoring.sample import Monitoring
from valuetrace.training.checkpoint import CHECKPOINTS
from valuetrace.training.recipe import Search, Training
from valuetrace.training.study import train_and_search

PAIRS = Path("data/preferences")


def main(base: str) -> None:
    how = settings.get(f"models.{base}.scoring", Scoring)
    params, search = settings.get("training", Training), settings.get("dynamics.search", Search)
    form = replace(params.format, arguments=how.chat_arguments)
    look = watch(settings.get("monitoring", Monitoring), search.lexicon, form)
    pairs = (PAIRS / "train.parquet", PAIRS / "held_out.parquet")
    made = train_and_search(base, how, *pairs, params, search, watch=look)
    if made.writes:
        files.write_json(made.metrics, f"metrics/training/{base}.json")
        plots = Path("plots/training", base)
        files.write_csv(made.log, plots / "curve.csv")
        files.write_csv(pd.DataFrame(made.metrics["checkpoints"]), plots / "held_out.csv")
        values = record.read(CHECKPOINTS / base / RECORD)
        files.write_csv(values.drop(columns="seconds"), plots / "values.csv")  # timings are not reproducible
        tables.write_checkpoints(made.scores, f"data/checkpoint_scores/{base}.parquet", made.made_by)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
