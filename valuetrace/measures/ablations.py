"""What more preference data does to the gap between bases (Section 4.2, Figures 4b and A5), over sizes and seeds.

A *run* is one training of every base with one data size and one seed, which draws the pairs, the head and the order.
Runs of one seed share all three, so they are no independent observations: a line is fitted within each seed, and
inference is over seeds. A run whose reward models do not read the prompts is shown and not used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError
from valuetrace.measures.dynamics import inheritance as own_or_other
from valuetrace.measures.dynamics.trajectories import Dynamics, construct_medians, gap_table, readings, trajectories
from valuetrace.measures.validity import Rule
from valuetrace.stats.blocks import over_seeds, slopes
from valuetrace.tables import records

FEWEST_SIZES, FEWEST_SEEDS = 3, 2
RUN = ["data_size", "seed"]
GROUP = ["first", "second", "framing"]


@dataclass(frozen=True)
class Ablations:
    """Group ``ablations`` of params.yaml: data sizes, seeds, checkpoints searched, bootstrap draws over words."""

    sizes: list[int | str]
    seeds: list[int]
    checkpoints: int
    draws: int
    seed: int

    def __post_init__(self):
        if not self.sizes or not self.seeds or self.draws < 1 or self.checkpoints < 2:
            raise ValueError("sizes and seeds name one at least, draws are at least 1, checkpoints at least 2")


def run_tables(
    scores: dict[str, pd.DataFrame],
    lexicon: pd.DataFrame,
    known: pd.DataFrame,
    logprobs: dict[str, pd.DataFrame],
    chosen: Dynamics,
    rule: Rule,
    draws: int,
    unread: dict[str, dict[str, str]],
) -> dict[str, pd.DataFrame]:
    """One run's ``gaps``, ``inherited`` (both a row a pair of bases, framing and step), ``survival`` and ``readings``.

    scores: base → table of checkpoint scores; logprobs: ``inheritance.shared_logprobs``; unread: those of them that
    say nothing (``inheritance.unread``), whose rows are left out.
    """
    prompts = chosen.search.prompts()
    paths = trajectories(scores, lexicon, prompts, chosen.constructs)
    gaps = gap_table(paths, *construct_medians(paths, draws, chosen.seed))
    found = own_or_other.inheritance(paths, logprobs, draws, chosen.seed)
    survival, inherited = own_or_other.readable(*found, unread)
    checked = readings(scores, lexicon, known, prompts, paths.steps, rule)
    reads = checked.groupby("step")["reads"].all()
    shown = ["first", "second", "framing", "step", "gap", "low", "high"]
    return {
        "gaps": gaps[shown].assign(reads=gaps["step"].map(reads)),
        "inherited": inherited.assign(reads=inherited["step"].map(reads)),
        "survival": survival,
        "readings": checked,
    }


def levels(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """The mean of ``value`` over seeds at every data size, before training, at the last step and from one to the other.

    Columns: the group's, ``data_size, when`` (untrained, trained, change), ``estimate, low, high, p, seeds``. Trained
    runs that do not read the prompts are left out. The untrained head, which never does, is the null of a trained one:
    ``change`` is a seed's trained value less that of its own untrained head.
    """
    rows = []
    for key, own in table.groupby([*GROUP, "data_size"], sort=True):
        last = _last(own)
        before = own[own["step"] == 0].groupby("seed")[value].mean()
        after = last[last["reads"]].groupby("seed")[value].mean()
        change = (after - before).dropna()
        for when, values in (("untrained", before), ("trained", after), ("change", change)):
            if len(values):
                found = over_seeds(values.to_numpy())
                rows.append(dict(zip([*GROUP, "data_size"], key, strict=True)) | {"when": when} | found._asdict())
    return pd.DataFrame(rows, columns=[*GROUP, "data_size", "when", "estimate", "low", "high", "p", "seeds"])


def fits(table: pd.DataFrame, value: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A line within each seed, value = a + b · log2(size / geometric mean size); inference over seeds.

    Only runs that read the prompts, at their last step, of seeds that have FEWEST_SIZES such sizes. First table: the
    group's columns, ``parameter`` (``at_mean`` a, ``per_doubling`` b), ``estimate, low, high, p, seeds, sizes`` and
    ``left_out`` (runs), ``refused`` (why, or empty). Second, the curve: group, ``data_size, estimate, low, high``.
    """
    parameters, curves = [], []
    for key, every in _last(table).groupby(GROUP, sort=True):
        group, own = dict(zip(GROUP, key, strict=True)), every[every["reads"]]
        own = own[own.groupby("seed")["data_size"].transform("nunique") >= FEWEST_SIZES]
        counts = {"left_out": len(every) - len(own), "sizes": own["data_size"].nunique()}
        if own["seed"].nunique() < FEWEST_SEEDS:
            reason = (
                f"seeds with {FEWEST_SIZES} data sizes in which every reward model reads the prompts: "
                f"{own['seed'].nunique()}; a fit within seeds needs {FEWEST_SEEDS}"
            )
            parameters.append(group | counts | {"parameter": "", "seeds": own["seed"].nunique(), "refused": reason})
            continue
        sizes, seeds = own["data_size"].to_numpy(dtype=float), own["seed"].to_numpy()
        level, slope = slopes(sizes, own[value].to_numpy(), seeds)
        for name, values in (("at_mean", level), ("per_doubling", slope)):
            parameters.append(group | counts | {"parameter": name, "refused": ""} | over_seeds(values)._asdict())
        grid = np.geomspace(sizes.min(), sizes.max(), 33)
        x = np.log2(grid) - np.log2(np.unique(sizes)).mean()
        for size, values in zip(grid, (level[:, None] + slope[:, None] * x).T, strict=True):
            at = over_seeds(values)
            curves.append(group | {"data_size": size, "estimate": at.estimate, "low": at.low, "high": at.high})
    columns = [*GROUP, "parameter", "estimate", "low", "high", "p", "seeds", "sizes", "left_out", "refused"]
    curve = pd.DataFrame(curves, columns=[*GROUP, "data_size", "estimate", "low", "high"])
    return pd.DataFrame(parameters).reindex(columns=columns), curve


