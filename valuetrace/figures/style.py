"""One look for every picture: type, axes and colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from valuetrace.core.files import write_atomically

FRAMINGS = ("positive", "negative")
OKABE_ITO = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
"""Okabe & Ito's palette (jfly.uni-koeln.de/color), the two most distant hues first."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers in the colours' order: a picture printed in grey still tells its groups apart."""


def apply() -> None:
    """Set the shared style (matplotlib's defaults for this process; figures draw without a display)."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "valuetrace",
        }
    )


def entry(label: str, **look: Any) -> Line2D:
    """An entry of a legend: a line or marker that is drawn nowhere else. look: as of ``Line2D``."""
    return Line2D([], [], label=label, **look)


def nothing(why: str, **place: Any) -> Figure:
    """The picture in place of one that has nothing to draw: a line that says ``why``."""
    figure = plt.figure(figsize=(8.6, 1.2))
    figure.text(0.5, 0.5, why, ha="center", **place)
    return figure


def side_by_side(count: int, half: float) -> np.ndarray:
    """Offsets (count,) evenly from −half to half; 0 for a single one."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(1)


def base_colours(names: Iterable[str]) -> dict:
    """A colour for each base, by alphabetical order of the distinct names (the same in every figure)."""
    return _by_order(names, OKABE_ITO)


def base_markers(names: Iterable[str]) -> dict[str, str]:
    """A marker for each base, in the order of ``base_colours``."""
    return _by_order(names, MARKERS)


def _by_order(names: Iterable[str], values: tuple[str, ...]) -> dict[str, str]:
    return {name: values[i % len(values)] for i, name in enumerate(sorted(set(names)))}


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG atomically, without a date in it: the same numbers give the same bytes."""
    write_atomically(path, lambda to: figure.savefig(to, metadata={"Software": None}))
    plt.close(figure)
