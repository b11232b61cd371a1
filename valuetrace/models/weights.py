"""The weights of a model folder: where each tensor lies, whether they are all there, and finite."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models.configs import read_config
from valuetrace.models.faults import reading

if TYPE_CHECKING:  # torch takes seconds to import
    import torch


def check_folder(folder: Path) -> None:
    """InputError for a folder that transformers would read as something else, or not at all, and for half a one."""
    from transformers import CONFIG_MAPPING

    config = read_config(folder)
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder}: holds an adapter (adapter_config.json) beside the config.json of a model. Move the adapter's "
            "files out to load the model alone, or config.json out to load the adapter on its base."
        )
    if config.get("model_type") not in CONFIG_MAPPING:
        named = (
            f"{folder}: the model cannot be loaded: model_type {config.get('model_type')!r} in config.json is none of"
        )
        if "auto_map" in config:
            raise InputError(
                f"{named} transformers; its class is code of its own (auto_map), and no code of a folder is run. "
                "Give the model in a class of transformers."
            )
        raise InputError(f"{named} transformers {version('transformers')}. Take a newer transformers (pip install -U).")


def check_finite(folder: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """InputError that names the tensors in which a NaN or an infinity stands.

    Reads all weights once, about 0.2 s a gigabyte: the extremes (a NaN is both) cost a tenth of ``isfinite``.
    """
    import torch

    whole = {name: t for name, t in tensors.items() if t.is_floating_point() and t.itemsize > 1}  # fp8 has no extremes
    seen = {name: t for name, t in whole.items() if t.numel() and not t.is_meta}
    bad = [name for name, tensor in seen.items() if not torch.isfinite(torch.stack(tensor.aminmax())).all()]
    if bad:
        raise InputError(f"{folder}: the weights hold NaN or infinity in {some(bad)}. Fetch them again.")


def stored(folder: str | Path) -> dict[str, Path]:
    """The safetensors file in which each tensor of a folder lies: the one file, else those of the index."""
    from safetensors import safe_open

    folder = Path(folder)
    index, path = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if path.is_file():
        with reading(path, "the weights"), safe_open(path, "pt") as file:
            return dict.fromkeys(file.keys(), path)
    if not index.is_file():
        others = sorted(file.name for kind in ("*.bin", "*.pt", "*.gguf") for file in folder.glob(kind))
        raise InputError(
            f"{folder}: no model.safetensors"
            + (
                f", but {some(others)}. Only safetensors are read; convert the weights."
                if others
                else ": the weights are not there. Save or fetch the whole model again."
            )
        )
    found = files.read_json(index)
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise InputError(f"{index}: weight_map must name the file of each tensor. Fetch the file again.")
    gone = sorted({file for file in places.values() if not (folder / file).is_file()})
    if gone:
        raise InputError(f"{index}: names {some(gone)}, not there: half a model. Save or fetch the whole model again.")
    return {name: folder / file for name, file in places.items()}
