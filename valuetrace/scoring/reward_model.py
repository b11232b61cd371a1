"""A reward model: a transformer without its language head, a reward head, a tokenizer and a prompt format."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.scoring.chat import Format
from valuetrace.scoring.heads import Head, load_head


@dataclass(frozen=True)
class RewardModel:
    """Everything that turns a prompt and a reply into a reward.

    backbone maps token ids to hidden states after the final norm (``AutoModel``, not a model with a
    language head); head maps those to rewards, in the model's own units. name is for messages and files.
    """

    backbone: PreTrainedModel
    head: Head
    tokenizer: PreTrainedTokenizerBase
    form: Format
    name: str = "reward model"

    @property
    def rows(self) -> int:
        """Rows of the embedding: token ids 0 … rows − 1 can be scored."""
        return self.backbone.get_input_embeddings().num_embeddings

    @property
    def context(self) -> int:
        """The most tokens a conversation may have."""
        return self.backbone.config.max_position_embeddings

    def fingerprint(self) -> str:
        """SHA-256 of every weight (values, dtype, shape), both configurations and the tokenizer.

        Reads all weights once: about a second a gigabyte. InputError where weights are offloaded.
        """
        digest = hashlib.sha256()
        settings = self.backbone.config.to_dict()
        for volatile in ("_name_or_path", "_attn_implementation", "transformers_version"):
            settings.pop(volatile, None)
        temperature = getattr(getattr(self.head, "gating", None), "temperature", None)
        digest.update(repr((settings, type(self.head).__name__, str(self.head), temperature)).encode())
        digest.update(str(getattr(self.head, "output", None)).encode())
        digest.update(self.tokenizer.backend_tokenizer.to_str().encode() if self.tokenizer.is_fast else b"slow")
        digest.update(repr(self.tokenizer.chat_template).encode())
        for module in (self.backbone, self.head):
            for name, tensor in module.state_dict(keep_vars=True).items():
                if tensor.is_meta:
                    raise InputError(
                        f"{self.name}: {name} is offloaded: its value, and so a resumed run, is uncertain."
                    )
                digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def load_reward_model(
    folder: str | Path,
    form: Format,
    *,
    dtype: str = "float32",
    attention: str = "sdpa",
    device: str | torch.device | None = None,
    head: str | None = None,
    **options: Any,
) -> RewardModel:
    """Load a reward-model folder: config.json, tokenizer, safetensors. No code from the folder is run.

    The head is the adapter of the exact class that config.json names, or ``head`` (an entry of
    ``heads.ADAPTERS``). device: the process's accelerator, or the CPU, by default. ``options`` go to
    ``from_pretrained``: ``device_map="auto"`` spreads a model over several GPUs (then ``device`` is not
    used). attention is what ``backbone`` itself uses outside the search ("eager" for Gemma 2, whose soft
    caps "sdpa" has not). Raises InputError for an unknown class and missing or misshapen tensors.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json. Give the folder of a reward model.")
    reward_head = load_head(folder, head)  # first: a wrong class is known before gigabytes are read
    if device is None and "device_map" not in options:
        device = PartialState(cpu=not torch.accelerator.is_available()).device  # one of its own to each process
    backbone = loading.load(folder, dtype=dtype, attention=attention, device=device, cls=_Backbone, **options)
    if reward_head.unverified:
        print(f"{folder.name}: not checked against the real weights: {reward_head.unverified}", file=sys.stderr)
    return RewardModel(backbone, reward_head.to(backbone.device), loading.load_tokenizer(folder), form, folder.name)


class _Backbone:
    """``AutoModel`` that refuses a file without all of its tensors (transformers would draw them at random)."""

    @staticmethod
    def from_pretrained(folder: Path, **options: Any) -> PreTrainedModel:
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # its report lists the head's tensors as unexpected; ours follows
        try:
            backbone, report = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
        finally:
            logging.set_verbosity(verbosity)
        if report["missing_keys"]:
            raise InputError(f"{folder}: the weights lack {some(sorted(report['missing_keys']))}.")
        if report["mismatched_keys"]:
            raise InputError(f"{folder}: misshapen weights: {some(sorted(map(str, report['mismatched_keys'])))}.")
        return backbone
