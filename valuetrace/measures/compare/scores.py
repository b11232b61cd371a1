"""Score tables joined with a lexicon into one block of numbers; everything left out is counted.

``Scores`` holds the words, prompts and models that *all* files share, so that every model ranks the same words. What a
file lacks is excluded from all of them and counted in ``Scores.excluded``. Nothing is dropped in silence.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace import prompts
from valuetrace.core.errors import InputError, some
from valuetrace.measures.compare.inputs import Table
from valuetrace.stats.ranks import rank_words, subset_medians
from valuetrace.tables import prompt_keys

SHOWN = 20
"""So many excluded words are named in the metrics; all are counted."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of the words that every model and prompt has: ``values`` is (models, prompts, words)."""

    values: np.ndarray  # float32
    words: pd.Index
    models: list[str]
    base_of: np.ndarray  # (models,) names
    lineage_of: np.ndarray  # (models,) names; a model of no lineage is its own
    prompts: list[str]
    framing: np.ndarray  # (prompts,) "positive" or "negative"
    constructs: list[str]
    member: np.ndarray  # (constructs, words) booleans: a word may belong to several
    excluded: dict

    @property
    def bases(self) -> list[str]:
        """The two bases in alphabetical order: a difference is second − first."""
        return sorted(set(self.base_of.tolist()))

    @property
    def is_second(self) -> np.ndarray:
        """(models,) True for models of the second base."""
        return self.base_of == self.bases[1]

    def without_model(self, model: str) -> Scores:
        """The same words and prompts with one model left out."""
        keep = np.array([name != model for name in self.models])
        return dataclasses.replace(
            self,
            values=self.values[keep],
            models=[m for m in self.models if m != model],
            base_of=self.base_of[keep],
            lineage_of=self.lineage_of[keep],
        )

    def ranks(self, ties: str = "average") -> np.ndarray:
        """Rank of each word within model and prompt, 1 = best: (words, models × prompts). ``ties`` as in scipy."""
        flat = self.values.reshape(-1, len(self.words)).T
        return rank_words(flat, ties)

    def medians(self, ranks: np.ndarray | None = None) -> np.ndarray:
        """Median rank by construct, model and prompt: (constructs, models, prompts)."""
        ranks = self.ranks() if ranks is None else ranks
        return subset_medians(ranks, self.member).reshape(len(self.constructs), len(self.models), len(self.prompts))

    def tidy(self, medians: np.ndarray) -> pd.DataFrame:
        """One row a construct, model and prompt: ``model, base, prompt, framing, construct, median``."""
        k, m, p = medians.shape
        return pd.DataFrame(
            {
                "model": np.tile(np.repeat(self.models, p), k),
                "base": np.tile(np.repeat(self.base_of, p), k),
                "prompt": np.tile(self.prompts, k * m),
                "framing": np.tile(self.framing, k * m),
                "construct": np.repeat(self.constructs, m * p),
                "median": medians.ravel(),
            }
        )


def join(tables: list[Table], lexicon: pd.DataFrame) -> Scores:
    """Join tables with a lexicon (columns ``word``, ``construct``), each word in the spelling of its file.

    Keeps the prompts that every table has and whose framing is known, and the lexicon's words that every table scores
    without NaN. InputError where no prompt or no word of a construct is left, and where two files hold the same scores.
    """
    keys, framing, excluded = _shared_prompts(tables)
    wanted = pd.Index(lexicon["word"].unique())
    found = {table.model: table.words(wanted, keys) for table in tables}
    scored = {model: wanted.isin(frame.index) for model, frame in found.items()}
    in_all = np.logical_and.reduce(list(scored.values()))
    values = np.stack([frame.loc[wanted[in_all]].to_numpy(dtype=np.float32).T for frame in found.values()])
    finite = ~np.isnan(values).any(axis=(0, 1))
    words, values = wanted[in_all][finite], values[:, :, finite]
    constructs = sorted(lexicon["construct"].unique())
    member = np.array([words.isin(lexicon.loc[lexicon["construct"] == name, "word"]) for name in constructs])
    empty = [name for name, row in zip(constructs, member, strict=True) if not row.any()]
    if empty:
        raise InputError(
            f"No word of {some(empty)} is scored by every file ({len(words)} of {len(wanted)} words are). "
            "Check that the files hold this lexicon's words."
        )
    _refuse_copies(values, tables, keys)
    excluded["lexicon_words_not_scored"] = _named(wanted[~in_all]) | {
        "by_model": {model: int((~has).sum()) for model, has in scored.items() if not has.all()}
    }
    excluded["lexicon_words_with_nan"] = _named(wanted[in_all][~finite])
    excluded["texts_not_in_lexicon"] = {
        table.model: table.frame["token_decoded"].nunique() - len(found[table.model]) for table in tables
    }
    excluded["duplicate_rows"] = {t.model: t.duplicates for t in tables if any(t.duplicates.values())}
    return Scores(
        values=values,
        words=words,
        models=[table.model for table in tables],
        base_of=np.array([table.origin.base for table in tables]),
        lineage_of=np.array([table.origin.lineage or table.model for table in tables]),
        prompts=keys,
        framing=framing,
        constructs=constructs,
        member=member,
        excluded=excluded,
    )


