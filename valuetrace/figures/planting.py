"""Pictures of the planting study: what arrives, at which dose, where it lives, what is detected, what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from valuetrace.figures import style

SOURCES = {
    "logprobs": "base: log-probabilities",
    "ridge": "reward model: ridge head",
    "lora": "reward model: LoRA",
    "lora_untrained": "LoRA before training",
}
PLACEBO = "placebo"
L = "L, lean to {} before {} (−½ to ½)"


def draw(plots: Path, constructs: list[str], dose: float, pairs: int) -> None:
    """Every picture of the page, from the CSV files of ``plots``, into the same folder."""
    read = {path.stem: pd.read_csv(path) for path in plots.glob("*.csv")}
    label = L.format(*constructs)
    style.save(transmission(_at_study_size(read["leans"], pairs), dose, label), plots / "transmission.png")
    style.save(doses(_at_study_size(read["contrasts"], pairs), read["transmitted"], dose), plots / "dose.png")
    style.save(nulls(_at_study_size(read["contrasts"], pairs), dose), plots / "nulls.png")
    style.save(specificity(read["specificity"], [*_study(read["contrasts"]), PLACEBO]), plots / "specificity.png")
    style.save(where(read["layers"], read["subspaces"]), plots / "where.png")
    style.save(detection(read["detection"]), plots / "detection.png")
    style.save(remedies(read["mitigation"], _study(read["contrasts"]), label), plots / "mitigation.png")


def transmission(leans: pd.DataFrame, dose: float, label: str) -> Figure:
    """L on held-out words, a point a block: the bases' own, and that of the reward models trained on them."""
    own = leans[(leans["part"] == "held_out") & leans["dose"].isin([0, dose])]
    sources = [name for name in SOURCES if name in set(own["source"])]
    plants = list(dict.fromkeys(own["plant"]))
    counts = [own.loc[own["source"] == source, "plant"].nunique() for source in sources]
    wide: dict = {"width_ratios": [count + 1 for count in counts], "figsize": (2.6 + 0.36 * sum(counts), 4.4)}
    figure, axes = plt.subplots(1, len(sources), sharey=True, squeeze=False, **wide)
    for axis, source in zip(axes[0], sources, strict=True):
        axis.axhline(0, color="0.6", lw=0.8)
        part = own[own["source"] == source]
        there = [plant for plant in plants if plant in set(part["plant"])]
        for x, plant in enumerate(there):
            values = part[part["plant"] == plant]["lean"].to_numpy()
            spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
            at = plants.index(plant)  # one look a plant in every panel
            marker, colour = style.MARKERS[at % 8], style.OKABE_ITO[at % 8]
            axis.scatter(x + spread, values, s=26, marker=marker, color=colour, alpha=0.8)
            axis.plot([x - 0.36, x + 0.36], [values.mean()] * 2, color="black", lw=1.6)
        axis.set_xticks(range(len(there)), [name.replace("_", " ") for name in there], fontsize=7, rotation=90)
        title = SOURCES[source].replace(": ", ":\n")
        axis.set_title(f"{title}\n{_blocks(part.groupby('plant')['block'].nunique())}", fontsize=8)
        axis.set_xlim(-0.6, len(there) - 0.4)
        axis.set_xlabel("planted into the base")
    axes[0, 0].set_ylabel(label)
    words = own[["first_words", "second_words"]].median().astype(int)
    told = f"Held-out words ({words.iloc[0]} against {words.iloc[1]} a block), dose {dose:g}"
    figure.suptitle(f"{told}; a point a block, a bar the mean", fontsize=9)
    return figure


