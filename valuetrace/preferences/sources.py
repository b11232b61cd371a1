"""Where preference pairs come from: WordNet, a data set of the Hugging Face Hub, a local file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuetrace import hub
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv
from valuetrace.lexicon import unrolled
from valuetrace.preferences import conversations, valence, wordnet
from valuetrace.preferences.sample import parse_size, split, take

HELD_OUT_MIXED = 256  # pairs, half definitions and half valence pairs


@dataclass(frozen=True)
class Valence:
    """words (CSV ``word, valence, part``), wordings (CSV ``text, valence, part``): reviewed; share of all pairs."""

    words: str
    wordings: str
    share: float

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise ValueError("share must lie between 0 and 1")


@dataclass(frozen=True)
class Source:
    """One row of ``preferences.sources``.

    wordnet: definitions from ``folder``, silent on the words of the lexicons in ``exclude``; with ``valence`` a share
    of the pairs asks for pleasant and unpleasant words instead. hub: ``repository`` at ``revision`` (null: resolved and
    recorded in the lock file at first use). file: ``path`` of a .jsonl or .parquet. held_out: share of keys kept for
    evaluation. invalid: whether a bad row (identical or empty replies) is an error or dropped and counted. strides:
    sizes that are every s-th row.
    """

    kind: Literal["wordnet", "hub", "file"]
    licence: str
    held_out: float
    folder: str | None = None
    exclude: list[str] = field(default_factory=list)
    valence: Valence | None = None
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


class Drawn(NamedTuple):
    """train, held_out: pair tables; available: pairs of the source; left_out: rows by reason; origin: of the source."""

    train: pd.DataFrame
    held_out: pd.DataFrame
    available: dict[str, int]
    left_out: Counter
    origin: dict[str, Any]


def draw(params: Preferences, size: object, seed: int) -> Drawn:
    """The pairs of a run: ``size`` (``parse_size``) of the chosen source, drawn by ``seed``.

    For one seed a smaller size lies inside a larger one that it divides (any larger one, with valence pairs).
    """
    source = params.sources[params.source]
    if not (isinstance(size, str) and size in source.strides):
        wanted = parse_size(size)  # a bad value is told before anything is read
    everything, held_out, left_out, origin = load(params.source, source, seed)
    available = {"train": len(everything), "held_out": len(held_out)}
    if source.valence is None:
        return Drawn(take(everything, size, source.strides), held_out, available, left_out, origin)
    words, wordings = (
        read_csv(path, (column, "valence", "part"))
        for path, column in ((source.valence.words, "word"), (source.valence.wordings, "text"))
    )
    share = source.valence.share
    wanted = int(len(everything) / (1 - share)) if wanted is None else wanted
    train = valence.mix(everything, words, wordings, wanted, share, seed)
    spared = valence.held_out(held_out, words, wordings, min(2 * len(held_out), HELD_OUT_MIXED), seed)
    return Drawn(train, spared, available, left_out, origin | {"valence_share": share})


def write(named: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write pair tables as ``folder/<name>.parquet``."""
    for name, pairs in named.items():
        files.write_atomically(folder / f"{name}.parquet", lambda to, pairs=pairs: pairs.to_parquet(to, index=False))


def load(name: str, source: Source, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, Counter, dict]:
    """(train, held out, how many were left out by reason, origin) of a whole source."""
    origin: dict[str, Any] = {"source": name, "kind": source.kind, "licence": source.licence}
    if source.kind == "wordnet":
        words = {word for lexicon in source.exclude for word in unrolled.read_lexicon(lexicon)["word"]}
        synsets = wordnet.read_synsets(cast(str, source.folder))
        pairs, left_out = wordnet.pairs(synsets, words, source.held_out, seed)
        origin |= {"excluded_lexicons": source.exclude, "excluded_words": len(words)}
    else:
        if source.kind == "hub":
            revision, rows = _hub(source)
            origin |= {"repository": source.repository, "revision": revision}
        else:
            rows = _file(Path(cast(str, source.path)))
            origin |= {"path": source.path, "sha256": files.sha256(cast(str, source.path))}
        pairs, left_out = conversations.pairs(rows, source.columns, source.prefixes, source.invalid, name)
    return *split(pairs, source.held_out, seed), left_out, origin


def _hub(source: Source) -> tuple[str, Iterator[dict]]:
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"data set {source.repository}"
    try:
        revision = source.revision or hub.resolve_revision(
            f"datasets/{source.repository}", lambda _: HfApi().dataset_info(cast(str, source.repository)).sha
        )
        rows = load_dataset(source.repository, source.configuration, split=source.split, revision=revision)
    except GatedRepoError:
        raise InputError(f"{where} is gated. Accept its terms on the Hub, then run `hf auth login`.") from None
    except RevisionNotFoundError:
        raise InputError(f"{where} has no such revision. Correct the row or {hub.REVISIONS}.") from None
    except RepositoryNotFoundError:
        raise InputError(f"{where} does not exist or is private. Check its name, or run `hf auth login`.") from None
    except (HfHubHTTPError, OSError) as error:
        said = f"{type(error).__name__}: {hub.told(error)}"
        raise InputError(f"{where} cannot be reached ({said}). Check the network.") from None
    except ValueError as error:
        raise InputError(f"{where} cannot be loaded ({hub.told(error)}). Check 'configuration' and 'split'.") from None
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
