"""A forecast as a picture, drawn from its CSV alone: the constructs' shares against the KL budget and against n."""

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
from valuetrace.measures.validity import FRAMINGS

COLUMNS = (
    *("policy", "reward_model", "framing", "prompt", "kind", "budget", "reached"),
    *("construct", "share", "low", "high", "refused"),
)
_AXES = {
    "kl": "KL budget (nats a prompt; 0 is the policy itself)",
    "best_of_n": "n (best of n; 1 is the policy itself)",
}
_FEW = 4  # lines that can each have a band


def draw(table: str | Path, picture: str | Path) -> None:
    """Read forecast.csv and write the picture."""
    frame = read_csv(table, COLUMNS, dtype=str)  # a model may be called 7 or true
    for column in ("budget", "reached", "share", "low", "high"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    style.apply()
    with mpl.rc_context({"text.parse_math": False}):  # a name may hold dollars
        style.save(figure(frame), picture)


def figure(frame: pd.DataFrame) -> Figure:
    """A column a framing; a row of KL budgets for each reward model on each policy, and one of n where it is alone."""
    means = frame[frame["prompt"] == ""]
    cells = list(means.groupby(["policy", "reward_model"], sort=False))
    framings = [name for name in FRAMINGS if name in set(means["framing"])]
    looks = _looks(sorted(set(means["construct"])))
    panels = [(name, cell, kind) for name, cell in cells for kind in _AXES if kind == "kl" or len(cells) == 1]
    panels = [panel for panel in panels if panel[2] == "kl" or (panel[1]["kind"] == panel[2]).any()]
    size = (4.2 * len(framings) + 0.4, 2.9 * len(panels) + 1.2)
    result, axes = plt.subplots(len(panels), len(framings), figsize=size, squeeze=False, sharey="row")
    counts = frame[frame["prompt"] != ""].groupby("framing")["prompt"].nunique()
    for row, ((policy, reward), cell, kind) in enumerate(panels):
        for axis, framing in zip(axes[row], framings, strict=True):
            _panel(axis, cell[(cell["framing"] == framing)], kind, looks)
            axis.set_title(f"{framing} prompts" + (f" (n = {counts[framing]})" if framing in counts else ""))
            axis.set_xlabel(_AXES[kind])
        axes[row, 0].set_ylabel(f"{reward}\non {policy}\nshare of the covered replies’ probability", fontsize=8)
    lines = [Line2D([], [], label=name, lw=1.6, ms=4, **look) for name, look in looks.items()]
    band = "bands: 95% over words" if len(looks) <= _FEW else "bars: 95% over words, at the last point"
    title = f"{band}; dotted: from here on some prompts cannot spend the budget"
    options = {"ncols": min(5, len(lines)), "fontsize": 8, "title": title, "title_fontsize": 8}
    result.legend(handles=lines, loc="outside lower center", **options)
    return result


def _panel(axis: Axes, cell: pd.DataFrame, kind: str, looks: dict) -> None:
    own = cell[cell["kind"] == kind]
    if kind == "best_of_n":
        axis.set_xscale("log", base=2)
        ticks = sorted(set(own["budget"]))[:: 1 + (own["budget"].nunique() > 7)]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if own.empty:
        axis.text(0.5, 0.5, "refused", transform=axis.transAxes, ha="center", va="center", style="italic")
        axis.set_xticks([])
        return
    for at, (construct, line) in enumerate(own.groupby("construct")):
        look = looks[construct]
        axis.plot(line["budget"], line["share"], lw=1.6, ms=3, **look)
        if len(looks) <= _FEW:
            axis.fill_between(line["budget"], line["low"], line["high"], color=look["color"], alpha=0.13, lw=0)
        else:
            last, x = line.iloc[-1], 1.015 + 0.012 * at  # beside the panel
            bar = {"color": look["color"], "ls": look["ls"], "lw": 1.2, "clip_on": False}
            axis.plot([x, x], [last["low"], last["high"]], transform=axis.get_yaxis_transform(), **bar)
    beyond = own.loc[own["reached"] < 1, "budget"]
    if len(beyond):
        axis.axvline(beyond.min(), color="0.5", lw=0.9, ls=":", zorder=0)
    axis.set_ylim(0, 1.02)


def _looks(constructs: list[str]) -> dict[str, dict]:
    """A colour and marker for each construct; its vices have its virtues' colour, dashed."""
    looks, names = {}, list(dict.fromkeys(label.partition(".")[0] for label in constructs))
    for label in constructs:
        at = names.index(label.partition(".")[0]) % len(style.OKABE_ITO)  # as many markers
        look = {"color": style.OKABE_ITO[at], "marker": style.MARKERS[at]}
        looks[label] = look | {"ls": "--" if label.endswith(".vice") else "-"}
    return looks
