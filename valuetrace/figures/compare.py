"""Figures 1, A1 and A2 for any two bases, drawn from the comparison's plot tables alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from valuetrace.core.files import read_csv, write_atomically
from valuetrace.figures import style

TABLES = ("medians", "models", "bases", "density", "single_prompts", "single_prompt_bases", "panels")


def draw(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Draw ``figure_1.png``, ``figure_a1.png`` and, where its prompts were scored, ``figure_a2.png``.

    Reads the plot tables (``plot_tables.tables``) in ``folder``, writes the pictures into ``out`` (None: ``folder``). A
    folder without tables is a refused comparison: the pictures say so. Returns the paths that were written.
    """
    folder, out = Path(folder), Path(out or folder)
    style.apply()
    if not (folder / "panels.csv").is_file():
        refused = style.nothing("Refused: a model's scores cannot be read (see the comparison's page)")
        pictures: dict = {"figure_1": refused, "figure_a1": refused}
    else:
        tables = {name: _read(folder / f"{name}.csv") for name in TABLES}
        pictures = {"figure_1": figure_1(tables), "figure_a1": figure_a1(tables), "figure_a2": figure_a2(tables)}
    paths = []
    for name, figure in pictures.items():
        if figure is not None:
            paths.append(write_atomically(out / f"{name}.png", figure.savefig))
            plt.close(figure)
    return paths


