"""Sequences of tokens as trees: what several begin with runs once, and none sees what another goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """Rows of trees. ids, positions, parents: (rows, width); a token's parent is the column of the token before it, its
    own for a first token and for padding.

    places: of every sequence the place of each of its tokens, row × width + column.
    """

    ids: Tensor
    positions: Tensor
    parents: Tensor
    places: list[np.ndarray]


def pack(sequences: Sequence[Sequence[int]], width: int | None = None) -> Packed:
    """Lay out sequences of token ids (none empty), each beginning once a row.

    width: tokens of a row (a longer sequence has a row of its own); None: all in one row. Padding has the id 0.

    >>> packed = pack([[5, 6, 7], [5, 8], [5, 6]])
    >>> packed.ids, packed.positions, packed.parents
    (tensor([[5, 6, 7, 8]]), tensor([[0, 1, 2, 1]]), tensor([[0, 0, 1, 0]]))
    >>> [places.tolist() for places in packed.places]
    [[0, 1, 2], [0, 3], [0, 1]]
    """
    rows: list[list[tuple[int, int, int]]] = [[]]  # of every column its token, position and parent
    ends: list[tuple[int, list[int]]] = [(0, [])] * len(sequences)  # of every sequence its row and columns
    before: list[int] = []
    path: list[int] = []
    for number in sorted(range(len(sequences)), key=lambda at: tuple(sequences[at])):  # neighbours share most
        own = list(sequences[number])
        least = min(len(before), len(own))
        shared = next((at for at in range(least) if before[at] != own[at]), least)
        if width is not None and rows[-1] and len(own) > shared and len(rows[-1]) + len(own) - shared > width:
            rows.append([])
            shared = 0
        path, before = path[:shared], own
        for position, token in enumerate(own[shared:], start=shared):
            column = len(rows[-1])
            rows[-1].append((token, position, path[-1] if path else column))
            path.append(column)
        ends[number] = len(rows) - 1, path
    widest = max(map(len, rows))
    laid = np.zeros((3, len(rows), widest), dtype=np.int64)
    laid[2] = np.arange(widest)  # padding is its own parent
    for row, columns in enumerate(rows):
        laid[:, row, : len(columns)] = np.array(columns).T
    places = [row * widest + np.array(path) for row, path in ends]
    ids, positions, parents = torch.from_numpy(laid)
    return Packed(ids, positions, parents, places)


def seen(parents: Tensor) -> Tensor:
    """Which tokens (last axis) a token sees, (rows, width, width) booleans: itself and what leads to it.

    >>> seen(torch.tensor([[0, 0, 1, 0]])).int()
    tensor([[[1, 0, 0, 0],
             [1, 1, 0, 0],
             [1, 1, 1, 0],
             [1, 0, 0, 1]]], dtype=torch.int32)
    """
    rows, width = parents.shape
    found = torch.eye(width, dtype=torch.bool, device=parents.device).repeat(rows, 1, 1)
    above = parents
    while not found.gather(2, above[..., None]).all():
        found.scatter_(2, above[..., None], True)
        above = parents.gather(1, above)
    return found


def forward(backbone: Any, packed: Packed, rows: slice = slice(None)) -> Tensor:
    """The last hidden state of every place of some rows, (rows × width, hidden).

    Bases with sliding windows get one mask a kind of layer, as their code expects; windows count positions.
    """
    parts = packed.ids[rows], packed.positions[rows], packed.parents[rows]
    ids, positions, parents = (part.to(next(backbone.parameters()).device) for part in parts)
    config = backbone.config.get_text_config()

    def additive(allowed: Tensor) -> Tensor:
        mask = torch.zeros(allowed.shape, dtype=backbone.dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(mask.dtype).min)[:, None]

    visible = seen(parents)
    mask = additive(visible)
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        near = positions[:, :, None] - positions[:, None, :] < config.sliding_window
        mask = {"full_attention": mask, "sliding_attention": additive(visible & near)}
    return backbone(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state.flatten(0, 1)
