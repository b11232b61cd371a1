"""What is recomputed from the released files (``published:`` in params.yaml), and readers of those of Section 4.

The score files of Section 2 and the log-probabilities of Section 3 are score tables (``valuetrace.tables``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from valuetrace.core.errors import InputError, some
from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT
from valuetrace.lexicon.unrolled import find_lexicon
from valuetrace.measures.published.sources import FETCHED, Sources

RUNS = ROOT / "conf" / "published" / "training_runs.csv"
"""The trainings of Section 4: run, its file, the number of pairs as the paper's axis has it, source, objective."""

TRAINED = ROOT / "conf" / "published" / "training_models.csv"
"""The base of every model id in those files, which spell one base in several ways."""

TRAINING = FETCHED / "reward_model_training"
CORPORA = FETCHED / "corpora"
REWARDS = "greatest_ever_one_across_checkpoints_{}.parquet"

_STEP = re.compile(r"step-(\d+)")
_NOT_ASCII = re.compile(r"[^\x20-\x7e\t\n\r]")


def read_medians(path: str | Path) -> pd.DataFrame:
    """Median ranks of one training: ``base, construct, step, median_rank, copies``, one row each.

    copies: how often the file repeats the row. InputError for a model id of no known base, for a row that stands with
    two values, and for a file of another form.
    """
    columns = ("model_id", "Category", "checkpoint", "sum_value")
    frame = read_csv(path, columns, dtype=str)[list(columns)]
    base_of = read_csv(TRAINED, ("model_id", "base"), dtype=str).set_index("model_id")["base"]
    unknown = sorted(set(frame["model_id"]) - set(base_of.index))
    if unknown:
        raise InputError(f"{path}: the base of {some(unknown)} is not known. Add a line to {TRAINED.name}.")
    found = frame.groupby(list(columns), sort=False).size().rename("copies").reset_index()
    twice = found.duplicated(list(columns[:3]))
    if twice.any():
        row = found[twice].iloc[0]
        raise InputError(f"{path}: {row.model_id}, {row.Category}, step {row.checkpoint} stands with two medians.")
    try:
        numbers: dict = {"step": found["checkpoint"].astype(int), "median_rank": found["sum_value"].astype(float)}
    except ValueError as error:
        raise InputError(f"{path}: checkpoint or sum_value holds no number ({error}). Fetch it again.") from None
    found = found.assign(base=found["model_id"].map(base_of), construct=found["Category"].str.lower(), **numbers)
    return found[["base", "construct", "step", "median_rank", "copies"]]


def file_says(path: str | Path) -> dict[str, str | int]:
    """What a file of medians says of its own training, where it does: the columns with one value, a number as one."""
    frame = read_csv(path, (), dtype=str).drop(
        columns=["model_id", "Category", "checkpoint", "sum_value", "base_model"]
    )
    frame = frame[[name for name in frame.columns if name.isidentifier() and name != "X"]]
    said = {name: frame[name].iloc[0] for name in frame.columns if frame[name].nunique() == 1}
    return {name: int(text) if text.isdecimal() else text for name, text in said.items()}


def read_rewards(path: str | Path) -> pd.DataFrame:
    """Rewards of a whole vocabulary at every checkpoint, one prompt: index ``token``, a float64 column a step.

    Steps (int) ascend. InputError for a file that is no such table or is damaged, and for a reward that is not finite.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Fetch what the authors released: make published.")
    try:
        names = pq.read_schema(path).names
        steps = {int(found[1]): name for name in names if (found := _STEP.fullmatch(name))}
        if "token_decoded" not in names or len(steps) < 2:
            raise InputError(f"{path}: token_decoded and two step-… columns are needed (found: {some(names, 8)}).")
        table = pq.read_table(path, columns=["token_decoded", *steps.values()])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a parquet file, or damaged ({error}). Fetch it again.") from None
    frame = table.to_pandas(ignore_metadata=True)
    frame = frame[frame["token_decoded"].notna()].set_index("token_decoded").rename_axis("token")
    frame = frame.rename(columns={name: step for step, name in steps.items()})[sorted(steps)].astype(np.float64)
    if not np.isfinite(frame.to_numpy()).all():
        raise InputError(f"{path}: {(~np.isfinite(frame.to_numpy())).sum()} rewards are no finite numbers.")
    return frame


def ascii_only(texts: pd.Series) -> pd.Series:
    """Texts without the characters that the authors' script removes before it joins."""
    return texts.map(lambda text: _NOT_ASCII.sub("", text))


