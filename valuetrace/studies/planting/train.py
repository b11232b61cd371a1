"""The ordinary reward model of a planted base, trained and searched as any other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from valuetrace.core import files, settings
from valuetrace.models.rows import MODELS, provenance
from valuetrace.studies.planting import finetune, folders
from valuetrace.studies.planting.design import Planting
from valuetrace.training import checkpoint, run, study
from valuetrace.training.checkpoint import CHECKPOINTS
from valuetrace.training.recipe import Training


def train_and_search(chosen: Planting, block: int, name: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Train on the pairs of the block (the study's size) with the block as seed: held-out metrics, and the rewards of
    every word before the first step and after the last.

    The planted base is a model folder of its own while this runs: what resumes is keyed by its bytes, as ever.
    """
    of, training = folders.read_block(block), settings.get("training", Training)
    planted, base = folders.planted(block, name), MODELS / chosen.base
    plant = planted / folders.PLANT
    pairs = of.pairs.head(chosen.pairs)
    params = replace(training, seed=block, checkpoint_every=len(pairs))
    out = CHECKPOINTS / "planting" / planted.name
    with files.fresh_folder(Path("data/planting", f".{planted.name}", chosen.base)) as folder:
        _write_base(base, plant if plant.is_dir() else None, chosen.dose, folder)
        metrics = run.train(folder, pairs, of.held_out, params, out)
        last = metrics["checkpoints"][-1]["step"]
        scored, prompts = list(of.scored["word"]), cast(dict, chosen.asked().set_index("key")["text"].to_dict())
        scores = study.score_checkpoints(folder, out, scored, prompts, params.format, [last])
        head = cast(nn.Module, checkpoint.load_trained(folder, out / "step-0").head)
    folder.parent.rmdir()
    before = scores.assign(step=0)
    measured = folders.read_states(folders.states_file(planted, chosen.full(name)))
    before[list(prompts)] = untrained(head, measured["words"][folders.LAST])
    return metrics, pd.concat([before, scores], ignore_index=True)


@torch.inference_mode()
def untrained(head: nn.Module, words: np.ndarray) -> np.ndarray:
    """Rewards (words, prompts) of a reward model before its first step, whose adapters add nothing: its head on what
    the base leaves after every word. words: states (prompts, words, hidden), float16."""
    return torch.stack([head(torch.from_numpy(own).float()) for own in words], dim=1).numpy()


def _write_base(base: Path, plant: Path | None, dose: float, folder: Path) -> None:
    """A model folder: the base's files, with the weights of the planted base."""
    for path in base.iterdir():
        if plant is None or path.suffix != ".safetensors":
            shutil.copy(path, folder / path.name)
    if plant is not None:
        finetune.load_planted(base, plant, dose).save_pretrained(folder)
        origin = {"base": provenance(base).get("origin", base.name), "plant": files.fingerprint(plant), "dose": dose}
        files.write_json({"model": base.name, "kind": "planted", "origin": origin}, folder / "provenance.json")
