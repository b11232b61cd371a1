"""Do two dictionaries of one construct agree better than two constructs? A multitrait table (Campbell & Fiske 1959).

The *unit* over which readings are correlated is the model, or the prompt (within each model, then Fisher's mean over
models), always within one framing: across framings all words of one valence move together. Words that two of the
compared lists hold are left out of both. Readings are median percentiles, by model and prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Literal, cast

import numpy as np
import pandas as pd

from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.studies.dimensions.panels import Panel, members, orders, readings

Unit = Literal["model", "prompt"]
FEWEST_UNITS = 6
"""A correlation over fewer is not told."""
CONVERGENT, SAME_METHOD = "same construct, other dictionary", "other construct, same dictionary"
OTHER = "other construct, other dictionary"
FACETS = "same construct, same dictionary"
_CHUNK = 250  # draws at a time: bounds memory


def correlations(values: np.ndarray, pairs: list[tuple[int, int]], unit: Unit) -> np.ndarray:
    """Pearson's correlation of each pair of lists over the unit: (…, pairs). values: (…, lists, models, prompts)."""
    if unit == "model":
        values = values.mean(axis=-1)[..., None, :]  # (…, lists, 1, models)
    values = values - values.mean(axis=-1, keepdims=True)
    spread = np.sqrt((values**2).sum(axis=-1, keepdims=True))
    values = np.divide(values, spread, out=np.zeros_like(values), where=spread > 1e-9)
    first, second = (values[..., [pair[side] for pair in pairs], :, :] for side in (0, 1))
    return fisher_mean((first * second).sum(axis=-1))


def fisher_mean(r: np.ndarray) -> np.ndarray:
    """The mean of correlations by Fisher's z over the last axis."""
    return np.tanh(np.arctanh(np.clip(r, -1 + 1e-7, 1 - 1e-7)).mean(axis=-1))


def kinds(names: list[str], traits: dict[str, list[str]]) -> list[tuple[int, int, str]]:
    """Every pair of the constructs that have a trait: their places in ``names``, and the kind of the pair."""
    trait = {name: key for key, listed in traits.items() for name in listed}
    found = []
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        same_dictionary = first.partition(":")[0] == second.partition(":")[0]
        same, other = (FACETS, SAME_METHOD) if same_dictionary else (CONVERGENT, OTHER)
        found.append((i, j, same if trait[first] == trait[second] else other))
    return found


