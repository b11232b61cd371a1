"""Figures 4b and A5, and what a reward model has from its own base alone, from plots/ablations/*.csv."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from valuetrace.core.files import read_csv
from valuetrace.figures import style


def draw(folder: str | Path, labels: dict[str, str], out: str | Path) -> None:
    """Draw ``ablations.png`` and ``inheritance.png`` in ``out``.

    folder: holds the CSVs of stages/ablations/collect.py; labels: base → its name in print.
    """
    folder, out = Path(folder), Path(out)
    gap = "Does more preference data close the gap?", "gap: agency − communion (median ranks)"
    own = "½ Σ (own − other base),\npartial rank correlations given word frequency"
    inherited = "What do reward models have from their own base alone?", own
    for value, file, (title, axis), picture in (
        ("gap", "gaps", gap, "ablations"),
        ("inherited", "inherited", inherited, "inheritance"),
    ):
        runs = read_csv(folder / f"{file}.csv", ("framing",))
        parts = (folder / f"{value}_{part}.csv" for part in ("levels", "fit", "curve"))
        levels, fit, curve = (read_csv(path, ("framing",), na_values=[""]) for path in parts)
        style.save(by_size(runs, levels, fit, curve, labels, value, title, axis), out / f"{picture}.png")


def by_size(runs, levels, fit, curve, labels: dict[str, str], value: str, title: str, axis_label: str) -> Figure:
    """``value`` at the last step against data size: a row a pair of bases, a column a framing, a colour a seed.

    runs, levels, fit, curve: the tables of ``measures.ablations``. Filled: every reward model of the run reads the
    prompts; hollow: refused. Grey: the untrained heads, mean and 95 % over seeds. Black: the line within seeds.
    """
    pairs = list(dict.fromkeys(runs[["first", "second"]].itertuples(index=False, name=None)))
    if not pairs:
        return style.nothing(f"{title}\nNothing to draw: every pair of bases is refused (metrics/ablations.json)")
    seeds = sorted(runs["seed"].unique())
    colours = dict(zip(seeds, (style.OKABE_ITO[i % 8] for i in (0, 1, 2, 3, 4, 5, 7)), strict=False))
    last = runs[runs["step"] == runs.groupby(["data_size", "seed"])["step"].transform("max")]
    figure, axes = plt.subplots(len(pairs), 2, figsize=(8.6, 4.0 * len(pairs) + 0.8), sharey=True, squeeze=False)
    for row, (first, second) in enumerate(pairs):
        for axis, framing in zip(axes[row], style.FRAMINGS, strict=True):
            part = [t[(t["first"] == first) & (t["framing"] == framing)] for t in (last, levels, fit, curve)]
            own, level, line, band = (t[t["second"] == second] for t in part)
            axis.axhline(0, color="0.6", lw=0.8)
            null = level[level["when"] == "untrained"].sort_values("data_size")
            axis.plot(null["data_size"], null["estimate"], color="0.5", lw=1, ls=":")
            axis.fill_between(null["data_size"], null["low"], null["high"], color="0.5", alpha=0.15, lw=0)
            for i, seed in enumerate(seeds):
                dots = own[own["seed"] == seed].sort_values("data_size")
                x = dots["data_size"] * 2 ** (0.05 * (i - (len(seeds) - 1) / 2))  # seeds of one size side by side
                axis.vlines(x, dots["low"], dots["high"], color=colours[seed], lw=0.8, alpha=0.6)
                axis.plot(x, dots[value], color=colours[seed], lw=0.8, alpha=0.6)
                face = np.where(dots["reads"], colours[seed], "white")
                look = {"s": 30, "marker": style.MARKERS[i % 8], "zorder": 3}
                axis.scatter(x, dots[value], c=face, edgecolors=colours[seed], **look)
            if len(band):  # none where the fit is refused
                axis.plot(band["data_size"], band["estimate"], color="black", lw=1.8)
                axis.fill_between(band["data_size"], band["low"], band["high"], color="black", alpha=0.1, lw=0)
            note = _note(line) if len(own) else "log-probabilities of a base cannot be read here"
            axis.set_title(f"{framing} framing\n{note}", fontsize=8)
            axis.set_xscale("log", base=2)
            sizes = sorted(runs["data_size"].unique())
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.minorticks_off()
            axis.set_xlabel("preference pairs (log scale)")
        axes[row, 0].set_ylabel(f"{axis_label}\n{labels[second]} − {labels[first]}" if value == "gap" else axis_label)
    handles: list = [
        style.entry(f"seed {seed} (bars: 95% over words)", color=colours[seed], marker=style.MARKERS[i % 8])
        for i, seed in enumerate(seeds)
    ]
    handles += [
        style.entry("the prompts are not read: not used", color="0.3", marker="o", markerfacecolor="white", lw=0),
        Patch(color="0.5", alpha=0.3, label="untrained heads, 95% over seeds"),
        style.entry("line within seeds, 95% over seeds", color="black", lw=1.8),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    n = len(runs[["data_size", "seed"]].drop_duplicates())
    figure.suptitle(f"{title} {n} trainings of both bases: {len(seeds)} seeds × {runs['data_size'].nunique()} sizes")
    return figure


def _note(fit: pd.DataFrame) -> str:
    """One line on the straight-line fit, or why there is none."""
    if fit.empty or isinstance(fit["refused"].iloc[0], str):
        return "no fit: too few runs read the prompts"
    row = fit[fit["parameter"] == "per_doubling"].iloc[0]
    estimate, low, high = (format(row[name], "+.3g").replace("-", "−") for name in ("estimate", "low", "high"))
    return f"{estimate} a doubling ({low} to {high}), {int(row['seeds'])} seeds"