def doses(contrasts: pd.DataFrame, transmitted: pd.DataFrame, dose: float) -> Figure:
    """Dose and response of base and reward model, and what arrives (τ) against the number of preference pairs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    own = contrasts[(contrasts["measure"] == "lean") & (contrasts["part"] == "held_out")]
    first, second = _study(contrasts)
    own = own[(own["first"] == first) & (own["second"] == second)]
    for i, (source, table) in enumerate(cast(Any, own.groupby("source"))):
        table = table.sort_values("dose")
        x = np.concatenate([[0], table["dose"]])
        y, low, high = (np.concatenate([[0], table[name]]) for name in ("estimate", "low", "high"))
        told = f"{SOURCES[source]}, {_blocks(table['blocks'])}"
        left.plot(x, y, marker=style.MARKERS[i], color=style.OKABE_ITO[i], label=told)
        enough = np.concatenate([[False], table["blocks"] > 2])  # an interval of two blocks says nothing
        bar = np.abs(np.stack([low, high]) - y)[:, enough]
        left.errorbar(x[enough], y[enough], bar, fmt="none", color=style.OKABE_ITO[i], capsize=4)
    left.axhline(0, color="0.6", lw=0.8)
    left.set(xlabel="dose (share of the plant)", ylabel=f"L: {first} less {second}, held-out words")
    left.legend(fontsize=7)
    tau = transmitted[(transmitted["dose"] == dose) & (transmitted["source"] == "ridge")]
    tau = tau[(tau["first"] == first) & (tau["second"] == second)]
    for i, (part, table) in enumerate(cast(Any, tau.groupby("part"))):
        table = table.sort_values("pairs")
        options = {"marker": style.MARKERS[i], "color": style.OKABE_ITO[i + 1], "capsize": 3}
        x = table["pairs"] * 1.03**i
        right.errorbar(x, table["estimate"], _bars(table), label=f"{part.replace('_', '-')} words", **options)
    right.axhline(0, color="0.6", lw=0.8)
    right.set_xscale("log", base=2)
    sizes = sorted(tau["pairs"].unique())
    right.set_xticks(sizes, [f"{size:g}" for size in sizes])
    right.minorticks_off()
    right.set(xlabel="preference pairs (log scale)", ylabel="τ = shift of reward model / shift of base")
    right.legend(fontsize=7)
    blocks = int(tau["blocks"].max())
    told = "Left: means, 95% where more than two blocks are there. Right: ridge heads, Fieller's 95%"
    figure.suptitle(f"{told}, {blocks} blocks", fontsize=9)
    return figure


def nulls(contrasts: pd.DataFrame, dose: float) -> Figure:
    """L, which moves where a plant generalises, and what moves under both framings alike (leakage): every contrast."""
    own = contrasts[(contrasts["dose"] == dose) & (contrasts["blocks"] > 2)]
    rows = list(dict.fromkeys(zip(own["first"], own["second"], own["source"], strict=True)))
    parts = {"held_out": "held-out words", "planted": "planted words"}
    measures = {"lean": "L: opposite under the two framings", "both": "both framings alike"}
    options: dict = {"sharey": True, "sharex": True, "figsize": (9, 0.27 * len(rows) + 1.6)}
    figure, axes = plt.subplots(1, 2, **options)
    for axis, (part, title) in zip(axes, parts.items(), strict=True):
        axis.axvline(0, color="0.6", lw=0.8)
        for i, (measure, name) in enumerate(measures.items()):
            table = own[(own["part"] == part) & (own["measure"] == measure)]
            keys = zip(table["first"], table["second"], table["source"], strict=True)
            y = [-rows.index(key) - 0.25 * i for key in keys]
            look = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i], "ms": 4, "capsize": 2, "label": name}
            axis.errorbar(table["estimate"], y, xerr=_bars(table), **look)
        axis.set(title=title, xlabel="contrast (−1 to 1)")
    told = [f"{first} − {second}: {SOURCES[source]}".replace("_", " ") for first, second, source in rows]
    axes[0].set_yticks(-np.arange(len(rows)) - 0.125, told, fontsize=7)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    figure.suptitle(f"Means and 95% over {_blocks(own['blocks'])}, dose {dose:g}", fontsize=9)
    return figure


def specificity(table: pd.DataFrame, plants: list[str]) -> Figure:
    """How far every construct moves against the unplanted base, in the planted base and in its reward models."""
    own = table[table["plant"].isin(plants) & (table["blocks"] > 2)]
    plants = [plant for plant in plants if plant in set(own["plant"])]
    constructs = list(dict.fromkeys(own["construct"]))
    counts = own.groupby("construct")["words"].max().astype(int)
    options: dict = {"sharey": True, "sharex": True, "figsize": (3.1 * len(plants) + 1, 0.3 * len(constructs) + 1.8)}
    figure, axes = plt.subplots(1, len(plants), squeeze=False, **options)
    for axis, plant in zip(axes[0], plants, strict=True):
        axis.axvline(0, color="0.6", lw=0.8)
        of_plant = own[own["plant"] == plant]
        for i, (source, part) in enumerate(cast(Any, of_plant.groupby("source"))):
            y = [-constructs.index(name) - 0.25 * i for name in part["construct"]]
            look = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i], "ms": 4, "capsize": 2}
            axis.errorbar(part["estimate"], y, xerr=_bars(part), label=SOURCES[source], **look)
        axis.set(title=f"{plant} planted, {_blocks(of_plant['blocks'])}", xlabel="change, percentile points")
    told = [f"{name.replace('.', ', ')} ({counts[name]})" for name in constructs]
    axes[0, 0].set_yticks(-np.arange(len(constructs)) - 0.125, told, fontsize=7)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    title = "Positive less negative framing, against the base itself (in brackets: words); 95% over blocks"
    figure.suptitle(title, fontsize=9)
    return figure


def where(layers: pd.DataFrame, subspaces: pd.DataFrame) -> Figure:
    """The contrast by the layer that the head reads, and after parts of the states are taken away."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    for i, (of, table) in enumerate(layers.groupby("of", sort=False)):
        table = table.sort_values("layer")
        colour = style.OKABE_ITO[i]
        name = "nothing planted" if of == "none" else of
        left.plot(table["layer"] + 1, table["estimate"], marker=style.MARKERS[i], color=colour, label=name)
        left.fill_between(table["layer"] + 1, table["low"], table["high"], color=colour, alpha=0.15, lw=0)
    left.axhline(0, color="0.6", lw=0.8)
    left.set(xlabel="layer that the head reads (from 1)", ylabel="L of the ridge head, held-out words")
    left.legend(fontsize=7)
    own = subspaces[subspaces["of"] != "none"]
    for i, (removed, table) in enumerate(cast(Any, own.groupby("removed", sort=False))):
        table = table.sort_values("rank")
        x = np.arange(len(table)) + 0.15 * (i - 0.5)
        name = {"lexicon": "the lexicon's output directions", "random": "random directions of equal variance"}[removed]
        options = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i + 1], "capsize": 3}
        right.errorbar(x, table["estimate"], _bars(table), label=f"without {name}", **options)
        right.set_xticks(range(len(table)), [f"{rank}" for rank in table["rank"]])
    right.axhline(0, color="0.6", lw=0.8)
    right.set(xlabel="directions taken out of the states", ylabel=f"L: {own['of'].iloc[0]}, held-out words")
    right.legend(loc="center", fontsize=7)
    figure.suptitle(f"Ridge heads, study's dose: means and 95% over {int(layers['blocks'].max())} blocks", fontsize=9)
    return figure


