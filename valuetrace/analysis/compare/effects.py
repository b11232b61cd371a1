"""The statistics of one comparison: each panel (construct × framing) and the three-way interaction (Section 2).

The sampling unit is in each name and docstring: one prompt of one model (the paper's), the model, or
the word list. Arrays are (constructs, models, prompts), as ``Cube.medians`` gives them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.analysis.compare import plot_tables
from valuetrace.analysis.compare.scores import Cube
from valuetrace.stats import bootstrap, inference
from valuetrace.stats.ranks import subset_medians

FRAMINGS = ("positive", "negative")

ALPHA = 0.05
"""A design in which no assignment of bases to models can reach this two-sided p gets no model-unit test."""


def model_unit_reason(cube: Cube) -> str | None:
    """Why there is no test with the model as the unit, or None where there is one."""
    second = int(cube.is_second.sum())
    first = len(cube.models) - second
    smallest = inference.smallest_p(first, second)
    if smallest <= ALPHA:
        return None
    return (
        f"with {first} of {cube.bases[0]} and {second} of {cube.bases[1]} "
        f"no assignment of bases to models has a two-sided p below {smallest:.2g}"
    )


def framing_means(cube: Cube, medians: np.ndarray) -> np.ndarray:
    """Medians averaged over each framing's prompts: (..., models, prompts) to (..., models, framings)."""
    return np.stack([medians[..., cube.framing == framing].mean(axis=-1) for framing in FRAMINGS], axis=-1)


def base_differences(cube: Cube, by_model: np.ndarray) -> np.ndarray:
    """Second − first base of model means: (..., models, framings) to (..., framings)."""
    second = cube.is_second
    return by_model[..., second, :].mean(axis=-2) - by_model[..., ~second, :].mean(axis=-2)


def framing_contrasts(by_framing: np.ndarray) -> np.ndarray:
    """Positive − negative, less its mean over constructs: (..., constructs, framings) to (..., constructs).

    The part of a construct's framing effect that the other constructs do not share; a difference
    between bases in it is the three-way interaction.
    """
    effect = by_framing[..., 0] - by_framing[..., 1]
    return effect - effect.mean(axis=-1, keepdims=True)


