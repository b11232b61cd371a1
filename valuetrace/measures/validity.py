"""Does a score table read the prompts at all? The check before any value is read off it, one rule for every page.

*Framing*: how far the words' order agrees between two prompts of one framing and between prompts of opposite framings.
A model that ignores the question has the two equal. *Known groups*: words whose order is known (by default the
virtues and vices of MFD2): virtues belong above vices under positive prompts and below under negative ones. What a
model likes whatever it is asked (frequent words, say) is in both framings and cancels in their difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from valuetrace.core import settings
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.ranks import rank_words

FRAMINGS = ("positive", "negative")
POLARITIES = ("virtue", "vice")  # of the known groups: first above second under positive prompts


@dataclass(frozen=True)
class Rule:
    """Group ``validity`` of params.yaml, the reasons beside it (conf/validity.yaml).

    least_known: percentile points, of (virtue − vice under positive) − (virtue − vice under negative prompts);
    least_probability: of a language model, on all ranked words together; draws, seed: of the intervals over words.
    """

    least_known: float
    least_probability: float
    draws: int
    seed: int


def rule() -> Rule:
    """The rule of the tree that this code stands in."""
    return settings.get("validity", Rule, settings.ROOT / settings.PARAMS)


def reading(
    scores: pd.DataFrame, framing: pd.Series, known: pd.DataFrame, chosen: Rule, measured: pd.Index | None = None
) -> dict:
    """Whether ``scores`` (index word, a column a prompt key; finite) can be read, and the numbers behind that.

    framing: prompt key → positive or negative. known: ``word, polarity`` (virtue, vice); those that ``scores`` has
    count. measured: the words on which the framings' agreement is taken (default: all). Ranks are among all words.
    Returns ``framing`` {within, across}, ``known_groups`` {virtue, vice (words), positive, negative, difference} and
    ``refused``, ``needs`` (None where the table reads). An estimate is {estimate, low, high}, 95 % over words.
    """
    framing = framing.reindex(scores.columns)
    ranks = rank_words(scores.to_numpy())
    rng = np.random.default_rng(chosen.seed)
    at = np.ones(len(scores), dtype=bool) if measured is None else scores.index.isin(measured)
    agreement = _agreement(ranks[at], framing.to_numpy(), chosen.draws, rng)
    polarity = known.drop_duplicates("word").set_index("word")["polarity"].reindex(scores.index)
    member = np.array([(polarity == name).to_numpy() for name in POLARITIES])
    counts = dict(zip(POLARITIES, map(int, member.sum(axis=1)), strict=True))
    if min(counts.values()) < FEWEST_WORDS:
        few = f"only {counts['virtue']} and {counts['vice']} words of the known groups are scored"
        return _result(agreement, counts, few, f"scores of at least {FEWEST_WORDS} of each beside the measured words")
    percentiles = 100 * (len(scores) - ranks) / (len(scores) - 1)
    groups = _known_groups(percentiles, member, framing.to_numpy(), chosen.draws, rng)
    return _result(agreement, counts | groups, *verdict(groups, chosen))


def with_own(known: pd.DataFrame, lexicon: pd.DataFrame) -> pd.DataFrame:
    """The known groups, and the virtues and vices of a lexicon that has them (words with one polarity only)."""
    both = pd.concat([known, lexicon])[["word", "polarity"]]
    both = both[both["polarity"].isin(POLARITIES)].drop_duplicates()
    return both[~both["word"].duplicated(keep=False)]


def verdict(groups: dict[str, dict], chosen: Rule) -> tuple[str | None, str | None]:
    """Why known groups (``reading``) make a table unreadable, and what would mend it; (None, None) where it reads."""
    needs = (
        "a model that reads the question: preference pairs in which the question decides (source wordnet_valence), a "
        "larger base, or another --format"
    )
    if set(groups) < {*FRAMINGS, "difference"}:
        return f"there are no {' and '.join(set(FRAMINGS) - set(groups))} prompts", "prompts of both framings"
    positive, negative, difference = (groups[name] for name in (*FRAMINGS, "difference"))
    shown = f"virtues less vices {positive['estimate']:+.0f} after positive, {negative['estimate']:+.0f} after negative"
    apart = positive["estimate"] > 0 > negative["estimate"]
    if apart and difference["estimate"] >= chosen.least_known and difference["low"] > 0:
        return None, None
    return (
        f"the prompts are not read: {shown} prompts (percentile points; opposite signs and a difference of "
        f"{chosen.least_known:g} are needed)",
        needs,
    )


def probability(logprobs: pd.DataFrame, framing: pd.Series) -> dict[str, float]:
    """Framing → the probability that falls on all words together, mean over its prompts.

    logprobs: nats, index word, a column a prompt key; framing: prompt key → positive or negative.
    """
    total = np.exp(logprobs.astype(np.float64)).sum(axis=0)
    return {str(name): float(value) for name, value in total.groupby(framing, sort=False).mean().items()}


def improbable(probability: dict[str, float], chosen: Rule) -> dict[str, str]:
    """Framing → why its words are too improbable to be ranked, for those below the least probability.

    probability: what ``probability`` gives of the ranked words. Ranks are read by framing, so each has to pass.
    """
    return {
        name: f"all ranked words together have a probability of {mass:.2g}: the ranks would order replies that the "
        "model does not give"
        for name, mass in probability.items()
        if mass < chosen.least_probability
    }


def of_log_probabilities(told: dict, mass: dict[str, float], chosen: Rule) -> dict:
    """``reading``'s result with ``probability_on_words``, refused where the words of a framing are improbable, too."""
    low = improbable(mass, chosen)
    told = told | {"probability_on_words": mass}
    if told["refused"] or not low:
        return told
    why = "; ".join(f"after {name} prompts {text}" for name, text in low.items())
    return told | {"refused": why, "needs": "a format and spelling in which the model answers with such words"}


