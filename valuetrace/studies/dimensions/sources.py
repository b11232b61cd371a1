"""What is read on many dimensions: the bases' log-probabilities, the rewards of the reward models trained on them, and
the rewards that the paper's authors released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace import tables
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.measures.compare.inputs import PUBLISHED_MODELS
from valuetrace.measures.profile import Subject
from valuetrace.measures.published.sources import FETCHED
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

LOGPROBS, REWARDS = Path("data/token_logprobs"), Path("data/dimensions/rewards")
RELEASED = FETCHED / "reward_model_scores"
BARE = Format("chat", space=False)  # each released model's own template, the reply without a space
SOURCES = {"logprob": "log-probabilities", "reward": "trained reward models", "released": "released reward models"}
"""Kinds of score table, and their names in print."""


@dataclass(frozen=True)
class Measured:
    """A model of one source. base: what it was trained from; prompts: ``key, text, framing`` of those it answered."""

    source: str
    base: str
    subject: Subject
    table: pd.DataFrame
    prompts: pd.DataFrame


def read(bases: list[str], format_name: str, form: Format) -> list[Measured]:
    """Every model: of each base its log-probabilities after ``format_name`` and its reward model, then the released."""
    found = []
    for base in bases:
        subject = Subject(base, "logprob", "dimensions", format_name, form)
        table = tables.read_scores(LOGPROBS / base / f"{format_name}.parquet")
        found.append(_measured("logprob", base, subject, table))
    for base in bases:
        table = tables.read_scores(REWARDS / f"{base}.parquet")
        own = Format(**table.attrs["form"])
        subject = Subject(base, "reward", "dimensions", "training", own, tokenisation="exact")
        found.append(_measured("reward", base, subject, table))
    for row in cast(Any, files.read_csv(PUBLISHED_MODELS, ("repository", "base", "lineage"), dtype=str).itertuples()):
        subject = Subject(row.repository, "reward", "dimensions", "chat", BARE, tokenisation="as_published")
        found.append(_measured("released", row.base, subject, released(row.repository)))
    return found


def released(repository: str, folder: Path = RELEASED) -> pd.DataFrame:
    """One model's released rewards, of all word lists together; of a word in two of them the first counts."""
    paths = sorted(folder.glob(f"*/*_rewards_{repository.replace('/', '_')}.csv"))
    if not paths:
        raise InputError(f"{folder}: no rewards of {repository}. Run dvc repro stages/published/dvc.yaml:fetch.")
    whole = pd.concat([tables.read_scores(path) for path in paths], ignore_index=True)
    return whole.drop_duplicates("token_decoded", ignore_index=True)


def _measured(source: str, base: str, subject: Subject, table: pd.DataFrame) -> Measured:
    prompts = value_laden()
    return Measured(source, base, subject, table, prompts[prompts["key"].isin(tables.prompt_keys(table))])
