"""Figure 3 and the token tables, drawn from plots/implicit_rewards/*.csv."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from valuetrace.figures.style import MARKERS, OKABE_ITO


def word_contrast(contrast: pd.DataFrame, labels: dict, measure: str, prompt: str) -> Figure:
    """Figure 3: the implicit reward of two word lists for every pair of models and format.

    contrast: ``first, second, format, measure, label, score, variants``; prompt: its text.
    """
    shown = contrast[contrast["measure"] == measure]
    rows = shown[["first", "second", "format"]].drop_duplicates().iloc[::-1].reset_index(drop=True)
    y = np.arange(len(rows))
    figure, axis = plt.subplots(figsize=(8.2, 0.36 * len(rows) + 1.9))
    axis.axvline(0, color="0.6", lw=0.8)
    values = {}
    for i, (label, of_label) in enumerate(shown.groupby("label", sort=False)):
        values[label] = rows.merge(of_label, on=["first", "second", "format"], how="left")["score"].to_numpy()
        variants = sorted(of_label["variants"].unique())
        n = f"{variants[0]}" if len(variants) == 1 else f"{variants[0]} to {variants[-1]}"
        look: dict = {
            "s": 44,
            "marker": MARKERS[i],
            "facecolors": "none",
            "edgecolors": OKABE_ITO[i],
            "linewidths": 1.8,
        }
        axis.scatter(values[label], y, label=f"{label} (mean of {n} spellings)", zorder=3, **look)
    a, b = values.values()
    axis.hlines(y, np.fmin(a, b), np.fmax(a, b), color="0.7", lw=1.2, zorder=1)
    width = np.nanmax(np.abs([a, b])) or 1.0
    axis.set_xscale("symlog", linthresh=width / 1000)
    axis.set_xlim(-2 * width, 2 * width)
    axis.set_yticks(y, [f"{labels[r.first]} → {labels[r.second]}\n{r.format}" for r in rows.itertuples()], fontsize=7.5)
    sign = "positive: the second model gives the words more probability"
    axis.set_xlabel(f"{measure.upper()} in nats ({sign}; logarithmic beyond ±{width / 1000:.0e})", fontsize=8)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(f"Implicit reward of two words after “{prompt}”", fontsize=10)
    return figure


def extreme_tokens(tokens: pd.DataFrame, labels: dict[str, str], first: str, second: str, top: int = 10) -> Figure:
    """The best and worst ``top`` tokens of one pair under each format (Tables 1, A2, A3).

    tokens: ``first, second, format, measure, rank, token, score``.
    """
    shown = tokens[(tokens["first"] == first) & (tokens["second"] == second)]
    formats = list(dict.fromkeys(shown["format"]))
    figure, axes = plt.subplots(1, len(formats), figsize=(2.9 * len(formats), 0.2 * 2 * top + 1.6), squeeze=False)
    for axis, form in zip(axes[0], formats, strict=True):
        of_format = shown[shown["format"] == form].sort_values("rank")
        half = min(top, len(of_format) // 2)
        rows = pd.concat([of_format.head(half), of_format.tail(half)])
        y = np.arange(len(rows))[::-1]
        colours = np.where(rows["score"] >= 0, OKABE_ITO[1], OKABE_ITO[0])
        axis.barh(y, rows["score"], color=colours, height=0.75)
        axis.set_yticks(y, [printable(token) for token in rows["token"]], fontsize=8, family="DejaVu Sans Mono")
        axis.axvline(0, color="0.4", lw=0.8)
        axis.axhline(half - 0.5, color="0.7", lw=0.8, ls=":")
        axis.set_title(f"format: {form}\nof {of_format['rank'].max():,} shared tokens", fontsize=8.5)
        axis.set_xlabel(f"{rows['measure'].iloc[0].upper()} (nats)")
        axis.margins(y=0.01)
    figure.suptitle(
        f"Tokens that set {labels[second]} (blue) apart from {labels[first]} (orange)\n"
        f"the {half} best and {half} worst; ␣ stands for a space, ⏎ for a line break",
        fontsize=10,
    )
    return figure


def printable(token: str) -> str:
    """A token as people can read it: its white space made visible; what no font draws, as code points."""
    shown = token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    if all(ord(c) < 0x2500 for c in shown) and shown.isprintable():
        return shown.replace("$", r"\$")
    return " ".join(f"U+{ord(c):04X}" for c in token[:3])
