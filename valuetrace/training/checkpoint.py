"""Checkpoints: adapter and head in safetensors, written whole, checked by hash, resumable, loadable.

``data/checkpoints/<base>/step-<n>/`` holds ``adapter_config.json`` and ``adapter_model.safetensors`` (as
peft writes them, the head included), ``provenance.json`` (base, configuration and its hash, step, held-out
results, SHA-256 of the files) and, while training goes on, ``optimizer.safetensors`` in the last two.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pandas as pd
import safetensors
import torch
from safetensors.torch import load, save
from torch import nn
from transformers import PreTrainedModel

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import provenance
from valuetrace.scoring.chat import Format
from valuetrace.scoring.heads import GRM, Linear
from valuetrace.scoring.reward_model import RewardModel
from valuetrace.training.model import MLP_UNITS, load_base

CHECKPOINTS = Path("data/checkpoints")
ADAPTER, CONFIG, OPTIMIZER = "adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"
LOG = "log.csv"  # beside the checkpoints: one row an optimizer step
_KEPT_OPTIMIZERS = 2  # should the last checkpoint be damaged, training goes on from the one before


def base_identity(folder: str | Path) -> dict[str, Any]:
    """What the base is: its recorded origin, or the SHA-256 of its weights where none is recorded."""
    folder = Path(folder)
    known = provenance(folder)
    if "origin" in known:
        return {"name": folder.name, "origin": known["origin"]}
    return {"name": folder.name, "sha256": [files.sha256(path) for path in sorted(folder.glob("*.safetensors"))]}


def write(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, provenance: dict, log: pd.DataFrame
) -> None:
    """Write the log, then ``step-<n>``, whole or not at all; drop optimizer states no longer needed.

    A full disk is an InputError; what was written before stays.
    """
    from peft import get_peft_model_state_dict

    target = folder / f"step-{step}"
    with files.fresh_folder(folder / f".step-{step}.partial") as temporary:
        if len(log):
            files.write_csv(log, folder / LOG)
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        (temporary / ADAPTER).write_bytes(save(tensors, {"format": "pt"}))
        configuration = cast(Any, model.peft_config)["default"].to_dict()
        files.write_json(_json(configuration), temporary / CONFIG, exact=True)
        (temporary / OPTIMIZER).write_bytes(save(_optimizer_tensors(model, optimizer)))
        digests = {name: files.sha256(temporary / name) for name in (ADAPTER, CONFIG, OPTIMIZER)}
        files.write_json({**provenance, "step": step, "sha256": digests}, temporary / "provenance.json", exact=True)
        files.replace_folder(temporary, target)
    for old in steps(folder)[:-_KEPT_OPTIMIZERS]:
        (folder / f"step-{old}" / OPTIMIZER).unlink(missing_ok=True)


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint folder, in order."""
    return sorted(int(path.name[5:]) for path in folder.glob("step-*") if path.name[5:].isdigit())


def last_resumable(folder: Path, config_hash: str, last: int, wanted: list[int]) -> int | None:
    """The latest step from which training can go on with nothing missing before it; None to start anew.

    ``last`` is the run's final step: its checkpoint needs no optimizer state. Damaged checkpoints are
    named on stderr and passed over.
    """
    best = None
    for step in wanted:
        where = folder / f"step-{step}"
        if not where.is_dir():
            break
        try:
            if read_provenance(where)["config_hash"] != config_hash:
                break
            verify(where)
        except InputError as error:
            print(f"training: {error} Going on from an earlier checkpoint.", file=sys.stderr)
            break
        if step == last or (where / OPTIMIZER).is_file():
            best = step
    return best


def verify(folder: Path) -> None:
    """InputError if a file of a checkpoint is missing or is not what was written."""
    for name, digest in read_provenance(folder)["sha256"].items():
        path = folder / name
        if name == OPTIMIZER and not path.is_file():
            continue
        if not path.is_file():
            raise InputError(f"{path}: missing. The checkpoint is incomplete; train again or pull it again.")
        if files.sha256(path) != digest:
            raise InputError(f"{path}: damaged (its SHA-256 is not the recorded one).")


