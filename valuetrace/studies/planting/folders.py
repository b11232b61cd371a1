"""The study's folders: what a block is, and what was measured of a planted base. Read without a model's libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from valuetrace.core import files
from valuetrace.core.errors import InputError

BLOCKS, BASES = Path("data/planting/blocks"), Path("data/planting/bases")
PLANT, LOGPROBS = "plant", "logprobs.parquet"  # of a planted base, beside its states
LAST = "last"
"""The layer whose states a reward head reads; the others go by their number."""


@dataclass(frozen=True)
class Block:
    """What every cell of a block is made from.

    words: ``word, construct, pattern, part`` (planted, held_out, placebo, known). pairs, held_out: pair tables, those
    that reward models are trained on and those that they are measured on.
    """

    words: pd.DataFrame
    pairs: pd.DataFrame
    held_out: pd.DataFrame

    @property
    def scored(self) -> pd.DataFrame:
        """The words that every base and reward model of the block scores, in the order of its states."""
        return self.words[self.words["part"] != "placebo"].reset_index(drop=True)


def write_block(block: Block, number: int) -> None:
    """Write a block's folder."""
    for name, table in vars(block).items():
        path = BLOCKS / str(number) / f"{name}.parquet"
        files.write_atomically(path, lambda to, t=table: t.to_parquet(to, index=False))


def read_block(number: int) -> Block:
    """A block; InputError where it was not drawn."""
    paths = {name: BLOCKS / str(number) / f"{name}.parquet" for name in Block.__dataclass_fields__}
    return Block(**{name: _read(path, pd.read_parquet, "parquet") for name, path in paths.items()})


def planted(block: int, plant: str) -> Path:
    """The folder of a planted base."""
    return BASES / f"{block}-{plant}"


def states_file(folder: Path, dose: float) -> Path:
    """The states of a planted base at one dose."""
    return folder / f"states-{dose:g}.safetensors"


def write_states(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Write the states of several sets (``words``, ``pairs`` …) by layer as one safetensors file."""
    flat = {f"{name}/{layer}": np.ascontiguousarray(x) for name, of in found.items() for layer, x in of.items()}
    files.write_atomically(path, lambda to: save_file(flat, to))


def read_states(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """What ``write_states`` wrote; InputError where it is missing or damaged."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, values in _read(path, load_file, "safetensors").items():
        of, _, layer = name.rpartition("/")
        found.setdefault(of, {})[layer] = values
    return found


def read_logprobs(folder: Path) -> pd.DataFrame:
    """Log-probabilities (nats) of a planted base: ``dose, word``, then a prompt key."""
    return _read(folder / LOGPROBS, pd.read_parquet, "parquet")


def _read(path: Path, reader: Callable[[Path], Any], kind: str) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run dvc repro stages/planting/dvc.yaml.")
    try:
        return reader(path)
    except Exception as error:  # safetensors' own class derives from Exception alone
        raise InputError(f"{path}: not a {kind} file, or damaged ({error}). Make it again.") from None
