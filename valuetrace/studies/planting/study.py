"""The planting study put together: the tables of all blocks, over blocks, and the answers for metrics and page."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations, product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace import tables as score_tables
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.studies.planting import effects
from valuetrace.studies.planting.design import NONE, Planting
from valuetrace.studies.planting.readout import PlantedBase, positive, rows
from valuetrace.tables import records

HEADS, REWARD_MODELS = Path("data/planting/heads"), Path("data/planting/reward_models")
SCORES = "scores.csv"
STUDIES = 2_000  # comparisons simulated a cell
MEASURES = ("lean", "audit")
SHOWN = ("contrasts", "transmitted", "layers", "subspaces", "mitigation", "exchange", "specificity", "random_heads")
SHOWN += ("detection",)


def tables(chosen: Planting) -> dict[str, pd.DataFrame]:
    """Every table of plots/planting/, by name (stages/planting/collect.py says what they hold)."""
    raw: dict[str, Any] = {}
    for path in (path for cell in chosen.cells() for path in sorted(_folder(*cell).glob("*.csv"))):
        if path.name != SCORES:  # read by those who need them
            raw.setdefault(path.stem, []).append(pd.read_csv(path))
    raw = {name: pd.concat(parts, ignore_index=True) for name, parts in raw.items()}
    raw["mitigation"] = pd.concat([raw["mitigation"], averaged(chosen)], ignore_index=True)
    leans = pd.concat([raw["leans"], trained(chosen)], ignore_index=True)
    by_block = effects.contrasts(leans, chosen)
    powers = []
    for measure in MEASURES:
        powers.append(effects.audit_power(raw["draws"], measure).assign(test="audit"))
        compared = effects.comparison_power(raw["draws"], measure, STUDIES, chosen.seed)
        powers.append(compared.assign(test="comparison"))
    one_block = ["block", "plant", "dose", "source", "part", "removed", "rank"]  # over the draws
    subspaces = raw["subspaces"].groupby(one_block)[["lean", "share"]].mean().reset_index()
    return {
        "leans": leans,
        "by_block": by_block,
        "contrasts": effects.over_blocks(by_block),
        "transmitted": effects.transmitted(by_block, chosen.plan),
        "detection": pd.concat(powers, ignore_index=True),
        "layers": _over(raw["layers"], chosen, ["layer"]),
        "subspaces": _over(subspaces, chosen, ["removed", "rank"]),
        "mitigation": _mitigation(raw["mitigation"]),
        "exchange": exchange(raw["mitigation"]),
        "specificity": _specificity(raw["specificity"], chosen),
        "random_heads": _random_heads(raw["random_heads"], chosen),
    }


def _folder(block: int, name: str) -> Path:
    folder = HEADS / f"{block}-{name}"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Run dvc repro stages/planting/dvc.yaml.")
    return folder


def _scored(chosen: Planting, block: int, name: str) -> tuple[PlantedBase, np.ndarray]:
    """A cell at the study's dose without its states, and its ridge head's rewards (prompts, words)."""
    path, numbers = _folder(block, name) / SCORES, dict.fromkeys(chosen.prompts, "")
    table = files.read_csv(path, ("word", "source", *numbers), na_values=numbers)  # of several tokens: no nats
    of = {source: own.reset_index(drop=True) for source, own in table.groupby("source")}
    words = of["ridge"][["word", "construct", "part"]]
    logprobs, rewards = (of[source][chosen.prompts].to_numpy().T for source in ("logprobs", "ridge"))
    about = block, name, chosen.full(name)
    return PlantedBase(*about, words, logprobs, {}, np.array([]), positive(chosen), chosen.constructs), rewards


def trained(chosen: Planting) -> pd.DataFrame:
    """Rows (``readout.rows``) of the LoRA reward models, untrained and trained."""
    found = []
    for block, name in chosen.reward_models.cells():
        cell, _ = _scored(chosen, block, name)
        scores = score_tables.read_checkpoints(REWARD_MODELS / f"{block}-{name}.parquet")
        made = files.read_json(REWARD_MODELS / f"{block}-{name}.json")
        for source, at in (("lora_untrained", 0), ("lora", -1)):
            step = sorted(scores["step"].unique())[at]
            own = scores[scores["step"] == step].set_index("word").loc[cell.words["word"], chosen.prompts]
            held = next(c for c in made["checkpoints"] if c["step"] == step)
            accuracies = {k.removeprefix("held_out_"): v for k, v in held.items() if "accuracy" in k}
            found += rows(cell, source, own.to_numpy().T, pairs=made["pairs"], **accuracies)
    return pd.DataFrame(found)


def averaged(chosen: Planting) -> pd.DataFrame:
    """Rows of the ridge heads of every two plants of the study averaged, each in units of its spread over words."""
    found = []
    names = [name for name in chosen.main.plants if name != NONE]
    for block, (first, second) in product(chosen.main.blocks, combinations(names, 2)):
        (cell, one), (_, other) = (_scored(chosen, block, name) for name in (first, second))
        scores = (one / one.std() + other / other.std()) / 2
        found += rows(cell, "ridge", scores, remedy="average", amount=1.0, other=second)
    return pd.DataFrame(found)


def summary(chosen: Planting, found: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """metrics/planting/study.json: the design, the plan and its power, τ and contrasts on held-out words, limits."""
    leans = found["leans"]
    counts = leans[leans["part"] == "held_out"][["first_words", "second_words"]]
    return {
        "base": chosen.base,
        "dose": chosen.dose,
        "constructs": chosen.constructs,
        "blocks": len(chosen.main.blocks),
        "plan": asdict(chosen.plan) | {"power": {f"{tau:g}": effects.power(chosen, tau) for tau in (0.1, 0.3, 0.5)}},
        "prompts": len(chosen.prompts),
        "pairs": chosen.pairs,
        "fewest_held_out_words": int(counts.sum(axis=1).min()),
        "signs": _signs(found["by_block"], chosen),
        "limits": _limits(found["detection"]),
        "specific": specific(found["specificity"], chosen.constructs),
        **{name: records(found[name]) for name in SHOWN},
        "readings": records(_readings(leans[leans["pairs"] == chosen.pairs])),
    }


def _signs(by_block: pd.DataFrame, chosen: Planting) -> list[dict]:
    """In which blocks the known truth comes out in sign at the study's dose, by source and part."""
    first, second = effects.pairs_of_plants(chosen)[0]
    own = by_block[(by_block["first"] == first) & (by_block["second"] == second) & (by_block["dose"] == chosen.dose)]
    own = own[own["pairs"].isin([0, chosen.pairs])]
    found = []
    for (source, part), cells in own.groupby(["source", "part"]):
        wrong = sorted(int(block) for block in cells.loc[cells["lean"] <= 0, "block"])
        row = {"source": source, "part": part, "right": len(cells) - len(wrong), "blocks": len(cells)}
        found.append(row | {"wrong": wrong})
    return found


