"""Where preference pairs come from: WordNet, a data set of the Hugging Face Hub, a local file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuetrace import hub
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv
from valuetrace.preferences import conversations, wordnet
from valuetrace.preferences.sample import split


@dataclass(frozen=True)
class Source:
    """One row of ``preferences.sources``.

    wordnet: definitions from ``folder``, silent on the words of the lexicons in ``exclude``. hub:
    ``repository`` at ``revision`` (null: resolved and recorded in the lock file at first use). file:
    ``path`` of a .jsonl or .parquet. held_out: share of keys kept for evaluation. invalid: whether a bad
    row (identical or empty replies) is an error or dropped and counted. strides: sizes that are every
    s-th row.
    """

    kind: Literal["wordnet", "hub", "file"]
    licence: str
    held_out: float
    folder: str | None = None
    exclude: list[str] = field(default_factory=list)
    repository: str | None = None
    revision: str | None = None
    configuration: str | None = None
    split: str = "train"
    path: str | None = None
    columns: conversations.Columns = field(default_factory=conversations.Columns)
    prefixes: dict[str, str] = field(default_factory=dict)
    strides: dict[str, int] = field(default_factory=dict)
    invalid: Literal["error", "drop"] = "error"

    def __post_init__(self):
        needed = {"wordnet": "folder", "hub": "repository", "file": "path"}[self.kind]
        if getattr(self, needed) is None:
            raise ValueError(f"a {self.kind} source needs '{needed}'")
        if not 0 < self.held_out < 1:
            raise ValueError("held_out must lie between 0 and 1")
        if any(stride < 1 for stride in self.strides.values()):
            raise ValueError("a stride must be at least 1")


@dataclass(frozen=True)
class Preferences:
    """The parameter group: which of the sources is used, and the seed of split and partners."""

    source: str
    seed: int
    sources: dict[str, Source]

    def __post_init__(self):
        if self.source not in self.sources:
            raise ValueError(f"source {self.source!r} is not among sources ({some(self.sources)})")


def load(name: str, source: Source, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, Counter, dict]:
    """(train, held out, how many were left out by reason, origin) of a whole source."""
    origin: dict[str, Any] = {"source": name, "kind": source.kind, "licence": source.licence}
    if source.kind == "wordnet":
        words = {word for lexicon in source.exclude for word in read_csv(f"lexicons/{lexicon}.csv", ("word",))["word"]}
        synsets = wordnet.read_synsets(source.folder)
        pairs, left_out = wordnet.pairs(synsets, words, source.held_out, seed)
        origin |= {"excluded_lexicons": source.exclude, "excluded_words": len(words)}
    else:
        if source.kind == "hub":
            revision, rows = _hub(source)
            origin |= {"repository": source.repository, "revision": revision}
        else:
            rows = _file(Path(source.path))
            origin |= {"path": source.path, "sha256": files.sha256(source.path)}
        pairs, left_out = conversations.pairs(rows, source.columns, source.prefixes, source.invalid, name)
    return *split(pairs, source.held_out, seed), left_out, origin


def _hub(source: Source) -> tuple[str, Iterator[dict]]:
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"data set {source.repository}"
    try:
        revision = source.revision or hub.resolve_revision(
            f"datasets/{source.repository}", lambda _: HfApi().dataset_info(source.repository).sha
        )
        rows = load_dataset(source.repository, source.configuration, split=source.split, revision=revision)
    except GatedRepoError:
        raise InputError(f"{where} is gated. Accept its terms on the Hub, then run `hf auth login`.") from None
    except RevisionNotFoundError:
        raise InputError(f"{where} has no such revision. Correct the row or {hub.REVISIONS}.") from None
    except RepositoryNotFoundError:
        raise InputError(f"{where} does not exist or is private. Check its name, or run `hf auth login`.") from None
    except (HfHubHTTPError, OSError) as error:
        raise InputError(f"{where} cannot be reached ({type(error).__name__}). Check the network.") from None
    except ValueError as error:
        raise InputError(f"{where} cannot be loaded ({error}). Check 'configuration' and 'split'.") from None
    return revision, iter(rows.select_columns([c for c in source.columns.names() if c in rows.column_names]))


def _file(path: Path) -> Iterator[dict]:
    if not path.is_file():
        raise InputError(f"{path}: no such file. Check the source's path.")
    try:
        if path.suffix == ".parquet":
            return iter(pq.read_table(path).to_pylist())
        if path.suffix == ".jsonl":
            return iter(pd.read_json(path, lines=True, dtype=False).to_dict("records"))
    except (pa.ArrowInvalid, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    raise InputError(f"{path}: preference files are .jsonl or .parquet.")
