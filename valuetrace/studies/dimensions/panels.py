"""A panel: models of one kind on the same words and prompts, and the readings of many word lists in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.lexicon.entries import labelled
from valuetrace.measures.compare.random_lexicon import match_strata
from valuetrace.stats.bootstrap import FEWEST_WORDS
from valuetrace.stats.ranks import rank_words, subset_medians


@dataclass(frozen=True)
class Panel:
    """percentiles: (words, models, prompts), 100 the best word of a prompt and 0 the last. framing: (prompts,)."""

    name: str
    models: list[str]
    words: pd.Index
    framing: np.ndarray
    percentiles: np.ndarray

    def of(self, framing: str) -> Panel:
        """The prompts of one framing."""
        at = self.framing == framing
        return replace(self, framing=self.framing[at], percentiles=self.percentiles[:, :, at])


def panel(name: str, scores: dict[str, pd.DataFrame], framing: pd.Series) -> Panel:
    """Models' scores (index word, a column a prompt key) as percentiles among the words that all of them score.

    framing: prompt key → framing. InputError where the models share no words.
    """
    words = pd.Index(sorted(set.intersection(*(set(table.dropna().index) for table in scores.values()))))
    if len(words) < FEWEST_WORDS:
        raise InputError(f"dimensions: the models of '{name}' score {len(words)} words in common; too few to rank.")
    ranks = [rank_words(table.loc[words, list(framing.index)].to_numpy()) for table in scores.values()]
    percentiles = 100 * (len(words) - np.stack(ranks, axis=1)) / (len(words) - 1)
    return Panel(name, list(scores), words, framing.to_numpy(), percentiles)


def members(lexicon: pd.DataFrame, words: pd.Index) -> tuple[list[str], np.ndarray]:
    """Construct labels in the lexicon's order, and which of ``words`` each holds: (constructs, words) booleans."""
    lists = {name: set(rows["word"]) for name, rows in lexicon.groupby(labelled(lexicon), sort=False)}
    return list(lists), np.array([[word in own for word in words] for own in lists.values()])


def readings(own: Panel, counts: np.ndarray) -> np.ndarray:
    """The median percentile of each list's words, by model and prompt: (lists, models, prompts).

    counts: (lists, words), how often a list takes each word.
    """
    columns = own.percentiles.reshape(len(own.words), -1)
    return subset_medians(columns, counts).reshape(len(counts), *own.percentiles.shape[1:])


def orders(words: pd.Index, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Random orders in which each word changes place with words of its frequency and length: (draws, words) indices.

    ``member[orders]`` are random lists of a list's size, frequency and length (``matching.match_strata``).
    """
    strata = match_strata(words, words)[0]
    found = np.empty((draws, len(words)), dtype=np.int32)
    for stratum in np.unique(strata):
        (own,) = np.nonzero(strata == stratum)
        found[:, own] = rng.permuted(np.tile(own, (draws, 1)), axis=1)
    return found
