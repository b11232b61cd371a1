"""Many short continuations of one text, attending to it once: the kernel of the token search.

A vocabulary of candidate replies shares its prompt. The prompt runs once and leaves its keys and values; then a batch
of candidates runs alone, and every layer's attention has two parts: all queries of the batch against the one copy of
the prompt's keys (one matrix product a key/value head, the batch folded into its rows), and each candidate causally
against itself. One softmax over both parts joins them, so the result is that of a full forward, to rounding. The idea
is Hydragen's (Juravsky et al. 2024, arXiv:2402.05099); prompts here are short enough to hold the scores, so no
log-sum-exp is needed to join the parts. Soft caps, sliding windows, grouped queries and per-layer scaling are honoured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

from valuetrace.core.errors import InputError, some

NAME = "valuetrace_shared_prefix"

# What layers hand to every attention and what changes nothing here: no dropout in evaluation, positions are rotated in
# already, nothing is cached or returned beside the output.
_WITHOUT_EFFECT = {"dropout", "is_causal", "position_ids", "cache_position", "use_cache", "output_attentions"}


@dataclass(frozen=True)
class Layers:
    """Layer index → keys and values, (key/value heads, P, head size), each on its layer's device.

    No mapping itself: accelerate's hooks would copy a mapping to every layer's device.
    """

    keys: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Prefix:
    """What a text leaves for its continuations.

    layers: keys (rotated to their positions) and values. hidden: (P, hidden size), after the final norm.
    P is the number of tokens.
    """

    layers: Layers
    hidden: torch.Tensor

    def __len__(self) -> int:
        return len(self.hidden)

    def first(self, length: int) -> Prefix:
        """The prefix of the prefix: its first ``length`` tokens (views, nothing is copied)."""
        if length == len(self):
            return self
        keys, values = ({i: x[:, :length] for i, x in part.items()} for part in (self.layers.keys, self.layers.values))
        return Prefix(Layers(keys, values), self.hidden[:length])


@contextmanager
def shared_attention(backbone: PreTrainedModel) -> Iterator[None]:
    """Let ``backbone`` attend through ``attend`` inside the block; its own attention comes back after it."""
    before = backbone.config._attn_implementation
    backbone.set_attn_implementation(NAME)
    try:
        yield
    finally:
        backbone.set_attn_implementation(before)


def run_prefix(backbone: PreTrainedModel, ids: list[int]) -> Prefix:
    """Run one text (token ids) through ``backbone`` inside ``shared_attention``."""
    layers = Layers()
    tokens = torch.tensor([ids], device=backbone.device)
    hidden = _forward(backbone, tokens, 0, record=layers)[0]
    return Prefix(layers, hidden)


def run_continuations(backbone: PreTrainedModel, prefix: Prefix | None, ids: torch.Tensor) -> torch.Tensor:
    """Hidden states (B, L, hidden size), after the final norm, of B continuations ``ids`` (B, L) of ``prefix``.

    Inside ``shared_attention``. Without a prefix each row is a text of its own.
    """
    if prefix is None or not len(prefix):
        return _forward(backbone, ids, 0)
    return _forward(backbone, ids, len(prefix), past=prefix.layers)


def _forward(backbone, ids: torch.Tensor, start: int, **kwargs) -> torch.Tensor:
    positions = torch.arange(start, start + ids.shape[1], device=ids.device)[None]
    return backbone(input_ids=ids, position_ids=positions, use_cache=False, **kwargs).last_hidden_state


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    past: Layers | None = None,
    record: Layers | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of query (B, H, L, d) to key and value (B, K, L, d), and to a prefix that all B share.

    transformers calls it with the layer as ``module``; ``past`` and ``record`` reach it through the
    model's keyword arguments. Returns (B, L, H, d). Query l of the continuation stands at position
    P + l and sees position j where 0 ≤ P + l − j (and < ``sliding_window`` where the layer has one).
    """
    if unknown := [name for name, value in others.items() if name not in _WITHOUT_EFFECT and value is not None]:
        raise InputError(f"{type(module).__name__} attends with {some(unknown)}, which no shared prefix knows")
    if attention_mask is not None or not getattr(module, "is_causal", True) or others.get("is_causal") is False:
        raise InputError(f"{type(module).__name__} is not plain causal attention; its candidates cannot share a prefix")
    if record is not None:
        record.keys[module.layer_idx], record.values[module.layer_idx] = key[0], value[0]
    batch, heads, length, size = query.shape
    kv_heads = key.shape[1]
    rows = heads // kv_heads * length  # the queries that read one key/value head
    scaling = size**-0.5 if scaling is None else scaling
    query = query.reshape(batch, kv_heads, rows, size).transpose(0, 1)  # (K, B, rows, d)
    key, value = key.transpose(0, 1), value.transpose(0, 1)

    seen, scores = 0, query @ key.transpose(-1, -2)
    if past is not None:
        past_key, past_value = past.keys[module.layer_idx], past.values[module.layer_idx]
        if sliding_window is not None:  # what no query of the batch can see is left out
            near = max(past_key.shape[1] - sliding_window + 1, 0)
            past_key, past_value = past_key[:, near:], past_value[:, near:]
        seen = past_key.shape[1]
        query = query.reshape(kv_heads, batch * rows, size)
        to_past = (query @ past_key.transpose(-1, -2)).view(kv_heads, batch, rows, seen)
        scores = torch.cat([to_past, scores], dim=-1)
    scores = scores.float() if scores.dtype.itemsize < 4 else scores
    scores *= scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if length > 1:
        hidden = _invisible(length, seen, sliding_window, scores.device)
        scores.view(kv_heads, batch, -1, length, seen + length).masked_fill_(hidden, -torch.inf)
    weights = scores.softmax(dim=-1).to(value.dtype)

    out = weights[..., seen:] @ value
    if past is not None:
        to_past = weights[..., :seen].reshape(kv_heads, batch * rows, seen)
        out += (to_past @ past_value).view_as(out)
    out = out.view(kv_heads, batch, -1, length, size).permute(1, 3, 0, 2, 4)
    return out.reshape(batch, length, heads, size), None


def _invisible(length: int, seen: int, window: int | None, device: torch.device) -> torch.Tensor:
    """(L, P + L): True where the query at P + l must not see position j."""
    distance = torch.arange(seen, seen + length, device=device)[:, None] - torch.arange(seen + length, device=device)
    return distance < 0 if window is None else (distance < 0) | (distance >= window)


AttentionInterface.register(NAME, attend)
