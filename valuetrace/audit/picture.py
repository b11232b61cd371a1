"""A model's value profile beside the reference models, drawn from its CSV alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from valuetrace.core.files import read_csv
from valuetrace.figures import style

COLUMNS = ("model", "role", "base", "construct", "framing", "words", "percentile", "low", "high", "refused")


def draw(table: str | Path, picture: str | Path) -> None:
    """Read the CSV of ``analysis.profile.side_by_side`` and write the picture."""
    frame = read_csv(table, COLUMNS, dtype=str)  # a model may be called 7 or true
    for column in ("percentile", "low", "high"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    style.apply()
    with mpl.rc_context({"text.parse_math": False}):  # a name may hold dollars
        style.save(profile(frame), picture)


def profile(frame: pd.DataFrame) -> Figure:
    """One column a framing, one band a construct, one line a model; the audited model first and in black.

    The released models, where it has a place among them, share the last line of a band: a marker each, and hollow the
    audited model on their words.
    """
    lines, among = (frame[frame["role"].isin(roles)] for roles in (["audited", "reference"], ["placed", "released"]))
    looks = _looks(list(dict.fromkeys(lines["model"])))  # the audited one is first
    audited = next(iter(looks))
    constructs, framings = (list(dict.fromkeys(frame[name])) for name in ("construct", "framing"))
    slots = len(looks) + bool(len(among))
    band = 0.3 * slots + 0.25  # inches
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
        for row in lines[lines["framing"] == framing].itertuples():
            slot = list(looks).index(row.model)
            _draw_line(axis, row, constructs.index(row.construct) + _height(slot, slots), **looks[row.model])
        for row in among[among["framing"] == framing].dropna(subset="percentile").itertuples():
            y = constructs.index(row.construct) + _height(slots - 1, slots)
            axis.plot(row.percentile, y, **_among(row.base, among))
        axis.set_xlim(0, 100)
        axis.set_xlabel("percentile of the median word\n(100 = best; 50 = chance)")
        axis.set_title(f"{framing} prompts")
    words = lines[lines["model"] == audited].drop_duplicates("construct").set_index("construct")["words"]
    axes[0, 0].set_yticks(range(len(constructs)), [f"{name}\n{words[name]} words" for name in constructs])
    axes[0, 0].set_ylim(len(constructs) - 0.5, -0.5)
    handles = [
        Line2D([], [], lw=1.6, label=name + (" (audited)" if name == audited else ""), **look)
        for name, look in looks.items()
    ]
    for base, of_base in among.groupby("base"):
        label = f"released, {base} (n = {of_base['model'].nunique()})" if base else f"{audited} on their words"
        handles.append(Line2D([], [], lw=0, label=label, **_among(base, among)))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(3, len(handles)),
        title="lines: 95% bootstrap intervals over words",
        title_fontsize=8,
        fontsize=8,
    )
    return figure


def _draw_line(axis: Axes, row, y: float, color: str, marker: str) -> None:
    """One number with its interval, or the word that there is none."""
    if row.refused:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        look = {"ha": "center", "va": "center", "fontsize": 7, "style": "italic", "color": color, "bbox": box}
        axis.text(50, y, "refused", **look)
        return
    axis.hlines(y, row.low, row.high, color=color, lw=1.6)
    axis.plot(row.percentile, y, marker, ms=6, color=color)


def _looks(models: list[str]) -> dict[str, dict[str, str]]:
    """Model → colour and marker; the first, which is audited, black."""
    others = models[1:]
    colours, names = style.base_colours(others), sorted(others)
    looks = {name: {"color": colours[name], "marker": style.MARKERS[1:][names.index(name) % 7]} for name in others}
    return {models[0]: {"color": "black", "marker": "o"}} | looks


def _height(slot: int, slots: int) -> float:
    """How far from the middle of its band a line stands, in bands."""
    return 0.86 * ((slot + 1) / (slots + 1) - 0.5)


def _among(base: str, among: pd.DataFrame) -> dict:
    """The marker of a released model, by its base; of no base: the audited one among them."""
    if not base:
        return {"marker": "o", "ms": 7, "color": "black", "mfc": "none", "zorder": 4}
    bases = among.loc[among["base"] != "", "base"]
    look = {"marker": style.base_markers(bases)[base], "color": style.base_colours(bases)[base]}
    return look | {"ms": 5, "alpha": 0.75, "mec": "none"}
