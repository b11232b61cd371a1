"""Several replies to one question in one row of tokens: the question runs once, and no reply sees another."""

from __future__ import annotations

import torch
from torch import Tensor

from valuetrace.training.batches import PAD, PROMPT

Row = tuple[list[int], list[list[int]]]  # token ids of a question, and of each reply to it


def pack(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor, list[list[list[int]]]]:
    """Token ids, positions and segments (``training.model.masks``), each (rows, width), a question first, then its
    replies side by side, then padding; and of every reply of a row its columns, after that of the question's last
    token: where its first token is predicted, and where the last one leaves its state.

    >>> pack([([5, 6], [[7], [8, 9]]), ([5], [[]])])
    (tensor([[5, 6, 7, 8, 9],
            [5, 0, 0, 0, 0]]), tensor([[0, 1, 2, 2, 3],
            [0, 0, 0, 0, 0]]), tensor([[0, 0, 4, 5, 5],
            [0, 3, 3, 3, 3]]), [[[1, 2], [1, 3, 4]], [[0]]])
    """
    width = max(len(prompt) + sum(map(len, replies)) for prompt, replies in rows)
    ids, positions = torch.zeros(2, len(rows), width, dtype=torch.long)
    segments, columns = torch.full_like(ids, PAD), []
    for row, (prompt, replies) in enumerate(rows):
        asked = end = len(prompt)
        ids[row, :asked], positions[row, :asked] = torch.tensor(prompt), torch.arange(asked)
        segments[row, :asked] = PROMPT
        columns.append([])
        for number, reply in enumerate(replies, start=PAD + 1):
            own = slice(end, end := end + len(reply))
            ids[row, own] = torch.tensor(reply, dtype=torch.long)
            positions[row, own] = torch.arange(asked, asked + len(reply))
            segments[row, own] = number  # sees the question and itself
            columns[row].append([asked - 1, *range(own.start, own.stop)])
    return ids, positions, segments, columns
