"""Implicit reward: the difference of two language models' log-probabilities, read as a reward (Section 3.2).

Here are also the parameters of both analyses of Section 3 (``analysis:`` in params.yaml).

Each measure scores a token by how much the second model prefers it to the first: ``log_p`` belongs
to model 1, ``log_q`` to model 2 (Table A1), in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.tables import best_by_text


def llr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Log-likelihood ratio, log q − log p. Two zero probabilities do not differ: 0."""
    log_p, log_q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    same = log_p == log_q  # −inf and −inf too
    return np.where(same, 0.0, np.where(same, 0.0, log_q) - np.where(same, 0.0, log_p))


def lr20(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Log ratio with both log-probabilities raised to at least −20."""
    return llr(np.maximum(log_p, -20.0), np.maximum(log_q, -20.0))


def lr10(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Log ratio with both log-probabilities raised to at least −10."""
    return llr(np.maximum(log_p, -10.0), np.maximum(log_q, -10.0))


def p1lr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """p·(log q − log p): minus the integrand of KL(p‖q)."""
    return _weighted(_exp(log_p), llr(log_p, log_q))


def p2lr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """q·(log q − log p): the integrand of KL(q‖p)."""
    return _weighted(_exp(log_q), llr(log_p, log_q))


def mwlr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Mixture-weighted log ratio, ½(p + q)(log q − log p) (Equation 1)."""
    return _weighted(0.5 * (_exp(log_p) + _exp(log_q)), llr(log_p, log_q))


def gmlr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Geometric-mean-weighted log ratio, √(pq)·(log q − log p)."""
    log_p, log_q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    return _weighted(np.exp(0.5 * (log_p + log_q)), llr(log_p, log_q))


def jsr(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Jensen–Shannon log ratio, ½(q log(q/m) − p log(p/m)) with m = ½(p + q)."""
    log_p, log_q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    log_m = np.logaddexp(log_p, log_q) - np.log(2.0)
    return 0.5 * (_weighted(np.exp(log_q), llr(log_m, log_q)) - _weighted(np.exp(log_p), llr(log_m, log_p)))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    measure.__name__: measure for measure in (llr, lr20, lr10, p1lr, p2lr, mwlr, gmlr, jsr)
}
"""The eight candidate measures of Table A1: ``measure(log_p, log_q)``, elementwise, float64."""

ANTISYMMETRIC = ("llr", "lr20", "lr10", "mwlr", "gmlr", "jsr")
"""Measures for which exchanging the two models only flips the sign (Appendix F.1)."""


@dataclass(frozen=True)
class Tokens:
    """Tables 1, A2, A3 and Figure 3: one prompt, one measure; ``models`` from (1) to (2), every pair."""

    prompt: str
    measure: str
    top: int
    contrast: dict[str, list[str]]
    first: list[str] = field(default_factory=list)
    second: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.measure not in MEASURES:
            raise ValueError(f"measure {self.measure!r} is not one of {', '.join(MEASURES)}")
        if len(self.contrast) != 2:
            raise ValueError("contrast names two word lists")


@dataclass(frozen=True)
class Analysis:
    """The pairs of models compared, the words, and the numbers of draws."""

    lexicon: str
    constructs: list[str]
    cases: list[Literal["lower", "capitalised"]]
    draws: int
    seed: int
    comparisons: dict[str, list[str]]
    tokens: Tokens

    def __post_init__(self):
        if len(self.constructs) != 2:
            raise ValueError("constructs names two constructs of the lexicon")
        for label, pair in self.comparisons.items():
            if len(set(pair)) != 2:
                raise ValueError(f"comparison {label!r} must name two models, not {pair}")


def join_tokens(first: pd.DataFrame, second: pd.DataFrame, prompt: str) -> pd.DataFrame:
    """The tokens that two score tables share, by decoded text; of duplicates the more probable stays.

    Returns ``token, log_p, log_q`` (nats), one row a shared text, in the first table's order of
    probability. Texts that stand for no character (padding rows) are left out.
    """
    for table in (first, second):
        if prompt not in table:
            raise InputError(f"prompt {prompt!r} is not a column of the score table (found: {some(table.columns, 8)}).")
    joined = pd.concat([best_by_text(first, prompt), best_by_text(second, prompt)], axis=1, join="inner")
    joined.columns = ["log_p", "log_q"]
    return joined.rename_axis("token").reset_index().query("token != ''").reset_index(drop=True)


def extremes(joined: pd.DataFrame, measure: str, top: int) -> pd.DataFrame:
    """Optimal and pessimal tokens (Tables 1, A2, A3): the ``top`` best and worst under one measure.

    Returns ``rank`` (1 = most preferred by model 2), ``token, score, log_p, log_q``.
    """
    scored = joined.assign(score=MEASURES[measure](joined["log_p"].to_numpy(), joined["log_q"].to_numpy()))
    scored = scored.sort_values(["score", "token"], ascending=[False, True]).reset_index(drop=True)
    scored.insert(0, "rank", np.arange(1, len(scored) + 1))
    if len(scored) > 2 * top:
        scored = pd.concat([scored.head(top), scored.tail(top)])
    return scored[["rank", "token", "score", "log_p", "log_q"]].reset_index(drop=True)


def contrast(joined: pd.DataFrame, measure: str, words: dict[str, list[str]]) -> pd.DataFrame:
    """The mean score of word lists over every case and white-space variant (Figure 3).

    words: label → words. A token is a variant of a word if it equals it without surrounding white
    space and case. Returns ``label, score, variants`` (score is NaN where no variant is shared).
    """
    plain = joined["token"].str.strip().str.lower()
    score = MEASURES[measure](joined["log_p"].to_numpy(), joined["log_q"].to_numpy())
    rows = []
    for label, listed in words.items():
        chosen = plain.isin([word.lower() for word in listed]).to_numpy()
        rows.append((label, float(score[chosen].mean()) if chosen.any() else np.nan, int(chosen.sum())))
    return pd.DataFrame(rows, columns=["label", "score", "variants"])


def _exp(log: np.ndarray) -> np.ndarray:
    return np.exp(np.asarray(log, dtype=np.float64))


def _weighted(weight: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """weight · ratio, 0 where the weight is 0: x log x → 0 as x → 0."""
    return np.where(weight == 0, 0.0, weight) * np.where(weight == 0, 0.0, ratio)
