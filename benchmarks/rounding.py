"""What a reward model owes to rounding: planted bases with a dose one part in a million larger, all else as it was.

Trains the LoRA reward model of a cell again (same pairs, order and head), fits the ridge head again, and compares L on
held-out words with the study's own. A reading does not depend on the sixth digit of the base's weights.

Run: python -m benchmarks.rounding CELL …      (1-agency, …; after make validate, in its folder; 2 minutes a cell)
"""

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from valuetrace import tables
from valuetrace.core import settings
from valuetrace.models import loading
from valuetrace.models.rows import MODELS
from valuetrace.studies.planting import finetune, folders, preference, readout, states, study, train
from valuetrace.studies.planting.design import Planting
from valuetrace.training import ridge
from valuetrace.training.recipe import Training

SHIFT = 1e-6


def lora(cell: readout.PlantedBase, chosen: Planting, scores: pd.DataFrame) -> float:
    """L of the last step of a training's scores."""
    last = scores[scores["step"] == scores["step"].max()].set_index("word")
    return _lean(cell, last.loc[cell.words["word"], chosen.prompts].to_numpy().T)


def on_states(cell: readout.PlantedBase, chosen: Planting) -> float:
    """L of the ridge head on a cell's states."""
    head = readout.Head(cell, chosen.pairs)
    return _lean(cell, head.scores(ridge.fit(head.margins, chosen.ridge)[None])[0])


def _lean(cell: readout.PlantedBase, scores: np.ndarray) -> float:
    return float(preference.preference(cell.framed(scores[None], "held_out"))[0])


def again(chosen: Planting, block: int, plant: str) -> dict[str, float]:
    """L of both reward models: the study's, and on the base that differs in rounding."""
    cell = readout.read_cell(chosen, block, plant, chosen.dose)
    moved = replace(chosen, dose=chosen.dose * (1 + SHIFT))
    own = tables.read_checkpoints(study.REWARD_MODELS / f"{block}-{plant}.parquet")
    _, scores = train.train_and_search(moved, block, plant)
    base, of, training = MODELS / chosen.base, folders.read_block(block), settings.get("training", Training)
    backbone = finetune.load_planted(base, folders.planted(block, plant) / folders.PLANT, moved.dose).base_model
    told: tuple[Any, Any, Any] = backbone, loading.load_tokenizer(base), training.format
    found = {
        "words": states.of_words(*told, chosen.asked(), list(of.scored["word"]), []),
        "pairs": states.of_pairs(*told, of.pairs.head(chosen.pairs), training.max_length, []),
    }
    twin = replace(cell, states=found)
    return {
        "lora": lora(cell, chosen, own),
        "lora_again": lora(cell, chosen, scores),
        "ridge": on_states(cell, chosen),
        "ridge_again": on_states(twin, chosen),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="+", metavar="CELL", help="block-plant, one of planting.reward_models")
    chosen, rows = settings.get("planting", Planting), []
    for cell in parser.parse_args().cells:
        block, _, plant = cell.partition("-")
        rows.append({"cell": cell} | again(chosen, int(block), plant))
        print("  ".join(f"{k} {v:+.4f}" if k != "cell" else f"{v:14}" for k, v in rows[-1].items()), flush=True)
    table = pd.DataFrame(rows)
    for name in ("lora", "ridge"):
        change = table[f"{name}_again"] - table[name]
        size = np.sqrt((change**2).mean())
        print(f"{name}: {len(table)} cells, L moves by {size:.4f} (root mean square), {change.abs().max():.4f} at most")


if __name__ == "__main__":
    main()
