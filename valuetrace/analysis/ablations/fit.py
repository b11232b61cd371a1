"""What more preference data does to the gap between bases (Section 4.2, Figures 4b and A5).

A *run* is one training of all bases: a data size and seed of one source, objective and profile. Its row
is the gap at the last checkpoint. Runs are the sampling unit: a fit needs several sizes and several seeds,
and says so where they are missing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from valuetrace.analysis.dynamics.trajectories import FRAMINGS
from valuetrace.stats.bootstrap import percentile_interval

GROUP = ("profile", "source", "objective", "first", "second", "framing")
KEY = (*GROUP, "data_size", "seed", "data_seed")
MEASURED = ("step", "gap", "low", "high", "words", "prompts", "accuracy_first", "accuracy_second")
COLUMNS = (*KEY, *MEASURED)
FEWEST_SIZES, FEWEST_SEEDS = 3, 2


def run_summary(found: dict[str, pd.DataFrame], early: int, run: dict, training: dict[str, dict]) -> dict[str, object]:
    """The part of metrics/dynamics.json that other runs are compared by.

    found: the tables of ``stages/dynamics.py``; early: the first trained checkpoint's step; run: ``profile,
    source, objective, data_size, seed, data_seed``; training: base → its metrics/training/<base>.json.
    """
    gaps, kendall, survival = found["gaps"], found["kendall"], found["survival"]
    last = gaps[gaps["step"] == gaps["step"].max()]
    accuracy = {base: made["checkpoints"][-1]["held_out_accuracy"] for base, made in training.items()}
    words = int(found["ranks"].drop_duplicates("construct")["words"].sum())
    prompts = found["ranks"].drop_duplicates("framing").set_index("framing")["prompts"]
    final = [
        {**run, "first": row["first"], "second": row["second"], "framing": row["framing"]}
        | {name: row[name] for name in ("step", "gap", "low", "high")}
        | {"words": words, "prompts": int(prompts[row["framing"]])}
        | {"accuracy_first": accuracy[row["first"]], "accuracy_second": accuracy[row["second"]]}
        for row in last.to_dict("records")
    ]
    final_gap: dict[str, dict[str, float]] = {}
    for row in final:
        final_gap.setdefault(f"{row['second']} - {row['first']}", {})[row["framing"]] = row["gap"]
    return {
        "early_step": early,
        "last_step": int(gaps["step"].max()),
        "final_gap": final_gap,
        "held_out_accuracy": accuracy,
        "kendall": kendall.to_dict("records"),
        "gaps": gaps.to_dict("records"),
        "survival": survival.to_dict("records"),
        "final": final,
    }


def overlay(gaps: pd.DataFrame, kendall: pd.DataFrame, survival: pd.DataFrame) -> pd.DataFrame:
    """One row a step, for ``dvc plots diff``: the first pair's gaps and its two bases' curves.

    Columns ``step, gap_positive, gap_negative`` (ranks), ``kendall_first, kendall_second`` (τ with the final
    ranks) and ``survival_first, survival_second`` (ρ with the own base), the last four means over framings.
    """
    first, second = gaps[["first", "second"]].iloc[0]
    pair = gaps[(gaps["first"] == first) & (gaps["second"] == second)]
    table = pair.pivot(index="step", columns="framing", values="gap")[list(FRAMINGS)].add_prefix("gap_")
    for name, frame, value in (("kendall", kendall, "kendall"), ("survival", survival[survival["own"]], "spearman")):
        for which, base in (("first", first), ("second", second)):
            table[f"{name}_{which}"] = frame[frame["base"] == base].groupby("step")[value].mean()
    return table.reset_index()


class Fit(NamedTuple):
    """``parameters``: parameter, estimate, low, high. ``curve``: data_size, gap, low, high. ``refused``: why not."""

    parameters: pd.DataFrame
    curve: pd.DataFrame
    refused: str | None


def fit_line(sizes: np.ndarray, gaps: np.ndarray, seeds: np.ndarray, draws: int, seed: int) -> Fit:
    """gap = a + b · log2(size / geometric mean size), least squares over runs.

    sizes (pairs), gaps (ranks) and seeds: (runs,). ``at_mean`` is a, ``per_doubling`` b (ranks). Intervals:
    95% percentile bootstrap over runs (a draw that holds a single size is drawn again).
    """
    return _fit(_line, ("at_mean", "per_doubling"), sizes, gaps, seeds, draws, seed)


def fit_power(sizes: np.ndarray, gaps: np.ndarray, seeds: np.ndarray, draws: int, seed: int) -> Fit:
    """gap = c · (size / geometric mean size)^−k: a decay towards, and never through, no gap.

    Least squares on log |gap|, so refused where the runs' gaps do not all have one sign. ``at_mean`` is c
    (ranks), ``exponent`` k (above 0: the gap shrinks), ``left_after_doubling`` 2^−k. Intervals as ``fit_line``.
    """
    gaps = np.asarray(gaps, dtype=np.float64)
    if len(gaps) and not (np.all(gaps > 0) or np.all(gaps < 0)):
        return _refused("the gaps of the runs differ in sign: no decay towards 0 can be told from noise")
    return _fit(_power, ("at_mean", "exponent", "left_after_doubling"), sizes, gaps, seeds, draws, seed)


def fits(runs: pd.DataFrame, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both fits of every group of runs (``GROUP``).

    Returns the table of fits (the group's columns, ``model`` (line, power), ``parameter, estimate, low,
    high, runs, sizes, seeds, smallest, largest`` (pairs), ``refused``) and the table of curves (group, ``model,
    data_size, gap, low, high``). A refused fit is one row without parameter, with its reason.
    """
    parameters, curves = [], []
    for key, own in runs.groupby(list(GROUP), sort=True):
        sizes, gaps = own["data_size"].to_numpy(dtype=np.float64), own["gap"].to_numpy(dtype=np.float64)
        seeds = own["seed"].astype(str) + "/" + own["data_seed"].astype(str)
        of_group = dict(zip(GROUP, key, strict=True))
        counts = {"runs": len(own), "sizes": len(np.unique(sizes)), "seeds": seeds.nunique()}
        counts |= {"smallest": int(sizes.min()), "largest": int(sizes.max())}
        for name, function in (("line", fit_line), ("power", fit_power)):
            fit = function(sizes, gaps, seeds.to_numpy(), draws, seed)
            rows = fit.parameters if fit.refused is None else pd.DataFrame([{"parameter": ""}])
            parameters.append(rows.assign(**of_group, model=name, **counts, refused=fit.refused or ""))
            curves.append(fit.curve.assign(**of_group, model=name))
    order = [*GROUP, "model"]
    tail = ["parameter", "estimate", "low", "high", "runs", "sizes", "seeds", "smallest", "largest", "refused"]
    empty = [pd.DataFrame(columns=[*order, *tail])] if not parameters else []
    table = pd.concat([*parameters, *empty], ignore_index=True).reindex(columns=[*order, *tail])
    curve = pd.concat([*curves, pd.DataFrame(columns=["data_size"])], ignore_index=True)
    return table, curve.reindex(columns=[*order, "data_size", "gap", "low", "high"])