def bootstrap_differences(cube: Cube, ranks: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Hierarchical bootstrap of the difference between bases: (draws, constructs, framings).

    In one draw models are resampled within base, prompts within framing (one resample for all
    models) and words within construct (one resample for all models and prompts); ranks stay those
    of the whole lexicon. Medians of the resampled words are computed for every model and prompt,
    then weighted by the models' and prompts' counts.
    """
    rng = np.random.default_rng(seed)
    signed = bootstrap.resample_weights(cube.base_of, draws, rng) * np.where(cube.is_second, 1.0, -1.0)
    by_prompt = bootstrap.resample_weights(cube.framing, draws, rng)
    result = np.empty((draws, len(cube.constructs), len(FRAMINGS)))
    start = 0
    for counts in bootstrap.word_draws(cube.member, draws, rng):
        at = slice(start, start + counts.shape[1])
        for k, own in enumerate(counts):
            medians = subset_medians(ranks, own).reshape(-1, len(cube.models), len(cube.prompts))
            gaps = np.einsum("dmp,dm->dp", medians, signed[at])
            for f, framing in enumerate(FRAMINGS):
                mask = cube.framing == framing
                result[at, k, f] = (gaps[:, mask] * by_prompt[at][:, mask]).sum(axis=1)
        start = at.stop
    return result


def panels(
    cube: Cube, medians: np.ndarray, boot: np.ndarray | None, null: np.ndarray, draws: int, seed: int
) -> list[dict]:
    """One dict a construct and framing: the paper's test, the model's, the bootstrap's and the random lexicons'.

    medians: (constructs, models, prompts). boot: ``bootstrap_differences`` or None. null: medians of
    random lexicons, (draws, constructs, models, prompts).
    """
    rows = effects(cube, medians, draws, seed)
    null_gaps = base_differences(cube, framing_means(cube, null))
    p = np.array([row["p_permutation"] for row in rows], dtype=np.float64)  # None becomes NaN
    for row, corrected in zip(rows, inference.bonferroni(p), strict=True):
        k, f = cube.constructs.index(row["construct"]), FRAMINGS.index(row["framing"])
        row |= {
            "p_bonferroni": number(corrected),
            "ci_model_unit": None if boot is None else list(bootstrap.percentile_interval(boot[:, k, f])),
            "p_random_lexicon": monte_carlo_p(row["difference"], null_gaps[:, k, f]),
            "random_lexicon_95": list(bootstrap.percentile_interval(null_gaps[:, k, f])),
        }
    return rows


def effects(cube: Cube, medians: np.ndarray, draws: int, seed: int, permute: bool = True) -> list[dict]:
    """Means, difference, Cohen's d and tests of each panel; ``permute`` False leaves out the prompt-unit tests."""
    reason = model_unit_reason(cube)
    by_model = framing_means(cube, medians)
    rows = []
    for f, framing in enumerate(FRAMINGS):
        units = medians[:, :, cube.framing == framing].transpose(1, 2, 0)  # models, prompts, constructs
        pair = [units[mask].reshape(-1, len(cube.constructs)) for mask in (~cube.is_second, cube.is_second)]
        enough = min(map(len, pair)) >= 2
        p = inference.permutation_welch(*pair, draws, seed) if enough and permute else None
        parametric = inference.welch_t(*pair).p if enough and permute else None
        d = inference.cohens_d(*pair) if enough else None
        for k, construct in enumerate(cube.constructs):
            first, second = (values[:, k] for values in pair)
            model_unit = inference.group_permutation(by_model[k, :, f], cube.is_second, draws, seed)
            rows.append(
                {
                    "construct": construct,
                    "framing": framing,
                    "means": dict(zip(cube.bases, (float(first.mean()), float(second.mean())), strict=True)),
                    "difference": float(second.mean() - first.mean()),
                    "cohens_d": number(d, k),
                    "p_permutation": number(p, k),
                    "p_parametric": number(parametric, k),
                    "p_model_unit": None if reason else model_unit,
                    "model_unit_reason": reason,
                }
            )
    return rows


def three_way(
    cube: Cube, medians: np.ndarray, boot: np.ndarray | None, null: np.ndarray, draws: int, seed: int
) -> dict:
    """Base × construct × framing: does what the framing does to a construct differ between bases?

    ``coefficient`` is the mixed model's (reference: first base, first construct, negative framing)
    and, with two constructs and equal numbers of prompts, the difference of differences of the
    cells' means. With more constructs there is a coefficient each (``coefficients``) and one joint
    test. Arguments as in ``panels``.
    """
    two = len(cube.constructs) == 2
    gap = framing_contrasts(base_differences(cube, framing_means(cube, medians)))
    drawn = framing_contrasts(base_differences(cube, framing_means(cube, null)))
    mixed = mixed_fit(cube, medians)
    result = {
        "terms": f"{cube.bases[1]} (not {cube.bases[0]}) × construct × positive (not negative) framing",
        "coefficient": None,
        "ci": None,
        "p_mixed": None,
        "mixed_reason": mixed if isinstance(mixed, str) else None,
        "coefficients": [],
        "ci_model_unit": None,
        **three_way_model_unit(cube, medians, draws, seed),
        "p_random_lexicon": monte_carlo_p(np.linalg.norm(gap), np.linalg.norm(drawn, axis=1)),
    }
    if not isinstance(mixed, str):
        names = [name for name in mixed.terms.index if name.count(":") == 2]
        for construct, name in zip(cube.constructs[1:], names, strict=True):
            term = mixed.terms.loc[name]
            result["coefficients"].append(
                {
                    "construct": construct,
                    "reference": cube.constructs[0],
                    "coefficient": float(term["estimate"]),
                    "ci": [float(term["low"]), float(term["high"])],
                    "p": float(term["p"]),
                }
            )
        result["p_mixed"] = mixed.joint["p"]
        if two:
            result |= {key: result["coefficients"][0][key] for key in ("coefficient", "ci")}
    if boot is not None and two:
        effect = framing_contrasts(boot)
        result["ci_model_unit"] = list(bootstrap.percentile_interval(effect[:, 1] - effect[:, 0]))
    return result


def three_way_model_unit(cube: Cube, medians: np.ndarray, draws: int, seed: int) -> dict:
    """The interaction with the model as the unit: ``coefficient``, ``p_model_unit``, ``model_unit_reason``.

    A model is one vector, its framing contrast of each construct, and the test permutes bases over
    models. The coefficient is the second construct's contrast less the first's, None with more than two.
    """
    reason = model_unit_reason(cube)
    contrasts = framing_contrasts(framing_means(cube, medians).swapaxes(0, 1))  # models, constructs
    gap = contrasts[cube.is_second].mean(axis=0) - contrasts[~cube.is_second].mean(axis=0)
    return {
        "coefficient": float(gap[1] - gap[0]) if len(gap) == 2 else None,
        "p_model_unit": None if reason else inference.group_permutation(contrasts, cube.is_second, draws, seed),
        "model_unit_reason": reason,
    }


def monte_carlo_p(observed: float, drawn: np.ndarray) -> float:
    """Two-sided (b + 1) / (m + 1): how many of the m draws are as far from 0 as what was observed."""
    return float((1 + (np.abs(drawn) >= abs(observed) * (1 - 1e-9)).sum()) / (1 + len(drawn)))


def number(value, index: int | None = None) -> float | None:
    """A float for JSON: None where there is no value or it is not finite."""
    if value is None:
        return None
    value = float(value if index is None else value[index])
    return value if np.isfinite(value) else None


def mixed_fit(cube: Cube, medians: np.ndarray) -> inference.Mixed | str:
    """The paper's mixed model of the medians, or why there is none."""
    if len(cube.models) < 3:
        return "one model a base: its random intercept cannot be told from the base"
    frame = plot_tables.tidy(cube, medians)
    frame["framing"] = pd.Categorical(frame["framing"], ["negative", "positive"])
    frame["base"] = pd.Categorical(frame["base"], cube.bases)
    frame["construct"] = pd.Categorical(frame["construct"], cube.constructs)
    if frame.groupby("model")["median"].nunique().max() < 2:
        return "the medians do not vary"
    try:
        fit = inference.mixed_model(frame, "median ~ base * construct * framing", "model", "base:construct:framing")
    except np.linalg.LinAlgError:
        return "the mixed model is singular"
    return fit if np.isfinite(fit.joint["p"]) else "the mixed model is singular"
