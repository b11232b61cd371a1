"""Figures 4a, 5 and A4 to A8 for the bases at hand, drawn from plots/dynamics/*.csv. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from valuetrace.core.files import read_csv
from valuetrace.figures import style

LINES = ("-", "--")  # constructs: solid and dashed, so that they differ in grey too


def draw(folder: str | Path, labels: dict[str, str], out: str | Path) -> None:
    """Every picture of the dynamics: ``dynamics.png``, ``movers.png`` and ``token_paths.png`` in ``out``.

    folder: holds the CSVs of ``stages/dynamics.py``; labels: base → its name in print.
    """
    folder, out = Path(folder), Path(out)
    table = {
        name: read_csv(folder / f"{name}.csv", ("step",))
        for name in ("readings", "ranks", "gaps", "kendall", "survival", "movers", "extremes")
    }
    style.save(course(table, labels), out / "dynamics.png")
    style.save(movers(table["movers"], labels), out / "movers.png")
    style.save(token_paths(table["extremes"], labels), out / "token_paths.png")


def course(table: dict[str, pd.DataFrame], labels: dict) -> Figure:
    """Known groups, medians, gaps, agreement with the end and survival over the steps; a column a framing.

    table: ``readings, ranks, gaps, kendall, survival`` of stages/dynamics.py.
    """
    ranks, gaps, kendall, survival = (table[name] for name in ("ranks", "gaps", "kendall", "survival"))
    bases = sorted(ranks["base"].unique())
    colours, markers = style.base_colours(bases), style.base_markers(bases)
    constructs = sorted(ranks["construct"].unique())
    figure, axes = plt.subplots(5, 2, figsize=(8.6, 13), sharex=True, sharey="row")
    for column, framing in enumerate(style.FRAMINGS):
        known, top, gap, agreement, kept = axes[:, column]
        prompts = ranks.loc[ranks["framing"] == framing, "prompts"].iloc[0]
        known.set_title(f"{framing} framing ({prompts} prompts)")
        for base in bases:
            look = {"color": colours[base], "marker": markers[base], "ms": 4}
            of = [each[(each["base"] == base) & (each["framing"] == framing)] for each in (ranks, kendall, survival)]
            for construct, dash in zip(constructs, LINES, strict=False):
                _band(top, of[0][of[0]["construct"] == construct], "median_rank", ls=dash, **look)
            _band(agreement, of[1], "kendall", **look)
            for other in sorted(survival["logprobs_of"].unique()):
                own = of[2][of[2]["logprobs_of"] == other]
                if other == base:
                    _band(kept, own, "partial", **look)
                else:
                    kept.plot(own["step"], own["partial"], ls=":", alpha=0.8, **look | {"marker": ""})
            own = table["readings"][table["readings"]["base"] == base]
            own = own.assign(low=own[f"{framing}_low"], high=own[f"{framing}_high"])
            _band(known, own, framing, **look)
        for i, ((first, second), own) in enumerate(gaps[gaps["framing"] == framing].groupby(["first", "second"])):
            _band(gap, own, "gap", color=style.OKABE_ITO[(2 + i) % 8], marker="D", ms=4)
            if column == 0:
                gap.plot([], [], color=style.OKABE_ITO[(2 + i) % 8], label=f"{labels[second]} − {labels[first]}")
        for axis in (known, gap, kept):
            axis.axhline(0, color="0.6", lw=0.8)
        kept.set_xlabel("optimizer steps")
        kept.xaxis.set_major_locator(MaxNLocator(integer=True))
    counts = ranks.drop_duplicates("construct").set_index("construct")["words"]
    axes[0, 0].set_ylabel("known groups: virtues − vices\n(mean percentile)")
    axes[1, 0].invert_yaxis()
    axes[1, 0].set_ylabel("median rank of the words\n(1 = highest reward)")
    axes[2, 0].set_ylabel(f"gap: {constructs[0]} − {constructs[1]},\nbetween bases (ranks)")
    axes[2, 0].legend(fontsize=8)
    axes[3, 0].set_ylabel("Kendall's τ with the\nlast checkpoint's ranks")
    axes[4, 0].set_ylabel("partial rank correlation with the\nbase's log-probabilities")
    handles = [style.entry(labels[b], color=colours[b], marker=markers[b]) for b in bases]
    for name, dash in zip(constructs, LINES, strict=False):
        handles.append(style.entry(f"{name} ({counts[name]} words)", color="0.3", ls=dash))
    handles.append(style.entry("with another base's log-probabilities", color="0.3", ls=":"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    shared = "no base's log-probabilities can be read"
    if len(survival):
        shared = f"{survival['words'].iloc[0]} words that are single tokens for every base, given word frequency"
        shared += "; only log-probabilities that can be read"
    title = "Reward models in training. Bands: 95% over words (row 4: least to greatest prompt);"
    figure.suptitle(f"{title}\nrow 5: {shared}", fontsize=10)
    return figure


def movers(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Figures 5 and A6: the words whose mean rank changes most, a row a base, a column a framing."""
    bases = sorted(table["base"].unique())
    constructs = sorted({name for value in table["construct"] for name in value.split("|")})
    colours = dict(zip(constructs, (style.OKABE_ITO[3], style.OKABE_ITO[2]), strict=False))
    once = table.drop_duplicates(["base", "framing", "direction", "place"])
    most = once.groupby(["base", "framing"]).size().max()
    height = 0.26 * most * len(bases) + 1.4
    figure, axes = plt.subplots(len(bases), 2, figsize=(8.6, height), sharex=True, squeeze=False)
    for row, base in enumerate(bases):
        for axis, framing in zip(axes[row], style.FRAMINGS, strict=True):
            bars(axis, once[(once["base"] == base) & (once["framing"] == framing)], colours)
            axis.set_title(f"{labels[base]}, {framing} framing")
    for axis in axes[-1]:
        axis.set_xlabel("change of mean rank, early → last checkpoint\n(right: the reward model comes to prefer it)")
    handles = [style.entry(name, color=colours[name], lw=6) for name in constructs]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    early, last, words = (table[name].max() for name in ("early", "step", "words"))
    figure.suptitle(f"Words that move most, step {early} to step {last} ({most // 2} a side of {words})", fontsize=10)
    return figure


