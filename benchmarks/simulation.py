"""Simulated scores with a known truth: how often does each test reject, with which unit?

One score is a sum of what a word, a model, a prompt and their pairings do to it, in units of the standard deviation of
the residual. Models of *one* base differ in how they like each word (``model_word``; those of one lineage alike,
``lineage_word``) and each construct under a framing (``model``): with it the prompts of one model move together, which
is what a test with prompts as units overlooks. ``components`` estimates all of it from score files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace import prompts
from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT
from valuetrace.measures.compare.effects import (
    FRAMINGS,
    base_differences,
    bootstrap_differences,
    effects,
    framing_contrasts,
    framing_means,
    paired_fit,
    paper_fit,
    three_way_model_unit,
)
from valuetrace.measures.compare.random_lexicon import exchange_labels
from valuetrace.measures.compare.scores import Scores
from valuetrace.stats import bootstrap, inference
from valuetrace.stats.ranks import subset_medians

PUBLISHED_COMPONENTS = ROOT / "conf" / "published" / "variance_components.csv"
"""``components`` of the ten published reward models on the Big Two nouns."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a simulated study contains. Standard deviations; ``effect`` is a shift of one construct's mean score.

    lineages: how many models each base has of every lineage with several, from the first on; the others are each their
    own. Every effect of a word is drawn anew for each framing, as in the published files, whose correlation across
    framings is 0.
    """

    models: tuple[int, int] = (4, 6)
    prompts: int = 18  # half of each framing
    words: int = 80  # half of each construct
    word: float = 1.0
    prompt: float = 0.3  # prompt × construct, shared by all models
    model: float = 0.3  # model × construct × framing
    model_word: float = 0.0
    lineage_word: float = 0.0
    lineages: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    base_word: float = 0.0  # base × word: the bases differ, though not by construct
    effect: float = 0.0  # base × construct × framing: positive framing +, negative −

    @classmethod
    def published(cls, **changes) -> Truth:
        """The published study: its models, prompts, words, variance components and lineages.

        Skywork's has three models of each base, GRM's two more of Llama: two units of Gemma against three of Llama.
        """
        table = read_csv(PUBLISHED_COMPONENTS, ("component", "estimate"))
        found = dict(zip(table["component"], table["estimate"], strict=True))
        return cls(
            **cast("dict[str, Any]", {"prompts": 54, "words": 262, "lineages": ((3,), (3, 2))} | found | changes)
        )


def components(scores: Scores) -> dict[str, float]:
    """Variance components of score files, as standard deviations in units of the residual's (names as in ``Truth``).

    Moments, framing by framing, then averaged as variances. A model's scores are divided by its own residual standard
    deviation (what is left after its words and prompts) and centred within construct. The covariance over words of two
    models' means (at one common spread) is then what words do to models of any base; to it adds what one base shares,
    and one lineage within it; a model's own variance has the rest. Models of one lineage and two bases are left out.
    """
    found = [_framing_components(scores, scores.framing == framing) for framing in FRAMINGS]
    return {name: float(np.sqrt(max(0.0, cast(float, np.mean([one[name] for one in found]))))) for name in found[0]}


def _framing_components(scores: Scores, asked: np.ndarray) -> dict[str, float]:
    """Variances from the prompts of one framing. Balanced: every model has every prompt and word."""
    second, (models, count) = scores.is_second, (len(scores.models), int(asked.sum()))
    x = scores.values[:, asked].astype(np.float64)
    x -= x.mean(axis=2, keepdims=True)
    spread = np.sqrt(((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=(1, 2)) * count / (count - 1))
    x /= spread[:, None, None]
    first_own, second_own = scores.member[:2]
    contrast = x[:, :, second_own].mean(axis=2) - x[:, :, first_own].mean(axis=2)  # models, prompts
    for own in scores.member:
        x[:, :, own] -= x[:, :, own].mean(axis=2, keepdims=True)
    words = x.mean(axis=1)  # models, words
    covariance = np.corrcoef(words) * words.var(axis=1).mean()  # models spread unequally
    base = second[:, None] == second[None, :]
    line = scores.lineage_of[:, None] == scores.lineage_of[None, :]
    one = np.eye(models, dtype=bool)
    kin, of_base, of_none = (covariance[mask & ~one] for mask in (base & line, base & ~line, ~base & ~line))
    word, with_base = of_none.mean(), of_base.mean()
    with_line = kin.mean() if len(kin) else with_base
    model_word = covariance[one].mean() - with_line - 1 / count
    per_word = (1 / scores.member[:2].sum(axis=1)).sum()
    by_model = contrast.mean(axis=1)
    gaps = np.concatenate([by_model[side] - by_model[side].mean() for side in (~second, second)])
    return {
        "word": word,
        "prompt": contrast.mean(axis=0).var(ddof=1) / 2,  # a contrast is of two constructs
        "model": ((gaps**2).sum() / (models - 2) - (covariance[one].mean() - with_base) * per_word) / 2,
        "model_word": model_word,
        "lineage_word": with_line - with_base,
        "base_word": with_base - word,
    }


def simulate(truth: Truth, rng: np.random.Generator) -> Scores:
    """One study of simulated scores with constructs ``a`` and ``b`` and bases ``A`` and ``B``."""
    first, second = truth.models
    base = np.repeat([0, 1], [first, second])
    names = [f"model{i}" for i in range(first + second)]
    lines = []
    for b, own, sizes in zip("AB", (names[:first], names[first:]), truth.lineages, strict=True):
        kin = [f"line {b}{i}" for i, size in enumerate(sizes) for _ in range(size)]
        lines += kin + own[len(kin) :]
    lineage = np.array(lines)
    construct = np.arange(truth.words) % 2
    table = prompts.value_laden()
    half = truth.prompts // 2
    keys = pd.concat([table[table["framing"] == framing].head(half) for framing in FRAMINGS])
    framing = (keys["framing"] == "positive").to_numpy().astype(int)

    def by_word(units: int) -> np.ndarray:  # (units, framings, words)
        return rng.normal(size=(units, 2, truth.words))

    liking = truth.word * by_word(1) + truth.base_word * by_word(2)[base] + truth.model_word * by_word(len(base))
    liking += truth.lineage_word * by_word(len(base))[np.unique(lineage, return_inverse=True)[1]]
    liking += truth.model * rng.normal(size=(len(base), 2, 2))[:, :, construct]
    liking += truth.effect * np.einsum("m,f,w->mfw", base, [-1, 1], construct)
    values = rng.normal(size=(len(base), truth.prompts, truth.words)) + liking[:, framing]
    values += truth.prompt * rng.normal(size=(truth.prompts, 2))[:, construct]
    return Scores(
        values=values.astype(np.float32),
        words=pd.Index([f"word{i}" for i in range(truth.words)]),
        models=names,
        base_of=np.array(["A", "B"])[base],
        lineage_of=lineage,
        prompts=list(keys["key"]),
        framing=keys["framing"].to_numpy(),
        constructs=["a", "b"],
        member=np.array([construct == 0, construct == 1]),
        excluded={},
    )


def prompt_unit_p(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """The paper's permutation Welch t of construct ``b`` under positive prompts, 199 draws."""
    return _cell(effects(scores, medians, 199, seed))["p_permutation"]


