"""From a sample's scores to the numbers that are watched: pure functions over tables.

The measure is that of ``measures.profile`` (mean over prompts of the median rank, as a percentile among the ranked
words) and the check that of ``measures.validity``. In a training the check is itself a metric: the percentiles are
there from the first step on, and whoever reads them looks first whether the prompts are read (``refused``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.lexicon.entries import labelled
from valuetrace.measures import validity
from valuetrace.monitoring.sample import Sample
from valuetrace.stats.bootstrap import FEWEST_WORDS
from valuetrace.stats.ranks import rank_words, weighted_correlation

DRAWS = 200
"""Bootstrap draws over words behind ``refused``; no interval is logged."""

_NOTHING = {
    "framing": dict.fromkeys(("within", "across"), float("nan")),
    "known_groups": dict.fromkeys((*validity.FRAMINGS, "difference"), float("nan")),
}  # of a reading: what is missing is NaN


def summarise(scores: pd.DataFrame, sample: Sample, kind: Literal["reward", "logprob"], rule: validity.Rule) -> dict:
    """What a sample's scores (index word, a column a prompt key) say.

    ``rows``: construct, framing, prompts, words, median_rank (1 = best), percentile (0 to 100, 50 is chance).
    ``reading``: ``framing`` {within, across}, ``known_groups`` {virtue, vice (words), positive, negative, difference
    (percentile points)}. ``refused``, ``needs``: why the percentiles mean nothing (None where they do). ``words``: how
    many are ranked. ``means``: word → mean score, by framing. Where a score is not finite every number is NaN.
    InputError where too few words of a construct are scored.
    """
    framing = sample.prompts.set_index("key")["framing"].reindex(scores.columns)
    ranked = scores[scores.index.isin(sample.lexicon["word"])]
    members = {name: ranked.index.isin(own["word"]) for name, own in sample.lexicon.groupby(labelled(sample.lexicon))}
    few = [f"{name} ({member.sum()})" for name, member in members.items() if member.sum() < FEWEST_WORDS]
    if few:
        raise InputError(
            f"values: construct {some(few)} has fewer than {FEWEST_WORDS} words that this model can score (a language "
            "model: as single tokens in the spelling of its format). Take more words, another lexicon or format."
        )
    finite = bool(np.isfinite(scores.to_numpy()).all())
    ranks = rank_words(ranked.to_numpy()) if finite else np.full(ranked.shape, np.nan)
    rows = []
    for name, member in members.items():
        for side in validity.FRAMINGS:
            rank = float(np.median(ranks[member][:, framing == side], axis=0).mean())
            percentile = 100 * (len(ranked) - rank) / (len(ranked) - 1)
            row = {"construct": name, "framing": side, "prompts": int((framing == side).sum())}
            rows.append(row | {"words": int(member.sum()), "median_rank": rank, "percentile": percentile})
    found = {"kind": kind, "words": len(ranked), "rows": rows}
    means = {side: ranked.loc[:, framing == side].mean(axis=1).to_dict() for side in validity.FRAMINGS}
    return found | _reading(scores, ranked, framing, sample, kind, rule, finite) | {"means": means}


def _reading(scores, ranked, framing, sample: Sample, kind: str, rule: validity.Rule, finite: bool) -> dict:
    """``reading`` (estimates alone), ``refused`` and ``needs``, of a language model by its probability too."""
    if not finite:
        why = {"refused": "some scores are not finite numbers", "needs": "a lower learning rate, or float32"}
        return {"reading": _NOTHING} | why
    found = validity.reading(scores, framing, sample.known, replace(rule, draws=DRAWS), ranked.index)
    if kind == "logprob":
        found = validity.of_log_probabilities(found, validity.probability(ranked, framing), rule)
    estimates = {
        part: none | {name: v["estimate"] if isinstance(v, dict) else v for name, v in found[part].items()}
        for part, none in _NOTHING.items()
    }
    return {"reading": estimates, "refused": found["refused"], "needs": found["needs"]}


def correlation(means: dict[str, dict[str, float]], start: dict[str, dict[str, float]]) -> float:
    """Spearman's ρ of the words' mean scores with those at the start, mean over framings; 0 where one is constant.

    NaN where the words are not the same or a score is not finite.
    """
    values = []
    for side in validity.FRAMINGS:
        pair = pd.DataFrame({"now": means[side], "start": start[side]}).to_numpy(dtype=np.float64)
        if len(pair) != len(means[side]) or not np.isfinite(pair).all():
            return float("nan")
        now, before = rank_words(pair).T[:, :, None]
        values.append(float(weighted_correlation(now, before, np.ones((1, len(pair))))[0, 0]))
    return float(np.mean(values))
