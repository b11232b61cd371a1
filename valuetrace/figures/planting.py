"""Pictures of the planting study: what arrives, at which dose, where it lives, what is detected, what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from valuetrace.figures import style

SOURCES = {
    "logprobs": "base: log-probabilities",
    "ridge": "reward model: ridge head",
    "lora": "reward model: LoRA",
    "lora_untrained": "LoRA before training",
}
REMEDIES = {  # from none to the strongest
    "none": "no remedy",
    "projection": "direction out of the head",
    "counter": "{amount:.0%} counter-value pairs",
    "average": "averaged with {other}",
}
PLACEBO = "placebo"
L = "L, lean to {} before {} (−½ to ½)"


def draw(plots: Path, constructs: list[str], dose: float, pairs: int) -> None:
    """Every picture of the page, from the CSV files of ``plots``, into the same folder."""
    read = {path.stem: pd.read_csv(path) for path in plots.glob("*.csv")}
    leans, contrasts = (_at_study_size(read[name], pairs) for name in ("leans", "contrasts"))
    label, study = L.format(*constructs), _study(read["contrasts"])
    style.save(transmission(leans, dose, label), plots / "transmission.png")
    style.save(doses(contrasts, read["transmitted"], dose, study), plots / "dose.png")
    style.save(nulls(contrasts, dose), plots / "nulls.png")
    style.save(specificity(read["specificity"], [*study, PLACEBO]), plots / "specificity.png")
    style.save(where(read["layers"], read["subspaces"]), plots / "where.png")
    style.save(detection(read["detection"]), plots / "detection.png")
    style.save(remedies(read["mitigation"], study, label), plots / "mitigation.png")


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
            at = plants.index(plant) % 8  # one look a plant in every panel
            look = {"marker": style.MARKERS[at], "color": style.OKABE_ITO[at], "alpha": 0.8}
            axis.scatter(x + style.side_by_side(len(values), 0.18), values, s=26, **look)
            axis.plot([x - 0.36, x + 0.36], [values.mean()] * 2, color="black", lw=1.6)
        axis.set_xticks(range(len(there)), [name.replace("_", " ") for name in there], fontsize=7, rotation=90)
        title = SOURCES[source].replace(": ", ":\n")
        axis.set_title(f"{title}\n{_blocks(part.groupby('plant')['block'].nunique())}", fontsize=8)
        axis.set_xlim(-0.6, len(there) - 0.4)
        axis.set_xlabel("planted into the base")
    axes[0, 0].set_ylabel(label)
    words = own[["first_words", "second_words"]].median().astype(int)
    title = f"Held-out words ({words.iloc[0]} against {words.iloc[1]} a block), dose {dose:g}"
    figure.suptitle(f"{title}; a point a block, a bar the mean", fontsize=9)
    return figure


def doses(contrasts: pd.DataFrame, transmitted: pd.DataFrame, dose: float, study: tuple[str, str]) -> Figure:
    """Dose and response of base and reward model, and what arrives (τ) against the number of preference pairs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
    own, tau = (t[(t["first"] == study[0]) & (t["second"] == study[1])] for t in (contrasts, transmitted))
    own = own[(own["measure"] == "lean") & (own["part"] == "held_out")]
    for i, (source, table) in enumerate(cast(Any, own.groupby("source"))):
        table = table.sort_values("dose")
        x = np.concatenate([[0], table["dose"]])
        y, low, high = (np.concatenate([[0], table[name]]) for name in ("estimate", "low", "high"))
        label = f"{SOURCES[source]}, {_blocks(table['blocks'])}"
        left.plot(x, y, marker=style.MARKERS[i], color=style.OKABE_ITO[i], label=label)
        enough = np.concatenate([[False], table["blocks"] > 2])  # an interval of two blocks says nothing
        bar = np.abs(np.stack([low, high]) - y)[:, enough]
        left.errorbar(x[enough], y[enough], bar, fmt="none", color=style.OKABE_ITO[i], capsize=4)
    left.axhline(0, color="0.6", lw=0.8)
    left.set(xlabel="dose (share of the plant)", ylabel=f"L: {study[0]} less {study[1]}, held-out words")
    left.legend(fontsize=7)
    tau = tau[(tau["dose"] == dose) & (tau["source"] == "ridge")]
    for i, (part, table) in enumerate(cast(Any, tau.groupby("part"))):
        table = table.sort_values("pairs")
        look = {"marker": style.MARKERS[i], "color": style.OKABE_ITO[i + 1], "label": f"{part.replace('_', '-')} words"}
        right.errorbar(table["pairs"] * 1.03**i, table["estimate"], _bars(table), capsize=3, **look)
    right.axhline(0, color="0.6", lw=0.8)
    right.set_xscale("log", base=2)
    sizes = sorted(tau["pairs"].unique())
    right.set_xticks(sizes, [f"{size:g}" for size in sizes])
    right.minorticks_off()
    right.set(xlabel="preference pairs (log scale)", ylabel="τ = shift of reward model / shift of base")
    right.legend(fontsize=7)
    title = "Left: means, 95% where more than two blocks are there. Right: ridge heads, Fieller's 95%"
    figure.suptitle(f"{title}, {int(tau['blocks'].max())} blocks", fontsize=9)
    return figure


