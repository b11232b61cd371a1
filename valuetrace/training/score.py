"""Exhaustive search over the checkpoints of one run (Section 4.1): a score table with one row a step and word."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.models import loading
from valuetrace.prompts import value_laden
from valuetrace.scoring.chat import Format

SCORES = Path("data/checkpoint_scores")
SHARDS = "scores"  # beside the checkpoints: what a killed search had done, kept apart by the weights' hash
INDEX = ("step", "word", "token_id")


@dataclass(frozen=True)
class Search:
    """What is searched (group ``dynamics.search``).

    lexicon: ``lexicons/<lexicon>.csv``; adjectives: every prompt with one of these; checkpoints: how many in
    all, at least 2; vocabulary: every token id is scored too, for every prompt.
    """

    lexicon: str
    adjectives: list[str]
    checkpoints: int
    vocabulary: bool = False

    def __post_init__(self):
        if self.checkpoints < 2:
            raise ValueError("checkpoints must be at least 2: step 0 and the last")
        prompts = self.prompts()
        framings = prompts.drop_duplicates("adjective")["framing"].value_counts()
        unknown = [adjective for adjective in self.adjectives if adjective not in set(prompts["adjective"])]
        if unknown:
            raise ValueError(f"adjective {some(unknown)} is not in prompts/design.yaml")
        if len(framings) != 2 or framings.nunique() != 1:
            raise ValueError("adjectives must hold as many of positive as of negative framing")

    def prompts(self) -> pd.DataFrame:
        """The prompts with one of the adjectives: ``key, text, framing, …`` (``prompts.value_laden``)."""
        prompts = value_laden()
        return prompts[prompts["adjective"].isin(self.adjectives)].reset_index(drop=True)

    def words(self) -> list[str]:
        """The lexicon's words, once each."""
        path = f"lexicons/{self.lexicon}.csv"
        return list(dict.fromkeys(files.read_csv(path, ("word", "construct"))["word"]))


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
    attention: str = "sdpa",
    progress: bool = True,
) -> pd.DataFrame:
    """The reward of every word, after every prompt, at every step.

    prompts: key → text. Each checkpoint is merged into a fresh copy of the base (subtracting one adapter to
    add the next would leave rounding behind). Returns ``step, word, token_id`` (missing for a lexicon's
    word; with ``vocabulary`` a second block of rows holds every token id, ``word`` its decoded text), then a
    float32 column a prompt key, in the reward model's own units. Under ``accelerate launch`` the work is
    dealt out and every process returns the whole table. A killed search goes on from its shards. InputError
    names a step that has no checkpoint.
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
        model = checkpoint.load_trained(
            base_folder, folder / f"step-{step}", dtype=dtype, attention=attention, device=loading.best_device()
        )
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


def write(frame: pd.DataFrame, path: str | Path, made_by: dict) -> Path:
    """Write ``score_checkpoints``' table as parquet; ``made_by`` (base, format …) goes into its metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({b"valuetrace": json.dumps(made_by).encode()})
    split = [name for name in frame.columns if name not in INDEX]
    layout = {"compression": "zstd", "use_dictionary": ["word"], "use_byte_stream_split": split}
    return files.write_atomically(path, lambda to: pq.write_table(table, to, **layout))


def read(path: str | Path) -> pd.DataFrame:
    """Read what ``write`` wrote; InputError where it is missing, damaged or of another form."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Train the base first (stages/train.py).")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a parquet file, or damaged ({error}). Train again.") from None
    missing = [name for name in INDEX if name not in table.column_names]
    if missing or len(table.column_names) == len(INDEX):
        raise InputError(f"{path}: not a table of checkpoint scores (it lacks {some(missing or ['prompt columns'])}).")
    frame = table.to_pandas(ignore_metadata=True)
    return frame.assign(token_id=frame["token_id"].astype("Int64"))