def figure_1(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Violins of the medians, each model's mean ± s.e. over prompts, grand means (Figure 1)."""

    def cell(axis, base, x, colour, pick):
        density, models, mean = (pick(name) for name in ("density", "models", "bases"))
        width = 0.38 * density["density"].to_numpy(dtype=float)
        axis.fill_betweenx(density["median"], x - width, x + width, color=colour, alpha=0.2, linewidth=0)
        at = x + style.side_by_side(len(models), 0.18)
        look = {"fmt": "o", "color": colour, "markersize": 3.5, "linewidth": 0.8, "alpha": 0.8}
        axis.errorbar(at, models["mean"], models["se"], **look)
        axis.errorbar(x, mean["mean"], mean["se"], fmt="D", color="black", markersize=4, capsize=4, zorder=5)

    handles = [
        style.entry("a model: mean ± s.e. over prompts", color="0.4", marker="o", markersize=4),
        style.entry("base: grand mean ± s.e. (prompts × models)", color="black", marker="D", markersize=4),
        style.entry("density of the medians", color="0.4", linewidth=5, alpha=0.25),
    ]
    prompts = "prompts: permutation Welch t with prompts × models as units, Bonferroni"
    note = f"{prompts}; models: exact permutation over models"
    return _grid(tables, "bases", cell, handles, note, with_p=True)


def figure_a1(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Every prompt of every model (Figure A1): one dot a median, mean ± s.d."""

    def cell(axis, base, x, colour, pick):
        values, mean = pick("medians")["median"].to_numpy(), pick("bases")
        axis.plot(x + _spread(values), values, ".", color=colour, markersize=4.5, alpha=0.45, markeredgewidth=0)
        axis.errorbar(x, mean["mean"], mean["sd"], fmt="D", color="black", markersize=4, capsize=4, zorder=5)

    handles = [
        style.entry("one prompt of one model", color="0.4", marker=".", linestyle=""),
        style.entry("base: mean ± s.d.", color="black", marker="D", markersize=4),
    ]
    prompts = tables["medians"].groupby("framing")["prompt"].nunique()
    note = "prompts: " + ", ".join(f"{prompts[framing]} {framing}" for framing in style.FRAMINGS)
    return _grid(tables, "bases", cell, handles, note)


def figure_a2(tables: dict[str, pd.DataFrame]) -> plt.Figure | None:
    """The two prompts of Appendix D (Figure A2): one marker a model, mean ± s.e. over models."""
    single = tables["single_prompts"]
    if single.empty:
        return None
    models = single[["base", "model"]].drop_duplicates().sort_values(["base", "model"])
    colours, place = style.base_colours(models["base"]), models.groupby("base").cumcount()
    marks = {name: style.MARKERS[i % len(style.MARKERS)] for name, i in zip(models["model"], place, strict=True)}

    def cell(axis, base, x, colour, pick):
        rows, mean = pick("single_prompts").sort_values("model"), pick("single_prompt_bases")
        for at, row in zip(x + style.side_by_side(len(rows), 0.2), rows.itertuples(), strict=True):
            axis.plot(at, row.median, marks[row.model], color=colour, markersize=5)
        axis.errorbar(x, mean["mean"], mean["se"].fillna(0), fmt="_", color="black", markersize=16, capsize=4, zorder=5)

    handles = [
        style.entry(f"{row.base}: {row.model}", color=colours[row.base], marker=marks[row.model], linestyle="")
        for row in models.itertuples()
    ]
    handles.append(style.entry("mean ± s.e. over models", color="black", marker="_", markersize=10))
    prompts = single.drop_duplicates("framing").sort_values("framing", ascending=False)
    note = "prompts: " + ", ".join(f"{row.prompt} ({row.framing})" for row in prompts.itertuples())
    return _grid(tables, "single_prompt_bases", cell, handles, note, name_bases=False)


def _grid(tables, counts, cell, handles, note, with_p=False, name_bases=True) -> plt.Figure:
    """Framings in rows, constructs in columns; ``cell`` draws one base into one axis at x."""
    bases = tables[counts]
    constructs, names = sorted(bases["construct"].unique()), sorted(bases["base"].unique())
    framings = [framing for framing in style.FRAMINGS if framing in set(bases["framing"])]
    colours = style.base_colours(names)
    size = (max(1.55 * len(constructs), 5.6), 2.35 * len(framings) + 0.3 * (len(handles) // 2 + 1))
    figure, axes = plt.subplots(len(framings), len(constructs), figsize=size, sharey="row", squeeze=False)
    words, models = tables["bases"]["words"].iloc[0], tables["models"].groupby("base")["model"].nunique()
    told = {name: f"{models[name]} model" + ("s" if models[name] > 1 else "") for name in names}
    for row, framing in zip(axes, framings, strict=True):
        for axis, construct in zip(row, constructs, strict=True):
            for x, base in enumerate(names):

                def pick(table, place=(construct, framing, base)):
                    frame = tables[table]
                    return frame[(frame[["construct", "framing", "base"]] == place).all(axis=1)]

                cell(axis, base, x, colours[base], pick)
            axis.set_xticks(range(len(names)), [f"{name}\n{told[name]}" for name in names], fontsize=7)
            axis.set_xlim(-0.6, len(names) - 0.4)
            axis.set_title(_title(tables["panels"], construct, framing, with_p), fontsize=8)
        row[0].set_ylabel(f"{framing.capitalize()} prompts\nmedian rank of {words:,} words, 1 = best", fontsize=8)
        row[0].invert_yaxis()
    if name_bases:
        handles = [style.entry(f"{n}, {told[n]}", color=colours[n], linewidth=5) for n in names] + handles
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7, title=note, title_fontsize=7)
    return figure


def _title(panels: pd.DataFrame, construct: str, framing: str, with_p: bool) -> str:
    if not with_p:
        return construct
    row = panels[(panels["construct"] == construct) & (panels["framing"] == framing)].iloc[0]
    p = {"prompts": row["p_bonferroni"], "models": row["p_model_unit"]}
    lines = [f"{unit}: p = {p:.{4 if p < 0.01 else 2}f}" for unit, p in p.items() if pd.notna(p)]
    return "\n".join([construct, *lines])


def _spread(values: np.ndarray) -> np.ndarray:
    """Horizontal offsets that lay nearly equal values side by side around the middle (no randomness)."""
    height = max(np.ptp(values) / 40, 1e-9)
    rows = np.round(values / height).astype(int)
    offsets = np.zeros(len(values))
    for row in np.unique(rows):
        (members,) = np.nonzero(rows == row)
        step = min(0.06, 0.8 / len(members))
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * step
    return offsets


def _read(path: Path) -> pd.DataFrame:
    frame = read_csv(path, ())
    numbers = frame.columns.difference(["model", "base", "construct", "framing", "prompt"])
    return frame.assign(**frame[numbers].apply(pd.to_numeric, errors="coerce"))