def _line(x: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares on x = log2 of the relative size: (draws, 2) intercepts and slopes."""
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ gaps / total
    variance = weights @ x**2 / total - mean_x**2
    slope = (weights @ (x * gaps) / total - mean_x * mean_y) / variance
    return np.column_stack([mean_y - slope * mean_x, slope])


def _power(x: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    line = _line(x, np.log2(np.abs(gaps)), weights)
    return np.column_stack([np.sign(gaps[0]) * 2 ** line[:, 0], -line[:, 1], 2 ** line[:, 1]])


def _fit(model, names, sizes, gaps, seeds, draws: int, seed: int) -> Fit:
    sizes, gaps = np.asarray(sizes, dtype=np.float64), np.asarray(gaps, dtype=np.float64)
    distinct, n_seeds = np.unique(sizes), len(np.unique(seeds))
    if len(distinct) < FEWEST_SIZES or n_seeds < FEWEST_SEEDS:
        return _refused(
            f"{len(distinct)} data sizes and {n_seeds} seeds; a fit needs {FEWEST_SIZES} sizes and {FEWEST_SEEDS} seeds"
        )
    middle = np.exp(np.log(distinct).mean())
    x = np.log2(sizes / middle)
    estimate = model(x, gaps, np.ones((1, len(x))))[0]
    drawn = model(x, gaps, _bootstrap_weights(x, draws, np.random.default_rng(seed)))
    bounds = np.array([percentile_interval(column) for column in drawn.T])
    parameters = pd.DataFrame({"parameter": names, "estimate": estimate, "low": bounds[:, 0], "high": bounds[:, 1]})
    grid = np.linspace(np.log2(distinct[0] / middle), np.log2(distinct[-1] / middle), 33)
    value = _line_at if model is _line else _power_at
    band = np.quantile(value(drawn, grid), (0.025, 0.975), axis=0)
    curve = {"data_size": middle * 2**grid, "gap": value(estimate[None], grid)[0], "low": band[0], "high": band[1]}
    return Fit(parameters, pd.DataFrame(curve), None)


def _line_at(parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
    return parameters[:, :1] + parameters[:, 1:2] * x


def _power_at(parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
    return parameters[:, :1] * 2 ** (-parameters[:, 1:2] * x)


def _bootstrap_weights(x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each draw takes each run: (draws, runs); every draw holds two sizes at least."""
    weights = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=draws)
    while (single := np.array([len(np.unique(x[row > 0])) < 2 for row in weights])).any():
        weights[single] = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=int(single.sum()))
    return weights


def _refused(reason: str) -> Fit:
    return Fit(pd.DataFrame(), pd.DataFrame(columns=["data_size", "gap", "low", "high"]), reason)
