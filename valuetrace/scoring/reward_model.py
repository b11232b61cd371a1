"""A reward model: a transformer without its language head, a reward head, a tokenizer and a prompt format."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
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
        return cast(Any, self.backbone.get_input_embeddings()).num_embeddings

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
    device: str | torch.device | None = None,
    head: str | None = None,
    **options: Any,
) -> RewardModel:
    """Load a reward-model folder: config.json, tokenizer, safetensors. No code from the folder is run.

    The head is the adapter of the exact class that config.json names, or ``head`` (an entry of
    ``heads.ADAPTERS``). device: the process's accelerator, or the CPU, by default. ``options`` go to
    ``from_pretrained``: ``device_map="auto"`` spreads a model over several GPUs (then ``device`` is not
    used). Raises InputError for an unknown class, and for tensors that are missing, misshapen, unused or not finite.
    """
    folder = Path(folder)
    reward_head = load_head(folder, head)  # first: a wrong class is known before gigabytes are read
    if device is None and "device_map" not in options:
        device = PartialState(cpu=not torch.accelerator.is_available()).device  # one of its own to each process
    read = set(reward_head.state_dict())
    backbone = loading.load(folder, dtype=dtype, device=device, cls=AutoModel, elsewhere=read, **options)
    if reward_head.unverified:
        print(f"{folder.name}: not checked against the real weights: {reward_head.unverified}", file=sys.stderr)
    return RewardModel(backbone, reward_head.to(backbone.device), loading.load_tokenizer(folder), form, folder.name)