def model_unit_p(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """The same cell with models as units, exact."""
    return _cell(effects(scores, medians, 199, seed, permute=False))["p_model_unit"]


def three_way_mixed_p(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """The paper's mixed model of the three-way interaction (``seed`` is not used: nothing is drawn)."""
    return paper_fit(scores, medians)["p_mixed"]


def three_way_p(scores: Scores, medians: np.ndarray, seed: int, name: str = "p_model_unit") -> float:
    """The three-way interaction with models as units, exact; or another p of ``effects.model_units`` by ``name``."""
    return three_way_model_unit(scores, medians, 199, seed)[name]


def three_way_paired_p(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """The mixed model of one difference a prompt with a slope a model (1 where it cannot be fitted)."""
    p = paired_fit(scores, medians)["p"]
    return 1.0 if p is None else p


def random_lexicon_p(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """The three-way interaction against 199 exchanges of construct labels (one stratum), these models being given.

    It answers whether the construct differs more than any list would *between these models*; it
    does not speak of other models of the bases, which is what the tests with models as units are for.
    """
    rng = np.random.default_rng(seed)
    labels = exchange_labels(scores.member, np.zeros(len(scores.words), dtype=int), 199, rng)
    ranks = scores.ranks()
    null = subset_medians(ranks, labels.reshape(-1, len(scores.words))).reshape(199, *medians.shape)
    gap, drawn = (_interaction(base_differences(scores, framing_means(scores, of))) for of in (medians, null))
    return inference.two_tailed_p(float(gap), drawn)


def bootstrap_excludes_zero(scores: Scores, medians: np.ndarray, seed: int) -> float:
    """0 where the interaction's 95% hierarchical bootstrap interval (199 draws) leaves 0 out, else 1."""
    drawn = _interaction(bootstrap_differences(scores, scores.ranks(), 199, seed))
    low, high = bootstrap.percentile_interval(drawn)
    return 1.0 if low <= 0 <= high else 0.0


Test = Callable[[Scores, np.ndarray, int], float]
"""Scores, their medians and a seed to a p-value."""


def p_values(truth: Truth, tests: dict[str, Test], runs: int, seed: int) -> pd.DataFrame:
    """Every test's p in each of ``runs`` simulated studies, which follow from ``seed`` alone, not from the tests."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        scores = simulate(truth, rng)
        medians = scores.medians()
        rows.append({name: test(scores, medians, run) for name, test in tests.items()})
    return pd.DataFrame(rows)


def rejection_rate(truth: Truth, test: Test, runs: int, seed: int, alpha: float = 0.05) -> float:
    """The share of ``runs`` simulated studies in which ``test`` gives p ≤ alpha."""
    return float((p_values(truth, {"p": test}, runs, seed)["p"] <= alpha).mean())


def _interaction(by_framing: np.ndarray) -> np.ndarray:
    """The second construct's framing contrast less the first's: (..., constructs, framings) to (...)."""
    contrasts = framing_contrasts(by_framing)
    return contrasts[..., 1] - contrasts[..., 0]


def _cell(rows: list[dict]) -> dict:
    return next(row for row in rows if row["construct"] == "b" and row["framing"] == "positive")
