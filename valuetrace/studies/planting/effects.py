"""From rows to answers: what a plant does to a base and to its reward models, over blocks, and what is detected of it.

A *contrast* is the difference of two plants of one block (agency less communion). What the block's words, pairs and
seeds do to both cancels in it. τ = contrast of the reward models / contrast of the bases: how much of what was put into
the base arrives. It is an intention-to-treat ratio: the base's shift is what the planting achieved, whatever was meant.

Detection asks how large a planted value must be to be seen: power over doses, by an audit and by a comparison of
models. Draws come from the ridge heads that were fitted (blocks × bootstrapped pairs). Labels are blind: a test sees
two numbers, or two groups of numbers, and not which was planted.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used

from valuetrace.stats.blocks import fieller, over_seeds, sign_flip_p
from valuetrace.stats.inference import binomial_interval
from valuetrace.studies.planting.design import NONE, Criteria, Planting

MEASURES = ("lean", "both")
STILL = 1e-6
"""A base whose L moved by less in every block did not move: there is no share of nothing."""
FEWEST_BLOCKS = 6
"""For a verdict: with fewer no pattern of signs has a two-sided p of .05 or less (2 / 2⁶ = .03)."""
LEVEL, POWER = 0.05, 0.9
PER_GROUP = 5  # models a side of a comparison


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
            both[list(MEASURES)] -= both[[f"{name}_other" for name in MEASURES]].to_numpy()
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
            row = dict(zip(keys, key, strict=True)) | {"measure": measure} | estimate(values)
            found.append(row | {"p_sign_flip": sign_flip_p(values), "same_sign": int(same)})
    return pd.DataFrame(found)


def estimate(values: np.ndarray) -> dict[str, float | int | None]:
    """The mean of one value a block, with Student's t over the blocks: ``estimate, low, high, p, blocks``."""
    found = over_seeds(values)._asdict()
    return found | {"blocks": found.pop("seeds")}


def transmitted(table: pd.DataFrame, plan: Criteria) -> pd.DataFrame:
    """τ of every contrast and kind of reward model: Fieller's 95% and 90% intervals over blocks, and the verdict."""
    found = []
    is_base, keys = table["source"] == "logprobs", ["first", "second", "dose", "source", "pairs", "part"]
    on = ["first", "second", "dose", "part", "block"]
    paired = table[~is_base].merge(table[is_base], on=on, suffixes=("", "_base"))
    for key, own in paired[paired["second"] != NONE].groupby(keys):
        effect, shift = own["lean"], own["lean_base"]
        if len(own) < 2 or shift.abs().max() < STILL:
            continue
        narrow = fieller(effect, shift, 0.9)
        row = dict(zip(keys, key, strict=True)) | fieller(effect, shift)._asdict()
        row |= {"low_90": narrow.low, "high_90": narrow.high, "shift": shift.mean(), "effect": effect.mean()}
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
    rng, plan = np.random.default_rng(chosen.seed), chosen.plan
    values = rng.normal(tau * plan.shift, plan.sd, size=(draws, len(chosen.main.blocks)))
    return float(np.mean([sign_flip_p(row) <= 0.05 for row in values]))


def audit_power(draws: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Power of telling a planted model from its unplanted twin: ``plant, dose, threshold, power, low, high``.

    draws: rows of ``heads._draws``. The twin is the base's own model of the same block on other bootstrapped pairs.
    Threshold: the difference that two unplanted twins exceed with probability LEVEL, over all blocks. Power counts a
    difference beyond it, in either direction. Its interval takes blocks as the unit: exact, of the blocks in which more
    than half of the pairs are told apart.
    """
    draw = {key: own.sort_values("draw")[measure].to_numpy() for key, own in draws.groupby(["plant", "dose", "block"])}
    blocks = sorted(draws["block"].unique())
    twins = {b: draw[NONE, 0.0, b] for b in blocks}
    null = np.concatenate([np.abs(_against(twins[b], twins[b], apart=True)) for b in blocks])
    threshold = float(np.quantile(null, 1 - LEVEL))
    rows = []
    for plant, dose in sorted({(p, d) for p, d, _ in draw if p != NONE}):
        own = [b for b in blocks if (plant, dose, b) in draw]
        shares = [(np.abs(_against(draw[plant, dose, b], twins[b])) > threshold).mean() for b in own]
        seen = int(sum(share > 0.5 for share in shares))
        low, high = binomial_interval(seen, len(own))
        row = {"plant": plant, "dose": dose, "measure": measure, "threshold": threshold, "power": np.mean(shares)}
        rows.append(row | {"blocks_told_apart": seen, "blocks": len(own), "low": low, "high": high})
    return pd.DataFrame(rows)


def comparison_power(draws: pd.DataFrame, measure: str, studies: int, seed: int) -> pd.DataFrame:
    """Power of Welch's t between PER_GROUP models of a planted and PER_GROUP of the unplanted base: models as units.

    A study draws, for each model, a block and a bootstrap. Row for row as ``audit_power``; dose 0 is the test's size.
    """
    rng = np.random.default_rng(seed)
    at = {(p, d): own for (p, d), own in draws.groupby(["plant", "dose"])}
    base = at[NONE, 0.0][measure].to_numpy()
    rows = []
    for (plant, dose), own in at.items():
        values = own[measure].to_numpy()
        first, second = (rng.choice(of, size=(studies, PER_GROUP)) for of in (values, base))
        p = scipy.stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue
        count = int((p <= LEVEL).sum())
        low, high = binomial_interval(count, studies)
        row = {"plant": plant, "dose": dose, "measure": measure, "power": count / studies, "low": low, "high": high}
        rows.append(row | {"models": PER_GROUP, "studies": studies})
    return pd.DataFrame(rows)


def detection_limit(power: pd.DataFrame) -> float | None:
    """The smallest dose with power POWER, linear between the doses that were measured; None where it is not reached.

    power: ``dose, power`` of one plant, dose 0 (the false-positive rate, LEVEL where it is absent) included.
    """
    curve = {0.0: LEVEL} | dict(zip(power["dose"], power["power"], strict=True))
    for (d0, p0), (d1, p1) in pairwise(sorted(curve.items())):
        if p1 >= POWER:
            return d0 if p0 >= POWER else d0 + (d1 - d0) * (POWER - p0) / (p1 - p0)
    return None


def _against(planted: np.ndarray, twin: np.ndarray, apart: bool = False) -> np.ndarray:
    """Every difference of two draws; ``apart``: of two different draws of one list, each pair once."""
    difference = planted[:, None] - twin[None, :]
    return difference[np.triu_indices(len(twin), 1)] if apart else difference.ravel()