def other_words(tables: list[Table], lexicon: pd.DataFrame, keys: list[str]) -> tuple[pd.Index, np.ndarray]:
    """Words that every table scores and the lexicon lacks, with their scores (models, prompts, words).

    A word is a lower-case alphabetic text of three letters or more that English uses (wordfreq knows it), in the
    spelling that the lexicon's words are looked for in: the pieces that tokenizers make are left out.
    """
    texts = tables[0].frame["token_decoded"].str.strip().unique()
    own = set(lexicon["word"])
    words = [t for t in texts if len(t) >= 3 and t.isascii() and t.isalpha() and t.islower() and t not in own]
    words = pd.Index([word for word in words if zipf_frequency(word, "en") > 0], dtype=object)
    found = [table.words(words, keys).dropna() for table in tables]
    for frame in found:
        words = words[words.isin(frame.index)]
    words = words.sort_values()
    return words, np.stack([frame.loc[words].to_numpy(dtype=np.float32).T for frame in found])


def whole_vocabulary(tables: list[Table], keys: list[str]) -> tuple[pd.Index, np.ndarray] | None:
    """Texts that all vocabularies share, NaN-free, and their scores; None unless every file is of token ids."""
    if not all(table.whole_vocabulary for table in tables):
        return None
    best = []
    for table in tables:
        frame = table.frame[["token_decoded", *keys]].dropna()
        once = frame["token_decoded"].is_unique
        by_text = frame.set_index("token_decoded") if once else frame.groupby("token_decoded", sort=False).max()
        best.append(by_text)
    texts = best[0].index
    for frame in best[1:]:
        texts = texts[frame.index.get_indexer(texts) >= 0]
    return texts, np.stack([frame.loc[texts].to_numpy(dtype=np.float32).T for frame in best])


def _shared_prompts(tables: list[Table]) -> tuple[list[str], np.ndarray, dict]:
    framings = prompts.value_laden().set_index("key")["framing"]
    union = pd.Index([key for table in tables for key in prompt_keys(table.frame)]).unique()
    known = union[union.isin(framings.index)]
    shared = [key for key in framings.index if all(key in prompt_keys(table.frame) for table in tables)]
    lacking = {
        table.model: [key for key in known if key not in prompt_keys(table.frame)]
        for table in tables
        if not set(known) <= set(prompt_keys(table.frame))
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


def _refuse_copies(values: np.ndarray, tables: list[Table], keys: list[str]) -> None:
    """InputError where two models score all words alike under some prompt: one model's scores under two names."""
    varies = np.ptp(values, axis=2) > 0
    for a, b in itertools.combinations(range(len(tables)), 2):
        same = (values[a] == values[b]).all(axis=1) & varies[a]
        if same.any():
            raise InputError(
                f"{tables[b].file}: the scores of {tables[a].file} under another name (column "
                f"{keys[int(same.argmax())]}, every word). Give each model its own scores."
            )


def _named(items: pd.Index) -> dict:
    return {"count": len(items), "first": [str(item) for item in items[:SHOWN]]}
