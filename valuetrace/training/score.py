"""Exhaustive search over the checkpoints of one run (Section 4.1): a score table with one row a step and word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.scoring.chat import Format

SHARDS = "scores"  # beside the checkpoints: what a killed search had done, kept apart by the weights' hash


def evenly_spaced_steps(available: list[int], count: int) -> list[int]:
    """``count`` of the available steps, evenly spaced over the last one, the first and last included.

    Where checkpoints stand closer together at the start (powers of two) the nearest one is taken.
    """
    steps = np.array(sorted(available))
    if count >= len(steps):
        return steps.tolist()
    wanted = np.linspace(steps[0], steps[-1], count)
    return np.unique(steps[np.abs(steps[:, None] - wanted).argmin(axis=0)]).tolist()


def score_checkpoints(
    base_folder: str | Path,
    checkpoints_folder: str | Path,
    words: list[str],
    prompts: dict[str, str],
    form: Format,
    steps: list[int],
    *,
    vocabulary: bool = False,
    dtype: str = "float32",
    progress: bool = True,
) -> pd.DataFrame:
    """The reward of every word, after every prompt, at every step.

    prompts: key → text. Each checkpoint is merged into a fresh copy of the base (subtracting one adapter to add the
    next would leave rounding behind). Returns ``step, word, token_id`` (missing for a lexicon's word; with
    ``vocabulary`` a second block of rows holds every token id, ``word`` its decoded text), then a float32 column a
    prompt key, in the reward model's own units. Under ``accelerate launch`` the work is dealt out and every process
    returns the whole table. A killed search goes on from its shards. InputError names a step that has no checkpoint.
    """
    # seconds of torch and transformers, which those who only read scores need not wait for
    from valuetrace.scoring.search import score_prompts
    from valuetrace.training import checkpoint

    folder = Path(checkpoints_folder)
    missing = sorted(set(steps) - set(checkpoint.steps(folder)))
    if missing:
        raise InputError(f"{folder}: no checkpoint at step {some(missing)}. Train again.")
    parts = []
    for step in steps:
        model = checkpoint.load_trained(base_folder, folder / f"step-{step}", dtype=dtype, device=loading.best_device())
        model = replace(model, form=form)
        texts, ids = list(words), [pd.NA] * len(words)
        candidates: list[str | int] = list(words)
        if vocabulary:
            rows = loading.vocabulary(model.backbone, model.tokenizer)
            rows = rows[rows["token_id"] < len(model.tokenizer)]
            candidates += rows["token_id"].tolist()
            texts, ids = texts + rows["token_decoded"].tolist(), ids + rows["token_id"].tolist()
        scores = score_prompts(model, prompts, candidates, folder=folder / SHARDS, progress=progress)
        scores = scores.reset_index(drop=True)
        index = pd.DataFrame({"step": step, "word": texts, "token_id": pd.array(ids, dtype="Int64")})
        parts.append(pd.concat([index, scores], axis=1))
        del model
    return pd.concat(parts, ignore_index=True)
