"""An adapter of ours as a subject: what its folder says of base, format and head."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from valuetrace.core import settings
from valuetrace.core.errors import InputError
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import RewardModel


@dataclass(frozen=True)
class Adapter:
    """An adapter that valuetrace trained, as its ``provenance.json`` tells; it is audited merged into its base.

    base: the base's folder name in data/models/; name: ``<base>/step-<n>``; form: the format of its training.
    """

    folder: Path
    base: str
    name: str
    form: Format
    origin: dict[str, Any]

    def load(self, base: Path, form: Format, **options: Any) -> RewardModel:
        """The reward model in ``form``. InputError for a damaged adapter, and for one of another base."""
        from valuetrace.training.checkpoint import load_trained

        if "device_map" in options:
            raise InputError(f"{self.folder}: an adapter is merged on one device. Run without --device auto.")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
            return replace(load_trained(base, self.folder, **options), form=form)


def read_adapter(folder: Path) -> Adapter | None:
    """The adapter that a folder holds; None where it holds a whole model. InputError for an adapter of others."""
    if not (folder / "adapter_config.json").is_file() or (folder / "config.json").is_file():
        return None
    from valuetrace.training.checkpoint import read_provenance

    path = folder / "provenance.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: an adapter that valuetrace did not train. Merge it into its base (peft: merge_and_unload, "
            "save_pretrained; the tokenizer beside it) and give that folder."
        )
    made = read_provenance(folder)
    base = settings.build(str, made["base"].get("name"), f"{path}: 'base.name'")
    form = settings.build(Format, made["training"].get("format"), f"{path}: 'training.format'")
    told = {"base": base, "step": made["step"], "adapter_sha256": made["sha256"].get("adapter_model.safetensors")}
    return Adapter(folder, base, f"{base}/step-{made['step']}", form, {"model": base, "origin": told})
