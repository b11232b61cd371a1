"""Score files, a lexicon and groups joined into one block of numbers; everything left out is counted.

A ``Cube`` holds the words, prompts and models that *all* files share, so that every model ranks the
same words. What a file lacks is excluded from all of them and counted in ``Cube.excluded``; what
cannot be understood is an InputError. Nothing is dropped in silence.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace import prompts
from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv, sha256
from valuetrace.stats.ranks import rank_words, subset_medians
from valuetrace.tables import prompt_keys, read_scores

SHOWN = 20
"""So many excluded words are named in the metrics; all are counted."""

VOCABULARY_ROWS = 1_000
"""A file of fewer rows is a list of words, whatever its columns."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One score file, read: its model, base and the best score of each text."""

    model: str
    base: str
    file: str
    sha256: str
    kind: str | None
    scores: pd.DataFrame  # index: decoded text (unique); columns: prompt keys, float32
    has_nan: pd.Index  # texts with NaN for any prompt
    duplicates: dict[str, int]
    whole_vocabulary: bool


@dataclasses.dataclass(frozen=True)
class Cube:
    """Scores of the words that every model and prompt has: ``scores`` is (models, prompts, words)."""

    scores: np.ndarray
    words: pd.Index
    models: list[str]
    base_of: np.ndarray  # (models,) names
    prompts: list[str]
    framing: np.ndarray  # (prompts,) "positive" or "negative"
    constructs: list[str]
    member: np.ndarray  # (constructs, words) booleans: a word may belong to several
    excluded: dict

    @property
    def bases(self) -> list[str]:
        """The two bases in alphabetical order: a difference is second − first."""
        return sorted(set(self.base_of))

    @property
    def is_second(self) -> np.ndarray:
        """(models,) True for models of the second base."""
        return self.base_of == self.bases[1]

    def without_model(self, model: str) -> Cube:
        """The same words and prompts with one model left out."""
        keep = np.array([name != model for name in self.models])
        return dataclasses.replace(
            self, scores=self.scores[keep], models=[m for m in self.models if m != model], base_of=self.base_of[keep]
        )

    def ranks(self, ties: str = "average") -> np.ndarray:
        """Rank of each word within model and prompt, 1 = best: (words, models × prompts). ``ties`` as in scipy."""
        flat = self.scores.reshape(-1, len(self.words)).T
        return rank_words(flat, ties)

    def medians(self, ranks: np.ndarray | None = None) -> np.ndarray:
        """Median rank by construct, model and prompt: (constructs, models, prompts)."""
        ranks = self.ranks() if ranks is None else ranks
        return subset_medians(ranks, self.member).reshape(len(self.constructs), len(self.models), len(self.prompts))


def read_groups(path: str | Path) -> dict[str, str]:
    """Base by model from a CSV ``model,base``. InputError for an empty cell or one model with two bases."""
    frame = read_csv(path, ("model", "base"), dtype=str)
    groups: dict[str, str] = {}
    for line, (model, base) in enumerate(zip(frame["model"].str.strip(), frame["base"].str.strip(), strict=True), 2):
        if not model or not base:
            raise InputError(f"{path}: line {line}: model or base is empty. Give both.")
        if groups.setdefault(model, base) != base:
            raise InputError(f"{path}: line {line}: {model} is given to {groups[model]} and to {base}. Keep one line.")
    return groups


def read_table(path: str | Path, groups: dict[str, str]) -> Table:
    """Read one score file and find its model and base in ``groups``.

    A file is known by its path, its name with or without suffix, or the model that its metadata
    names. Of tokens that decode alike the higher-scored stays; a word that stands twice in a list
    of words with different scores is an InputError.
    """
    path = Path(path)
    frame = read_scores(path)
    metadata, keys = frame.attrs, prompt_keys(frame)
    names = [metadata.get("model"), path.as_posix(), path.name, path.stem]
    found = [name for name in names if name in groups]
    if not found:
        raise InputError(
            f"{path}: its base is unknown: groups name none of {some(name for name in names if name)} "
            f"(they name {some(groups)}). Add a line 'model,base'."
        )
    if len({groups[name] for name in found}) > 1:
        raise InputError(f"{path}: groups give it two bases, as {some(found)}. Keep one line.")
    repeated = frame["token_decoded"].duplicated(keep=False)
    again = frame[repeated]
    distinct = again.drop_duplicates(["token_decoded", *keys])
    conflicts = distinct[distinct["token_decoded"].duplicated(keep=False)]
    words = conflicts[conflicts["token_id"].isna()]["token_decoded"].unique()
    if len(words):
        raise InputError(f"{path}: {some(words)} stands twice with different scores. Keep one row a word.")
    texts = frame["token_decoded"].nunique()
    same_scores = len(again) - len(distinct)
    best = frame.groupby("token_decoded", sort=False)[keys].max() if repeated.any() else None
    if best is None:
        best = frame.set_index("token_decoded")[keys]
    has_nan = pd.Index(frame.loc[frame[keys].isna().any(axis=1), "token_decoded"].unique())
    return Table(
        model=found[0].removesuffix(".csv").removesuffix(".parquet"),
        base=groups[found[0]],
        file=path.as_posix(),
        sha256=sha256(path),
        kind=metadata.get("kind"),
        scores=best,
        has_nan=has_nan,
        duplicates={"same_scores": same_scores, "lower_scored": len(frame) - texts - same_scores},
        whole_vocabulary=len(frame) >= VOCABULARY_ROWS and not frame["token_id"].isna().any(),
    )


