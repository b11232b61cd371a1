"""The fingerprint over all dimensions, and the multitrait picture, from plots/dimensions/*.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from valuetrace.core.files import read_csv
from valuetrace.figures import style

_OFFSET = {"logprob": -0.22, "reward": 0.14}  # of a row's height, so that no marker hides another
_STEP = 0.16  # between models of one source


def draw(folder: str | Path, labels: dict[str, str], titles: dict[str, str], sources: dict[str, str], out: str | Path):
    """Draw ``dimensions.png`` and ``dimensions_multitrait.png`` in ``out``.

    folder: holds the CSVs of stages/dimensions/collect.py; labels: model → its name in print; titles: dictionary → the
    same; sources: kind of score table → the same.
    """
    folder, out = Path(folder), Path(out)
    readings = read_csv(folder / "fingerprint.csv", ("construct",), na_values=[""])
    style.save(fingerprint(readings, labels, titles, sources), out / "dimensions.png")
    pairs = read_csv(folder / "pairs.csv", ("kind",), na_values=[""])
    style.save(multitrait(pairs, titles, sources), out / "dimensions_multitrait.png")


def printed(construct: str, titles: dict[str, str] | None = None) -> str:
    """``big_two:agency`` as its name without the dictionary's, or after its title where titles are given."""
    dictionary, _, name = construct.partition(":")
    name = name.replace("_", " ").replace(".", ", ")
    return name if titles is None else f"{titles[dictionary]}: {name}"


def fingerprint(
    readings: pd.DataFrame, labels: dict[str, str], titles: dict[str, str], sources: dict[str, str]
) -> Figure:
    """Percentile of each construct's median word: a row a construct, a column a framing, a colour and marker a base."""
    constructs = list(dict.fromkeys(readings["construct"]))
    places, groups, y = {}, cast("dict[str, float]", {}), 0.0
    for construct in constructs:
        dictionary = construct.partition(":")[0]
        if dictionary not in groups:
            y += 1.0 if groups else 0.0
            groups[dictionary] = y - 0.9
        places[construct] = y
        y += 1
    own = readings[readings["source"] != "released"]
    colours = style.base_colours(own["base"])
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 0.33 * y + 2.4), sharey=True, sharex=True)
    for axis, framing in zip(axes, style.FRAMINGS, strict=True):
        axis.axvline(50, color="0.6", lw=0.8)
        part = readings[readings["framing"] == framing]
        there = part[part["source"] == "released"]
        axis.plot(there["percentile"], there["construct"].map(places), "|", color="0.45", ms=8, mew=1, zorder=1)
        for (source, base), row in cast(Any, own[own["framing"] == framing].groupby(["source", "base"], sort=False)):
            number, colour = list(colours).index(base), colours[base]
            at = row["construct"].map(places) + _OFFSET[source] + _STEP * number
            axis.hlines(at, row["low"], row["high"], color=colour, lw=1, alpha=0.7)
            look = {"marker": style.MARKERS[number], "c": colour if source == "reward" else "white"}
            axis.scatter(row["percentile"], at, s=26, edgecolors=colour, zorder=3, **look)
        axis.set_title(f"{framing} prompts")
        axis.set_xlim(0, 100)
        axis.set_xlabel("percentile of the median word (50: as words drawn at random)")
    counts = readings.groupby("construct")["words"].agg(_span)
    axes[0].set_yticks(list(places.values()), [f"{printed(name)}  ({counts[name]})" for name in places], fontsize=8)
    axes[0].set_ylim(y - 0.2, -1.5)
    for dictionary, at in groups.items():
        axes[0].text(-0.02, at, titles[dictionary], transform=axes[0].get_yaxis_transform(), ha="right", weight="bold")
    handles = [
        style.entry(f"{labels[base]}, {sources[s]}", marker=style.MARKERS[i], color=colour, lw=1, markerfacecolor=face)
        for i, (base, colour) in enumerate(colours.items())
        for s, face in (("logprob", "white"), ("reward", colour))
        if ((own["source"] == s) & (own["base"] == base)).any()
    ]
    n = readings.loc[readings["source"] == "released", "model"].nunique()
    handles.append(style.entry(f"{sources['released']} ({n})", marker="|", color="0.45", lw=0, ms=8))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(
        "One fingerprint over all dimensions (in brackets: words that are ranked, fewest to most; bars: 95% over words)"
    )
    return figure


