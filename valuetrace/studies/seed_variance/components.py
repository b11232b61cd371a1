"""How much of a measure is the base's and how much the seed's, and how many seeds a study needs (Section 4.2).

Runs are those of the ablation, crossed: every base with every seed and every data size, one run a cell. A *seed* draws
the pairs and their order, alike for all bases, and a random head, which is another for every base. So value = base +
seed (the pairs' part) + base × seed (the head's part, and what the pairs do to this base alone) + size + rest. Seeds
are a sample and sizes are fixed; bases count as a sample of the bases that a study might compare. Components of
variance are estimated from mean squares (ANOVA; in a balanced design REML's wherever none is negative).

Intervals are generalised confidence intervals (Weerahandi 1993): each mean square is MS · df / χ²(df) in every draw,
anew and independently, and what is asked follows from them. They rest on normal effects, not on many units. With two
bases and three seeds (1 and 2 degrees of freedom) they are as wide as they should be.

A run is measured twice, before training and at its last step. The head before training is that of every size of the
base and seed. There are three measures. L (``lean``) is ½ (AUC positive − AUC negative) of the first construct over the
second, −½ to ½. The paper's is the median rank of the first construct less that of the second, in ranks, under each
framing (``gap_positive``, ``gap_negative``; below 0 where the first is preferred).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

from valuetrace.core.errors import InputError, some
from valuetrace.measures.dynamics.trajectories import FRAMINGS, Trajectories
from valuetrace.stats.blocks import auc
from valuetrace.stats.bootstrap import percentile_interval
from valuetrace.stats.ranks import subset_medians
from valuetrace.studies.planting import preference
from valuetrace.tables import records

MEASURES = {
    "lean": "L: ½ (AUC positive − AUC negative)",
    "gap_positive": "gap of median ranks, positive framing",
    "gap_negative": "gap of median ranks, negative framing",
}
WHEN = ("untrained", "trained")
SOURCES = ("base", "seed", "base × seed", "size", "rest")
TARGETS = ("one base", "difference of two bases")


@dataclass(frozen=True)
class SeedVariance:
    """Group ``seed_variance`` of params.yaml.

    reliability: asked of a study. seeds: numbers of seeds for which it is told. draws: of every test that draws;
    interval_draws: of the intervals of components.
    """

    reliability: float
    seeds: list[int]
    draws: int
    interval_draws: int
    seed: int

    def __post_init__(self):
        if not 0 < self.reliability < 1 or not self.seeds or min(self.seeds) < 1:
            raise ValueError("reliability must lie between 0 and 1, seeds must list numbers of at least 1")
        if self.draws < 1 or self.interval_draws < 1:
            raise ValueError("draws and interval_draws must be at least 1")


def measured(paths: Trajectories) -> pd.DataFrame:
    """The three measures of each base of a run before training and at the last step: ``base, when``, MEASURES.

    Words of both constructs count in the medians and not in L.
    """
    columns = np.moveaxis(paths.ranks[:, [0, -1]], 2, 0)  # words, bases, whens, prompts
    shape = columns.shape[1:]
    flat = columns.reshape(len(paths.words), -1)
    first, second = paths.member
    over = paths.by_framing(auc(-flat, first & ~second, second & ~first).reshape(shape))
    medians = subset_medians(flat, paths.member).reshape(2, *shape)
    gaps = paths.by_framing(medians[0] - medians[1])
    rows = [
        {"base": base, "when": when, "lean": preference.preference(over[b, w])}
        | {f"gap_{framing}": gaps[b, w, f] for f, framing in enumerate(FRAMINGS)}
        for b, base in enumerate(paths.bases)
        for w, when in enumerate(WHEN)
    ]
    return pd.DataFrame(rows)


def sizes_that_read(readings: pd.DataFrame) -> list[int]:
    """The data sizes of which every reward model reads the prompts: a split of variance needs whole blocks.

    readings: plots/ablations/readings.csv. InputError where fewer than two are left.
    """
    last = readings[readings["step"] == readings.groupby(["data_size", "seed"])["step"].transform("max")]
    every = last.groupby("data_size")["reads"].all()
    if every.sum() < 2:
        left_out = some(every.index[~every])
        raise InputError(
            f"plots/ablations/readings.csv: of {left_out} pairs not every reward model reads the prompts, and fewer "
            "than two sizes are left. Add larger ones to ablations.sizes, then dvc repro stages/ablations/dvc.yaml."
        )
    return [int(size) for size in every.index[every]]


def block(runs: pd.DataFrame, measure: str, when: str) -> np.ndarray:
    """One measure of all runs as (bases, seeds, sizes), each in order. runs: ``base, data_size, seed, when``, MEASURES.

    NaN where a run is missing.
    """
    of = runs[runs["when"] == when].set_index(["base", "seed", "data_size"])[measure]
    levels = [sorted(of.index.unique(name)) for name in of.index.names]
    return of.reindex(pd.MultiIndex.from_product(levels)).to_numpy().reshape([len(level) for level in levels])


def anova(values: np.ndarray) -> pd.DataFrame:
    """The analysis of variance of values (bases, seeds, sizes), each at least 2, one run a cell.

    A row a source (SOURCES): ``df, mean_square``, ``F`` and ``p`` against the source's own error (base × seed for base
    and seed, the rest for base × seed and size; missing for the rest). ``rest`` pools the interactions with size.
    InputError where the runs are no such block.
    """
    if values.ndim != 3 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise InputError(
            f"a split by base, seed and size needs every base with every seed and size, two of each at least, and has "
            f"{values.shape}. Add to trained, ablations.seeds or ablations.sizes and train what is new."
        )
    b, s, k = values.shape
    deviation = values - values.mean()
    base, seed, size = (deviation.mean(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))
    head = deviation.mean(axis=2) - base[:, None] - seed
    squares = np.array([s * k * (base**2).sum(), b * k * (seed**2).sum(), k * (head**2).sum(), b * s * (size**2).sum()])
    df = np.array([b - 1, s - 1, (b - 1) * (s - 1), k - 1])
    df = np.append(df, b * s * k - 1 - df.sum())
    mean = np.append(squares, max((deviation**2).sum() - squares.sum(), 0)) / df
    error = [2, 2, 4, 4]
    with np.errstate(divide="ignore", invalid="ignore"):
        f = np.append(mean[:4] / mean[error], np.nan)
    p = np.append(scipy.stats.f.sf(f[:4], df[:4], df[error]), np.nan)
    return pd.DataFrame({"source": SOURCES, "df": df, "mean_square": mean, "F": f, "p": p})


def drawn_squares(table: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
    """Mean squares as they might truly be, given those of ``anova``: (draws, sources), MS · df / χ²(df)."""
    df = table["df"].to_numpy()
    return table["mean_square"].to_numpy() * df / np.random.default_rng(seed).chisquare(df, size=(draws, len(df)))


def components(mean_squares: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Variance of each source from mean squares (…, sources), unbiased and so at times below 0: (…, sources).

    shape: (bases, seeds, sizes). Of the fixed sizes it is the variance of their effects.
    """
    b, s, k = shape
    of_base, of_seed, of_head, of_size, rest = np.moveaxis(mean_squares, -1, 0)
    head, data = (of_head - rest) / k, (of_seed - of_head) / (b * k)
    return np.stack([(of_base - of_head) / (s * k), data, head, (of_size - rest) / (b * s), rest], axis=-1)