def nulls(contrasts: pd.DataFrame, dose: float) -> Figure:
    """L, which moves where a plant generalises, and what moves under both framings alike (leakage): every contrast."""
    own = contrasts[(contrasts["dose"] == dose) & (contrasts["blocks"] > 2)]
    rows = list(dict.fromkeys(zip(own["first"], own["second"], own["source"], strict=True)))
    parts = {"held_out": "held-out words", "planted": "planted words"}
    measures = {"lean": "L: opposite under the two framings", "both": "both framings alike"}
    figure, axes = plt.subplots(1, 2, sharey=True, sharex=True, figsize=(9, 0.27 * len(rows) + 1.6))
    for axis, (part, title) in zip(axes, parts.items(), strict=True):
        axis.axvline(0, color="0.6", lw=0.8)
        for i, (measure, name) in enumerate(measures.items()):
            table = own[(own["part"] == part) & (own["measure"] == measure)]
            keys = zip(table["first"], table["second"], table["source"], strict=True)
            y = [-rows.index(key) - 0.25 * i for key in keys]
            look = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i], "ms": 4, "capsize": 2, "label": name}
            axis.errorbar(table["estimate"], y, xerr=_bars(table), **look)
        axis.set(title=title, xlabel="contrast (−1 to 1)")
    names = [f"{first} − {second}: {SOURCES[source]}".replace("_", " ") for first, second, source in rows]
    axes[0].set_yticks(-np.arange(len(rows)) - 0.125, names, fontsize=7)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    figure.suptitle(f"Means and 95% over {_blocks(own['blocks'])}, dose {dose:g}", fontsize=9)
    return figure


def specificity(table: pd.DataFrame, plants: list[str]) -> Figure:
    """How far every construct moves against the unplanted base, in the planted base and in its reward models."""
    own = table[table["plant"].isin(plants) & (table["blocks"] > 2)]
    plants = [plant for plant in plants if plant in set(own["plant"])]
    constructs = list(dict.fromkeys(own["construct"]))
    counts = own.groupby("construct")["words"].max().astype(int)
    size = (3.1 * len(plants) + 1, 0.3 * len(constructs) + 1.8)
    figure, axes = plt.subplots(1, len(plants), squeeze=False, sharey=True, sharex=True, figsize=size)
    for axis, plant in zip(axes[0], plants, strict=True):
        axis.axvline(0, color="0.6", lw=0.8)
        of_plant = own[own["plant"] == plant]
        for i, (source, part) in enumerate(cast(Any, of_plant.groupby("source"))):
            y = [-constructs.index(name) - 0.25 * i for name in part["construct"]]
            look = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i], "ms": 4, "capsize": 2}
            axis.errorbar(part["estimate"], y, xerr=_bars(part), label=SOURCES[source], **look)
        axis.set(title=f"{plant} planted, {_blocks(of_plant['blocks'])}", xlabel="change, percentile points")
    names = [f"{name.replace('.', ', ')} ({counts[name]})" for name in constructs]
    axes[0, 0].set_yticks(-np.arange(len(constructs)) - 0.125, names, fontsize=7)
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
        look = {"fmt": style.MARKERS[i], "color": style.OKABE_ITO[i + 1], "label": f"without {name}"}
        right.errorbar(x, table["estimate"], _bars(table), capsize=3, **look)
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
        style.entry("power .9", color="0.6", ls="--"),
        style.entry("false-positive rate .05", color="0.6", ls=":"),
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
        part = own[own["plant"] == plant].assign(order=own["remedy"].map(list(REMEDIES).index))
        part = part.sort_values(["order", "amount"])
        rows = list(cast(Any, part.itertuples()))
        names = [REMEDIES[row.remedy].format(amount=row.amount, other=row.other) for row in rows]
        y = np.arange(len(part))[::-1]
        axis.errorbar(part["estimate"], y, xerr=_bars(part), fmt="o", color=style.OKABE_ITO[1], capsize=3)
        for at, row in zip(y, rows, strict=True):
            if not np.isnan(row.accuracy):
                place = {"xytext": (0, 5), "textcoords": "offset points", "fontsize": 6}
                axis.annotate(f"accuracy {row.accuracy:.2f}", (row.estimate, at), **place)
        axis.axvline(0, color="0.6", lw=0.8)
        axis.set_yticks(y, names, fontsize=7)
        axis.set(title=f"{plant} planted, {int(part['blocks'].max())} blocks", xlabel=label)
    figure.suptitle("Ridge heads, held-out words: means and 95% over blocks", fontsize=9)
    return figure


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
