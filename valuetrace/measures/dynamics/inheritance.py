"""Does a reward model follow its own base, or what any base would say? Step by step (Section 4).

A reward model's ranking of words is held against the log-probabilities of its own base and of another. What it shares
with both is common to language models (frequent words, say: Zipf frequency is partialled out); what it shares with its
own alone is inherited. That is an interaction: half the sum, over both bases, of (own − other), so that a base whose
log-probabilities correlate better with everything adds nothing to it.

The words are single tokens in every base's vocabulary, so their number of tokens is the same for all.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from wordfreq import zipf_frequency

from valuetrace.core.errors import InputError, some
from valuetrace.measures import validity
from valuetrace.measures.dynamics.trajectories import FRAMINGS, Trajectories
from valuetrace.measures.validity import Rule
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.ranks import rank_words, residuals, weighted_correlation

LOGPROBS = Path("data/word_logprobs.parquet")


def shared_logprobs(
    logprobs: dict[str, pd.DataFrame], words: list[str], keys: list[str], form: Format, case: str
) -> dict[str, pd.DataFrame]:
    """Log-probabilities (nats) of the words that are single tokens in every vocabulary: base → words × prompts.

    logprobs: base → score table. InputError where fewer than FEWEST_WORDS words are shared.
    """
    found = {base: word_scores(table, words, keys, form, case) for base, table in logprobs.items()}
    shared = [word for word in words if all(word in frame.index for frame in found.values())]
    if len(shared) < FEWEST_WORDS:
        raise InputError(
            f"only {len(shared)} words of the lexicon are single tokens in every vocabulary; {FEWEST_WORDS} are "
            "needed. Choose another dynamics.format or dynamics.case."
        )
    return {base: frame.loc[shared] for base, frame in found.items()}


def read_logprobs(path: str | Path, bases: list[str], words: list[str], keys: list[str]) -> dict[str, pd.DataFrame]:
    """What stages/word_logprobs.py wrote of ``shared_logprobs``, for those of ``words`` that it holds."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. Run dvc pull, or dvc repro word_logprobs.")
    table = pd.read_parquet(path)
    found = {base: own.set_index("word")[keys] for base, own in table.groupby("base")}
    if missing := sorted(set(bases) - set(found)):
        raise InputError(f"{path}: no log-probabilities of {some(missing)}. Run dvc repro word_logprobs.")
    return {base: found[base].loc[[word for word in words if word in found[base].index]] for base in bases}


def unread(
    path: str | Path, bases: list[str], lexicon: pd.DataFrame, known: pd.DataFrame, prompts: pd.DataFrame, rule: Rule
) -> dict[str, dict[str, str]]:
    """Base → framing → why its log-probabilities (``read_logprobs``) say nothing there, for those that do not.

    The rule is that of every reading (``measures.validity``): a base that does not read the prompts is out under both
    framings, improbable words under theirs. known: the known groups, as far as the file holds them.
    """
    framing, words = prompts.set_index("key")["framing"], list(lexicon["word"].unique())
    asked = list(dict.fromkeys([*words, *known["word"]]))
    found: dict[str, dict] = {}
    for base, table in read_logprobs(path, bases, asked, list(framing.index)).items():
        told = validity.reading(table, framing, known, rule, pd.Index(words))
        mass = validity.probability(table[table.index.isin(words)], framing)
        why = dict.fromkeys(mass, told["refused"]) if told["refused"] else validity.improbable(mass, rule)
        found |= {base: why} if why else {}
    return found


def readable(survival: pd.DataFrame, inherited: pd.DataFrame, unread: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of ``inheritance`` that rest on log-probabilities which can be read (``unread`` says which cannot)."""
    out = {(base, framing) for base, why in unread.items() for framing in why}
    kept = [at not in out for at in zip(survival["logprobs_of"], survival["framing"], strict=True)]
    rows = zip(inherited["first"], inherited["second"], inherited["framing"], strict=True)
    both = [not {(first, framing), (second, framing)} & out for first, second, framing in rows]
    return survival[kept].reset_index(drop=True), inherited[both].reset_index(drop=True)


def inheritance(
    paths: Trajectories, logprobs: dict[str, pd.DataFrame], draws: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Correlations of rewards with log-probabilities, and the interaction of every pair of bases, at every step.

    logprobs: as ``shared_logprobs`` gives them. First table: ``base`` (of the reward model), ``logprobs_of``, ``own``
    (whether the two are one), ``framing, step, spearman`` and ``partial`` (given Zipf frequency), means over the
    prompts, ``low, high`` (partial, 95%), ``words, prompts``. Second: ``first, second, framing, step, inherited``
    (half the sum of own − other, of partial correlations), ``low, high``. The unit is the word, one draw for all.
    """
    words = next(iter(logprobs.values())).index
    at = [paths.words.index(word) for word in words]
    zipf = rank_words(np.array([[zipf_frequency(word, "en")] for word in words]))[:, 0]
    every = np.ones((1, len(at)), dtype=bool)
    counts = np.concatenate([drawn[0] for drawn in word_draws(every, draws, np.random.default_rng(seed))])
    known = {base: rank_words(frame[paths.prompts].to_numpy()) for base, frame in logprobs.items()}
    rewards = {
        (base, step): rank_words(-paths.ranks[b, s][at])  # ranked anew among the shared words
        for b, base in enumerate(paths.bases)
        for s, step in enumerate(paths.steps)
    }
    observed, drawn, rows = {}, {}, []
    for (base, step), ranks in rewards.items():
        for other in paths.bases:
            plain = paths.by_framing(weighted_correlation(ranks, known[other], np.ones((1, len(at)))))[0]
            pair = residuals(ranks, zipf), residuals(known[other], zipf)
            observed[base, other, step] = paths.by_framing(weighted_correlation(*pair, np.ones((1, len(at)))))[0]
            drawn[base, other, step] = paths.by_framing(weighted_correlation(*pair, counts))
            for f, framing in enumerate(FRAMINGS):
                low, high = percentile_interval(drawn[base, other, step][:, f])
                row = {"base": base, "logprobs_of": other, "own": base == other, "framing": framing, "step": step}
                row |= {"spearman": plain[f], "partial": observed[base, other, step][f], "low": low, "high": high}
                rows.append(row | {"words": len(at), "prompts": int((paths.framing == framing).sum())})
    table = pd.DataFrame(rows).sort_values(["base", "logprobs_of", "framing", "step"], ignore_index=True)
    return table, _interactions(paths, observed, drawn)


def _interactions(paths: Trajectories, observed: dict, drawn: dict) -> pd.DataFrame:
    rows = []
    for first, second in combinations(paths.bases, 2):
        for step in paths.steps:

            def half(of: dict, a=first, b=second, step=step) -> np.ndarray:
                return (of[a, a, step] - of[a, b, step] + of[b, b, step] - of[b, a, step]) / 2

            for f, framing in enumerate(FRAMINGS):
                low, high = percentile_interval(half(drawn)[:, f])
                row = {"first": first, "second": second, "framing": framing, "step": step}
                rows.append(row | {"inherited": half(observed)[f], "low": low, "high": high})
    return pd.DataFrame(rows)