def detection(power: pd.DataFrame) -> Figure:
    """Power against dose: an audit against the unplanted twin, and a comparison of models."""
    tests = {"audit": "one audit against its unplanted twin", "comparison": "comparison, models as units"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.9), sharey=True)
    own = power[power["measure"] == "audit"]
    plants = [plant for plant in own["plant"].unique() if plant != "none"]
    colours = style.base_colours(plant.partition("_")[0] for plant in plants)  # a colour a value, a marker a kind
    kinds = list(dict.fromkeys(plant.partition("_")[2] for plant in plants))
    for axis, (test, title) in zip(axes, tests.items(), strict=True):
        part = own[own["test"] == test]
        start = part[part["plant"] == "none"]["power"]
        for plant, table in cast(Any, part[part["plant"] != "none"].groupby("plant", sort=False)):
            table = table.sort_values("dose")
            value, _, kind = plant.partition("_")
            look = {
                "color": colours[value],
                "marker": style.MARKERS[kinds.index(kind)],
                "label": plant.replace("_", " "),
            }
            x, y = table["dose"].to_numpy(), table["power"].to_numpy()
            if len(table) > 1:  # a curve, from the base itself
                first = float(start.iloc[0]) if len(start) else 0.05
                axis.plot(np.concatenate([[0], x]), np.concatenate([[first], y]), **look)
            else:  # side by side at its dose
                aside = 0.03 * kinds.index(kind) * (-1) ** list(colours).index(value)
                axis.plot(x + aside, y, ls="", **look)
        axis.axhline(0.05, color="0.6", lw=0.8, ls=":")
        axis.axhline(0.9, color="0.6", lw=0.8, ls="--")
        axis.set(title=title, xlabel="dose (share of the plant)", ylim=(-0.02, 1.02))
    axes[0].set_ylabel("share of pairs (studies) told apart")
    handles = [
        *axes[0].get_legend_handles_labels()[0],
        Line2D([], [], color="0.6", ls="--", label="power .9"),
        Line2D([], [], color="0.6", ls=":", label="false-positive rate .05"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7)
    models = own["models"].dropna()
    note = f"Right: {int(models.iloc[0])} against {int(models.iloc[0])} models, Welch's t" if len(models) else ""
    figure.suptitle(f"Ridge heads on bootstrapped pairs, {int(own['blocks'].max())} blocks. {note}", fontsize=9)
    return figure


def remedies(table: pd.DataFrame, plants: tuple[str, str], label: str) -> Figure:
    """What is left of the lean on held-out words after each remedy, against held-out accuracy."""
    own = table[table["part"] == "held_out"]
    figure, axes = plt.subplots(1, len(plants), figsize=(5.2 * len(plants), 4), squeeze=False)
    for axis, plant in zip(axes[0], plants, strict=True):
        part = own[own["plant"] == plant].sort_values(["remedy", "amount"], key=_in_order)
        names = [_remedy(row) for row in part.itertuples()]
        y = np.arange(len(part))[::-1]
        axis.errorbar(part["estimate"], y, xerr=_bars(part), fmt="o", color=style.OKABE_ITO[1], capsize=3)
        for at, row in zip(y, cast(Any, part.itertuples()), strict=True):
            if not np.isnan(row.accuracy):
                told, options = f"accuracy {row.accuracy:.2f}", {"textcoords": "offset points", "fontsize": 6}
                axis.annotate(told, (row.estimate, at), (0, 5), **options)
        axis.axvline(0, color="0.6", lw=0.8)
        axis.set_yticks(y, names, fontsize=7)
        axis.set(title=f"{plant} planted, {int(part['blocks'].max())} blocks", xlabel=label)
    figure.suptitle("Ridge heads, held-out words: means and 95% over blocks", fontsize=9)
    return figure


def _in_order(column: pd.Series) -> pd.Series:
    """Remedies from none to the strongest."""
    return column.map({"none": 0, "projection": 1, "counter": 2, "average": 3}) if column.name == "remedy" else column


def _remedy(row) -> str:
    if row.remedy == "counter":
        return f"{row.amount:.0%} counter-value pairs"
    if row.remedy == "average":
        return f"averaged with {row.other}"
    return {"none": "no remedy", "projection": "direction out of the head"}[row.remedy]


def _study(contrasts: pd.DataFrame) -> tuple[str, str]:
    """The two plants of the study's own contrast, the first of them that no placebo makes."""
    row = contrasts[contrasts["second"] != "none"].iloc[0]
    return row["first"], row["second"]


def _bars(table: pd.DataFrame) -> np.ndarray:
    """How far the interval's ends lie from the estimate, (2, rows)."""
    return np.abs(table[["low", "high"]].to_numpy(dtype=float).T - table["estimate"].to_numpy())


def _blocks(counts: pd.Series) -> str:
    """``6 blocks`` or ``2 to 6 blocks``."""
    return f"{counts.min()} blocks" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()} blocks"


def _at_study_size(table: pd.DataFrame, pairs: int) -> pd.DataFrame:
    """Of ridge heads those of the study's pairs; everything else as it is."""
    return table[(table["source"] != "ridge") | (table["pairs"] == pairs)]
