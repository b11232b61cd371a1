"""Section 4 of the paper from its released files, drawn from plots/published/section_4/*.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from valuetrace.core.files import read_csv
from valuetrace.figures import style
from valuetrace.figures.dynamics import bars, first_and_last
from valuetrace.figures.implicit_rewards import printable


def draw(folder: str | Path, out: str | Path) -> list[Path]:
    """Every picture whose table is in ``folder``, into ``out``: ``figure_4a``, ``figure_4b``, and of the rewards by
    checkpoint ``movers``, ``kendall`` and ``token_paths`` (.png)."""
    folder, out, drawn = Path(folder), Path(out), list[Path]()
    style.apply()
    pictures: dict[str, tuple] = {
        "figure_4a": (course, ("medians", "gaps")),
        "figure_4b": (ends, ("ends", "end_gaps")),
        "movers": (movers, ("movers",)),
        "kendall": (agreement, ("kendall",)),
        "token_paths": (token_paths, ("extremes",)),
    }
    for name, (picture, tables) in pictures.items():
        if all((folder / f"{table}.csv").is_file() for table in tables):
            style.save(picture(*(read_csv(folder / f"{table}.csv", ()) for table in tables)), out / f"{name}.png")
            drawn.append(out / f"{name}.png")
    return drawn


def course(medians: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """Figures 4a and A5a for every training: medians of both constructs and the gaps over the steps, a row a file."""
    steps = medians[medians["same_as"] == ""].groupby("run")["step"].nunique()
    medians, gaps = (frame[frame["run"].isin(steps.index[steps > 1])] for frame in (medians, gaps))
    runs, constructs = list(dict.fromkeys(medians["run"])), sorted(medians["construct"].unique())
    bases = sorted(medians["base"].unique())
    colours, markers = style.base_colours(bases), style.base_markers(bases)
    figure, axes = plt.subplots(len(runs), 3, figsize=(9.6, 2.3 * len(runs) + 0.9), sharey="col", squeeze=False)
    shades = _pair_colours(gaps)
    for row, run in zip(axes, runs, strict=True):
        own = medians[medians["run"] == run]
        for axis, construct in zip(row, constructs, strict=False):
            for base in bases:
                line = own[(own["construct"] == construct) & (own["base"] == base)].sort_values("step")
                axis.plot(line["step"], line["median_rank"], color=colours[base], marker=markers[base], ms=3.5)
            axis.set_title(f"{own['title'].iloc[0]}: {construct}", fontsize=8)
        for pair, line in cast(Any, gaps[gaps["run"] == run].groupby(["first", "second"])):
            row[2].plot(line["step"], line["gap"], color=shades[pair], marker=".")
        row[2].axhline(0, color="0.6", lw=0.8)
        row[2].set_title("gap: agency − communion, between bases", fontsize=8)
        row[0].set_ylabel("median rank\n(1 = highest reward)", fontsize=8)
        row[2].set_ylabel("ranks", fontsize=8)
    for axis in axes[0][:2]:
        axis.invert_yaxis()  # shared by the column
    for axis in axes[-1]:
        axis.set_xlabel("optimizer steps")
    handles = [style.entry(f"{b} reward model", color=colours[b], marker=markers[b], ms=4) for b in bases]
    handles += [style.entry(f"gap {p[1]} − {p[0]}", color=shade, marker=".") for p, shade in shades.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(
        "The Big Two over training, from the released medians: one prompt, one training a base and size\n"
        f"({medians['rows_ranked'].iloc[0]:,.0f} rows ranked a step)",
        fontsize=10,
    )
    return figure


def ends(medians: pd.DataFrame, gaps: pd.DataFrame) -> Figure:
    """Figures 4b and A5b: medians at the end and the gaps against the number of pairs; a file is drawn once."""
    constructs, bases = sorted(medians["construct"].unique()), sorted(medians["base"].unique())
    colours = style.base_colours(bases)
    sources = list(dict.fromkeys(medians["source"]))
    marks = dict(zip(sources, style.MARKERS, strict=False))
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.9))
    for axis, construct in zip(axes, constructs, strict=False):
        for row in medians[medians["construct"] == construct].itertuples():
            axis.plot(row.pairs_drawn, row.median_rank, marks[row.source], color=colours[row.base], ms=6)
        axis.invert_yaxis()
        axis.set_title(construct)
        axis.set_ylabel("median rank (1 = highest reward)", fontsize=8)
    shades = _pair_colours(gaps)
    for row in cast(Any, gaps.itertuples()):
        axes[2].plot(row.pairs_drawn, row.gap, marks[row.source], color=shades[row.first, row.second], ms=6)
    axes[2].axhline(0, color="0.6", lw=0.8)
    axes[2].set_title("gap: agency − communion, between bases")
    axes[2].set_ylabel("ranks", fontsize=8)
    at = medians.drop_duplicates("run")
    twice = at[at["also"] != ""]
    for axis in axes:
        axis.set_xscale("log")
        axis.minorticks_off()
        axis.set_xticks(at["pairs_drawn"], at["printed"], fontsize=7, rotation=60)
        axis.set_xlabel("preference pairs (logarithmic)")
    handles = [style.entry(f"{b} reward model", color=colours[b], lw=4) for b in bases]
    handles += [style.entry(f"gap {p[1]} − {p[0]}", color=shade, lw=4) for p, shade in shades.items()]
    handles += [style.entry(s, color="0.4", marker=marks[s], ls="") for s in sources]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    title = (
        f"The Big Two at the end of training, from the released medians: {len(at)} distinct files, one training a point"
    )
    for row in twice.itertuples():
        title += f"\n(the file released as {row.also} has the bytes of {row.printed}: drawn once)"
    figure.suptitle(title, fontsize=10)
    return figure


def _pair_colours(gaps: pd.DataFrame) -> dict[tuple[str, str], str]:
    """A colour for each pair of bases (first, second), in the table's order."""
    pairs = dict.fromkeys(zip(gaps["first"], gaps["second"], strict=True))
    return dict(zip(pairs, (style.OKABE_ITO[i] for i in (7, 3, 5)), strict=False))


