"""Seed variance: what one training's values owe to its seed, from the runs of the ablation (Section 4.2).

A run is measured twice, before training and at its last step. The head before training is that of every size of the
base and seed. Three measures: L (``lean``), ½ (AUC positive − AUC negative) of the first construct over the second,
−½ to ½; and the paper's, the median rank of the first construct less that of the second, in ranks, under each framing
(``gap_positive``, ``gap_negative``; below 0 where the first is preferred).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

from valuetrace.core.errors import InputError, some
from valuetrace.measures.dynamics.trajectories import FRAMINGS, Trajectories
from valuetrace.stats.blocks import auc
from valuetrace.stats.ranks import subset_medians
from valuetrace.studies.planting import preference
from valuetrace.studies.seed_variance.reliability import (
    TARGETS,
    SeedVariance,
    anova,
    components,
    drawn_squares,
    errors,
    head_correlation,
    reliability,
    seeds_needed,
)
from valuetrace.tables import records

MEASURES = {
    "lean": "L: ½ (AUC positive − AUC negative)",
    "gap_positive": "gap of median ranks, positive framing",
    "gap_negative": "gap of median ranks, negative framing",
}
WHEN = ("untrained", "trained")


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
        {"base": base, "when": when, "lean": preference.lean(over[b, w])}
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
        needed, (fewest, most) = (
            seeds_needed(exact, chosen.reliability),
            _interval(seeds_needed(drawn, chosen.reliability)),
        )
        error, (least, greatest) = np.sqrt(errors(exact)), np.sqrt(_interval(errors(drawn)))
        for t, target in enumerate(TARGETS):
            row = {"measure": measure, "target": target}
            ends = {"seeds": needed[t], "low": fewest[t], "high": most[t]}
            sd = {"error_sd": error[t], "error_sd_low": least[t], "error_sd_high": greatest[t]}
            parts["needed"].append(pd.DataFrame([row | ends | sd]).replace(np.inf, np.nan))
            wide = scipy.stats.t.ppf(0.975, counts - 1) * np.sqrt((1, 2)[t] / counts) * error[t]
            asked = error[t] * np.sqrt(chosen.reliability / (1 - chosen.reliability) / counts)
            told = {"seeds": counts, "reliability": rate[t], "low": low[t], "high": high[t]}
            parts["reliability"].append(pd.DataFrame(row | told | {"sd_between": asked, "half_width": wide}))
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
        sd = {
            f"sd_{when}": np.sqrt(values.var(axis=1, ddof=1).mean())
            for when, values in zip(WHEN, (untrained, trained), strict=True)
        }
        rows.append({"measure": measure} | found | shuffled | sd)
    return pd.DataFrame(rows)


def summary(found: dict[str, pd.DataFrame], chosen: SeedVariance) -> dict[str, object]:
    """What metrics/seed_variance.json says of the measures: by measure, then by source or target."""
    result: dict[str, object] = {"wanted": chosen.reliability, "measures": MEASURES}
    for measure in MEASURES:
        own = {name: table[table["measure"] == measure].drop(columns="measure") for name, table in found.items()}
        told: dict[str, dict] = {"components": {row.pop("source"): row for row in records(own["components"])}}
        told["head"] = records(own["heads"])[0]
        told["needed"] = {row.pop("target"): row for row in records(own["needed"])}
        told["reliability"] = {target: [] for target in TARGETS}
        for row in records(own["reliability"]):
            told["reliability"][row.pop("target")].append(row)
        result[measure] = told
    return result


def _interval(drawn: np.ndarray) -> np.ndarray:
    """The central 95 % over the first axis, infinite where enough draws are: (2, …)."""
    ordered = np.sort(drawn, axis=0)
    return ordered[[int(0.025 * (len(drawn) - 1)), int(np.ceil(0.975 * (len(drawn) - 1)))]]
