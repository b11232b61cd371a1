"""The released reward models' profiles on the Big Two nouns, from plots/atlas.csv alone: README's first picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from valuetrace.core.files import read_csv
from valuetrace.figures import style

NAMES = ("model", "kind", "base", "lineage", "lexicon", "construct", "framing", "refused")
NUMBERS = ("prompts", "words", "of", "percentile", "low", "high")
LEXICON = "big_two_nouns"


def draw(table: str | Path, picture: str | Path) -> None:
    """Read ``measures.atlas.table`` and write the picture of the reward models on ``LEXICON``."""
    frame = read_csv(table, (*NAMES, *NUMBERS), dtype=str)
    frame[list(NUMBERS)] = frame[list(NUMBERS)].apply(pd.to_numeric, errors="coerce")
    style.apply()
    style.save(profiles(frame[(frame["kind"] == "reward") & (frame["lexicon"] == LEXICON)]), picture)


def profiles(frame: pd.DataFrame) -> Figure:
    """A line a model, in the table's order; a panel a framing and construct; colour and marker say the base."""
    models = list(dict.fromkeys(frame["model"]))
    base_of = frame.drop_duplicates("model").set_index("model")["base"]
    colours, markers = style.base_colours(base_of), style.base_markers(base_of)
    panels = list(frame[["framing", "construct"]].drop_duplicates().itertuples(index=False, name=None))
    panels.sort(key=lambda panel: panel[0] != "positive")
    figure, axes = plt.subplots(1, len(panels), figsize=(9.2, 0.27 * len(models) + 2.1), sharex=True, sharey=True)
    for axis, (framing, construct) in zip(axes, panels, strict=True):
        rows = frame[(frame["framing"] == framing) & (frame["construct"] == construct)]
        axis.axvline(50, color="0.6", lw=0.9, ls="--", zorder=0)
        for row in rows.dropna(subset="percentile").itertuples():
            y, colour = models.index(row.model), colours[row.base]
            axis.hlines(y, row.low, row.high, color=colour, lw=1.5)
            axis.plot(row.percentile, y, markers[row.base], color=colour, ms=6)
        for row in rows[rows["percentile"].isna()].itertuples():
            axis.text(50, models.index(row.model), "refused", ha="center", va="center", fontsize=7, style="italic")
        words = int(rows["words"].iloc[0])
        axis.set_xlabel("percentile")
        axis.xaxis.set_major_locator(MultipleLocator(10))
        axis.set_title(f"{construct}, {words} words\nafter {framing} prompts", fontsize=9)
    axes[0].set_yticks(range(len(models)), [name.rpartition("/")[2] for name in models])
    axes[0].set_ylim(len(models) - 0.5, -0.5)
    handles = [
        style.entry(f"{b}, {(base_of == b).sum()} models", color=colours[b], marker=markers[b], lw=1.5)
        for b in sorted(set(base_of))
    ]
    counts = frame.groupby("framing")["prompts"].first()[::-1]
    prompts = " + ".join(f"{int(n)} {framing}" for framing, n in counts.items())
    lineages = frame.drop_duplicates("model")["lineage"].nunique()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        title="Percentile of the construct's median word: 100 = all its words at the top, 50 (dashed) = chance.\n"
        f"n = {len(models)} reward models of {lineages} lineages; {prompts} prompts; lines: 95% over words",
        title_fontsize=8,
        fontsize=8,
    )
    return figure