def read_tables(paths: list[str | Path], groups: dict[str, str]) -> list[Table]:
    """Read every score file; InputError unless they are of two bases, of one kind and a model each."""
    tables = [read_table(path, groups) for path in paths]
    seen: dict[str, str] = {}
    for table in tables:
        if table.model in seen:
            raise InputError(f"{table.file}: {table.model} is already given by {seen[table.model]}. Give a model once.")
        seen[table.model] = table.file
    bases = sorted({table.base for table in tables})
    if len(bases) != 2:
        raise InputError(f"The score files are of {len(bases)} base(s) ({some(bases)}). Give files of exactly two.")
    kinds = sorted({table.kind for table in tables if table.kind})
    if len(kinds) > 1:
        raise InputError(f"The score files are of several kinds ({some(kinds)}). Compare files of one kind.")
    return sorted(tables, key=lambda table: (table.base, table.model))


def build_cube(tables: list[Table], lexicon: pd.DataFrame) -> Cube:
    """Join tables with a lexicon (columns ``word``, ``construct``).

    Keeps the prompts that every table has and whose framing is known, and the lexicon's words that
    every table scores without NaN. Raises InputError where no prompt or no word of a construct is left.
    """
    keys, framing, excluded = _shared_prompts(tables)
    wanted = pd.Index(lexicon["word"].unique())
    scored = {table.model: _found(wanted, table.scores.index) for table in tables}
    in_all = np.logical_and.reduce(list(scored.values()))
    finite = np.logical_and.reduce([~_found(wanted, table.has_nan) for table in tables])
    words = wanted[in_all & finite]
    constructs = sorted(lexicon["construct"].unique())
    member = np.array([words.isin(lexicon.loc[lexicon["construct"] == name, "word"]) for name in constructs])
    empty = [name for name, row in zip(constructs, member, strict=True) if not row.any()]
    if empty:
        raise InputError(
            f"No word of {some(empty)} is scored by every file ({len(words)} of {len(wanted)} words are). "
            "Check that the files hold this lexicon's words."
        )
    excluded["lexicon_words_not_scored"] = _named(wanted[~in_all]) | {
        "by_model": {model: int((~has).sum()) for model, has in scored.items() if not has.all()}
    }
    excluded["lexicon_words_with_nan"] = _named(wanted[in_all & ~finite])
    excluded["texts_not_in_lexicon"] = {
        table.model: int((~_found(table.scores.index, wanted)).sum()) for table in tables
    }
    excluded["duplicate_rows"] = {t.model: t.duplicates for t in tables if any(t.duplicates.values())}
    return Cube(
        scores=_stack(tables, keys, words),
        words=words,
        models=[table.model for table in tables],
        base_of=np.array([table.base for table in tables]),
        prompts=keys,
        framing=framing,
        constructs=constructs,
        member=member,
        excluded=excluded,
    )


def other_words(tables: list[Table], lexicon: pd.DataFrame, keys: list[str]) -> tuple[pd.Index, np.ndarray]:
    """Words that every table scores and the lexicon lacks, with their scores (models, prompts, words).

    A word is a lower-case alphabetic text of three letters or more that English uses (wordfreq
    knows it): the pieces that tokenizers make are left out.
    """
    common = _common_texts(tables)
    common = common[~_found(common, pd.Index(lexicon["word"].unique()))]
    for table in tables:
        common = common[~_found(common, table.has_nan)]
    shape = [len(t) >= 3 and t.isascii() and t.isalpha() and t.islower() for t in common]
    words = common[shape] if len(common) else common
    words = words[[zipf_frequency(word, "en") > 0 for word in words]] if len(words) else words
    words = words.sort_values()
    return words, _stack(tables, keys, words)


def whole_vocabulary(tables: list[Table], keys: list[str]) -> tuple[pd.Index, np.ndarray] | None:
    """Texts that all vocabularies share, NaN-free, and their scores; None unless every file is of token ids."""
    if not all(table.whole_vocabulary for table in tables):
        return None
    texts = _common_texts(tables)
    for table in tables:
        texts = texts[~_found(texts, table.has_nan)]
    return texts, _stack(tables, keys, texts)


def _common_texts(tables: list[Table]) -> pd.Index:
    common = tables[0].scores.index
    for table in tables[1:]:
        common = common[_found(common, table.scores.index)]
    return common


def _shared_prompts(tables: list[Table]) -> tuple[list[str], np.ndarray, dict]:
    framings = prompts.value_laden().set_index("key")["framing"]
    union = pd.Index([key for table in tables for key in table.scores.columns]).unique()
    known = union[union.isin(framings.index)]
    shared = [key for key in framings.index if all(key in table.scores.columns for table in tables)]
    lacking = {
        table.model: [key for key in known if key not in table.scores.columns]
        for table in tables
        if not known.isin(table.scores.columns).all()
    }
    framing = framings.loc[shared].to_numpy()
    missing = [name for name in ("positive", "negative") if name not in framing]
    if missing:
        raise InputError(
            f"No {some(missing)} prompt is in every score file (prompts known: {some(known)}). "
            "Score the same prompts with every model."
        )
    excluded = {
        "prompts_not_in_every_file": _named(known[~known.isin(shared)]) | {"by_model": lacking},
        "prompts_of_no_known_framing": _named(union[~union.isin(framings.index)]),
    }
    return shared, framing, excluded


def _found(texts: pd.Index, index: pd.Index) -> np.ndarray:
    """(texts,) whether each stands in ``index``, whose entries are unique (by hash; ``isin`` is slow on text)."""
    return index.get_indexer(texts) >= 0


def _stack(tables: list[Table], keys: list[str], words: pd.Index) -> np.ndarray:
    """(models, prompts, words), float32."""
    return np.stack([table.scores.reindex(words)[keys].to_numpy(dtype=np.float32).T for table in tables])


def _named(items: pd.Index) -> dict:
    return {"count": len(items), "first": [str(item) for item in items[:SHOWN]]}
