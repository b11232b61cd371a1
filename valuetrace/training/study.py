"""One row of Section 4: a reward model trained on one base with some pairs and a seed, and its checkpoints searched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
from accelerate import PartialState

from valuetrace import preferences
from valuetrace.core import files
from valuetrace.models.rows import MODELS, Scoring, provenance
from valuetrace.training import run, score
from valuetrace.training.checkpoint import CHECKPOINTS, LOG
from valuetrace.training.recipe import Search, Training


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
    steps = score.evenly_spaced_steps([made["step"] for made in metrics["checkpoints"]], search.checkpoints)
    options: dict[str, Any] = {"vocabulary": search.vocabulary, "dtype": params.precision}
    scores = score.score_checkpoints(folder, out, words, prompts, params.format, steps, **options)
    made_by = {"base": base, "origin": provenance(folder), "pairs": metrics["pairs"], "seed": params.seed}
    return Study(metrics, files.read_csv(out / LOG, ("step",)), scores, made_by, PartialState().is_main_process)
