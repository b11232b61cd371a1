"""Figures 4b and A5, and whose ranking a reward model follows, from plots/ablations/*.csv. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from valuetrace.core.files import read_csv
from valuetrace.figures import style

FRAMINGS = ("positive", "negative")
GROUP = ["profile", "source", "objective", "first", "second"]


def draw(folder: str | Path, labels: dict[str, str], out: str | Path) -> None:
    """Draw ``ablations.png`` and ``inheritance.png`` in ``out``.

    folder: holds the CSVs of ``valuetrace ablations``; labels: base → its name in print.
    """
    folder, out = Path(folder), Path(out)
    names = ("runs", "fit", "curve", "inheritance")
    runs, fit, curve, survival = (read_csv(folder / f"{name}.csv", ("framing",)) for name in names)
    style.save(gap_by_size(runs, fit, curve, labels), out / "ablations.png")
    style.save(own_or_any(survival, labels), out / "inheritance.png")


def gap_by_size(runs: pd.DataFrame, fit: pd.DataFrame, curve: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """A column a framing; a colour and marker each source, objective, profile and pair; the line with its band."""
    groups = list(dict.fromkeys(runs[GROUP].itertuples(index=False, name=None)))
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.6 + 0.2 * len(groups)), sharey=True)
    shift = np.linspace(-0.03, 0.03, len(groups)) if len(groups) > 1 else [0.0]
    for axis, framing in zip(axes, FRAMINGS, strict=True):
        axis.axhline(0, color="0.6", lw=0.8)
        notes = []
        for i, key in enumerate(groups):
            colour, marker = style.OKABE_ITO[(i + 2) % 8], style.MARKERS[i % 8]
            own = _of(runs, key, framing)
            seeds = (own["seed"].astype(str) + "/" + own["data_seed"].astype(str)).rank(method="dense")
            x = own["data_size"] * 2 ** (shift[i] + 0.05 * (seeds - seeds.mean()))  # runs of one size side by side
            axis.vlines(x, own["low"], own["high"], color=colour, lw=0.8, alpha=0.5)
            axis.scatter(x, own["gap"], color=colour, marker=marker, s=26, label=_label(key, labels), zorder=3)
            line = _of(curve, key, framing)
            line = line[line["model"] == "line"]
            if len(line):  # a refused fit has no curve
                axis.plot(line["data_size"], line["gap"], color=colour, lw=1.5)
                axis.fill_between(line["data_size"], line["low"], line["high"], color=colour, alpha=0.12, lw=0)
            of_group = f"{key[1]}, {key[2].replace('_', '–')}: " if len(groups) > 1 else ""
            notes.append(of_group + _note(_of(fit, key, framing)))
        _size_axis(axis, runs)
        axis.set_title(f"{framing} framing\n" + "\n".join(notes), fontsize=7)
    axes[0].set_ylabel("gap at the last checkpoint: agency − communion,\nsecond − first base (median ranks)")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=8)
    n = _runs(runs)
    figure.suptitle(
        f"Does more preference data close the gap? {n} run{'s' * (n != 1)}; 95% over words (bars), over runs (band)"
    )
    return figure


def own_or_any(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Spearman's ρ of rewards with log-probabilities, a dot a run: filled for the own base, hollow for another."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.4), sharey=True)
    bases = sorted(table["base"].unique())
    colours, markers = style.base_colours(bases), style.base_markers(bases)
    for axis, framing in zip(axes, FRAMINGS, strict=True):
        axis.axhline(0, color="0.6", lw=0.8)
        for i, base in enumerate(bases):
            colour, marker = colours[base], markers[base]
            for own in (True, False):
                dots = table[(table["framing"] == framing) & (table["base"] == base)]
                dots = dots[(dots["logprobs_of"] == base) == own]
                x = dots["data_size"] * 2 ** (0.16 * (i - (len(bases) - 1) / 2) + (-0.03 if own else 0.03))
                face = colour if own else "white"
                label = f"{labels[base]}, with {'its own base' if own else 'another base'}"
                axis.scatter(x, dots["spearman"], s=28, marker=marker, facecolor=face, edgecolor=colour, label=label)
        _size_axis(axis, table)
        axis.set_title(f"{framing} framing")
    axes[0].set_ylabel("Spearman's ρ: rewards of the trained model\nwith a base's log-probabilities")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)
    runs = _runs(table)
    words = table["words"].max() if len(table) else 0
    figure.suptitle(f"Does a reward model follow its own base, or any? {runs} run{'s' * (runs != 1)}, {words} words")
    return figure


def _runs(table: pd.DataFrame) -> int:
    """How many trainings of all bases the rows come from."""
    return len(table.drop_duplicates(["profile", "source", "objective", "data_size", "seed", "data_seed"]))


def _size_axis(axis, table: pd.DataFrame) -> None:
    """Data sizes on a logarithmic x axis, each size named."""
    axis.set_xscale("log", base=2)
    sizes = sorted(table["data_size"].unique())
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45, ha="right")
    axis.minorticks_off()
    axis.set_xlabel("preference pairs (log scale)")


def _of(table: pd.DataFrame, key: tuple, framing: str) -> pd.DataFrame:
    rows = table["framing"] == framing
    for name, value in zip(GROUP, key, strict=True):
        rows &= table[name] == value
    return table[rows]


def _label(key: tuple, labels: dict[str, str]) -> str:
    profile, source, objective, first, second = key
    pair = f"{labels.get(second, second)} − {labels.get(first, first)}"
    return f"{pair}; {source}, {objective.replace('_', '–')}, profile {profile}"


def _note(fit: pd.DataFrame) -> str:
    """One line on the straight-line fit, or why there is none."""
    line = fit[fit["model"] == "line"]
    if line.empty:
        return ""
    if line["refused"].iloc[0]:
        return f"no fit: {line['refused'].iloc[0].partition(';')[0]}"
    row = line[line["parameter"] == "per_doubling"].iloc[0]
    numbers = [float(row[name]) for name in ("estimate", "low", "high")]
    return "{:+.1f} ranks a doubling ({:+.1f} to {:+.1f}), n = {}".format(*numbers, row["runs"])