def multitrait(
    own: Panel, lexicon: pd.DataFrame, traits: dict[str, list[str]], draws: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The multitrait table of a panel (of one framing), and whether constructs converge in it, over each unit.

    Pairs: ``unit, units, first, second, kind, words_first, words_second, r, low, high`` (95 %, words of each list and
    units drawn together), ``null_low, null_high`` (95 % of random lists of the same sizes and frequencies) and ``p``
    (share of random lists that agree as well). Tests: ``against`` (a kind of pair), ``difference`` of the mean
    correlations, same construct in other dictionaries − that kind, and the rest alike. Lists with too few words
    of their own are left out, units of which there are too few too; both tables are empty where no construct has
    two dictionaries left.
    """
    traits, names, member = _focal(own, lexicon, traits)
    found, units = kinds(names, traits), enough_units(own)
    if not units or CONVERGENT not in {kind for *_, kind in found}:
        return pd.DataFrame(), pd.DataFrame()
    pairs = [(i, j) for i, j, _ in found]
    rng = np.random.default_rng(seed)
    values = readings(own, member)
    drawn, random = _drawn(own, member, pairs, units, draws, rng), _random(own, member, pairs, units, draws, rng)
    rows, tests = [], []
    kind_of = np.array([kind for *_, kind in found])
    for unit, count in units.items():
        r, at = correlations(values, pairs, unit), {"unit": unit, "units": count}
        for k, (i, j, kind) in enumerate(found):
            row = at | {"first": names[i], "second": names[j], "kind": kind}
            row |= {"words_first": int(member[i].sum()), "words_second": int(member[j].sum())}
            rows.append(row | _with_intervals(r[k], drawn[unit][:, k], random[unit][:, k], "r"))
        for against in (kind for kind in (OTHER, SAME_METHOD) if kind in kind_of):
            one, many, null = (
                fisher_mean(v[:, kind_of == CONVERGENT]) - fisher_mean(v[:, kind_of == against])
                for v in (r[None], drawn[unit], random[unit])
            )
            tests.append(at | {"against": against, **_with_intervals(one[0], many, null, "difference")})
    return pd.DataFrame(rows), pd.DataFrame(tests)


def enough_units(own: Panel) -> dict[Unit, int]:
    """The units of which the panel has enough, and how many."""
    counts: dict[Unit, int] = {"model": len(own.models), "prompt": len(own.framing)}
    return {unit: count for unit, count in counts.items() if count >= FEWEST_UNITS}


def every_pair(own: Panel, lexicon: pd.DataFrame) -> pd.DataFrame:
    """Profile correlations of all pairs of constructs, each pair without its common words, over each unit.

    ``unit, units, first, second, own_first, own_second`` (words left), ``r``; pairs with too few words left are not
    there.
    """
    names, member = members(lexicon, own.words)
    rows, lists = [], cast("list[np.ndarray]", [])
    for i, j in combinations(range(len(names)), 2):
        apart = member[i] & ~member[j], member[j] & ~member[i]
        if min(part.sum() for part in apart) >= FEWEST_WORDS:
            row = {"first": names[i], "second": names[j], "own_first": int(apart[0].sum())}
            rows.append(row | {"own_second": int(apart[1].sum())})
            lists += apart
    if not rows:
        return pd.DataFrame()
    pairs = [(2 * at, 2 * at + 1) for at in range(len(rows))]
    values, table = readings(own, np.array(lists)), pd.DataFrame(rows)
    parts = []
    for unit, count in enough_units(own).items():
        parts.append(table.assign(unit=unit, units=count, r=correlations(values, pairs, unit)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _focal(own: Panel, lexicon: pd.DataFrame, traits: dict[str, list[str]]):
    """The traits, names and disjoint memberships of those lists that keep enough words of their own."""
    names, member = members(lexicon, own.words)
    listed = [name for group in traits.values() for name in group if name in names]
    member = member[[names.index(name) for name in listed]]
    member = member & (member.sum(axis=0) == 1)
    enough = member.sum(axis=1) >= FEWEST_WORDS
    names = [name for name, keep in zip(listed, enough, strict=True) if keep]
    left = {key: [name for name in group if name in names] for key, group in traits.items()}
    return left, names, member[enough]


def _drawn(own: Panel, member: np.ndarray, pairs, units: Iterable[Unit], draws: int, rng) -> dict[Unit, np.ndarray]:
    """Correlations with each list's words and the units drawn anew: unit → (draws, pairs)."""
    parts: dict[Unit, list[np.ndarray]] = {unit: [] for unit in units}
    for counts in word_draws(member, draws, rng):
        for start in range(0, counts.shape[1], _CHUNK):
            values = _readings(own, counts[:, start : start + _CHUNK].swapaxes(0, 1))  # (draws, lists, models, prompts)
            for unit, found in parts.items():
                axis = 2 if unit == "model" else 3
                at = rng.integers(values.shape[axis], size=(len(values), values.shape[axis]))
                at = at[:, None, :, None] if unit == "model" else at[:, None, None, :]
                found.append(correlations(np.take_along_axis(values, at, axis=axis), pairs, unit))
    return {unit: np.concatenate(found) for unit, found in parts.items()}


def _random(own: Panel, member: np.ndarray, pairs, units: Iterable[Unit], draws: int, rng) -> dict[Unit, np.ndarray]:
    """Correlations of random lists, whose words are any ranked words of the same stratum: unit → (draws, pairs)."""
    labels = np.moveaxis(member[:, orders(own.words, draws, rng)], 0, 1)  # (draws, lists, words)
    parts = [_readings(own, labels[at : at + _CHUNK]) for at in range(0, draws, _CHUNK)]
    return {unit: np.concatenate([correlations(part, pairs, unit) for part in parts]) for unit in units}


def _readings(own: Panel, counts: np.ndarray) -> np.ndarray:
    """``readings`` of (draws, lists, words): (draws, lists, models, prompts)."""
    return readings(own, counts.reshape(-1, counts.shape[-1])).reshape(*counts.shape[:2], *own.percentiles.shape[1:])


def _with_intervals(value: float, drawn: np.ndarray, random: np.ndarray, name: str) -> dict[str, float]:
    low, high = percentile_interval(drawn)
    null_low, null_high = percentile_interval(random)
    p = float((1 + (random >= value - 1e-9).sum()) / (1 + len(random)))
    return {name: float(value), "low": low, "high": high, "null_low": null_low, "null_high": null_high, "p": p}