def _result(agreement: dict, groups: dict, refused: str | None, needs: str | None) -> dict:
    return {"framing": agreement, "known_groups": groups, "refused": refused, "needs": needs}


def _agreement(ranks: np.ndarray, framing: np.ndarray, draws: int, rng: np.random.Generator) -> dict:
    """Mean Spearman correlation of two prompts' ranks, within and across framings.

    An entry is absent where there is no such pair; both are where there are too few words.
    """
    if len(ranks) < FEWEST_WORDS:
        return {}
    same = framing[:, None] == framing[None, :]
    pairs = {"within": np.triu(same, 1), "across": np.triu(~same, 1)}
    centred = ranks - ranks.mean(axis=0)

    def means(counts: np.ndarray) -> dict[str, float]:
        weighted = centred - counts @ centred / counts.sum()
        products = weighted.T @ (weighted * counts[:, None])
        spread = np.sqrt(np.outer(np.diag(products), np.diag(products)))
        correlation = np.divide(products, spread, out=np.zeros_like(products), where=spread > 1e-12)
        return {name: correlation[mask].mean() for name, mask in pairs.items() if mask.any()}

    every = np.ones((1, len(ranks)), dtype=bool)
    drawn = [means(row) for counts in word_draws(every, min(draws, 500), rng) for row in counts[0]]
    observed = means(np.ones(len(ranks)))
    return {name: _estimate(observed[name], [draw[name] for draw in drawn]) for name in observed}


def _known_groups(values: np.ndarray, member: np.ndarray, framing: np.ndarray, draws: int, rng) -> dict[str, dict]:
    """Mean percentile of the first group less the second's, by framing, and the difference of the two."""
    names = [name for name in FRAMINGS if (framing == name).any()]
    by_framing = np.stack([values[:, framing == name].mean(axis=1) for name in names], axis=1)  # (words, framings)
    drawn = np.concatenate([_gaps(by_framing, counts) for counts in word_draws(member, draws, rng)])
    observed = _gaps(by_framing, member[:, None].astype(float))[0]
    found = {name: _estimate(observed[i], drawn[:, i]) for i, name in enumerate(names)}
    if len(names) == 2:
        found["difference"] = _estimate(observed[0] - observed[1], drawn[:, 0] - drawn[:, 1])
    return found


def _gaps(by_framing: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws, framings) from counts (2 groups, draws, words)."""
    means = counts @ by_framing / counts.sum(axis=-1, keepdims=True)
    return means[0] - means[1]


def _estimate(value: float, draws) -> dict[str, float]:
    low, high = percentile_interval(np.asarray(draws))
    return {"estimate": float(value), "low": low, "high": high}