def movers(table: pd.DataFrame) -> Figure:
    """Figures 5 and A6 (bars) and A7 (paths): the words that change rank most, a row a base."""
    bases, constructs = sorted(table["base"].unique()), sorted(table["construct"].unique())
    colours = dict(zip(constructs, (style.OKABE_ITO[3], style.OKABE_ITO[2]), strict=False))
    figure, axes = plt.subplots(len(bases), 2, figsize=(9, 2.9 * len(bases) + 0.8), squeeze=False)
    for (change, paths), base in zip(axes, bases, strict=True):
        own = table[table["base"] == base]
        bars(change, own.drop_duplicates(["direction", "place"]), colours)
        change.set_title(f"{base}: step {own['step'].min()} to {own['step'].max()}, {own['words'].iloc[0]} nouns")
        for _, line in own.groupby(["direction", "place"]):
            line = line.sort_values("step")
            paths.plot(line["step"], line["rank"], color=colours[line["construct"].iloc[0]], marker=".", lw=1)
            end = (1.01, line["rank"].iloc[-1])
            paths.annotate(line["word"].iloc[0], end, xycoords=("axes fraction", "data"), fontsize=6)
        paths.invert_yaxis()
        paths.set_ylabel("rank (1 = highest reward)", fontsize=8)
    axes[-1, 0].set_xlabel("change of rank (right: comes to be preferred)")
    axes[-1, 1].set_xlabel("optimizer steps")
    handles = [style.entry(name, color=colours[name], lw=6) for name in constructs]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    figure.suptitle("Words that move most while the released reward models are trained", fontsize=10)
    return figure


def agreement(table: pd.DataFrame) -> Figure:
    """Figure A4: Kendall's τ of all tokens with the last checkpoint."""
    bases = sorted(table["base"].unique())
    colours, markers = style.base_colours(bases), style.base_markers(bases)
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    for base in bases:
        own = table[table["base"] == base].sort_values("step")
        label = f"{base} ({own['tokens'].iloc[0]:,} tokens)"
        axis.plot(own["step"], own["kendall"], color=colours[base], marker=markers[base], ms=4, label=label)
    axis.set_xlabel("optimizer steps")
    axis.set_ylabel("Kendall's τ with the last checkpoint's ranks")
    axis.legend(fontsize=8)
    return figure


def token_paths(table: pd.DataFrame) -> Figure:
    """Figure A8: the ranks over the steps of the tokens that lead and trail at the last checkpoint."""
    last, bases = table[table["chosen_at"] == "last"], sorted(table["base"].unique())
    figure, axes = plt.subplots(len(bases), 1, figsize=(7.6, 2.9 * len(bases) + 0.5), squeeze=False, sharex=True)
    for axis, base in zip(axes[:, 0], bases, strict=True):
        own = last[last["base"] == base]
        first_and_last(axis, own.assign(name=own["token"].map(printable)))
        axis.invert_yaxis()
        axis.set_title(f"{base}: {own['tokens'].iloc[0]:,} tokens")
        axis.set_ylabel("rank (1 = highest reward)")
    axes[-1, 0].set_xlabel("optimizer steps")
    return figure
