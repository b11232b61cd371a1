"""From rows to answers: what a plant does to a base and to the reward models on it, over blocks.

A *contrast* is the difference of two plants of one block (agency less communion), so that what the block's words, pairs
and seeds do to both cancels. τ = contrast of the reward models / contrast of the bases: how much of what was put into
the base arrives. It is an intention-to-treat ratio: the base's shift is what the planting achieved, whatever was meant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from valuetrace.stats.blocks import fieller, over_seeds, sign_flip_p
from valuetrace.studies.planting.design import NONE, Criteria, Planting

MEASURES = ("lean", "both")
STILL = 1e-6
"""A base whose L moved by less in every block did not move: there is no share of nothing."""
FEWEST_BLOCKS = 6
"""For a verdict: with fewer no pattern of signs has a two-sided p of .05 or less (2 / 2⁶ = .03)."""


def pairs_of_plants(chosen: Planting) -> list[tuple[str, str]]:
    """The contrasts: every two plants that differ in nothing but good and bad, and every placebo against the base."""
    plants = {name: row for name, row in chosen.plants.items() if row.good is not None}
    found = []
    for name, row in plants.items():
        if (row.good, row.bad) == tuple(chosen.constructs):
            found += [(name, n) for n, r in plants.items() if replace(r, good=r.bad, bad=r.good) == row]
        elif row.good not in chosen.constructs:
            found.append((name, NONE))
    return found


def contrasts(leans: pd.DataFrame, chosen: Planting) -> pd.DataFrame:
    """Differences of two plants by block: ``first, second, dose, source, pairs, part, block, lean, both``.

    leans: rows of ``readout.rows``. The base is compared at dose 0 with every dose.
    """
    keys = ["block", "source", "part", "pairs"]
    found = []
    for first, second in pairs_of_plants(chosen):
        for dose, own in leans[leans["plant"] == first].groupby("dose"):
            other = leans[(leans["plant"] == second) & (leans["dose"] == (0 if second == NONE else dose))]
            both = own.merge(other, on=keys, suffixes=("", "_other"))
            for name in MEASURES:
                both[name] = both[name] - both[f"{name}_other"]
            found.append(both[[*keys, *MEASURES]].assign(first=first, second=second, dose=dose))
    order = ["first", "second", "dose", "source", "pairs", "part", "block", *MEASURES]
    return pd.concat(found, ignore_index=True)[order]


def over_blocks(table: pd.DataFrame) -> pd.DataFrame:
    """Every contrast over its blocks: mean, 95% t interval, exact sign-flip p, by ``measure`` (lean, both)."""
    keys = ["first", "second", "dose", "source", "pairs", "part"]
    found = []
    for key, own in table.groupby(keys):
        for measure in MEASURES:
            values = own[measure].to_numpy()
            same = max((values > 0).sum(), (values < 0).sum())
            told = estimate(values) | {"p_sign_flip": sign_flip_p(values), "same_sign": int(same)}
            found.append(dict(zip(keys, key, strict=True)) | {"measure": measure} | told)
    return pd.DataFrame(found)


def estimate(values: np.ndarray) -> dict[str, float | int | None]:
    """The mean of one value a block, with Student's t over the blocks: ``estimate, low, high, p, blocks``."""
    told = over_seeds(values)._asdict()
    return told | {"blocks": told.pop("seeds")}


def transmitted(table: pd.DataFrame, plan: Criteria) -> pd.DataFrame:
    """τ of every contrast and kind of reward model: Fieller's 95% and 90% intervals over blocks, and the verdict."""
    found = []
    models = table[table["source"] != "logprobs"]
    for key, own in models.groupby(["first", "second", "dose", "source", "pairs", "part"]):
        told = dict(zip(["first", "second", "dose", "source", "pairs", "part"], key, strict=True))
        base = table[(table["source"] == "logprobs") & (table["part"] == told["part"])]
        base = base[
            (base["first"] == told["first"]) & (base["second"] == told["second"]) & (base["dose"] == told["dose"])
        ]
        both = own.merge(base, on="block", suffixes=("", "_base"))
        if len(both) < 2 or told["second"] == NONE or both["lean_base"].abs().max() < STILL:
            continue
        ratio = fieller(both["lean"], both["lean_base"])
        narrow = fieller(both["lean"], both["lean_base"], 0.9)
        row = told | ratio._asdict() | {"low_90": narrow.low, "high_90": narrow.high}
        row |= {"shift": both["lean_base"].mean(), "effect": both["lean"].mean()}
        found.append(row | {"verdict": verdict(row, plan)})
    return pd.DataFrame(found)


def verdict(row: dict, plan: Criteria) -> str:
    """What τ says, by the rule that was written down before the run (conf/planting.yaml).

    inconclusive: the plant did not take (the bases' shift is below ``least_shift``), or τ is neither; inherited: its
    90 % interval lies above 0 and is not within ± ``equivalence``; not inherited: it lies within.
    """
    low, high = row["low_90"], row["high_90"]
    if row["shift"] < plan.least_shift:
        return "inconclusive: the plant did not take"
    if row["blocks"] < FEWEST_BLOCKS:
        return "too few blocks: shown, not tested"
    if low is None:
        return "inconclusive: the shift of the bases cannot be told from none"
    if -plan.equivalence < low and high < plan.equivalence:
        return "not inherited"
    return "inherited" if low > 0 else "inconclusive"


def power(chosen: Planting, tau: float, draws: int = 4000) -> float:
    """Probability that the exact sign-flip test over the blocks has p ≤ .05 at a true τ of ``tau``, by the plan."""
    rng = np.random.default_rng(chosen.seed)
    blocks, plan = len(chosen.blocks), chosen.plan
    values = rng.normal(tau * plan.shift, plan.sd, size=(draws, blocks))
    return float(np.mean([sign_flip_p(row) <= 0.05 for row in values]))
