"""An adapter as a subject, ours or anyone's: what its folder says of base, format and head, and the model merged."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError
from valuetrace.models import adapters
from valuetrace.models.adapters import Saved, holds_adapter
from valuetrace.models.rows import provenance
from valuetrace.scoring.chat import Format
from valuetrace.scoring.reward_model import RewardModel, from_whole


@dataclass(frozen=True)
class Adapter:
    """An adapter, audited merged into its base.

    base: what ``find_model`` finds the base by: the name in data/models/ of one that valuetrace trained, else a folder
    or Hub id, whose revision is ``revision``. name: ``<base>/step-<n>`` of ours, else the folder's. form: the format of
    our training; None for another's, which is asked by its chat template. saved: what another's folder holds.
    """

    folder: Path
    base: str
    name: str
    form: Format | None
    origin: dict[str, Any]
    revision: str | None = None
    saved: Saved | None = None

    def kind(self, base: Path) -> Literal["reward", "logprob"]:
        """What it makes of the base in that folder. InputError for neither, and for a reward head that is missing."""
        return "reward" if self.saved is None else adapters.kind(self.saved, base)

    def tokenizer_folder(self, base: Path) -> Path:
        """The folder whose tokenizer the model is asked with: the adapter's own, if it has one; else the base's."""
        return base if self.saved is None else adapters.tokenizer_folder(self.folder, base)

    def load(
        self, base: Path, form: Format, output: int | None = None, position: str | None = None, **options: Any
    ) -> RewardModel:
        """The reward model in ``form``; ``options`` as of ``loading.load``. Its pad token is ``adapters.merged``'s.

        InputError for a damaged adapter, and for one of another base.
        """
        if self.saved is not None:
            return from_whole(*self.merged(base, **options), form, self.name, output, position)
        from valuetrace.training.checkpoint import load_trained

        self._one_device(options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The PEFT config's `base_model_name_or_path` was renamed")
            return replace(load_trained(base, self.folder, **options), form=form)

    def merged(self, base: Path, **options: Any) -> tuple[Any, Any]:
        """The merged model (a transformers classifier or language model) of another's adapter, and its tokenizer."""
        self._one_device(options)
        assert self.saved is not None
        return adapters.merged(self.saved, base, **options)

    def _one_device(self, options: dict[str, Any]) -> None:
        if "device_map" in options:
            raise InputError(f"{self.folder}: an adapter is merged on one device. Run without --device auto.")


def read_adapter(folder: Path) -> Adapter | None:
    """The adapter that a folder holds; None where it holds a whole model.

    InputError for a folder that is both, and for an adapter that cannot be read or merged.
    """
    if not holds_adapter(folder):
        return None
    path = folder / "provenance.json"
    if not path.is_file() or {"kind", "origin"} <= set(provenance(folder)):  # none, or one of a download
        return _others(folder)
    from valuetrace.training.checkpoint import read_provenance

    made = read_provenance(folder)
    base = settings.build(str, made["base"].get("name"), f"{path}: 'base.name'")
    form = settings.build(Format, made["training"].get("format"), f"{path}: 'training.format'")
    told = {"base": base, "step": made["step"], "adapter_sha256": made["sha256"].get("adapter_model.safetensors")}
    return Adapter(folder, base, f"{base}/step-{made['step']}", form, {"model": base, "origin": told})


def _others(folder: Path) -> Adapter:
    saved = adapters.read(folder)
    base, name = adapters.find_base(saved), folder.resolve().name.replace("--", "/", 1)
    revision = saved.keys.get("revision") if not Path(base).is_dir() else None
    written = {"base": saved.keys["base_model_name_or_path"], "adapter_sha256": files.sha256(folder / adapters.WEIGHTS)}
    origin = {"model": name, "origin": provenance(folder).get("origin", {}) | written}
    return Adapter(folder, base, name, None, origin, None if revision == "main" else revision, saved)
