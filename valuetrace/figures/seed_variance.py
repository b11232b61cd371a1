"""Seed variance: each run's L before and after training, and what the tests say of seeds."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from valuetrace.core.files import read_csv
from valuetrace.core.numbers import written
from valuetrace.figures import style

KINDS = (  # differs, when, what it is, colour, filled
    ("seed", "trained", "two seeds of one base, trained", style.OKABE_ITO[7], True),
    ("seed", "untrained", "two untrained heads of one base", style.OKABE_ITO[7], False),
    ("base", "trained", "two bases, one seed, trained", style.OKABE_ITO[2], True),
)
MARKS = {"positive": "o", "negative": "s", "both": "D"}
STEP = 0.12  # between the dots of one row
NOMINAL = 0.05


def draw(folder: str | Path, labels: dict[str, str], out: str | Path) -> None:
    """Draw ``out``. folder: holds {runs,heads,rates}.csv of stages/ablations/seed_variance.py."""
    names = ("runs", "heads", "rates")
    runs, heads, rates = (read_csv(Path(folder, f"{name}.csv"), (), na_values=[""]) for name in names)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 7.2), width_ratios=(1, 1.25))
    preferences(left, runs, heads[heads["measure"] == "lean"].iloc[0], labels)
    shares(right, rates)
    style.save(figure, out)


def preferences(axis: Axes, runs: pd.DataFrame, head: pd.Series, labels: dict[str, str]) -> None:
    """L at step 0 against L at the last step, a point a run; the runs of one head are joined."""
    colours, seeds = style.base_colours(runs["base"]), sorted(runs["seed"].unique())
    marks = dict(zip(seeds, cycle(style.MARKERS), strict=False))
    axis.axhline(0, color="0.7", lw=0.8)
    axis.axvline(0, color="0.7", lw=0.8)
    for (base, seed), own in runs.groupby(["base", "seed"]):
        wide = own.pivot(index="data_size", columns="when", values="lean")
        axis.plot(wide["untrained"], wide["trained"], color=colours[base], lw=0.7, alpha=0.6)
        axis.scatter(wide["untrained"], wide["trained"], s=34, marker=marks[seed], color=colours[base], zorder=3)
    handles = [style.entry(labels[base], marker="o", lw=0, color=colour) for base, colour in colours.items()]
    handles += [style.entry(f"seed {seed}", marker=marks[seed], lw=0, color="0.4") for seed in seeds]
    handles.append(style.entry("one head, trained on each data size", lw=0.7, color="0.4"))
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=2, fontsize=8)
    axis.locator_params(axis="x", nbins=6)
    axis.set_xlabel("L before training (random head)")
    axis.set_ylabel("L at the last step: ½ (AUC positive − AUC negative)")
    ends = head[["r", "low", "high", "shuffled_low", "shuffled_high"]]
    r, low, high, least, most = (written(None if pd.isna(end) else end, "+.2f") for end in ends)
    axis.set_title(
        f"What a run leans to, before and after training ({len(runs) // 2} runs)\n"
        f"within bases r = {r} (95% {low} to {high}; {head['units']} heads)\n"
        f"seeds shuffled: {least} to {most}, p = {head['p']:.2f}"
    )


def shares(axis: Axes, rates: pd.DataFrame) -> None:
    """The share of pairs that each test calls different at .05, a row a test; of two constructs the first alone."""
    rates = rates[rates["construct"].isna() | (rates["construct"] == rates["construct"].dropna().min())]
    of_units = rates[rates["unit"] != "seeds"]
    counts = of_units.groupby(["differs", "when"])["pairs"].max().astype(int)
    tests = rates[(rates["differs"] == "seed") & (rates["when"] == "trained")].drop_duplicates("test")
    for row, own in enumerate(rates[rates["test"] == test] for test in tests["test"]):
        cells = list(dict.fromkeys(own["framing"]))
        places = [(kind, framing) for kind in KINDS for framing in cells]
        for i, ((differs, when, _, colour, filled), framing) in enumerate(places):
            found = own[(own["differs"] == differs) & (own["when"] == when) & (own["framing"] == framing)]
            for dot in found.itertuples():
                y = row + STEP * (i - (len(places) - 1) / 2)
                axis.plot([dot.low, dot.high], [y, y], color=colour, lw=0.8, alpha=0.45)
                face = colour if filled else "white"
                axis.plot(dot.share, y, MARKS[framing], ms=4.5, color=colour, markerfacecolor=face)
        axis.axhline(row + 0.5, color="0.92", lw=0.8)
    axis.axvline(NOMINAL, color="black", lw=1, ls="--")
    names = []
    for row in cast(Any, tests.itertuples()):
        other = f" ({row.pairs} decisions)" if row.pairs != counts["seed", "trained"] else ""
        names.append(f"{row.label}\nunit: {row.unit}{other}")
    axis.set_yticks(range(len(tests)), names, fontsize=8)
    axis.set_ylim(len(tests) - 0.5, -0.5)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("share of pairs called different at .05")
    handles = []
    for differs, when, name, colour, filled in KINDS:
        look = {"marker": "o", "lw": 0.8, "color": colour, "markerfacecolor": colour if filled else "white"}
        handles.append(style.entry(f"{name}: {counts[differs, when]} pairs", **look))
    for framing, marker in MARKS.items():
        handles.append(style.entry(f"{framing} framing" + "s" * (framing == "both"), marker=marker, lw=0, color="0.4"))
    handles.append(style.entry("expected where only the seed differs: .05", color="black", ls="--", lw=1))
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.3, -0.08), ncols=2, fontsize=8)
    first = " and ".join(rates["construct"].dropna().unique())
    axis.set_title(
        "How often a test calls two reward models different\nbars: 95%, exact binomial over pairs, which share runs\n"
        f"tests of one construct: {first}"
    )
