"""Published adapters: the last checkpoint of a run in fp16, checked against its base, in ``checkpoints/<base>/``.

``checkpoints/<base>/`` holds ``adapter_config.json``, ``adapter_model.safetensors`` (fp16, the score head
included), ``provenance.json`` (the checkpoint's, with the new SHA-256s and the float32 file's), ``README.md``
(the model card) and, where the base's licence asks for it, ``NOTICE``. ``training.checkpoint`` loads it.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.training import checkpoint
from valuetrace.training.model import MLP_UNITS

PUBLISHED = Path("checkpoints")
CARD, NOTICE, PROVENANCE = "README.md", "NOTICE", "provenance.json"
LARGEST = torch.finfo(torch.float16).max  # 65504


@dataclass(frozen=True)
class Adapter:
    """What is published of one base: fp16 ``tensors``, peft's ``configuration``, and where they come from."""

    base: str
    tensors: dict[str, Tensor]
    configuration: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def parameters(self) -> int:
        """How many numbers the weights have."""
        return sum(value.numel() for value in self.tensors.values())

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(value.numel() * value.element_size() for value in self.tensors.values())


@contextmanager
def as_written(path: str | Path) -> Iterator[None]:
    """InputError for a stored file without what its writer puts there, or with another type (text for a number).

    For the few lines that take such a file apart.
    """
    try:
        yield
    except InputError:
        raise
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not as its stage writes it ({what}). Make it again.") from None


def read(base: str, base_folder: Path) -> Adapter:
    """The adapter of the run that metrics/training/<base>.json tells of.

    It is the last checkpoint of ``data/checkpoints/<base>``, or, where there is none (a fresh clone) or an
    ablation has trained there since, what ``checkpoints/<base>`` holds. InputError where neither is of that
    run, where a file is damaged, and where the adapter does not fit the base (if the base is here).
    """
    folder = _of_the_run(base)
    made = checkpoint.read_provenance(folder)
    checkpoint.verify(folder)
    try:
        tensors = load((folder / checkpoint.ADAPTER).read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(f"{folder / checkpoint.ADAPTER}: not a safetensors file ({error}). Train it again.") from None
    configuration = files.read_json(folder / checkpoint.CONFIG)
    if (base_folder / "config.json").is_file():
        check_fit(folder, made, tensors, configuration, base_folder)
    half, rounding = to_half(tensors, folder)
    if "published" not in made:
        digest = made["sha256"][checkpoint.ADAPTER]
        made |= {"published": {"float32_sha256": digest, "dtype": "float16", "largest_rounding": rounding}}
    return Adapter(base, half, configuration, made)


def to_half(tensors: dict[str, Tensor], where: Path | str) -> tuple[dict[str, Tensor], float]:
    """The tensors in fp16 and the largest absolute rounding error; InputError for a value that fp16 cannot hold."""
    half, rounding = {}, 0.0
    for name, value in tensors.items():
        largest = value.abs().max().item() if value.numel() else 0.0
        if not largest <= LARGEST:  # a NaN is not, either
            raise InputError(
                f"{where}: {name} holds {largest:g}, which fp16 cannot (at most {LARGEST:g}). Train again."
            )
        half[name] = value.to(torch.float16)
        rounding = max(rounding, (half[name].double() - value.double()).abs().max().item() if value.numel() else 0.0)
    return half, rounding


def check_fit(folder: Path, made: dict, tensors: dict[str, Tensor], configuration: dict, base_folder: Path) -> None:
    """InputError unless the base is the one trained on and has every weight that the adapter changes."""
    if made["base"] != checkpoint.base_identity(base_folder):
        raise InputError(f"{folder}: trained on {made['base']}, which is not {base_folder}. Train it again.")
    wanted = expected_shapes(base_folder, configuration, made["training"]["head"])
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise InputError(
            f"{folder}: the adapter does not fit {base_folder}: {len(wrong)} tensors differ, as {wrong[0]} "
            f"({found.get(wrong[0], 'missing')}, expected {wanted.get(wrong[0], 'none')}). Train it again."
        )


def expected_shapes(base_folder: Path, configuration: dict, head: str) -> dict[str, tuple[int, ...]]:
    """The tensors that peft would save for this base, by name; no weight is read or allocated."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForSequenceClassification

    own = copy.deepcopy(configuration) | {"base_model_name_or_path": None}  # peft writes into its lists
    config = AutoConfig.from_pretrained(base_folder, num_labels=1, trust_remote_code=False)
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that it has renamed
            model = AutoModelForSequenceClassification.from_config(config)
            if head == "mlp":
                width = config.get_text_config().hidden_size
                layers = torch.nn.Linear(width, MLP_UNITS), torch.nn.ReLU(), torch.nn.Linear(MLP_UNITS, 1)
                model.score = torch.nn.Sequential(*layers)
            model = get_peft_model(model, LoraConfig(**own))
    except ValueError as error:
        raise InputError(f"{base_folder}: the adapter does not fit this base ({error}).") from None
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tuple(value.shape) for name, value in state.items()}


def write(adapter: Adapter, card: str, notice: str | None, hub_name: str | None) -> Path:
    """Write ``checkpoints/<base>/`` whole or not at all; the same adapter and card give the same bytes."""
    folder = PUBLISHED / adapter.base
    configuration = {**adapter.configuration, "base_model_name_or_path": hub_name or adapter.base}
    with files.fresh_folder(PUBLISHED / f".{adapter.base}.partial") as temporary:
        (temporary / checkpoint.ADAPTER).write_bytes(save(adapter.tensors, {"format": "pt"}))
        files.write_json(configuration, temporary / checkpoint.CONFIG, exact=True)
        files.write_text(card, temporary / CARD)
        if notice:
            files.write_text(notice + "\n", temporary / NOTICE)
        digests = {name: files.sha256(temporary / name) for name in (checkpoint.ADAPTER, checkpoint.CONFIG)}
        text = json.dumps({**adapter.provenance, "sha256": digests}, indent=2, ensure_ascii=False)
        files.write_text(text + "\n", temporary / PROVENANCE)
        files.replace_folder(temporary, folder)
    return folder


def _of_the_run(base: str) -> Path:
    """The folder, scratch before published, whose step and held-out results are those of the training metrics."""
    scratch, path = checkpoint.CHECKPOINTS / base, Path("metrics/training", f"{base}.json")
    folders = [scratch / f"step-{step}" for step in checkpoint.steps(scratch)[-1:]] + [PUBLISHED / base]
    folders = [folder for folder in folders if (folder / PROVENANCE).is_file()]
    if not folders:
        raise InputError(
            f"{base}: no trained checkpoint ({scratch}/step-<n>) and no published one. Train it: dvc repro train@{base}"
        )
    with as_written(path):
        last = files.read_json(path)["checkpoints"][-1]
        told = (last["step"], last["held_out_loss"], last["held_out_accuracy"])
    for folder in folders:
        with as_written(folder / PROVENANCE):
            made = checkpoint.read_provenance(folder)
            held_out = (made["held_out"][name] for name in ("loss", "accuracy"))
            if told == (made["step"], *(float(f"{value:.{files.DIGITS}g}") for value in held_out)):
                return folder
    raise InputError(
        f"{path} tells of another run (step {told[0]}, held-out loss {told[1]}) than {folders[0]} (held-out loss "
        f"{made['held_out']['loss']}): an experiment trained there since, or the metrics came from the run cache. "
        f"Train again: dvc repro -f -s train@{base}"
    )
