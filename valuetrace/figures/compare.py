"""Figures 1, A1 and A2 for any two bases, drawn from the comparison's plot tables alone."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from valuetrace.core.files import read_csv, write_atomically
from valuetrace.figures import style

FRAMINGS = ("positive", "negative")
TABLES = ("medians", "models", "bases", "density", "single_prompts", "single_prompt_bases", "panels")


def draw(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Draw ``figure_1.png``, ``figure_a1.png`` and, where its prompts were scored, ``figure_a2.png``.

    Reads the plot tables (``plot_tables.tables``) in ``folder`` and writes the pictures into ``out``, or beside them;
    where there are none the comparison was refused, and the pictures say so.
    """
    folder, out = Path(folder), Path(out or folder)
    style.apply()
    if not (folder / "panels.csv").is_file():
        return [write_atomically(out / f"{name}.png", _refused().savefig) for name in ("figure_1", "figure_a1")]
    tables = {name: _read(folder / f"{name}.csv") for name in TABLES}
    pictures = {"figure_1": figure_1, "figure_a1": figure_a1, "figure_a2": figure_a2}
    paths = []
    for name, picture in pictures.items():
        figure = picture(tables)
        if figure is None:
            continue
        paths.append(write_atomically(out / f"{name}.png", figure.savefig))
        plt.close(figure)
    return paths


def _refused() -> plt.Figure:
    figure = plt.figure(figsize=(8.6, 1.2))
    figure.text(0.5, 0.5, "Refused: a model's scores cannot be read (see the comparison's page)", ha="center")
    return figure


