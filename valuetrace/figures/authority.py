"""Figure A3, from plots/planting/authority_*.csv: what the measures find of planted words, and MWLR by category."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from valuetrace.core.files import read_csv
from valuetrace.figures.style import MARKERS, OKABE_ITO, entry

MATCHING = "matching"
DECADES = 4
"""Below the widest interval by so many powers of ten the axis of MWLR is linear."""

_NUMBERS = ("mean", "low", "high", "more", "more_low", "more_high", "any_spelling")
_NAMES = ("base", "setting", "plant", "template", "measure")
_COLOURS, _FORMS = ("black", "0.55"), ("o", "D")


def draw(folder: str | Path, labels: dict[str, str], top: int) -> Figure:
    """A row a base and setting; left Figure A3a (the first plant), right A3b (every plant, the training's template).

    folder: holds the CSVs of stages/planting/authority.py; labels: base → its name in print; top: tokens that count.
    """
    found = read_csv(Path(folder, "authority_measures.csv"), (*_NAMES, *_NUMBERS))
    groups = read_csv(Path(folder, "authority_categories.csv"), ("group",), na_values=[""])
    copies = list(dict.fromkeys(found[["base", "setting"]].itertuples(index=False, name=None)))
    templates, plants = (list(dict.fromkeys(found[name])) for name in ("template", "plant"))
    prompts = [name for name in found if name not in (*_NAMES, *_NUMBERS)]
    size = (13.5, 2.6 * len(copies) + 2.2)
    figure, axes = plt.subplots(len(copies), 2, figsize=size, sharex="col", squeeze=False, width_ratios=[1.1, 1])
    for row, (base, setting) in zip(axes, copies, strict=True):
        own, by_group = (t[(t["base"] == base) & (t["setting"] == setting)] for t in (found, groups))
        _found(row[0], own[own["plant"] == plants[0]], templates, prompts, top)
        _groups(row[1], by_group[by_group["template"] == MATCHING], plants)
        row[0].set_title(f"{labels[base]}, settings “{setting}”", loc="left")
        row[1].set_title("n: words of the category that are single tokens", loc="right", fontsize=7.5, color="0.4")
    handles = [entry(f"template: {n}", color=OKABE_ITO[i], marker=MARKERS[i]) for i, n in enumerate(templates)]
    handles.append(entry("small dots: a prompt each", color="0.4", marker=".", ms=3, lw=0))
    for name, colour, form in zip(plants, _COLOURS, _FORMS, strict=False):
        handles.append(entry(f"right: the copy with words of {name}", color=colour, marker=form))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8.5)
    figure.suptitle(
        f"Left: what eight measures find of ten planted words (mean, 95% over {len(prompts)} held-out wordings of one "
        "question)\nRight: MWLR by category in the training's template (mean over words and wordings, 95% over words)"
    )
    return figure


def _found(axis, found: pd.DataFrame, templates: list[str], prompts: list, top: int) -> None:
    """Planted words among the top tokens: a place a measure, a colour a template, a dot a prompt."""
    measures = list(dict.fromkeys(found["measure"]))
    width = 0.8 / len(templates)
    for i, template in enumerate(templates):
        own = found[found["template"] == template].set_index("measure").reindex(measures)  # NaN: has no such template
        x = np.arange(len(measures)) + (i - (len(templates) - 1) / 2) * width
        for beside, prompt in zip(np.linspace(-0.35, 0.35, len(prompts)) * width, prompts, strict=True):
            axis.scatter(x + beside, own[prompt], s=4, color=OKABE_ITO[i], alpha=0.6, lw=0)
        axis.vlines(x, own["low"], own["high"], color=OKABE_ITO[i], lw=1.6)
        axis.scatter(x, own["mean"], s=30, marker=MARKERS[i], color=OKABE_ITO[i], edgecolors="white", lw=0.5, zorder=3)
    for edge in np.arange(len(measures) - 1) + 0.5:
        axis.axvline(edge, color="0.9", lw=0.8)
    axis.set_xticks(np.arange(len(measures)), [name.upper() for name in measures])
    axis.set_ylim(-0.05 * top, 1.05 * top)
    axis.set_ylabel(f"planted words among\nthe {top} best tokens")


def _groups(axis, groups: pd.DataFrame, plants: list[str]) -> None:
    """Mean MWLR of each category and of the planted words, a colour a copy, n below."""
    names = list(dict.fromkeys(groups["group"]))
    axis.axhline(0, color="0.6", lw=0.8)
    for i, plant in enumerate(plants):
        of = groups[groups["plant"] == plant].set_index("group").reindex(names)
        x = np.arange(len(names)) + (i - (len(plants) - 1) / 2) * 0.3
        axis.vlines(x, of["low"], of["high"], color=_COLOURS[i], lw=1.6)
        axis.scatter(x, of["mean"], s=24, marker=_FORMS[i], color=_COLOURS[i], zorder=3)
    for place, n in enumerate(of["words"]):
        look = {"xycoords": ("data", "axes fraction"), "ha": "center", "fontsize": 7, "color": "0.4"}
        axis.annotate(f"{n:.0f}", (place, 0.02), **look)
    for edge in (len(names) - len(plants) - 1.5, len(names) - len(plants) - 0.5):
        axis.axvline(edge, color="0.85", lw=0.8)
    _mwlr_axis(axis, np.nanmax(np.abs(groups[["mean", "low", "high"]].to_numpy())) or 1.0)
    axis.set_xticks(np.arange(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_ylabel("mean MWLR (nats;\nlinear around 0)")


def _mwlr_axis(axis, widest: float) -> None:
    """A symmetric logarithmic axis: 0, and every second power of ten of the DECADES on either side."""
    high = int(np.floor(np.log10(widest)))
    axis.set_yscale("symlog", linthresh=10.0 ** (high - DECADES), linscale=0.5)
    powers = [10.0**power for power in range(high, high - DECADES, -2)]
    axis.set_yticks([*(-power for power in powers), 0, *powers])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(-(10.0 ** (high + 2)), 10.0 ** (high + 1.2))  # room for n below
