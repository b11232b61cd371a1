"""Train the ordinary LoRA reward model on one planted base, and search its first and last checkpoint.

In:  data/models/<base>/, data/planting/{blocks/<block>,bases/<block>-<plant>}/; params.yaml: planting, training
Out: data/planting/reward_models/<block>-<plant>.parquet  step, word, token_id, then the reward a prompt key
     data/planting/reward_models/<block>-<plant>.json     pairs; held-out loss (nats) and accuracy a checkpoint
     Scratch: data/checkpoints/planting/<block>-<plant>/
Run: python -m stages.planting.reward_model BLOCK PLANT
"""

import sys
from pathlib import Path

from valuetrace import tables
from valuetrace.core import files, settings, stage
from valuetrace.studies.planting import train
from valuetrace.studies.planting.design import Planting

OUT = Path("data/planting/reward_models")


def main(block: str, plant: str) -> None:
    metrics, scores = train.train_and_search(settings.get("planting", Planting), int(block), plant)
    files.write_json(metrics, OUT / f"{block}-{plant}.json")
    tables.write_checkpoints(scores, OUT / f"{block}-{plant}.parquet", {"block": int(block), "plant": plant})


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
