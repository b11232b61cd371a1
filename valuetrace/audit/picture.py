"""A model's value profile beside the reference models, drawn from its CSV alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from valuetrace.core.files import read_csv
from valuetrace.figures import style

COLUMNS = ("model", "role", "construct", "framing", "words", "percentile", "low", "high", "refused")


def draw(table: str | Path, picture: str | Path) -> None:
    """Read the CSV of ``analysis.profile.side_by_side`` and write the picture."""
    frame = read_csv(table, COLUMNS, dtype=str)  # a model may be called 7 or true
    for column in ("percentile", "low", "high"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    style.apply()
    with mpl.rc_context({"text.parse_math": False}):  # a name may hold dollars
        style.save(profile(frame), picture)


def profile(frame: pd.DataFrame) -> Figure:
    """One column a framing, one band a construct, one line a model; the audited model first and in black."""
    models = list(dict.fromkeys(frame["model"]))  # the audited one is first
    colours = {models[0]: "black"} | style.base_colours(models[1:])
    markers = {models[0]: "o"} | {m: style.MARKERS[1:][i % 7] for i, m in enumerate(sorted(models[1:]))}
    constructs = list(dict.fromkeys(frame["construct"]))
    framings = list(dict.fromkeys(frame["framing"]))
    band = 0.3 * len(models) + 0.25  # inches
    figure, axes = plt.subplots(
        1,
        len(framings),
        figsize=(3.9 * len(framings) + 0.7, max(1.3, band * len(constructs)) + 1.35),
        sharey=True,
        squeeze=False,
    )
    for axis, framing in zip(axes[0], framings, strict=True):
        axis.axvline(50, color="0.7", lw=0.8, ls="--", zorder=0)
        for at in range(1, len(constructs)):
            axis.axhline(at - 0.5, color="0.9", lw=0.8, zorder=0)
        for row in frame[frame["framing"] == framing].itertuples():
            place = (models.index(row.model) + 1) / (len(models) + 1) - 0.5
            y = constructs.index(row.construct) + 0.86 * place
            if row.refused:
                look = {"fontsize": 7, "style": "italic", "color": colours[row.model]}
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                axis.text(50, y, "refused", ha="center", va="center", bbox=box, **look)
                continue
            axis.hlines(y, row.low, row.high, color=colours[row.model], lw=1.6)
            axis.plot(row.percentile, y, markers[row.model], ms=6, color=colours[row.model])
        axis.set_xlim(0, 100)
        axis.set_xlabel("percentile of the median word\n(100 = best; 50 = chance)")
        axis.set_title(f"{framing} prompts")
    words = frame[frame["model"] == models[0]].drop_duplicates("construct").set_index("construct")["words"]
    axes[0, 0].set_yticks(range(len(constructs)), [f"{name}\n{words[name]} words" for name in constructs])
    axes[0, 0].set_ylim(len(constructs) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=colours[m], marker=markers[m], lw=1.6, label=m + (" (audited)" if m == models[0] else ""))
        for m in models
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(3, len(models)),
        title="lines: 95% bootstrap intervals over words",
        title_fontsize=8,
        fontsize=8,
    )
    return figure
