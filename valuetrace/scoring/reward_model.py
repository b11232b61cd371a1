"""A reward model: its own class, the same weights as backbone and head, a tokenizer and a prompt format."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, whole
from valuetrace.scoring.heads import Copied, Head
from valuetrace.scoring.recognise import load_head, recognise


@dataclass(frozen=True)
class RewardModel:
    """Everything that turns a prompt and a reply into a reward.

    backbone maps token ids to hidden states after the final norm (``AutoModel``, not a model with a
    language head); head maps those to rewards, in the model's own units. name is for messages and files.
    whole: the model's own class, whose weights backbone and head share; None where transformers has none. head is None
    where ``whole`` alone applies it (an encoder's classifier). output: which of several outputs is the reward. pad: the
    token that no reward is read at (``read_at``).
    """

    backbone: PreTrainedModel
    head: Head | None
    tokenizer: PreTrainedTokenizerBase
    form: Format
    name: str = "reward model"
    whole: PreTrainedModel | None = None
    output: int = 0
    pad: int | None = None

    @property
    def rows(self) -> int:
        """Rows of the embedding: token ids 0 … rows − 1 can be scored."""
        return loading.rows(self.backbone)

    @property
    def context(self) -> int | None:
        """The most tokens a conversation may have; None where no table of positions limits it."""
        return loading.context(self.backbone)

    @property
    def pattern(self) -> tuple[int, ...] | None:
        """The head's gating pattern; None where it reads no prompt."""
        return None if self.head is None else self.head.pattern

    def read_at(self, ids: list[int]) -> int:
        """The position of the reward: the last token that is not ``pad``, as transformers reads."""
        if self.pad is None:
            return len(ids) - 1
        return next((i for i in range(len(ids) - 1, -1, -1) if ids[i] != self.pad), 0)

    def apply(self, states: Tensor, gate: Tensor | None = None) -> Tensor:
        """Rewards (B,), float32, by the head, from the states at the read position and at the gate, (B, D)."""
        head = cast(Head, self.head)
        gate = None if gate is None else gate.to(head.device, head.dtype)
        return head(states.to(head.device, head.dtype), gate).float()

    def own(self, ids: Tensor, second: int = -1, mask: Tensor | None = None) -> Tensor:
        """Rewards (B,), float32, by the model's own class: its own attention and reading position.

        ids: (B, T). second: where the second sentence begins (−1: no such types). mask: (B, T), 0 where padded.
        """
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids) if mask is None else mask}
        if second >= 0:
            given["token_type_ids"] = (torch.arange(ids.shape[1], device=ids.device) >= second).long().expand_as(ids)
        logits = cast(Any, self.whole)(**given).logits
        if logits.ndim == 3:  # of every token
            logits = logits[torch.arange(len(ids)), [self.read_at(row) for row in ids.tolist()]]
        return logits[:, self.output].float()

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
        digest.update(f"{type(self.whole).__name__} {self.output} {self.pad}".encode())
        digest.update(self.tokenizer.backend_tokenizer.to_str().encode() if self.tokenizer.is_fast else b"slow")
        digest.update(repr(self.tokenizer.chat_template).encode())
        for module in (self.whole or self.backbone, self.head):
            for name, tensor in {} if module is None else module.state_dict(keep_vars=True).items():
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
    output: int | None = None,
    position: str | None = None,
    **options: Any,
) -> RewardModel:
    """Load a reward-model folder: config.json, tokenizer, safetensors. No code from the folder is run.

    head: a published head by its class name (``heads.PUBLISHED``); output: which of several outputs is the reward
    (``recognise``). position: ``last`` or ``before_padding``, where the folder does not say which (``read_position``).
    device: the process's accelerator, or the CPU, by default. ``options`` go to ``from_pretrained``:
    ``device_map="auto"`` spreads a model over several GPUs (then ``device`` is not used). Raises InputError for a
    folder without one head, and for tensors that are missing, misshapen, unused or not finite.
    """
    folder = Path(folder)
    found = recognise(folder, head, output)  # first: what is wrong is known before gigabytes are read
    if found.kind != "reward":
        raise InputError(f"{folder}: a language model ({found.architecture}) without a reward head.")
    output = output or 0
    reward_head = load_head(folder, found, output)
    if device is None and "device_map" not in options:
        device = PartialState(cpu=not torch.accelerator.is_available()).device  # one of its own to each process
    how: dict[str, Any] = {"dtype": dtype, "device": device, **options}
    tokenizer = loading.load_tokenizer(folder)
    whole = None
    if found.cls is not None:
        how |= {} if found.head.startswith("logit") else {"num_labels": found.outputs}
        whole = loading.load(folder, cls=found.cls, **how)
        backbone = cast(PreTrainedModel, whole.base_model)
    else:
        backbone = loading.load(folder, cls=AutoModel, elsewhere=set(found.tensors or ()), **how)
    if reward_head is not None:
        reward_head = reward_head.to(backbone.device)
        if reward_head.unverified:
            print(f"{folder.name}: not checked against the real weights: {reward_head.unverified}", file=sys.stderr)
    pad = read_position(backbone, tokenizer, form, position, folder)
    return RewardModel(backbone, reward_head, tokenizer, form, folder.name, whole, output, pad)


def from_whole(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Format,
    name: str,
    output: int | None = None,
    position: str | None = None,
) -> RewardModel:
    """A classifier of transformers in memory as a reward model; nothing is copied but its ``score``.

    output and position as of ``load_reward_model``. InputError for several outputs where none is said to be the reward.
    """
    labels = cast(Any, model.config).num_labels
    if labels != 1 and output is None:
        raise InputError(f"{name} has {labels} labels. A reward model has one (num_labels=1).")
    score = getattr(model, "score", None)
    head = None if score is None else Copied(score, output or 0)
    pad = read_position(model, tokenizer, form, position, name)
    return RewardModel(cast(PreTrainedModel, model.base_model), head, tokenizer, form, name, model, output or 0, pad)


def read_position(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Format,
    position: str | None,
    name: str | Path,
) -> int | None:
    """The token that no reward is read at: the padding token of the model's config, as transformers has it.

    position: ``last`` (read the last token, whatever it is) or ``before_padding`` (not the tokenizer's padding token).
    InputError where the config has no padding token and the tokenizer's closes a conversation: batches in training must
    have been padded with something, and whether the reward was then read at this token or before it, nothing says.
    """
    own, other = model.config.get_text_config().pad_token_id, tokenizer.pad_token_id
    if position == "last" or form.kind == "pair":
        return None
    if position == "before_padding":
        return other
    if own is None and other is not None and _ends_with(other, tokenizer, form):
        raise InputError(
            f"{name}: a conversation ends with {tokenizer.pad_token}, which is the tokenizer's padding token, and "
            "config.json has no pad_token_id: whether the reward is read at that token or before it, nothing says. "
            "Give --position last or --position before_padding, or write pad_token_id into config.json."
        )
    return own


def _ends_with(token: int, tokenizer: PreTrainedTokenizerBase, form: Format) -> bool:
    """Whether a conversation ends with a token; what cannot be rendered is refused when it is scored."""
    try:
        return whole(tokenizer, form, "a", "a")[-1] == token
    except InputError:
        return False
