"""Generic statistics: tests, effect sizes, intervals. No knowledge of models, prompts or words.

Every function names its sampling unit and, where it draws, takes an explicit seed. Two groups are always ``first`` and
``second``, and a difference is *second − first*. A Monte Carlo p-value is (b + 1) / (m + 1), b draws of m being as
extreme as the data; an exact one counts the data among the assignments; neither is ever 0.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

EXACT_LIMIT = 200_000
"""At most so many assignments of groups are enumerated; above it they are drawn."""

_TIE = 1e-9
"""Statistics closer than this (relative) are equal, so that rounding never hides the data's own assignment."""


class Welch(NamedTuple):
    """Welch's t: ``t`` > 0 where the second group's mean is higher; degrees of freedom; two-sided p."""

    t: np.ndarray
    df: np.ndarray
    p: np.ndarray


def welch_t(first: np.typing.ArrayLike, second: np.typing.ArrayLike) -> Welch:
    """Welch's t test of second − first (unequal variances), column by column.

    first: (n1,) or (n1, columns); second: (n2,) or (n2, columns), n ≥ 2 each, the unit being a row.
    Equal to scipy's ``ttest_ind(second, first, equal_var=False)``. ValueError for n < 2.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(first) < 2 or len(second) < 2:
        raise ValueError(f"Welch's t needs two values a group, not {len(first)} and {len(second)}")
    with warnings.catch_warnings():  # constant data give NaN, which the caller sees
        warnings.simplefilter("ignore", RuntimeWarning)
        result = scipy.stats.ttest_ind(second, first, equal_var=False)
    return Welch(result.statistic, result.df, result.pvalue)


def permutation_welch(first: np.ndarray, second: np.ndarray, draws: int = 9_999, seed: int = 0) -> float | np.ndarray:
    """Two-sided permutation p of Welch's t (Section 2): the groups' labels are drawn anew ``draws`` times.

    first: (n1,) or (n1, columns); second likewise; the unit that is exchanged is the row, and all
    columns see the same relabelings. Returns a float, or (columns,). p = (b + 1) / (draws + 1).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    values = np.concatenate([first, second]).reshape(len(first) + len(second), -1)
    observed = np.nan_to_num(np.abs(np.atleast_1d(welch_t(first, second).t)), nan=0.0, posinf=np.inf)
    values = values - values.mean(axis=0)  # nothing but rounding changes
    rng = np.random.default_rng(seed)
    extreme = np.zeros(values.shape[1], dtype=np.int64)
    chunk = 2_000_000 // len(values) + 1  # bounds memory
    for start in range(0, draws, chunk):
        labels = _random_labels(len(values), len(second), min(chunk, draws - start), rng)
        extreme += (np.abs(_welch_of_labels(values, labels)) >= observed * (1 - _TIE)).sum(axis=0)
    p = (extreme + 1) / (draws + 1)
    return float(p[0]) if first.ndim == 1 else p


def cohens_d(first: np.ndarray, second: np.ndarray) -> float | np.ndarray:
    """Cohen's d of second − first in units of the pooled standard deviation, column by column.

    NaN where both groups are constant.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n1, n2 = len(first), len(second)
    pooled = ((n1 - 1) * first.var(axis=0, ddof=1) + (n2 - 1) * second.var(axis=0, ddof=1)) / (n1 + n2 - 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.where(pooled > 0, (second.mean(axis=0) - first.mean(axis=0)) / np.sqrt(pooled), np.nan)
    return float(d) if d.ndim == 0 else d


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """Cliff's δ: how much likelier a value of ``second`` is above one of ``first`` than below it, −1 to 1.

    first: (n1,), second: (n2,), the unit being a value (here a word). Mann–Whitney's U: δ = 2U / (n1·n2) − 1.
    """
    return float(np.sign(np.subtract.outer(np.asarray(second), np.asarray(first))).mean())


def bonferroni(p: np.ndarray) -> np.ndarray:
    """p-values times their number, at most 1 (Section 2). p: (tests,)."""
    p = np.asarray(p, dtype=np.float64)
    return np.minimum(p * len(p), 1.0)


def holm(p: np.typing.ArrayLike) -> np.ndarray:
    """Holm's adjusted p-values, in the order given: valid for any dependence, never above Bonferroni's.

    p: (tests,), NaN where a test of the family was not made (it stays NaN and does not count).
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)  # NaN last
    steps = (~np.isnan(p)).sum() - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return adjusted