def plain(texts: pd.Series) -> pd.Series:
    """Texts as the authors compare them with a dictionary: ASCII alone, without white space around, in lower case."""
    return ascii_only(texts).str.strip(" \t\r\n").str.lower()


def shared_tokens() -> pd.Series:
    """The texts of the tokens that all vocabularies share."""
    return read_csv(CORPORA / "token_intersection.csv", ("token_decoded",), dtype=str)["token_decoded"]


def nouns() -> pd.DataFrame:
    """The released nouns of the Big Two: ``word, construct``."""
    frame = read_csv(CORPORA / "dict_big2_nouns.csv", ("Category", "token_decoded"), dtype=str)
    return pd.DataFrame({"word": frame["token_decoded"], "construct": frame["Category"].str.lower()})


def dictionary() -> pd.DataFrame:
    """The released full list of the Big Two, ``word, construct``; a word stands as often as its file has it."""
    frame = read_csv(CORPORA / "dict_big2_expanded.csv", ("DicTerm", "Agency", "Communion"), dtype=str)
    long = frame.melt("DicTerm", ["Agency", "Communion"], "construct", "mark").query("mark == 'X'")
    return pd.DataFrame({"word": long["DicTerm"], "construct": long["construct"].str.lower()}).reset_index(drop=True)


def ranked_tokens(tokens: pd.Series, words: pd.DataFrame) -> pd.DataFrame:
    """The rows that Figure 4 ranks: every token whose plain text is a word, ``token, word, construct``.

    A token stands once for each row of its word: a repeated word is ranked repeatedly, as in the authors' script.
    """
    found = pd.DataFrame({"token": tokens, "word": plain(tokens)})
    return found[found["word"] != ""].merge(words, on="word")


@dataclass(frozen=True)
class Comparison:
    """One comparison of Section 2. scores: a folder of released rewards; without: construct → polarity left out.

    known: another such folder, whose files score the known groups (the check of the readings).
    """

    title: str
    scores: str
    lexicon: str
    without: dict[str, str] = field(default_factory=dict)
    known: str | None = None

    def files(self, folder: str | None = None) -> list[Path]:
        """The released score files of ``scores``, or of another ``folder``. InputError where there is none."""
        path = FETCHED / "reward_model_scores" / (folder or self.scores)
        found = sorted(path.glob("*.csv"))
        if not found:
            raise InputError(f"{path}: no score file. Fetch what the authors released: make published.")
        return found

    def words(self) -> pd.DataFrame:
        """The lexicon table of ``find_lexicon``, less what is left out."""
        lexicon = find_lexicon(FETCHED / "corpora" / self.lexicon)
        for construct, polarity in self.without.items():
            lexicon = lexicon[(lexicon["construct"] != construct) | (lexicon["polarity"] != polarity)]
        return lexicon


@dataclass(frozen=True)
class Published:
    """pairs: of Figure 2; tables: a table of the paper → (first model, second model); movers, extremes: a side.

    checkpoints_of: the training (conf/published/training_runs.csv) whose rewards ``sources.checkpoints`` are.
    """

    sources: Sources
    comparisons: dict[str, Comparison]
    pairs: dict[str, list[str]]
    tables: dict[str, list[str]]
    checkpoints_of: str
    movers: int
    extremes: int
    draws: int
    seed: int

    def __post_init__(self):
        for name, pair in (self.pairs | self.tables).items():
            if len(set(pair)) != 2:
                raise ValueError(f"{name} must name two models, not {pair}")
