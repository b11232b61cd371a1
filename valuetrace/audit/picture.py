"""A model's value profile beside the reference models, drawn from its CSV alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from valuetrace.audit.comparison import COLUMNS
from valuetrace.core.files import read_csv
from valuetrace.figures import style


def draw(table: str | Path, picture: str | Path) -> None:
    """Read the CSV of ``comparison.side_by_side``, or of ``compare.table``, which has groups, and write the picture."""
    columns = tuple(name for name in COLUMNS if name not in ("role", "base"))  # which groups do not have
    frame = read_csv(table, columns, dtype=str)  # a model may be called 7 or true
    for column in ("percentile", "low", "high"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    style.apply()
    with mpl.rc_context({"text.parse_math": False}):  # a name may hold dollars
        style.save(several(frame) if "group" in frame else profile(frame), picture)


def profile(frame: pd.DataFrame) -> Figure:
    """One column a framing, one band a construct, one line a model; the audited model first and in black.

    The released models share the last line of a band, a marker each. The hollow marker is the audited model, ranked on
    their words.
    """
    lines, among = (frame[frame["role"].isin(roles)] for roles in (["audited", "reference"], ["placed", "released"]))
    looks = _looks(list(dict.fromkeys(lines["model"])))  # the audited one is first
    audited = next(iter(looks))
    constructs, framings = (list(dict.fromkeys(frame[name])) for name in ("construct", "framing"))
    slots = len(looks) + bool(len(among))
    figure, axes = _axes([slots * len(constructs)], [len(constructs)], len(framings))
    _panels(axes[0], lines, looks, constructs, framings, slots)
    for axis, framing in zip(axes[0], framings, strict=True):
        for row in among[among["framing"] == framing].dropna(subset="percentile").itertuples():
            y = constructs.index(row.construct) + _height(slots - 1, slots)
            axis.plot(row.percentile, y, **_among(row.base, among))
    words = lines[lines["model"] == audited].drop_duplicates("construct").set_index("construct")["words"]
    axes[0, 0].set_yticks(range(len(constructs)), [f"{name}\n{words[name]} words" for name in constructs])
    handles = [
        Line2D([], [], lw=1.6, label=name + (" (audited)" if name == audited else ""), **look)
        for name, look in looks.items()
    ]
    for base, of_base in cast(Any, among.groupby("base")):
        label = f"released, {base} (n = {of_base['model'].nunique()})" if base else f"{audited} on their words"
        handles.append(Line2D([], [], lw=0, label=label, **_among(base, among)))
    _legend(figure, handles)
    return figure


def several(frame: pd.DataFrame) -> Figure:
    """As ``profile``, of models that were audited together: one row of panels a group of comparable models."""
    looks = _looks(list(dict.fromkeys(frame["model"])))
    framings = list(dict.fromkeys(frame["framing"]))
    groups = [part for _, part in frame.groupby("group", sort=False)]
    names = [list(dict.fromkeys(part["construct"])) for part in groups]
    members = [{name: looks[name] for name in dict.fromkeys(part["model"])} for part in groups]
    lines = [len(constructs) * len(own) for constructs, own in zip(names, members, strict=True)]
    figure, axes = _axes(lines, list(map(len, names)), len(framings))
    for row, part, constructs, own in zip(axes, groups, names, members, strict=True):
        _panels(row, part, own, constructs, framings, len(own))
        counts = part["words"].astype(int).groupby(part["construct"]).agg(["min", "max"])
        told = {name: str(low) if low == high else f"{low}–{high}" for name, low, high in counts.itertuples()}
        row[0].set_yticks(range(len(constructs)), [f"{name}\n{told[name]} words" for name in constructs])
        row[0].set_ylabel(part["group"].iloc[0])
    _legend(figure, [Line2D([], [], lw=1.6, label=name, **look) for name, look in looks.items()])
    return figure


def _axes(lines: list[int], bands: list[int], columns: int) -> tuple[Figure, np.ndarray]:
    """Rows of panels, each as high as its lines and bands need."""
    heights = [max(1.3, 0.3 * line + 0.25 * band) + 1.35 for line, band in zip(lines, bands, strict=True)]
    size = (3.9 * columns + 0.7, sum(heights))
    return plt.subplots(len(lines), columns, figsize=size, sharey="row", squeeze=False, height_ratios=heights)


def _panels(axes, lines: pd.DataFrame, looks: dict, constructs: list[str], framings: list[str], slots: int) -> None:
    """One row of panels: a column a framing, a band a construct, a line a model."""
    for axis, framing in zip(axes, framings, strict=True):
        axis.axvline(50, color="0.7", lw=0.8, ls="--", zorder=0)
        for at in range(1, len(constructs)):
            axis.axhline(at - 0.5, color="0.9", lw=0.8, zorder=0)
        for row in cast(Any, lines[lines["framing"] == framing].itertuples()):
            slot = list(looks).index(row.model)
            _draw_line(axis, row, constructs.index(row.construct) + _height(slot, slots), **looks[row.model])
        axis.set_xlim(0, 100)
        axis.set_xlabel("percentile of the median word\n(100 = best; 50 = chance)")
        axis.set_title(f"{framing} prompts")
    axes[0].set_ylim(len(constructs) - 0.5, -0.5)


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(3, len(handles)),
        title="lines: 95% bootstrap intervals over words",
        title_fontsize=8,
        fontsize=8,
    )


def _draw_line(axis: Axes, row, y: float, color: str, marker: str) -> None:
    """One number with its interval, or the word ``refused``."""
    if row.refused:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        look: dict = {"ha": "center", "va": "center", "fontsize": 7, "style": "italic", "color": color, "bbox": box}
        axis.text(50, y, "refused", **look)
        return
    axis.hlines(y, row.low, row.high, color=color, lw=1.6)
    axis.plot(row.percentile, y, marker, ms=6, color=color)


def _looks(models: list[str]) -> dict[str, dict]:
    """Model → colour and marker; the first, which is audited, black."""
    others = models[1:]
    colours, names = style.base_colours(others), sorted(others)
    looks = {name: {"color": colours[name], "marker": style.MARKERS[1:][names.index(name) % 7]} for name in others}
    return {models[0]: {"color": "black", "marker": "o"}} | looks


def _height(slot: int, slots: int) -> float:
    """How far from the middle of its band a line stands, in bands."""
    return 0.86 * ((slot + 1) / (slots + 1) - 0.5)


def _among(base: str, among: pd.DataFrame) -> dict:
    """The marker of a released model, by its base; without a base, the marker of the audited model."""
    if not base:
        return {"marker": "o", "ms": 7, "color": "black", "mfc": "none", "zorder": 4}
    bases = among.loc[among["base"] != "", "base"]
    look = {"marker": style.base_markers(bases)[base], "color": style.base_colours(bases)[base]}
    return look | {"ms": 5, "alpha": 0.75, "mec": "none"}