def two_tailed_p(observed: float, drawn: np.ndarray) -> float:
    """Monte Carlo p against draws that need not centre on 0: twice the smaller tail, at most 1. drawn: (draws,)."""
    tails = [(drawn <= observed + _TIE * abs(observed)).sum(), (drawn >= observed - _TIE * abs(observed)).sum()]
    return float(min(1.0, 2 * (min(tails) + 1) / (len(drawn) + 1)))


def binomial_interval(count: int, total: int) -> tuple[float, float]:
    """The exact (Clopper–Pearson) 95% interval of a share."""
    interval = scipy.stats.binomtest(count, total).proportion_ci()
    return float(interval.low), float(interval.high)


def fdr_bh(p: np.typing.ArrayLike) -> np.ndarray:
    """Benjamini–Hochberg adjusted p-values in the order given (Section 3.1). p: (tests,)."""
    return scipy.stats.false_discovery_control(np.asarray(p, dtype=np.float64), method="bh")


def assignments(total: int, chosen: int, draws: int = 9_999, seed: int = 0) -> tuple[np.ndarray, bool]:
    """Ways to give ``chosen`` of ``total`` units the second group's label.

    Returns (ways, total) booleans and whether they are all of them: every combination where there
    are at most EXACT_LIMIT, otherwise ``draws`` random ones.
    """
    if math.comb(total, chosen) > EXACT_LIMIT:
        return _random_labels(total, chosen, draws, np.random.default_rng(seed)), False
    return _every_assignment(total, chosen), True


def group_permutation(
    values: np.typing.ArrayLike, is_second: np.ndarray, draws: int = 9_999, seed: int = 0, studentised: bool = False
) -> float:
    """Two-sided permutation p over all assignments of units to the two groups.

    values: (units,) or (units, outcomes), one row a unit (here a model); is_second: (units,) booleans.
    The statistic is the absolute difference of the groups' means, ``studentised`` that over its standard error
    (Welch's t, which keeps its size where groups of unequal numbers spread unequally; Janssen 1997); with several
    outcomes the length of their vector. Exact where there are at most EXACT_LIMIT assignments.
    """
    values = np.asarray(values, dtype=np.float64).reshape(len(is_second), -1)
    values = values - values.mean(axis=0)  # nothing but rounding changes
    is_second = np.asarray(is_second, dtype=bool)
    statistic = _welch_of_labels if studentised else _mean_gaps
    labels, exact = assignments(len(values), int(is_second.sum()), draws, seed)
    observed = float(np.linalg.norm(statistic(values, is_second[None]), axis=1)[0])
    extreme = int((np.linalg.norm(statistic(values, labels), axis=1) >= observed * (1 - _TIE)).sum())
    return extreme / len(labels) if exact else (extreme + 1) / (len(labels) + 1)


def smallest_p(first: int, second: int) -> float:
    """The smallest two-sided p that ``group_permutation`` can reach with so many units a group.

    With groups of one size every assignment has a mirror image of the same absolute difference.
    """
    return (2 if first == second else 1) / math.comb(first + second, first)


class Mixed(NamedTuple):
    """``terms``: estimate, se, low, high (95%) and p, a row a fixed effect. ``joint``: Wald test of a set of terms."""

    terms: pd.DataFrame
    joint: dict[str, float]
    converged: bool