def multitrait(pairs: pd.DataFrame, titles: dict[str, str], sources: dict[str, str]) -> Figure:
    """Correlation of two constructs' readings: a row a pair, a column a panel and unit, colours the kind of pair."""
    kinds = [kind for kind in _KINDS if kind in set(pairs["kind"])]
    colours, markers = (dict(zip(_KINDS, each, strict=False)) for each in (style.OKABE_ITO, style.MARKERS))
    first, second = (pairs[side].map(lambda name: printed(name, titles)) for side in ("first", "second"))
    pairs = pairs.assign(pair=first + " – " + second)
    rows = list(dict.fromkeys(pair for kind in kinds for pair in pairs.loc[pairs["kind"] == kind, "pair"]))
    places = {pair: at for at, pair in enumerate(rows)}
    columns = list(pairs[["source", "unit"]].drop_duplicates().itertuples(index=False, name=None))
    size = (4.2 + 2.4 * len(columns), 2.2 + 0.56 * len(rows))
    figure, axes = plt.subplots(2, len(columns), figsize=size, sharey=True, sharex=True, squeeze=False)
    for line, framing in zip(axes, style.FRAMINGS, strict=True):
        for axis, (source, unit) in zip(line, columns, strict=True):
            part = pairs[(pairs["source"] == source) & (pairs["unit"] == unit) & (pairs["framing"] == framing)]
            axis.axvline(0, color="0.6", lw=0.8)
            for valence, shift, filled in (("as they are", -0.15, True), ("without valence", 0.2, False)):
                for row in part[part["valence"] == valence].itertuples():
                    at, colour = places[row.pair] + shift, colours[row.kind]
                    if filled:
                        bar = {"color": "0.85", "lw": 7, "solid_capstyle": "butt", "zorder": 0}
                        axis.plot([row.null_low, row.null_high], [at, at], **bar)
                    axis.plot([row.low, row.high], [at, at], color=colour, lw=1)
                    face = colour if filled else "white"
                    axis.scatter(row.r, at, s=28, marker=markers[row.kind], c=face, edgecolors=colour, zorder=3)
            axis.set_title(_panel_title(part, sources[source], unit, framing), fontsize=8)
            axis.set_xlim(-1.02, 1.02)
        line[0].set_yticks(range(len(rows)), rows, fontsize=7.5)
        line[0].set_ylim(len(rows) - 0.5, -0.6)
    for axis in axes[-1]:
        axis.set_xlabel("correlation of the readings")
    handles: list = [style.entry(kind, marker=markers[kind], color=colours[kind], lw=1) for kind in kinds]
    handles += [
        style.entry("hollow: without what valence predicts", marker="o", color="0.3", markerfacecolor="white", lw=1),
        Patch(color="0.85", label="random lists of the same sizes and frequencies, 95%"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(
        "Do two dictionaries of one construct agree better than two constructs? (bars: 95% over words and units)"
    )
    return figure


_KINDS = (
    "same construct, other dictionary",
    "other construct, other dictionary",
    "other construct, same dictionary",
    "same construct, same dictionary",
)


def _panel_title(part: pd.DataFrame, source: str, unit: str, framing: str) -> str:
    if part.empty:
        return f"{source}\n{framing}: no reading"
    models, units = int(part["models"].iloc[0]), int(part["units"].iloc[0])
    over = f"over {units} models" if unit == "model" else f"over {units} prompts,\nmean of {models} models"
    return f"{source}\n{framing} prompts, {over}"


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low}–{high}"