def bars(axis, movers: pd.DataFrame, colours: dict[str, str]) -> None:
    """The change of rank of each word, a bar a word in the construct's colour. movers: ``word, construct, change``."""
    own = movers.sort_values("change")
    axis.barh(range(len(own)), own["change"], color=[colours.get(construct, "0.5") for construct in own["construct"]])
    axis.set_yticks(range(len(own)), own["word"], fontsize=8)
    axis.axvline(0, color="0.4", lw=0.8)


def token_paths(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Figure A8: the mean rank over the steps of the words that lead and trail at the last checkpoint."""
    last = table[table["chosen_at"] == "last"]
    bases = sorted(last["base"].unique())
    figure, axes = plt.subplots(len(bases), 2, figsize=(8.6, 3.0 * len(bases) + 0.6), squeeze=False, sharex=True)
    for row, base in enumerate(bases):
        for axis, framing in zip(axes[row], style.FRAMINGS, strict=True):
            own = last[(last["base"] == base) & (last["framing"] == framing)]
            first_and_last(axis, own.assign(name=own["word"].astype(str)))
            axis.set_ylim(own["candidates"].iloc[0] * 1.03, -own["candidates"].iloc[0] * 0.03)
            axis.set_title(f"{labels[base]}, {framing} framing")
        axes[row, 0].set_ylabel("mean rank (1 = highest reward)")
    for axis in axes[-1]:
        axis.set_xlabel("optimizer steps")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    kind = {"lexicon": "words of the lexicon", "vocabulary": "tokens"}[table["set"].iloc[0]]
    figure.suptitle(
        f"Where the first and last of {table['candidates'].max():,} {kind} came from\n"
        "(names in the order of the last checkpoint)",
        fontsize=10,
    )
    return figure


def first_and_last(axis, paths: pd.DataFrame) -> None:
    """Ranks over the steps, a colour a side, with the names of each side at its end of the axis.

    paths: ``side`` (top, bottom), ``place`` (from 1), ``step, rank, name``.
    """
    for side, colour, at in (("top", style.OKABE_ITO[1], 0.98), ("bottom", style.OKABE_ITO[0], 0.02)):
        own = paths[paths["side"] == side]
        for place, path in cast(Any, own.groupby("place")):
            axis.plot(path["step"], path["rank"], color=colour, alpha=1 - 0.14 * (place - 1), marker="o", ms=3)
        names = "\n".join(own.drop_duplicates("place").sort_values("place", ascending=side == "top")["name"])
        axis.annotate(names, (1.02, at), xycoords="axes fraction", va=side, fontsize=7, color=colour)


def _band(axis, own: pd.DataFrame, value: str, **look) -> None:
    own = own.sort_values("step")
    axis.plot(own["step"], own[value], **look)
    axis.fill_between(own["step"], own["low"], own["high"], color=look["color"], alpha=0.12, lw=0)
