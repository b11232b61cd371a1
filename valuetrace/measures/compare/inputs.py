"""The comparisons of params.yaml, and their score files, read and checked: model, base and lineage, no file twice.

Whatever cannot be understood is an InputError that names the file; duplicates are counted.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from valuetrace.core import settings
from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv, sha256
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.tables import prompt_keys, read_scores

LISTS = ("bases", "reward_models")
"""Lists of models in params.yaml that a comparison may be of."""

PUBLISHED_MODELS = settings.ROOT / "conf" / "published" / "reward_models.csv"
"""The ten reward models of Section 2: repository, base as the paper names it, lineage, and what it rests on: weights
training started from, preference data (empty: not known), and where that is told."""

BARE = Format("text", space=False)
"""The token form of a file that does not say: the texts themselves, as in the authors' files."""

VOCABULARY_ROWS = 1_000
"""A file of fewer rows is a list of words, whatever its columns."""


class Origin(NamedTuple):
    """Where a model comes from. lineage: models of one share weights, or their whole training; empty: none."""

    base: str
    lineage: str = ""


@dataclass(frozen=True)
class Table:
    """One score file, read. frame: its rows, a text with NaN for one prompt being NaN for all; made_by: its metadata.

    form: how a word is spelt as a reply, where the metadata say so.
    """

    model: str
    origin: Origin
    file: str
    sha256: str
    made_by: dict
    form: Format
    frame: pd.DataFrame
    duplicates: dict[str, int]

    def words(self, words: pd.Index, keys: list[str]) -> pd.DataFrame:
        """Scores of those ``words`` that the file holds in its own spelling (index ``word``), by prompt key."""
        return word_scores(self.frame, words, keys, self.form, self.made_by.get("case", "lower"))

    @property
    def whole_vocabulary(self) -> bool:
        """Whether the rows are the tokens of a vocabulary, not a list of words."""
        return len(self.frame) >= VOCABULARY_ROWS and not self.frame["token_id"].isna().any()


@dataclass(frozen=True)
class Run:
    """One comparison: whose scores of which kind (log-probabilities in a format), the lexicon and others beside it."""

    title: str
    lexicon: str
    also: list[str]
    scores: Literal["token_logprobs", "rewards"]
    models: Literal["bases", "reward_models"] | list[str]  # a list of params.yaml, or the models themselves
    format: str | None = None

    def __post_init__(self):
        if isinstance(self.models, list) and (not self.models or len(set(self.models)) < len(self.models)):
            raise ValueError("models names the models, once each")
        if (self.format is None) == (self.scores == "token_logprobs"):
            raise ValueError("log-probabilities are of one format, rewards of the model's own")

    def files(self) -> list[Path]:
        """The score file of each model, where the stages write it."""
        models = settings.get(self.models, list[str]) if isinstance(self.models, str) else self.models
        within = "" if self.format is None else f"/{self.format}"
        return [Path("data", self.scores, f"{model}{within}.parquet") for model in models]


@dataclass(frozen=True)
class Compare:
    """The group: the comparisons by name, and the draws of all."""

    seed: int
    draws: int
    lexicon_draws: int
    runs: dict[str, Run]


def read_groups(path: str | Path) -> dict[str, Origin]:
    """Base and lineage by model from a CSV ``model,base[,lineage]``. InputError for an empty cell or two bases."""
    frame = read_csv(path, ("model", "base"), dtype=str)
    if "lineage" not in frame.columns:
        frame["lineage"] = ""
    groups: dict[str, Origin] = {}
    for line, row in enumerate(frame[["model", "base", "lineage"]].itertuples(index=False), 2):
        model, base, lineage = (cell.strip() for cell in row)
        if not model or not base:
            raise InputError(f"{path}: line {line}: model or base is empty. Give both.")
        if groups.setdefault(model, Origin(base, lineage)) != (base, lineage):
            both = (f"{own.base} {own.lineage}".strip() for own in (groups[model], Origin(base, lineage)))
            raise InputError(f"{path}: line {line}: {model} is given to {' and to '.join(both)}. Keep one line.")
    return groups


