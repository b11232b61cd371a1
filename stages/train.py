"""Train a reward model on one base, or go on where a killed run stopped; then search its checkpoints.

In:  data/models/<base>/, data/preferences/{train,held_out}.parquet, lexicons/*.csv; params.yaml: training,
     models.<base>.scoring, dynamics.search
Out: data/checkpoints/<base>/step-<n>/  adapter and head (safetensors), provenance.json
     metrics/training/<base>.json       pairs, cut pairs; held-out loss (nats) and accuracy a checkpoint
     plots/training/<base>/curve.csv    step, pairs, loss (nats), accuracy, margin, learning_rate (a step)
     plots/training/<base>/held_out.csv step, pairs, held_out_loss (nats), held_out_accuracy (a checkpoint)
     data/checkpoint_scores/<base>.parquet  step, word, token_id (missing for a lexicon's word), then the reward
                                        after each prompt, one float32 column a key (the model's own units)
Run: python stages/train.py BASE; on several GPUs: accelerate launch --num_processes N stages/train.py BASE
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
from accelerate import PartialState

from valuetrace import preferences, tables
from valuetrace.core import files, settings, stage
from valuetrace.models.rows import MODELS, Scoring, provenance
from valuetrace.training import Training, run, score
from valuetrace.training.checkpoint import CHECKPOINTS, LOG
from valuetrace.training.settings import Search

PAIRS = Path("data/preferences")


def main(base: str) -> None:
    params = settings.get("training", Training)
    how = settings.get(f"models.{base}.scoring", Scoring)
    params = replace(params, format=replace(params.format, arguments=how.chat_arguments))
    pairs = [preferences.read(PAIRS / f"{name}.parquet") for name in ("train", "held_out")]
    out = CHECKPOINTS / base
    search = settings.get("dynamics.search", Search)
    words, prompts = search.words(), search.prompts().set_index("key")["text"].to_dict()
    metrics = run.train(MODELS / base, *pairs, params, out)
    steps = score.evenly_spaced_steps([made["step"] for made in metrics["checkpoints"]], search.checkpoints)
    options = {"vocabulary": search.vocabulary, "dtype": params.precision}
    scores = score.score_checkpoints(MODELS / base, out, words, prompts, params.format, steps, **options)
    if PartialState().is_main_process:
        files.write_json(metrics, f"metrics/training/{base}.json")
        plots = Path("plots/training", base)
        files.write_csv(pd.read_csv(out / LOG), plots / "curve.csv")
        files.write_csv(pd.DataFrame(metrics["checkpoints"]), plots / "held_out.csv")
        made_by = {"base": base, "origin": provenance(MODELS / base), "pairs": metrics["pairs"]}
        tables.write_checkpoints(scores, SCORES / f"{base}.parquet", made_by)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
