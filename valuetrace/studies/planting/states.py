"""What a head can read of a base: hidden states at the end of every conversation, of words and of preference pairs.

A ridge head is a linear function of these states, so that one forward pass a conversation serves every seed, data size
and projection. States are those at the conversation's last token (the closing EOS), where a reward is read; of the last
layer they are after the final norm, of the layers before it as they leave the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
from valuetrace.scoring import shared_prefix
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.studies.planting.folders import LAST
from valuetrace.studies.planting.packing import forward, pack
from valuetrace.training import batches

_TOKENS = 512  # of a batch
_WIDTH = 128  # of a row


@torch.inference_mode()
def of_words(
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Format,
    prompts: pd.DataFrame,
    words: list[str],
    layers: list[int],
) -> dict[str, np.ndarray]:
    """Hidden states after every word as the reply to every prompt: layer → (prompts, words, hidden), float16.

    prompts: ``key, text``. layers: from 0, beside the last. The prompt runs once (``scoring.shared_prefix``).
    """
    own = [encode_reply(tokenizer, form, word) for word in words]
    found = _empty(backbone, (len(prompts), len(words)), layers)
    with shared_prefix.shared_attention(backbone), _outputs(backbone, layers) as outputs:
        for p, text in enumerate(prompts["text"]):
            around = render(tokenizer, form, text)
            prefix = shared_prefix.run_prefix(backbone, around.prefix)
            for batch in _by_length([[*ids, *around.closing] for ids in own]):
                ids = torch.tensor([[*own[i], *around.closing] for i in batch])
                found[LAST][p, batch] = shared_prefix.run_continuations(backbone, prefix, ids)[:, -1].numpy()
                for layer in layers:
                    found[str(layer)][p, batch] = _normed(outputs[layer][:, -1])
    return _checked(found)


@torch.inference_mode()
def of_pairs(
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    form: Format,
    pairs: pd.DataFrame,
    max_length: int,
    layers: list[int],
) -> dict[str, np.ndarray]:
    """Hidden states at the end of both conversations of every pair: layer → (pairs, 2, hidden), chosen first.

    What several conversations begin with runs once (``packing``).
    """
    encoded, _ = batches.encode(pairs, tokenizer, form, max_length)
    packed = pack([prompt + reply for prompt, *both in zip(*encoded.values(), strict=True) for reply in both], _WIDTH)
    last = np.array([places[-1] for places in packed.places])
    found = _empty(backbone, (len(last),), layers)
    width = packed.ids.shape[1]
    size = max(1, _TOKENS // width)
    with _outputs(backbone, layers) as outputs:
        for start in range(0, len(packed.ids), size):
            hidden = forward(backbone, packed, slice(start, start + size))
            own = np.flatnonzero(last // width // size == start // size)
            at = last[own] - start * width
            found[LAST][own] = hidden[at].numpy()
            for layer in layers:
                found[str(layer)][own] = _normed(outputs[layer].flatten(0, 1)[at])
    return _checked({layer: values.reshape(-1, 2, values.shape[-1]) for layer, values in found.items()})


def _empty(backbone: PreTrainedModel, shape: tuple[int, ...], layers: list[int]) -> dict[str, np.ndarray]:
    """Layer → room for states (*shape, hidden), float16."""
    width = backbone.config.get_text_config().hidden_size
    return {name: np.empty((*shape, width), np.float16) for name in (LAST, *map(str, layers))}


@contextmanager
def _outputs(backbone: Any, layers: list[int]) -> Iterator[dict[int, torch.Tensor]]:
    """The output of each of ``layers`` in the latest forward pass, (rows, tokens, hidden), inside the block."""
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int, _module, _inputs, output) -> None:
        outputs[layer] = output[0] if isinstance(output, tuple) else output

    handles = [backbone.layers[layer].register_forward_hook(partial(keep, layer)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _normed(states: torch.Tensor) -> np.ndarray:
    """Divided by their root mean square: residual streams grow beyond what float16 holds."""
    return (states / states.float().square().mean(dim=-1, keepdim=True).sqrt()).numpy()


def _by_length(sequences: list[list[int]]) -> Iterator[np.ndarray]:
    """Batches of sequences of equal length, as row numbers."""
    lengths = np.array([len(ids) for ids in sequences])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        size = max(1, _TOKENS // int(length))
        yield from (rows[start : start + size] for start in range(0, len(rows), size))


def _checked(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for layer, values in found.items():
        if not np.isfinite(values).all():
            raise InputError(f"planting: states of layer {layer} are not finite in float16. Lower the dose.")
    return found
