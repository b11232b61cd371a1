"""How values moved during one training, drawn from the record of ``ValueProfileCallback``. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from valuetrace.core.files import read_csv
from valuetrace.figures import style

COLUMNS = ("step", "construct", "framing", "prompts", "words", "percentile", "known_groups", "correlation_with_start")
COLUMNS += ("reads",)


def draw(csv: str | Path, out: str | Path, title: str = "Values during training") -> None:
    """The picture of a record (``values.csv``) as a PNG."""
    style.apply()
    style.save(course(read_csv(csv, COLUMNS, na_values=[""]), title), out)


def course(record: pd.DataFrame, title: str) -> Figure:
    """Percentile by construct, a column a framing; below, the known groups and the correlation with the start.

    record: ``COLUMNS``. A step at which the model does not read the prompts has hollow markers.
    """
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 5.6), sharex=True, height_ratios=(3, 2))
    constructs = sorted(record["construct"].unique())
    colours, markers = style.base_colours(constructs), style.base_markers(constructs)
    for axis, framing in zip(axes[0], style.FRAMINGS, strict=True):
        for construct in constructs:
            own = record[(record["construct"] == construct) & (record["framing"] == framing)]
            _path(axis, own, "percentile", colours[construct], markers[construct])
        axis.axhline(50, color="0.6", lw=0.8, ls=":")
        prompts = record.loc[record["framing"] == framing, "prompts"].iloc[0]
        axis.set_title(f"{framing} framing ({prompts} prompts)")
    axes[0, 1].sharey(axes[0, 0])
    once = record.drop_duplicates("step")
    shared = {"known_groups": "known groups: virtues − vices,\npositive − negative (points)"}
    shared["correlation_with_start"] = "rank correlation with\nthe start (Spearman's ρ)"
    for axis, (column, label) in zip(axes[1], shared.items(), strict=True):
        _path(axis, once, column, "0.2", "o")
        axis.axhline(0, color="0.6", lw=0.8, ls=":")
        axis.set_ylabel(label, fontsize=8)
        axis.set_xlabel("optimizer steps")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("percentile of the median word\n(100 = preferred, 50 = chance)")
    words = record.drop_duplicates("construct").set_index("construct")["words"]
    handles = [
        style.entry(f"{name} ({words[name]} words)", color=colours[name], marker=markers[name]) for name in constructs
    ]
    hollow = "hollow: the prompts are not read, percentiles mean nothing"
    handles.append(style.entry(hollow, color="0.3", ls="", marker="o", mfc="white"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)), fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _path(axis, own: pd.DataFrame, value: str, colour: str, marker: str) -> None:
    axis.plot(own["step"], own[value], color=colour, lw=1.2)
    for reads, face in ((True, colour), (False, "white")):
        part = own[own["reads"] == reads]
        axis.plot(part["step"], part[value], ls="", marker=marker, ms=4.5, color=colour, mfc=face)