def _limits(power: pd.DataFrame) -> list[dict]:
    """The detection limit (dose) of each test, measure and plant; None where power .9 is not reached at dose 1."""
    found = []
    for (test, measure, plant), own in power[power["plant"] != NONE].groupby(["test", "measure", "plant"]):
        base = power[(power["test"] == test) & (power["measure"] == measure) & (power["plant"] == NONE)]
        limit, last = effects.detection_limit(pd.concat([own, base])), own.sort_values("dose").iloc[-1]
        row = {"test": test, "measure": measure, "plant": plant, "limit": limit}
        found.append(row | {"greatest_dose": float(last["dose"]), "power_there": float(last["power"])})
    return found


def _readings(leans: pd.DataFrame) -> pd.DataFrame:
    """Known groups and accuracy of each plant's reward models, means over blocks: do they read, what did they learn?"""
    own = leans[(leans["part"] == "held_out") & (leans["source"] != "logprobs")]
    columns = ["known_positive", "known_negative", "accuracy", "accuracy_valence", "accuracy_wordnet"]
    columns = [name for name in columns if name in own.columns]
    return own.groupby(["source", "plant", "dose"])[columns].mean().reset_index()


def _over(table: pd.DataFrame, chosen: Planting, keys: list[str]) -> pd.DataFrame:
    """Contrast of the first two plants and the base's own L, over blocks, by ``keys`` (held-out words)."""
    first, second = effects.pairs_of_plants(chosen)[0]
    own = table[table["part"] == "held_out"]
    found = []
    for key, at in own.groupby(keys):
        wide = at.pivot_table(index="block", columns="plant", values="lean")
        named = {f"{first} − {second}": wide[first] - wide[second], NONE: wide[NONE]}
        share = {"share": at["share"].mean()} if "share" in at else {}
        for name, values in named.items():
            row = dict(zip(keys, key, strict=True)) | {"of": name} | share
            found.append(row | effects.estimate(values.dropna().to_numpy()))
    return pd.DataFrame(found)