def accuracies(training: dict[tuple[str, int, int], dict]) -> pd.DataFrame:
    """Held-out accuracy at the last step, all and by kind of pair: (base, size, seed) → metrics → a row each."""
    rows = []
    for (base, size, seed), made in training.items():
        if not isinstance(made.get("checkpoints"), list):
            raise InputError(f"the metrics of {base}, {size} pairs, seed {seed} hold no checkpoints. Train it again.")
        last = made["checkpoints"][-1]
        told = {name.removeprefix("held_out_"): value for name, value in last.items() if "accuracy" in name}
        rows.append({"base": base, "data_size": made["pairs"], "seed": seed} | told)
    return pd.DataFrame(rows).sort_values(["base", "data_size", "seed"], ignore_index=True)


def summary(found: dict[str, pd.DataFrame]) -> dict[str, object]:
    """The findings of metrics/ablations.json: which runs read the prompts, levels, fits and held-out accuracy."""
    checked = found["readings"]
    trained = _last(checked)  # one row a run and base
    counts = trained.groupby(["base", "data_size"])["reads"].agg(reads="sum", runs="size").reset_index()
    accuracy = found["accuracy"].drop(columns="seed").groupby(["base", "data_size"]).mean().reset_index()
    names = ("gap_levels", "gap_fit", "inherited_levels", "inherited_fit")
    told = {name: records(found[name]) for name in names}
    seeds = sorted(int(seed) for seed in checked["seed"].unique())
    sizes = sorted(int(size) for size in checked["data_size"].unique())
    read = {"readings": records(trained), "reads": records(counts), "accuracy": records(accuracy)}
    return {"sizes": sizes, "seeds": seeds, "runs": len(sizes) * len(seeds), **read, **told}


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of each run's last step."""
    return table[table["step"] == table.groupby(RUN)["step"].transform("max")]