def figure_1(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Violins of the medians, each model's mean ± s.e. over prompts, grand means (Figure 1)."""

    def cell(axis, base, x, colour, pick):
        _violin(axis, pick("density"), x, colour)
        models = pick("models")
        offsets = x + np.linspace(-0.18, 0.18, len(models)) if len(models) > 1 else [x]
        axis.errorbar(
            offsets, models["mean"], models["se"], fmt="o", color=colour, markersize=3.5, linewidth=0.8, alpha=0.8
        )
        mean = pick("bases")
        axis.errorbar(x, mean["mean"], mean["se"], fmt="D", color="black", markersize=4, capsize=4, zorder=5)

    handles = [
        Line2D([], [], color="0.4", marker="o", markersize=4, label="a model: mean ± s.e. over prompts"),
        Line2D([], [], color="black", marker="D", markersize=4, label="base: grand mean ± s.e. (prompts × models)"),
        Line2D([], [], color="0.4", linewidth=5, alpha=0.25, label="density of the medians"),
    ]
    note = (
        "prompts: permutation Welch t with prompts × models as units, Bonferroni; models: exact permutation over models"
    )
    return _grid(tables, "bases", cell, handles, note, with_p=True)


def figure_a1(tables: dict[str, pd.DataFrame]) -> plt.Figure:
    """Every prompt of every model (Figure A1): one dot a median, mean ± s.d."""

    def cell(axis, base, x, colour, pick):
        values = pick("medians")["median"].to_numpy()
        spread = _spread(values)
        axis.plot(x + spread, values, ".", color=colour, markersize=4.5, alpha=0.45, markeredgewidth=0)
        mean = pick("bases")
        axis.errorbar(x, mean["mean"], mean["sd"], fmt="D", color="black", markersize=4, capsize=4, zorder=5)

    handles = [
        Line2D([], [], color="0.4", marker=".", linestyle="", label="one prompt of one model"),
        Line2D([], [], color="black", marker="D", markersize=4, label="base: mean ± s.d."),
    ]
    prompts = tables["medians"].groupby("framing")["prompt"].nunique()
    note = "prompts: " + ", ".join(f"{prompts[framing]} {framing}" for framing in FRAMINGS)
    return _grid(tables, "bases", cell, handles, note)


def figure_a2(tables: dict[str, pd.DataFrame]) -> plt.Figure | None:
    """The two prompts of Appendix D (Figure A2): one marker a model, mean ± s.e. over models."""
    if tables["single_prompts"].empty:
        return None
    models = tables["single_prompts"][["base", "model"]].drop_duplicates().sort_values(["base", "model"])
    colours = style.base_colours(models["base"])
    marks = {
        name: style.MARKERS[i % len(style.MARKERS)]
        for _, g in models.groupby("base")
        for i, name in enumerate(g["model"])
    }

    def cell(axis, base, x, colour, pick):
        rows = pick("single_prompts").sort_values("model")
        offsets = x + (np.linspace(-0.2, 0.2, len(rows)) if len(rows) > 1 else np.zeros(1))
        for offset, row in zip(offsets, rows.itertuples(), strict=True):
            axis.plot(offset, row.median, marks[row.model], color=colour, markersize=5)
        mean = pick("single_prompt_bases")
        axis.errorbar(x, mean["mean"], mean["se"].fillna(0), fmt="_", color="black", markersize=16, capsize=4, zorder=5)

    handles = [
        Line2D([], [], color=colours[row.base], marker=marks[row.model], linestyle="", label=f"{row.base}: {row.model}")
        for row in models.itertuples()
    ]
    handles.append(Line2D([], [], color="black", marker="_", markersize=10, label="mean ± s.e. over models"))
    prompts = (
        tables["single_prompts"].drop_duplicates("framing", ignore_index=True).sort_values("framing", ascending=False)
    )
    note = "prompts: " + ", ".join(f"{row.prompt} ({row.framing})" for row in prompts.itertuples())
    return _grid(tables, "single_prompt_bases", cell, handles, note, name_bases=False)


def _grid(tables, counts, cell, handles, note, with_p=False, name_bases=True) -> plt.Figure:
    """Framings in rows, constructs in columns; ``cell`` draws one base into one axis at x."""
    bases = tables[counts]
    constructs, names = sorted(bases["construct"].unique()), sorted(bases["base"].unique())
    framings = [framing for framing in FRAMINGS if framing in set(bases["framing"])]
    colours = style.base_colours(names)
    size = (max(1.55 * len(constructs), 5.6), 2.35 * len(framings) + 0.3 * (len(handles) // 2 + 1))
    figure, axes = plt.subplots(len(framings), len(constructs), figsize=size, sharey="row", squeeze=False)
    words, models = tables["bases"]["words"].iloc[0], tables["models"].groupby("base")["model"].nunique()
    for row, framing in zip(axes, framings, strict=True):
        for axis, construct in zip(row, constructs, strict=True):
            for x, base in enumerate(names):

                def pick(table, construct=construct, framing=framing, base=base):
                    frame = tables[table]
                    where = (frame["construct"] == construct) & (frame["framing"] == framing) & (frame["base"] == base)
                    return frame[where]

                cell(axis, base, x, colours[base], pick)
            axis.set_xticks(range(len(names)), [f"{name}\n{_models(models[name])}" for name in names], fontsize=7)
            axis.set_xlim(-0.6, len(names) - 0.4)
            axis.set_title(_title(tables["panels"], construct, framing, with_p), fontsize=8)
        row[0].set_ylabel(f"{framing.capitalize()} prompts\nmedian rank of {words:,} words, 1 = best", fontsize=8)
        row[0].invert_yaxis()
    if name_bases:
        handles = [
            *(
                Line2D([], [], color=colours[name], linewidth=5, label=f"{name}, {_models(models[name])}")
                for name in names
            ),
            *handles,
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7, title=note, title_fontsize=7)
    return figure


def _title(panels: pd.DataFrame, construct: str, framing: str, with_p: bool) -> str:
    if not with_p:
        return construct
    row = panels[(panels["construct"] == construct) & (panels["framing"] == framing)].iloc[0]
    lines = [
        f"{label} {_p(row[key])}"
        for label, key in (("prompts:", "p_bonferroni"), ("models:", "p_model_unit"))
        if pd.notna(row[key])
    ]
    return "\n".join([construct, *lines])


def _p(value: float) -> str:
    return f"p = {value:.4f}" if value < 0.01 else f"p = {value:.2f}"


def _violin(axis, density: pd.DataFrame, x: float, colour: str) -> None:
    width = 0.38 * density["density"].to_numpy(dtype=float)
    axis.fill_betweenx(density["median"], x - width, x + width, color=colour, alpha=0.2, linewidth=0)


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


def _models(count: int) -> str:
    return f"{count} model" + ("s" if count > 1 else "")


def _read(path: Path) -> pd.DataFrame:
    frame = read_csv(path, ())
    for column in frame.columns.difference(["model", "base", "construct", "framing", "prompt"]):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame
