"""One row of Section 4: a reward model trained on one base with some pairs and a seed, its checkpoints searched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from accelerate import PartialState

from valuetrace import preferences
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.models.rows import MODELS, Scoring, provenance
from valuetrace.scoring.chat import Format
from valuetrace.training import run
from valuetrace.training.checkpoint import CHECKPOINTS, LOG
from valuetrace.training.recipe import Search, Training

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
    from valuetrace.scoring import reference
    from valuetrace.scoring.candidates import read_candidates
    from valuetrace.scoring.search import score_prompts
    from valuetrace.training import checkpoint

    folder = Path(checkpoints_folder)
    missing = sorted(set(steps) - set(checkpoint.steps(folder)))
    if missing:
        raise InputError(f"{folder}: no checkpoint at step {some(missing)}. Train again.")
    parts, held = [], None
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
        if held is None:  # the same layers, ids and positions at every step
            held = reference.hold(model, prompts, read_candidates(model, candidates), "exact")
        scores = score_prompts(model, prompts, candidates, folder=folder / SHARDS, progress=progress, held=held)
        scores = scores.reset_index(drop=True)
        index = pd.DataFrame({"step": step, "word": texts, "token_id": pd.array(ids, dtype="Int64")})
        parts.append(pd.concat([index, scores], axis=1))
        del model
    return pd.concat(parts, ignore_index=True)


class Study(NamedTuple):
    """``metrics``: pairs and held-out results a checkpoint; ``log``: a row an optimizer step; ``scores``: a table of
    checkpoint scores; ``made_by``: what made it; ``writes``: whether this process is the one that writes files."""

    metrics: dict[str, Any]
    log: pd.DataFrame
    scores: pd.DataFrame
    made_by: dict[str, Any]
    writes: bool


def train_and_search(
    base: str,
    how: Scoring,
    train_pairs: Path,
    held_out: Path,
    params: Training,
    search: Search,
    scratch: str = "",
    watch: run.Watch | None = None,
) -> Study:
    """Train ``base``, or go on where a killed run stopped, then score the evenly spaced checkpoints of the search.

    train_pairs, held_out: pair tables. Checkpoints and shards lie in ``data/checkpoints/<scratch>/<base>``, are keyed
    by everything that decides them and are removed as soon as something else is trained there. ``watch`` looks on.
    """
    params = replace(params, format=replace(params.format, arguments=cast(Any, how.chat_arguments)))
    folder, out = MODELS / base, CHECKPOINTS / scratch / base
    words, prompts = search.words(), cast(Any, search.prompts().set_index("key")["text"].to_dict())
    metrics = run.train(folder, preferences.read(train_pairs), preferences.read(held_out), params, out, watch)
    steps = evenly_spaced_steps([made["step"] for made in metrics["checkpoints"]], search.checkpoints)
    options: dict[str, Any] = {"vocabulary": search.vocabulary, "dtype": params.precision}
    scores = score_checkpoints(folder, out, words, prompts, params.format, steps, **options)
    made_by = {"base": base, "origin": provenance(folder), "pairs": metrics["pairs"], "seed": params.seed}
    return Study(metrics, files.read_csv(out / LOG, ("step",)), scores, made_by, PartialState().is_main_process)
