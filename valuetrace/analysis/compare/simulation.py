"""Simulated score cubes with a known truth: how often does each test reject, with which unit?

One score is a sum of what a word, a model, a prompt and their pairings do to it, in units of the
standard deviation of the residual. ``model`` is how much models of *one* base differ in how they
like a construct under a framing: with it the prompts of one model move together, which is what a
test with prompts as units overlooks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from valuetrace import prompts
from valuetrace.analysis.compare.effects import (
    FRAMINGS,
    base_differences,
    bootstrap_differences,
    effects,
    framing_means,
    mixed_fit,
    monte_carlo_p,
    three_way_model_unit,
)
from valuetrace.analysis.compare.random_lexicon import exchange_labels
from valuetrace.analysis.compare.scores import Cube
from valuetrace.stats import bootstrap


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a simulated study contains. Standard deviations; ``effect`` is a shift of one construct's mean score."""

    models: tuple[int, int] = (4, 6)
    prompts: int = 18  # half of each framing
    words: int = 80  # half of each construct
    word: float = 1.0
    prompt: float = 0.3  # prompt × construct, shared by all models
    model: float = 0.3  # model × construct × framing
    base_word: float = 0.0  # base × word: the bases differ, though not by construct
    effect: float = 0.0  # base × construct × framing: positive framing +, negative −


def simulate(truth: Truth, rng: np.random.Generator) -> Cube:
    """One cube of simulated scores with constructs ``a`` and ``b`` and bases ``A`` and ``B``."""
    first, second = truth.models
    base = np.repeat([0, 1], [first, second])
    construct = np.arange(truth.words) % 2
    table = prompts.value_laden()
    half = truth.prompts // 2
    keys = pd.concat([table[table["framing"] == framing].head(half) for framing in FRAMINGS])
    framing = (keys["framing"] == "positive").to_numpy().astype(int)
    shape = (first + second, truth.prompts, truth.words)
    scores = rng.normal(size=shape) + truth.word * rng.normal(size=truth.words)
    scores += truth.prompt * rng.normal(size=(truth.prompts, 2))[:, construct]
    scores += truth.model * rng.normal(size=(first + second, 2, 2))[:, framing][:, :, construct]
    scores += truth.base_word * rng.normal(size=(2, 1, truth.words))[base]
    scores += truth.effect * np.einsum("m,p,w->mpw", base, 2 * framing - 1, construct)
    return Cube(
        scores=scores.astype(np.float32),
        words=pd.Index([f"word{i}" for i in range(truth.words)]),
        models=[f"model{i}" for i in range(first + second)],
        base_of=np.array(["A", "B"])[base],
        prompts=list(keys["key"]),
        framing=keys["framing"].to_numpy(),
        constructs=["a", "b"],
        member=np.array([construct == 0, construct == 1]),
        excluded={},
    )


def prompt_unit_p(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """The paper's permutation Welch t of construct ``b`` under positive prompts, 199 draws."""
    return _panel(effects(cube, medians, 199, seed))["p_permutation"]


def model_unit_p(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """The same panel with models as units, exact."""
    return _panel(effects(cube, medians, 199, seed, permute=False))["p_model_unit"]


def three_way_mixed_p(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """The paper's mixed model of the three-way interaction (``seed`` is not used: nothing is drawn)."""
    return mixed_fit(cube, medians).joint["p"]


def three_way_model_unit_p(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """The three-way interaction with models as units, exact."""
    return three_way_model_unit(cube, medians, 199, seed)["p_model_unit"]


def random_lexicon_p(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """The same panel against 199 exchanges of construct labels (one stratum), these models being given.

    It answers whether the construct differs more than any list would *between these models*; it
    does not speak of other models of the bases, which is what ``model_unit_p`` is for.
    """
    rng = np.random.default_rng(seed)
    labels = exchange_labels(cube.member, np.zeros(len(cube.words), dtype=int), 199, rng)
    ranks = cube.ranks()
    null = np.stack([dataclasses.replace(cube, member=row.astype(bool)).medians(ranks) for row in labels])
    gaps = base_differences(cube, framing_means(cube, null))[:, 1, 0]
    return monte_carlo_p(base_differences(cube, framing_means(cube, medians))[1, 0], gaps)


def bootstrap_excludes_zero(cube: Cube, medians: np.ndarray, seed: int) -> float:
    """0 where the panel's 95% hierarchical bootstrap interval (199 draws) leaves 0 out, else 1."""
    low, high = bootstrap.percentile_interval(bootstrap_differences(cube, cube.ranks(), 199, seed)[:, 1, 0])
    return 1.0 if low <= 0 <= high else 0.0


def rejection_rate(
    truth: Truth, test: Callable[[Cube, np.ndarray, int], float], runs: int, seed: int, alpha: float = 0.05
) -> float:
    """The share of ``runs`` simulated studies in which ``test`` gives p ≤ alpha."""
    rng = np.random.default_rng(seed)
    rejected = 0
    for run in range(runs):
        cube = simulate(truth, rng)
        rejected += test(cube, cube.medians(), run) <= alpha
    return rejected / runs


def _panel(rows: list[dict]) -> dict:
    return next(row for row in rows if row["construct"] == "b" and row["framing"] == "positive")