def read_origins(params: str | Path = settings.PARAMS) -> dict[str, Origin]:
    """Base and lineage of the models that params.yaml names, and of the published ones by the authors' file names.

    A model's base is its row's ``family`` without what stands in brackets; a published model's is the paper's.
    """
    published = read_csv(PUBLISHED_MODELS, ("repository", "base", "lineage"), dtype=str)
    known = {row.repository: Origin(row.base, row.lineage) for row in cast(Any, published.itertuples())}
    groups = {repository.replace("/", "_"): origin for repository, origin in known.items()}
    for name, row in settings.get("models", dict[str, Any], params).items() if Path(params).is_file() else ():
        base = row["family"].partition(" (")[0]
        groups[name] = known.get(row["source"].get("repository"), Origin(base))
    return groups


def read_table(path: str | Path, groups: dict[str, Origin]) -> Table:
    """Read one score file and find its model in ``groups``.

    A file is known by the model that its metadata name, by its path, its name with or without suffix, or by what its
    name ends with after ``_`` (the authors' ``big2_rewards_OWNER_NAME.csv``). Of tokens that decode alike the
    higher-scored stays; a word that stands twice in a list of words with different scores is an InputError.
    """
    path = Path(path)
    frame = read_scores(path)
    made_by, keys = frame.attrs, prompt_keys(frame)
    infinite = np.argwhere(np.isinf(frame[keys].to_numpy()))
    if len(infinite):
        row, column = infinite[0]
        raise InputError(
            f"{path}: column {keys[column]}, row {row + 1}: the score is no finite float32 number. Score it again, or "
            "leave the row out."
        )
    model = _model(path, made_by, groups)
    again = frame[frame["token_decoded"].duplicated(keep=False)]
    distinct = again.drop_duplicates(["token_decoded", *keys])
    conflicts = distinct[distinct["token_decoded"].duplicated(keep=False)]
    words = conflicts[conflicts["token_id"].isna()]["token_decoded"].unique()
    if len(words):
        raise InputError(f"{path}: {some(words)} stands twice with different scores. Keep one row a word.")
    same_scores = len(again) - len(distinct)
    lower = len(frame) - frame["token_decoded"].nunique() - same_scores
    has_nan = frame[keys].isna().any(axis=1)
    if has_nan.any():
        frame.loc[frame["token_decoded"].isin(frame.loc[has_nan, "token_decoded"]), keys] = float("nan")
    form = made_by.get("form")
    return Table(
        model=model.removesuffix(".csv").removesuffix(".parquet"),
        origin=groups[model],
        file=path.as_posix(),
        sha256=sha256(path),
        made_by=made_by,
        form=BARE if form is None else settings.build(Format, form, f"{path}: 'form' of its metadata"),
        frame=frame,
        duplicates={"same_scores": same_scores, "lower_scored": lower},
    )


def read_tables(paths: list[str | Path], groups: dict[str, Origin]) -> list[Table]:
    """Read every score file; InputError unless they are of two bases, made in one way, and a model each."""
    tables = [read_table(path, groups) for path in paths]
    for a, b in itertools.combinations(tables, 2):
        if a.model == b.model:
            raise InputError(f"{b.file}: {a.model} is already given by {a.file}. Give a model once.")
        if a.sha256 == b.sha256:
            raise InputError(f"{b.file}: the same file as {a.file} under another name. Give each model its own scores.")
        for key in ("kind", "format", "form", "tokenisation"):
            ours, theirs = (table.made_by.get(key) for table in (a, b))
            if None not in (ours, theirs) and ours != theirs:
                raise InputError(f"{b.file}: {key} {theirs}, but {a.file}: {ours}. Compare files of one {key}.")
    bases = sorted({table.origin.base for table in tables})
    if len(bases) != 2:
        raise InputError(f"The score files are of {len(bases)} base(s) ({some(bases)}). Give files of exactly two.")
    return sorted(tables, key=lambda table: (table.origin.base, table.model))


def _model(path: Path, made_by: dict, groups: dict[str, Origin]) -> str:
    names = [name for name in (made_by.get("model"), path.as_posix(), path.name, path.stem) if name]
    found = [name for name in names if name in groups] or [n for n in groups if path.stem.endswith(f"_{n}")]
    if not found:
        raise InputError(
            f"{path}: its base is unknown: groups name none of {some(names)} (they name {some(groups)}). "
            "Give --groups with a line 'model,base' for it."
        )
    if len({groups[name] for name in found}) > 1:
        raise InputError(f"{path}: groups give it two bases, as {some(found)}. Keep one line.")
    return found[0]
