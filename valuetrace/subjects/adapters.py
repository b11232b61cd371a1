"""Adapters that valuetrace trained: audited merged into the base in data/models/ that they were trained on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import RewardModel


@dataclass(frozen=True)
class Adapter:
    """What an adapter's ``provenance.json`` tells. base: its folder's name in data/models/; name:
    ``<base>/step-<n>``; form: the format that it was trained with."""

    folder: Path
    base: str
    name: str
    form: Format
    origin: dict[str, Any]

    def load(self, base: Path, form: Format, **options: Any) -> RewardModel:
        """The reward model in ``form``. InputError for a damaged adapter, and for one of another base."""
        from valuetrace.training.checkpoint import load_trained

        if "device_map" in options:
            raise InputError(f"{self.folder}: an adapter is merged on one device. Leave --device auto out.")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
            return replace(load_trained(base, self.folder, **options), form=form)


def read(folder: Path) -> Adapter | None:
    """The adapter that a folder holds; None where it holds a whole model. InputError for an adapter of others."""
    if not (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return None
    from valuetrace.training.checkpoint import read_provenance

    path = folder / "provenance.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: an adapter alone, and none that valuetrace trained. Merge it into its base (peft: "
            "merge_and_unload, save_pretrained; the tokenizer beside it) and give that folder."
        )
    made = read_provenance(folder)
    base = settings.build(str, made["base"].get("name"), f"{path}: 'base.name'")
    form = settings.build(Format, made["training"].get("format"), f"{path}: 'training.format'")
    told = {"base": base, "step": made["step"], "adapter_sha256": made["sha256"].get("adapter_model.safetensors")}
    return Adapter(folder, base, f"{base}/step-{made['step']}", form, {"model": base, "origin": told})


def trained_format(adapter: Adapter, known: Mapping[str, Format]) -> tuple[str, Format]:
    """The format that an adapter was trained with, by its name where it has one."""
    return next(((name, form) for name, form in known.items() if form == adapter.form), ("trained", adapter.form))
