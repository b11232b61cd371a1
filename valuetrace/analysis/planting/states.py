"""What a head can read of a base: hidden states at the end of every conversation, of words and of preference pairs.

A ridge head is a linear function of these states, so that one forward pass a conversation serves every seed, data size
and projection. States are those at the conversation's last token (the closing EOS), where a reward is read; of the last
layer they are after the final norm, of the layers before it as they leave the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.analysis.planting.packing import Row, pack
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.scoring import shared_prefix
from valuetrace.scoring.chat import Format, encode_reply, render
from valuetrace.training import encoding
from valuetrace.training.model import masks

LAST = "last"
_TOKENS = 512  # of a batch
_WIDTH = 64  # of a row that replies share
_Conversation = tuple[tuple[int, ...], tuple[int, ...]]  # token ids of a prompt and of the reply to it


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
    width = backbone.config.get_text_config().hidden_size
    found = {name: np.empty((len(prompts), len(words), width), np.float16) for name in (LAST, *map(str, layers))}
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

    Conversations that several pairs hold run once, and so does a prompt that several begin with.
    """
    encoded, _ = encoding.encode(pairs, tokenizer, form, max_length)
    number: dict[_Conversation, int] = {}
    both = [
        [number.setdefault((tuple(prompt), tuple(reply)), len(number)) for reply in replies]
        for prompt, *replies in zip(*encoded.values(), strict=True)
    ]
    config = backbone.config.get_text_config()
    found = {name: np.empty((len(number), config.hidden_size), np.float16) for name in (LAST, *map(str, layers))}
    rows = _shared(list(number))
    widths = np.array([len(prompt) + sum(map(len, replies)) for (prompt, replies), _ in rows])
    order = np.argsort(widths, kind="stable")
    with _outputs(backbone, layers) as outputs:
        for at in np.array_split(order, -(-widths.sum() // _TOKENS)):
            ids, positions, segments, columns = pack([rows[i][0] for i in at])
            mask = masks(segments, positions, config, backbone.dtype)
            hidden = backbone(
                input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
            ).last_hidden_state
            read = [(row, places[-1]) for row, of in enumerate(columns) for places in of]
            row, last = torch.tensor(read).T
            own = [conversation for i in at for conversation in rows[i][1]]
            found[LAST][own] = hidden[row, last].numpy()
            for layer in layers:
                found[str(layer)][own] = _normed(outputs[layer][row, last])
    return _checked({layer: values[np.array(both)] for layer, values in found.items()})


def _shared(conversations: list[_Conversation]) -> list[tuple[Row, list[int]]]:
    """Rows of replies to one prompt, of _WIDTH tokens or little more, with the numbers of their conversations."""
    rows: list[tuple[Row, list[int]]] = []
    open_row: dict[tuple[int, ...], tuple[Row, list[int]]] = {}
    for number, (prompt, reply) in enumerate(conversations):
        row = open_row.get(prompt)
        if row is None or len(prompt) + sum(map(len, row[0][1])) >= _WIDTH:
            row = open_row[prompt] = ((list(prompt), []), [])
            rows.append(row)
        row[0][1].append(list(reply))
        row[1].append(number)
    return rows


def write(states: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Write the states of several sets (``words``, ``pairs`` …) by layer as one safetensors file."""
    flat = {f"{name}/{layer}": torch.from_numpy(x) for name, of in states.items() for layer, x in of.items()}
    files.write_atomically(path, lambda to: save_file(flat, to))


def read(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """What ``write`` wrote; InputError where it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run dvc repro stages/planting/dvc.yaml.")
    try:
        flat = load_file(path)
    except Exception as error:  # safetensors' own class derives from Exception alone
        raise InputError(f"{path}: not a safetensors file, or damaged ({error}). Make it again.") from None
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in flat.items():
        of, _, layer = name.rpartition("/")
        found.setdefault(of, {})[layer] = tensor.numpy()
    return found


@contextmanager
def _outputs(backbone: PreTrainedModel, layers: list[int]) -> Iterator[dict[int, torch.Tensor]]:
    """The output of each of ``layers`` in the latest forward pass, (rows, tokens, hidden), inside the block."""
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int):
        def hook(_module, _inputs, output) -> None:
            outputs[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [backbone.layers[layer].register_forward_hook(keep(layer)) for layer in layers]
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
            raise InputError(f"planting: states of layer {layer} are no finite float16 numbers. Lower the dose.")
    return found