def mixed_model(
    frame: pd.DataFrame, formula: str, group: str, joint: str | None = None, slopes: str | None = None
) -> Mixed:
    """A linear mixed model with a random intercept a ``group`` (statsmodels MixedLM, REML; Section 2).

    frame: one row an observation. ``slopes``: a formula (``~framing``) of what else varies between groups. ``joint``
    names an interaction (``a:b:c``) whose terms are tested together (Wald χ², keys ``wald``, ``df``, ``p``). Inference
    takes degrees of freedom as infinite, whatever the number of groups: with few groups use ``group_permutation``
    beside it.
    """
    import statsmodels.formula.api as smf

    with warnings.catch_warnings():  # a variance on its boundary is a result, not a fault
        warnings.simplefilter("ignore")
        fit = smf.mixedlm(formula, frame, groups=frame[group], re_formula=slopes).fit(reml=True)
    names = list(fit.model.exog_names)
    estimate = fit.fe_params.to_numpy()
    covariance = _fixed_effects_covariance(fit)
    se = np.sqrt(np.diag(covariance))
    half = scipy.stats.norm.ppf(0.975) * se
    terms = pd.DataFrame(
        {
            "estimate": estimate,
            "se": se,
            "low": estimate - half,
            "high": estimate + half,
            "p": 2 * scipy.stats.norm.sf(np.abs(estimate) / se),
        },
        index=names,
    )
    tested: dict[str, float] = {}
    if joint is not None:
        wanted = set(joint.split(":"))
        rows = [i for i, name in enumerate(names) if {part.split("[")[0] for part in name.split(":")} == wanted]
        wald = float(estimate[rows] @ np.linalg.solve(covariance[np.ix_(rows, rows)], estimate[rows]))
        tested = {"wald": wald, "df": len(rows), "p": float(scipy.stats.chi2.sf(wald, len(rows)))}
    return Mixed(terms, tested, bool(fit.converged))


def _fixed_effects_covariance(fit) -> np.ndarray:
    """Generalised least squares' covariance given the fitted variances.

    statsmodels inverts the whole Hessian instead, which gives NaN where the intercepts' variance is
    estimated as 0; elsewhere the two agree.
    """
    ratio = np.asarray(fit.cov_re) / fit.scale  # between groups, in units of the residual variance
    information = np.zeros((fit.k_fe, fit.k_fe))
    for x, z in zip(fit.model.exog_li, fit.model.exog_re_li, strict=True):
        information += x.T @ np.linalg.solve(np.eye(len(x)) + z @ ratio @ z.T, x)
    return fit.scale * np.linalg.inv(information)


@functools.lru_cache(maxsize=8)
def _every_assignment(total: int, chosen: int) -> np.ndarray:
    rows = np.array(list(itertools.combinations(range(total), chosen)), dtype=np.intp).reshape(-1, chosen)
    labels = np.zeros((len(rows), total), dtype=bool)
    np.put_along_axis(labels, rows, True, axis=1)
    labels.setflags(write=False)
    return labels


def _random_labels(total: int, chosen: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, total) booleans with ``chosen`` True a row, uniformly at random."""
    keys = rng.random((draws, total), dtype=np.float32)
    labels = np.zeros((draws, total), dtype=bool)
    np.put_along_axis(labels, np.argpartition(keys, chosen - 1, axis=1)[:, :chosen], True, axis=1)
    return labels


def _welch_of_labels(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Welch's t of every relabeling, (draws, columns), from two matrix products."""
    n, n2 = len(values), int(labels[0].sum())
    n1 = n - n2
    labels = labels.astype(np.float64)
    sum2, square2 = labels @ values, labels @ values**2
    sum1, square1 = values.sum(axis=0) - sum2, (values**2).sum(axis=0) - square2
    error = (square2 - sum2**2 / n2) / (n2 * (n2 - 1)) + (square1 - sum1**2 / n1) / (n1 * (n1 - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.maximum(error, 0)
        return np.nan_to_num((sum2 / n2 - sum1 / n1) / np.sqrt(error), nan=0.0, posinf=np.inf, neginf=-np.inf)


def _mean_gaps(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Difference of the groups' means for each row of labels, (rows, outcomes)."""
    n2 = int(labels[0].sum())
    sum2 = labels.astype(np.float64) @ values
    return sum2 / n2 - (values.sum(axis=0) - sum2) / (len(values) - n2)
