"""How large must a planted value be to be seen? Power over doses, by an audit and by a comparison of models.

Everything is resampled from the ridge heads that were fitted (blocks × bootstrapped pairs); labels are blind: a test
sees two numbers, or two groups of numbers, and not which was planted.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used

from valuetrace.stats.inference import binomial_interval
from valuetrace.studies.planting.design import NONE

LEVEL, POWER = 0.05, 0.9
PER_GROUP = 5  # models a side of a comparison


def of_audit(draws: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Power of telling a planted model from its unplanted twin: ``plant, dose, threshold, power, low, high``.

    draws: rows of ``heads._draws``. The twin is the base's own model of the same block on other bootstrapped pairs.
    Threshold: the difference that two unplanted twins exceed with probability LEVEL, over all blocks. Power counts a
    difference beyond it, in either direction; its interval takes blocks as the unit (exact, of the blocks in which more
    than half of the pairs are told apart).
    """
    draw = {key: own.sort_values("draw")[measure].to_numpy() for key, own in draws.groupby(["plant", "dose", "block"])}
    blocks = sorted(draws["block"].unique())
    twins = {b: draw[NONE, 0.0, b] for b in blocks}
    null = np.concatenate([np.abs(_against(twins[b], twins[b], apart=True)) for b in blocks])
    threshold = float(np.quantile(null, 1 - LEVEL))
    rows = []
    for plant, dose in sorted({(p, d) for p, d, _ in draw if p != NONE}):
        own = [b for b in blocks if (plant, dose, b) in draw]
        told = [float((np.abs(_against(draw[plant, dose, b], twins[b])) > threshold).mean()) for b in own]
        seen = int(sum(share > 0.5 for share in told))
        low, high = binomial_interval(seen, len(own))
        row = {"plant": plant, "dose": dose, "measure": measure, "threshold": threshold, "power": float(np.mean(told))}
        rows.append(row | {"blocks_told_apart": seen, "blocks": len(own), "low": low, "high": high})
    return pd.DataFrame(rows)


def of_comparison(draws: pd.DataFrame, measure: str, studies: int, seed: int) -> pd.DataFrame:
    """Power of Welch's t between PER_GROUP models of a planted and PER_GROUP of the unplanted base: models as units.

    A study draws, for each model, a block and a bootstrap. Row for row as ``of_audit``; dose 0 is the test's size.
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


def limit(power: pd.DataFrame, doses: list[float]) -> float | None:
    """The smallest dose with power POWER, linear between the doses that were measured; None where it is not reached.

    power: ``dose, power`` of one plant, dose 0 (the false-positive rate, LEVEL where it is absent) included.
    """
    at = dict(zip(power["dose"], power["power"], strict=True))
    doses = sorted({0.0, *doses})
    values = [at.get(dose, LEVEL) for dose in doses]
    for (d0, p0), (d1, p1) in pairwise(zip(doses, values, strict=True)):
        if p1 >= POWER:
            return d0 if p0 >= POWER else d0 + (d1 - d0) * (POWER - p0) / (p1 - p0)
    return None


def _against(planted: np.ndarray, twin: np.ndarray, apart: bool = False) -> np.ndarray:
    """Every difference of two draws; ``apart``: of two different draws of one list, each pair once."""
    difference = planted[:, None] - twin[None, :]
    return difference[np.triu_indices(len(twin), 1)] if apart else difference.ravel()
