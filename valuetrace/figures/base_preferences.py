"""Figure 2 and the grid of formats, drawn from plots/log_probabilities/*.csv."""

from __future__ import annotations

from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from valuetrace.core.numbers import p_value
from valuetrace.figures.style import FRAMINGS, base_colours, entry, nothing


def medians_by_construct(medians: pd.DataFrame, labels: dict[str, str], comparison: str, case: str) -> Figure:
    """Figure 2: each construct's median rank a prompt, two models, one column a format and reading, one row a framing.

    medians: ``format, reading, construct, framing, model, median_rank, words``; labels: model → its name in print.
    """
    shown = medians[(medians["comparison"] == comparison) & (medians["case"] == case)]
    columns = list(dict.fromkeys(zip(shown["format"], shown["reading"], strict=True)))
    if not columns:  # every cell was refused
        return nothing("Every format, spelling and reading was refused: see format_grid.png", va="center")
    constructs, names = sorted(shown["construct"].unique()), sorted(shown["model"].unique())
    colours = base_colours(names)
    size = (2.6 * len(columns) + 0.8, 5.2)
    figure, axes = plt.subplots(2, len(columns), figsize=size, sharex=True, sharey="col", squeeze=False)
    cells = shown.groupby(["format", "reading", "framing", "construct", "model"])["median_rank"]
    for column, (form, reading) in enumerate(columns):
        for row, framing in enumerate(FRAMINGS):
            axis = axes[row, column]
            for i, construct in enumerate(constructs):
                for side, name in zip((-1, 1), names, strict=True):
                    values = cells.get_group((form, reading, framing, construct, name)).to_numpy()
                    _half_violin(axis, values, i, side, colours[name])
            axis.set_xticks(range(len(constructs)), constructs)
            axis.set_xlim(-0.6, len(constructs) - 0.4)
            if row == 0:
                cell = shown[(shown["format"] == form) & (shown["reading"] == reading)]
                words = cell.drop_duplicates("construct").set_index("construct")["words"]
                counts = ", ".join(f"{words[c]} {c}" for c in constructs)
                axis.set_title(f"format: {form}{', calibrated' * (reading == 'calibrated')}\n{counts} words")
            if column == 0:
                axis.set_ylabel(f"{framing} prompts\nmedian rank among the words\n(1 = most probable)")
    for axis in axes[0]:
        axis.invert_yaxis()
    prompts = shown["prompt"].nunique()
    handles: list = [Patch(color=colours[name], label=labels[name]) for name in names]
    handles.append(entry("median over prompts", color="black", lw=2))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle(
        f"Where do two base models rank agency and communion words?\none dot = one of {prompts // 2} prompts a framing"
        f"; spelling: {case}",
        fontsize=10,
    )
    return figure


def format_grid(grid: pd.DataFrame, labels: dict[str, str], models: dict[str, list[str]]) -> Figure:
    """The three-way contrast in every format, spelling and reading, with its interval over words.

    grid: ``comparison, format, case, reading, contrast, low, high, p_words, p_prompts, words, probability``;
    models: comparison → its two models in alphabetical order.
    """
    grid = grid.iloc[::-1].reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(8.6, 0.42 * len(grid) + 1.9))
    y, clear = np.arange(len(grid)), grid["p_words"] < 0.05
    place: dict = {"xycoords": ("axes fraction", "data"), "ha": "center"}
    axis.axvline(0, color="0.6", lw=0.8)
    for i, why in grid["refused"].items():
        if isinstance(why, str) and why:
            short = "the prompts are not read" if "not read" in why else "the words are too improbable"
            axis.annotate(f"refused: {short}", (0.5, i), **place, va="center", color="0.45")
    axis.hlines(y, grid["low"], grid["high"], color="0.35", lw=1.5)
    axis.scatter(grid["contrast"], y, s=36, c=np.where(clear, "#0072B2", "white"), edgecolors="#0072B2", zorder=3)
    several = grid["comparison"].nunique() > 1
    axis.set_ylim(-0.6, len(grid) - 0.4)
    names = []
    for row in cast(Any, grid.itertuples()):
        name = f"{row.comparison}: {row.format}" if several else row.format
        name += f", {row.case}" + ", calibrated" * (row.reading == "calibrated")
        names.append(f"{name} ({row.words} words, mass {p_value(row.probability)})")
    axis.set_yticks(y, names)
    for i, row in grid.iterrows():
        for x, p in ((1.05, row.p_words), (1.19, row.p_prompts)):
            axis.annotate(p_value(p) if p == p else "–", (x, i), **place, va="center", fontsize=8)  # NaN: refused
    for x, unit in ((1.05, "words"), (1.19, "prompts")):
        axis.annotate(f"p, unit:\n{unit}", (x, len(grid) - 0.5), **place, fontsize=8)
    first, second = (labels[name] for name in next(iter(models.values())))
    pair = f"{second} − {first}" if not several else "second − first model"
    axis.set_xlabel(
        f"three-way contrast in ranks, {pair}:\n(agency − communion | positive) − (agency − communion | negative)"
    )
    handles = [
        entry("p over words < .05", marker="o", color="#0072B2", lw=0),
        entry("p over words ≥ .05", marker="o", color="#0072B2", markerfacecolor="white", lw=0),
        entry("95% bootstrap interval over words", color="0.35", lw=1.5),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(
        "Does the answer depend on the format? Every format, spelling and reading that was declared\n"
        "(in brackets: shared single-token words; mass: the probability on all of them where it is least)",
        fontsize=10,
    )
    return figure


def _half_violin(axis, values: np.ndarray, at: float, side: int, colour: str) -> None:
    centre = at + side * 0.18
    if np.ptp(values) > 0:
        half = "low" if side < 0 else "high"
        parts = axis.violinplot(values, [centre], widths=0.5, side=half, showextrema=False, bw_method=0.4)
        parts["bodies"][0].set(facecolor=colour, alpha=0.35, edgecolor="none")
    spread = np.linspace(-0.07, 0.07, len(values))  # by prompt, so that the picture is the same every time
    axis.scatter(centre + spread, values, s=7, color=colour, alpha=0.8, linewidths=0)
    axis.hlines(np.median(values), centre - 0.14, centre + 0.14, color="black", lw=2, zorder=4)