def errors(parts: np.ndarray) -> np.ndarray:
    """Error variance of one run, (…, targets) from ``components``: of a base's value, and of a difference (halved).

    Two bases trained on the same pairs share what those do to both, so that it is no error of their difference.
    """
    of_difference = parts[..., 2] + parts[..., 4]
    return np.stack([of_difference + np.maximum(parts[..., 1], 0), of_difference], axis=-1)


def reliability(parts: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Reliability of the mean of ``seeds`` runs, a seed each, all of one size: (…, targets, seeds).

    σ²(base) / (σ²(base) + error / seeds): Spearman and Brown's formula. For one base it is generalisability theory's
    Φ, for the difference of two bases (both variances doubled) its Eρ² (Cronbach et al. 1972). A negative σ²(base) is
    0.
    """
    between = np.maximum(parts[..., 0], 0)[..., None, None]
    return between / (between + errors(parts)[..., None] / seeds)


def seeds_needed(parts: np.ndarray, wanted: float) -> np.ndarray:
    """How many seeds give the reliability ``wanted``: (…, targets), not rounded; infinite where bases do not differ."""
    between = np.maximum(parts[..., 0], 0)[..., None]
    with np.errstate(divide="ignore"):
        return np.maximum(1.0, wanted / (1 - wanted) * errors(parts) / between)


def head_correlation(untrained: np.ndarray, trained: np.ndarray, draws: int = 9_999, seed: int = 0) -> dict:
    """Does the head's preference before training tell the reward model's? Correlation over base × seed units.

    untrained, trained: (bases, seeds); the runs of one head (its sizes) are one unit, their mean. ``r``: Pearson's, of
    deviations from the base's mean (0 where one side is constant), with Fisher's interval, each base's mean beyond the
    first taking a degree of freedom. ``shuffled``: its central 95 % when the heads' values are exchanged between the
    seeds of each base (``p`` against those), every exchange where there are at most ``draws``.
    """
    b, s = untrained.shape
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (untrained, trained))
    spread = np.sqrt((first**2).sum() * (second**2).sum())
    orders = np.array(list(permutations(range(s))), dtype=np.intp) if s <= 7 else None
    if orders is not None and len(orders) ** b <= draws:
        chosen = np.array(list(product(orders, repeat=b)))
    else:
        rows = np.tile(np.arange(s), (draws, b, 1))
        chosen = np.random.default_rng(seed).permuted(rows, axis=2)
        chosen[0] = np.arange(s)  # the data's own order counts
    moved = np.take_along_axis(np.broadcast_to(first, (len(chosen), b, s)), chosen, axis=2)
    null = (moved * second).sum(axis=(1, 2)) / spread if spread > 0 else np.zeros(len(chosen))
    r = float((first * second).sum() / spread) if spread > 0 else 0.0
    free = b * s - b - 2  # n − 3, less one for each base's mean beyond the first
    found = {"r": r, "low": None, "high": None, "units": b * s, "p": float((np.abs(null) >= abs(r) - 1e-9).mean())}
    if free > 0 and abs(r) < 1:
        half = scipy.stats.norm.ppf(0.975) / np.sqrt(free)
        found |= {"low": float(np.tanh(np.arctanh(r) - half)), "high": float(np.tanh(np.arctanh(r) + half))}
    shuffled = dict(zip(("low", "high"), percentile_interval(null), strict=True))
    return found | {"shuffled": shuffled | {"orders": len(null)}}


def split(runs: pd.DataFrame, chosen: SeedVariance) -> dict[str, pd.DataFrame]:
    """Variance, reliability and seeds needed of every measure after training.

    ``components``: a row a measure and source, ``df, mean_square, F, p, variance`` (may be below 0), ``low, high`` (not
    below 0), ``share`` of the sum of those above 0. ``reliability``: a row a measure, target and number of seeds,
    ``reliability, low, high``, ``sd_between`` (between bases, that would give the reliability asked for) and
    ``half_width`` (of a 95 % t interval over seeds, of the target; missing for one seed). ``needed``: a row a measure
    and target, ``seeds`` with ``low, high`` (missing: no number is enough), ``error_sd`` of one run with ``_low,
    _high``.
    """
    parts: dict[str, list] = {"components": [], "reliability": [], "needed": []}
    counts = np.array(chosen.seeds)
    for measure in MEASURES:
        values = block(runs, measure, "trained")
        table = anova(values)
        exact = components(table["mean_square"].to_numpy(), values.shape)
        drawn = components(drawn_squares(table, chosen.interval_draws, chosen.seed), values.shape)
        low, high = _interval(np.maximum(drawn, 0))
        table = table.assign(measure=measure, variance=exact, low=low, high=high)
        parts["components"].append(table.assign(share=np.maximum(exact, 0) / np.maximum(exact, 0).sum()))
        rate, (low, high) = reliability(exact, counts), _interval(reliability(drawn, counts))
        needed = seeds_needed(exact, chosen.reliability)
        fewest, most = _interval(seeds_needed(drawn, chosen.reliability))
        error, (least, greatest) = np.sqrt(errors(exact)), np.sqrt(_interval(errors(drawn)))
        for t, target in enumerate(TARGETS):
            row = {"measure": measure, "target": target}
            ends = {"seeds": needed[t], "low": fewest[t], "high": most[t]}
            sd = {"error_sd": error[t], "error_sd_low": least[t], "error_sd_high": greatest[t]}
            parts["needed"].append(pd.DataFrame([row | ends | sd]).replace(np.inf, np.nan))
            wide = scipy.stats.t.ppf(0.975, counts - 1) * np.sqrt((1, 2)[t] / counts) * error[t]
            asked = error[t] * np.sqrt(chosen.reliability / (1 - chosen.reliability) / counts)
            ends = {"seeds": counts, "reliability": rate[t], "low": low[t], "high": high[t]}
            parts["reliability"].append(pd.DataFrame(row | ends | {"sd_between": asked, "half_width": wide}))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def heads(runs: pd.DataFrame, chosen: SeedVariance) -> pd.DataFrame:
    """Each measure before training against after it: a row a measure, ``head_correlation`` and standard deviations.

    ``sd_untrained``, ``sd_trained``: between the seeds of a base, pooled; trained, of means over its sizes.
    """
    rows = []
    for measure in MEASURES:
        untrained, trained = (block(runs, measure, when).mean(axis=2) for when in WHEN)
        found = head_correlation(untrained, trained, chosen.interval_draws, chosen.seed)
        shuffled = {f"shuffled_{key}": value for key, value in found.pop("shuffled").items()}
        sd, sd_trained = (np.sqrt(values.var(axis=1, ddof=1).mean()) for values in (untrained, trained))
        rows.append({"measure": measure} | found | shuffled | {"sd_untrained": sd, "sd_trained": sd_trained})
    return pd.DataFrame(rows)


def summary(found: dict[str, pd.DataFrame], chosen: SeedVariance) -> dict[str, object]:
    """What metrics/seed_variance.json says of the measures: by measure, then by source or target."""
    result: dict[str, object] = {"wanted": chosen.reliability, "measures": MEASURES}
    for measure in MEASURES:
        own = {name: table[table["measure"] == measure].drop(columns="measure") for name, table in found.items()}
        rates = own["reliability"].groupby("target")
        result[measure] = {
            "components": {row.pop("source"): row for row in records(own["components"])},
            "head": records(own["heads"])[0],
            "needed": {row.pop("target"): row for row in records(own["needed"])},
            "reliability": {t: records(rates.get_group(t).drop(columns="target")) for t in TARGETS},
        }
    return result


def _interval(drawn: np.ndarray) -> np.ndarray:
    """The central 95 % over the first axis, infinite where enough draws are: (2, …)."""
    ordered = np.sort(drawn, axis=0)
    return ordered[[int(0.025 * (len(drawn) - 1)), int(np.ceil(0.975 * (len(drawn) - 1)))]]
