"""Log-probabilities of every token of the vocabulary as the first token of a reply (Section 3.1)."""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.scoring.chat import Format, render


class NotFinite(InputError):
    """Some log-probabilities are NaN or infinite; ``scores`` holds all of them."""

    def __init__(self, message: str, scores: pd.DataFrame):
        super().__init__(message)
        self.scores = scores


@torch.inference_mode()
def next_token_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: pd.DataFrame,
    form: Format,
    *,
    batch_tokens: int = 1024,
) -> pd.DataFrame:
    """The log-softmax over the vocabulary after each prompt: the numbers of a score table.

    prompts: ``key, text``. Returns one float32 column a key, one row a token id, in nats, whatever the model's dtype
    (the softmax runs in float32). Prompts of equal length share a batch, so nothing is padded; a batch holds at most
    ``batch_tokens`` tokens. Only the last position goes through the output layer. Raises InputError for a prompt that
    exceeds the model's context or has a token that the embedding lacks, and ``NotFinite`` after everything has run.
    """
    sequences = {row.key: render(tokenizer, form, row.text).prefix for row in cast(Any, prompts.itertuples())}
    context = loading.context(model)
    for key, ids in sequences.items():
        loading.check_ids(ids, model, tokenizer, f"prompt {key}")
        if context is not None and len(ids) > context:
            raise InputError(f"prompt {key}: {len(ids)} tokens, but the model reads at most {context}.")
    columns: dict[str, np.ndarray] = {}
    batches = cut_batches({key: len(ids) for key, ids in sequences.items()}, batch_tokens)
    for batch in tqdm(batches, desc="log-probabilities", unit="batch", disable=None):
        ids = torch.tensor([sequences[key] for key in batch], device=model.device)  # (B, T)
        logits = last_logits(model, ids)
        for key, values in zip(batch, torch.log_softmax(logits, dim=-1).cpu().numpy(), strict=True):
            columns[key] = values
    scores = pd.DataFrame({key: columns[key] for key in prompts["key"]})
    tokens, prompt = np.nonzero(~np.isfinite(scores.to_numpy()))
    if len(tokens):
        first = f"token {tokens[0]} after prompt {scores.columns[prompt[0]]}"
        message = f"{len(tokens)} log-probabilities are not finite numbers, as that of {first}. Try another dtype."
        raise NotFinite(message, scores)
    return scores


def last_logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """(B, V) float32: the logits after each of ``ids`` (B, T), of equal length, by the model's own forward.

    Raises InputError where they are not one a row of the embedding: then the model speaks in something else.
    """
    asked = {"logits_to_keep": 1, "use_cache": False}
    taken = inspect.signature(type(model).forward).parameters  # not every forward knows both
    found = model(input_ids=ids, **{key: value for key, value in asked.items() if key in taken}).logits
    if found.ndim != 3 or found.shape[-1] != loading.spoken(model):
        raise InputError(
            f"{type(model).__name__} gives logits of shape {tuple(found.shape)}, not one for each of its "
            f"{loading.spoken(model)} tokens. Give a language model."
        )
    return found[:, -1].float()


def cut_batches(lengths: dict[str, int], batch_tokens: int) -> list[list[str]]:
    """Keys of equal length together, at most ``batch_tokens`` tokens a batch (at least one key)."""
    by_length: dict[int, list[str]] = defaultdict(list)
    for key, length in lengths.items():
        by_length[length].append(key)
    batches = []
    for length, keys in sorted(by_length.items()):
        size = max(1, batch_tokens // max(1, length))
        batches += [keys[start : start + size] for start in range(0, len(keys), size)]
    return batches
