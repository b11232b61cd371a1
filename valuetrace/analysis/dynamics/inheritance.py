"""How much of a base's own log-probability ranking survives in its reward model, step by step (Section 4).

The words are those that are single tokens in every base's vocabulary, so that a reward model's ranking
can be held against its own base's and against another's: what it shares with its own base alone is
inherited, what it shares with any base is common to language models.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from valuetrace.analysis.dynamics.trajectories import FRAMINGS, Trajectories, kendall
from valuetrace.core.errors import InputError, some
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.ranks import rank_words

LOGPROBS = Path("data/word_logprobs.parquet")


def shared_logprobs(
    logprobs: dict[str, pd.DataFrame], words: list[str], keys: list[str], form: Format, case: str
) -> dict[str, pd.DataFrame]:
    """Log-probabilities (nats) of the words that are single tokens in every vocabulary: base → words × prompts.

    logprobs: base → score table; where two tokens decode alike, the more probable one counts. InputError
    where fewer than FEWEST_WORDS words are shared.
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


def survival_table(paths: Trajectories, logprobs: dict[str, pd.DataFrame], draws: int, seed: int) -> pd.DataFrame:
    """Rank correlation of rewards with log-probabilities, for every reward model, base and step.

    logprobs: as ``shared_logprobs`` gives them. Columns ``base`` (of the reward model), ``logprobs_of``,
    ``own`` (whether the two are one), ``framing, step, kendall`` and ``spearman`` (means over the prompts),
    ``low, high`` (Spearman, 95%; the unit is the word, one draw for everything), ``words, prompts``.
    """
    words = next(iter(logprobs.values())).index
    at = [paths.words.index(word) for word in words]
    every = np.ones((1, len(at)), dtype=bool)
    counts = np.concatenate([counts[0] for counts in word_draws(every, draws, np.random.default_rng(seed))])
    rows = []
    for b, base in enumerate(paths.bases):
        for s, step in enumerate(paths.steps):
            rewards = rank_words(-paths.ranks[b, s][at])  # ranked anew among the shared words
            for other in sorted(logprobs):
                known = rank_words(logprobs[other][paths.prompts].to_numpy())
                tau = np.array([kendall(rewards[:, p], known[:, p]) for p in range(len(paths.prompts))])
                rho = paths.by_framing(weighted_correlation(rewards, known, np.ones((1, len(at)))))[0]
                drawn = paths.by_framing(weighted_correlation(rewards, known, counts))
                for f, framing in enumerate(FRAMINGS):
                    row = {"base": base, "logprobs_of": other, "own": base == other, "framing": framing, "step": step}
                    row |= {"kendall": paths.by_framing(tau)[f], "spearman": rho[f]}
                    row["low"], row["high"] = percentile_interval(drawn[:, f])
                    rows.append(row | {"words": len(at), "prompts": int((paths.framing == framing).sum())})
    return pd.DataFrame(rows).sort_values(["base", "logprobs_of", "framing", "step"], ignore_index=True)


def weighted_correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column pair with words repeated: (draws, columns).

    x, y: (words, columns), here ranks (so that it is Spearman's ρ, ranks staying those of all words);
    counts: (draws, words). 0 where one side is constant.
    """
    weights = counts / counts.sum(axis=1, keepdims=True)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)  # nothing but rounding changes
    mean_x, mean_y = weights @ x, weights @ y
    covariance = weights @ (x * y) - mean_x * mean_y
    variance = (weights @ x**2 - mean_x**2) * (weights @ y**2 - mean_y**2)
    spread = np.sqrt(np.maximum(variance, 0))
    return np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 1e-12)