def _mitigation(table: pd.DataFrame) -> pd.DataFrame:
    """L left on held-out and planted words, known groups and accuracy after each remedy: means and t over blocks."""
    found, keys = [], ["plant", "remedy", "amount", "other", "part"]
    for key, own in table.fillna({"other": ""}).groupby(keys):
        row = dict(zip(keys, key, strict=True)) | effects.estimate(own["lean"].to_numpy())
        found.append(row | own[["known_positive", "known_negative", "accuracy"]].mean().to_dict())
    return pd.DataFrame(found)


def exchange(table: pd.DataFrame) -> pd.DataFrame:
    """What counter-value pairs buy: a row a plant and part of the words, over blocks.

    Counter pairs are aimed against the L of the planted words without such pairs; L has the sign of that one here.
    ``estimate, low, high, p``: change of L with ten more counter pairs in a hundred (slope of a line through a block's
    shares), t over blocks. ``start_above``: blocks in which L is above 0 at first; ``crossed``: how many of them reach
    0 within the shares tried; ``share``: their mean smallest share that does, linear between those tried (NaN where
    none does).
    """
    tried = table[table["remedy"].isin(["none", "counter"])].sort_values("amount")
    aim = tried[(tried["remedy"] == "none") & (tried["part"] == "planted")].set_index(["plant", "block"])["lean"]
    found = []
    for (plant, part), own in cast(Any, tried.groupby(["plant", "part"])):
        slopes, shares, above = [], [], 0
        for block, path in own.groupby("block"):
            amount, lean = path["amount"].to_numpy(), path["lean"].to_numpy() * np.sign(aim[plant, block])
            slopes.append(np.polyfit(amount, lean, 1)[0] / 10)
            above += lean[0] > 0
            if lean[0] > 0 and (lean <= 0).any():
                at = int(np.argmax(lean <= 0))
                shares.append(np.interp(0, [lean[at], lean[at - 1]], [amount[at], amount[at - 1]]))
        row = {"plant": plant, "part": part, "crossed": len(shares), "start_above": int(above)}
        row["share"] = float(np.mean(shares)) if shares else None
        found.append(row | effects.estimate(np.array(slopes)))
    return pd.DataFrame(found)


def _specificity(table: pd.DataFrame, chosen: Planting) -> pd.DataFrame:
    """What a plant does to other constructs: percentile points, positive less negative framing, less the base's."""
    found, keys = [], ["plant", "source", "construct"]
    planted, base = table[(table["plant"] != NONE) & (table["dose"] == chosen.dose)], table[table["plant"] == NONE]
    both = planted.merge(base, on=["block", "source", "construct"], suffixes=("", "_base"))
    for key, own in both.groupby(keys):
        if len(own) > 1:
            change = effects.estimate((own["difference"] - own["difference_base"]).to_numpy())
            found.append(dict(zip(keys, key, strict=True)) | {"words": own["words"].mean()} | change)
    return pd.DataFrame(found)


def specific(table: pd.DataFrame, constructs: list[str]) -> list[dict]:
    """Of the constructs that nobody planted, how many a plant moves (an interval over blocks that leaves 0 out).

    table: ``_specificity``'s. A row a plant and source: ``moved, of``.
    """
    others = table[~table["construct"].isin(constructs) & (table["blocks"] > 2)]
    moved = (others["low"] > 0) | (others["high"] < 0)
    counts = moved.groupby([others["plant"], others["source"]], sort=False).agg(moved="sum", of="size")
    return counts.astype(int).reset_index().to_dict("records")


def _random_heads(table: pd.DataFrame, chosen: Planting) -> pd.DataFrame:
    """The contrast that random heads give, pooled over blocks: its spread is what chance gives a single head."""
    first, second = effects.pairs_of_plants(chosen)[0]
    found = []
    for dose, own in table[table["dose"] > 0].groupby("dose"):
        wide = own.pivot_table(index=["block", "draw"], columns="plant", values="lean")
        if not {first, second} <= set(wide.columns):
            continue
        values = (wide[first] - wide[second]).dropna().to_numpy()
        low, high = np.quantile(values, [0.025, 0.975])
        row = {"dose": dose, "mean": values.mean(), "sd": values.std(), "low": low, "high": high, "heads": len(values)}
        found.append(row)
    return pd.DataFrame(found)