def read_provenance(folder: Path) -> dict[str, Any]:
    """A checkpoint's provenance; InputError where it is missing or no checkpoint's."""
    found = files.read_json(folder / "provenance.json")
    if not {"base", "config_hash", "training", "step", "sha256"} <= set(found):
        raise InputError(f"{folder / 'provenance.json'}: not a valuetrace checkpoint.")
    return found


def restore(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    """Load a checkpoint's weights, and the optimizer's state where training goes on."""
    where = folder / f"step-{step}"
    load_adapter(model, where)
    if optimizer is None:
        return
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    tensors = load((where / OPTIMIZER).read_bytes())
    state: dict[int, dict] = {number: {} for number in range(len(names))}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("|")
        state[names.index(name)][slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_adapter(model: nn.Module, folder: Path) -> None:
    """Put a checkpoint's adapter and head into a ``PeftModel``; InputError where they do not fit it."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    try:
        found = load((folder / ADAPTER).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder / ADAPTER}: missing. Give a checkpoint folder (step-<n>).") from None
    except safetensors.SafetensorError as error:
        raise InputError(f"{folder / ADAPTER}: not a safetensors file ({error}).") from None
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    wrong = sorted(set(wanted) ^ set(found)) or [n for n in wanted if wanted[n].shape != found[n].shape]
    if wrong:
        raise InputError(f"{folder}: the adapter does not fit its base ({len(wrong)} tensors differ, as {wrong[0]}).")
    set_peft_model_state_dict(model, found)


def load_reward_model_parts(
    base_folder: str | Path,
    checkpoint_folder: str | Path,
    *,
    dtype: str = "float32",
    device: str | torch.device | None = None,
) -> PreTrainedModel:
    """A trained reward model as a plain ``*ForSequenceClassification`` with the adapter merged, evaluation mode.

    Raises InputError for a damaged checkpoint and for one trained on another base.
    """
    from peft import LoraConfig, get_peft_model

    folder = Path(checkpoint_folder)
    made = read_provenance(folder)
    verify(folder)
    if made["base"] != base_identity(base_folder):
        raise InputError(f"{folder}: trained on {made['base']}, which is not {base_folder}.")
    how = made["training"]
    base = load_base(base_folder, head=how["head"], dtype=dtype, perturbation=how.get("perturbation", 0.0))
    model = get_peft_model(base, LoraConfig(**files.read_json(folder / CONFIG)))
    load_adapter(model, folder)
    merged: Any = model.merge_and_unload().eval()
    return merged if device is None else merged.to(device)


def load_trained(base_folder: str | Path, checkpoint_folder: str | Path, **options: Any) -> RewardModel:
    """A checkpoint as ``scoring`` takes it: backbone, head, tokenizer and the format it was trained with."""
    model: Any = load_reward_model_parts(base_folder, checkpoint_folder, **options)
    made = read_provenance(Path(checkpoint_folder))
    width = model.config.get_text_config().hidden_size
    if made["training"]["head"] == "mlp":
        head: Any = GRM(width, "mlp", MLP_UNITS, 1)
        head.v_head.summary.load_state_dict(model.score.state_dict())
    else:
        head = Linear(width)
        head.score.load_state_dict(model.score.state_dict())
    form = Format(**made["training"]["format"])
    name = f"{made['base']['name']}/step-{made['step']}"
    tokenizer = loading.load_tokenizer(base_folder)
    return RewardModel(model.base_model, head.float().eval().to(model.device), tokenizer, form, name)


def finish(folder: Path) -> None:
    """Drop what only an unfinished run needs."""
    for step in steps(folder):
        (folder / f"step-{step}" / OPTIMIZER).unlink(missing_ok=True)


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names: dict[Any, str] = {value: name for name, value in model.named_parameters() if value.requires_grad}
    return {
        f"{names[parameter]}|{slot}": value.detach().cpu().contiguous()
        for parameter, state in optimizer.state.items()
        for slot, value in state.items()
    }


def _json(value: Any) -> Any:
    """peft's configuration in plain, ordered JSON (sets sorted, enumerations by value)."""
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return getattr(value, "value", value)
