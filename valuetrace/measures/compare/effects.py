"""The statistics of one comparison: each cell (construct × framing) and the three-way interaction (Section 2).

The sampling unit is in each name and docstring: one prompt of one model (the paper's), the model, the lineage (models
that share data or weights), or the word list. Arrays are (constructs, models, prompts), as ``Scores.medians`` gives
them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from valuetrace import prompts
from valuetrace.measures.compare import published
from valuetrace.measures.compare.mixed import number, paired_fit, paper_fit
from valuetrace.measures.compare.scores import Scores
from valuetrace.stats import bootstrap, inference
from valuetrace.stats.ranks import subset_medians

FRAMINGS = ("positive", "negative")

ALPHA = 0.05
"""A design in which no assignment of bases to models can reach this two-sided p gets no model-unit test."""


def model_unit_reason(scores: Scores) -> str | None:
    """Why there is no test with the model as the unit, or None where there is one."""
    second = int(scores.is_second.sum())
    first = len(scores.models) - second
    smallest = inference.smallest_p(first, second)
    if smallest <= ALPHA:
        return None
    return (
        f"with {first} of {scores.bases[0]} and {second} of {scores.bases[1]} "
        f"no assignment of bases to models has a two-sided p below {smallest:.2g}"
    )


def model_units(scores: Scores, values: np.ndarray, draws: int, seed: int) -> dict:
    """Tests of base with models as units, and with lineages; None where a design allows none.

    values: (models,) or (models, outcomes). ``p_model_unit`` compares means, ``_studentised`` Welch's t, over all
    assignments of bases to models: of unequal groups that spread unequally only the second keeps its size. ``_welch``
    is the parametric p of one outcome. ``p_lineage`` takes each base's models of one lineage as one unit.
    """
    second, reason = scores.is_second, model_unit_reason(scores)
    pair = [values[~second], values[second]]
    spread = reason is None and min(map(len, pair)) >= 2
    result = {
        "p_model_unit": None if reason else inference.group_permutation(values, second, draws, seed),
        "p_model_unit_studentised": inference.group_permutation(values, second, draws, seed, True) if spread else None,
        "p_model_unit_welch": number(inference.welch_t(*pair).p) if spread and values.ndim == 1 else None,
        "p_lineage": None,
        "model_unit_reason": reason,
    }
    units = lineage_units(scores)
    if len(units) < len(scores.models):
        means = np.array([values[own].mean(axis=0) for own in units.values()])
        of_second = np.array([base == scores.bases[1] for base, _ in units])
        result["p_lineage"] = inference.group_permutation(means, of_second, draws, seed)
    return result


def lineage_units(scores: Scores) -> dict[tuple[str, str], np.ndarray]:
    """(base, lineage) → (models,) booleans: the models of one lineage within one base are one unit."""
    keys = dict.fromkeys(zip(scores.base_of.tolist(), scores.lineage_of.tolist(), strict=True))
    return {(base, line): (scores.base_of == base) & (scores.lineage_of == line) for base, line in keys}


def lineages(scores: Scores) -> dict:
    """The units of ``p_lineage``: models by base and lineage, the smallest p they allow, or why there is no test."""
    units = lineage_units(scores)
    models: dict[str, dict[str, list[str]]] = {base: {} for base in scores.bases}
    for (base, line), own in units.items():
        models[base][line] = [name for name, has in zip(scores.models, own, strict=True) if has]
    shared = len(units) < len(scores.models)
    return {
        "models": models,
        "smallest_p": inference.smallest_p(*(len(own) for own in models.values())) if shared else None,
        "reason": None if shared else "no two models of a base share a lineage, so far as is stated",
    }


def framing_means(scores: Scores, medians: np.ndarray) -> np.ndarray:
    """Medians averaged over each framing's prompts: (..., models, prompts) to (..., models, framings)."""
    return np.stack([medians[..., scores.framing == framing].mean(axis=-1) for framing in FRAMINGS], axis=-1)


def base_differences(scores: Scores, by_model: np.ndarray) -> np.ndarray:
    """Second − first base of model means: (..., models, framings) to (..., framings)."""
    second = scores.is_second
    return by_model[..., second, :].mean(axis=-2) - by_model[..., ~second, :].mean(axis=-2)


def framing_contrasts(by_framing: np.ndarray) -> np.ndarray:
    """Positive − negative, less its mean over constructs: (..., constructs, framings) to (..., constructs).

    The part of a construct's framing effect that the other constructs do not share; a difference
    between bases in it is the three-way interaction.
    """
    effect = by_framing[..., 0] - by_framing[..., 1]
    return effect - effect.mean(axis=-1, keepdims=True)


def bootstrap_differences(scores: Scores, ranks: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Hierarchical bootstrap of the difference between bases: (draws, constructs, framings).

    In one draw models are resampled within base, prompts within framing (one resample for all models) and words within
    construct (one resample for all models and prompts); ranks stay those of the whole lexicon. Medians of the resampled
    words are computed for every model and prompt, then weighted by the models' and prompts' counts.
    """
    rng = np.random.default_rng(seed)
    signed = bootstrap.resample_weights(scores.base_of, draws, rng) * np.where(scores.is_second, 1.0, -1.0)
    by_prompt = bootstrap.resample_weights(scores.framing, draws, rng)
    result = np.empty((draws, len(scores.constructs), len(FRAMINGS)))
    start = 0
    for counts in bootstrap.word_draws(scores.member, draws, rng):
        at = slice(start, start + counts.shape[1])
        for k, own in enumerate(counts):
            medians = subset_medians(ranks, own).reshape(-1, len(scores.models), len(scores.prompts))
            gaps = np.einsum("dmp,dm->dp", medians, signed[at])
            for f, framing in enumerate(FRAMINGS):
                mask = scores.framing == framing
                result[at, k, f] = (gaps[:, mask] * by_prompt[at][:, mask]).sum(axis=1)
        start = at.stop
    return result


def cells(
    scores: Scores,
    ranks: np.ndarray,
    medians: np.ndarray,
    boot: np.ndarray | None,
    null: np.ndarray,
    draws: int,
    seed: int,
) -> list[dict]:
    """One dict a construct and framing: the paper's test, the model's, the bootstrap's and the random lexicons'.

    ranks: (words, models × prompts). medians: (constructs, models, prompts). boot: ``bootstrap_differences`` or
    None. null: medians of random lexicons, (draws, constructs, models, prompts). Cohen's d, in units of the spread
    over prompts and models, stands only where the paper printed one; Cliff's δ compares the words' mean ranks.
    """
    rows = effects(scores, medians, draws, seed)
    null_gaps = base_differences(scores, framing_means(scores, null))
    by_word = ranks.reshape(len(scores.words), len(scores.models), -1)
    printed = published.with_cohens_d(scores.bases)
    for row in rows:
        k, f = scores.constructs.index(row["construct"]), FRAMINGS.index(row["framing"])
        means = by_word[scores.member[k]][:, :, scores.framing == row["framing"]].mean(axis=2)  # words, models
        first, second = (means[:, side].mean(axis=1) for side in (~scores.is_second, scores.is_second))
        if (row["construct"].lower(), row["framing"]) not in printed:
            row["cohens_d"] = None
        row |= {
            "cliffs_delta": inference.cliffs_delta(first, second),
            "ci_models_prompts_words": None if boot is None else list(bootstrap.percentile_interval(boot[:, k, f])),
            "p_random_lexicon": inference.two_tailed_p(row["difference"], null_gaps[:, k, f]),
            "random_lexicon_95": list(bootstrap.percentile_interval(null_gaps[:, k, f])),
        }
    for name, corrected, correct in (
        ("p_permutation", "p_bonferroni", inference.bonferroni),
        ("p_model_unit", "p_model_unit_holm", inference.holm),
        ("p_random_lexicon", "p_random_lexicon_holm", inference.holm),
    ):
        adjusted = correct(np.array([row[name] for row in rows], dtype=np.float64))  # None becomes NaN
        for row, value in zip(rows, adjusted, strict=True):
            row[corrected] = number(value)
    return rows


def effects(scores: Scores, medians: np.ndarray, draws: int, seed: int, permute: bool = True) -> list[dict]:
    """Means, difference, Cohen's d and tests of each cell; ``permute`` False leaves out the prompt-unit tests."""
    by_model = framing_means(scores, medians)
    rows = []
    for f, framing in enumerate(FRAMINGS):
        units = medians[:, :, scores.framing == framing].transpose(1, 2, 0)  # models, prompts, constructs
        pair = [units[mask].reshape(-1, len(scores.constructs)) for mask in (~scores.is_second, scores.is_second)]
        enough = min(map(len, pair)) >= 2
        p = inference.permutation_welch(*cast("tuple[Any, Any]", pair), draws, seed) if enough and permute else None
        parametric = inference.welch_t(*pair).p if enough and permute else None
        d = inference.cohens_d(*pair) if enough else None
        for k, construct in enumerate(scores.constructs):
            first, second = (float(values[:, k].mean()) for values in pair)
            row = {
                "construct": construct,
                "framing": framing,
                "means": dict(zip(scores.bases, (first, second), strict=True)),
                "difference": second - first,
                "cohens_d": number(d, k),
                "p_permutation": number(p, k),
                "p_parametric": number(parametric, k),
            }
            rows.append(row | model_units(scores, by_model[k, :, f], draws, seed))
    return rows


def three_way(
    scores: Scores, medians: np.ndarray, boot: np.ndarray | None, null: np.ndarray, draws: int, seed: int
) -> dict:
    """Base × construct × framing: does what the framing does to a construct differ between bases?

    ``coefficient`` is the paper's mixed model's (reference: first base, first construct, negative framing) and, with
    two constructs and equal numbers of prompts, the difference of differences of the cells' means. With more
    constructs there is a coefficient each (``coefficients``) and one joint test. ``paired`` is the mixed model of one
    difference a prompt with a slope a model (``paired_fit``). Arguments as in ``cells``.
    """
    two = len(scores.constructs) == 2
    gap = framing_contrasts(base_differences(scores, framing_means(scores, medians)))
    drawn = framing_contrasts(base_differences(scores, framing_means(scores, null)))
    interval = None
    if boot is not None and two:
        effect = framing_contrasts(boot)
        interval = list(bootstrap.percentile_interval(effect[:, 1] - effect[:, 0]))
    if two:
        p_lexicon = inference.two_tailed_p(gap[1] - gap[0], drawn[:, 1] - drawn[:, 0])
    else:  # how far from the middle of the random lexicons
        centre = drawn.mean(axis=0)
        far = np.linalg.norm(drawn - centre, axis=1) >= np.linalg.norm(gap - centre) * (1 - 1e-9)
        p_lexicon = float((1 + far.sum()) / (1 + len(far)))
    tests = three_way_model_unit(scores, medians, draws, seed)
    mixed = paper_fit(scores, medians)
    return {
        "terms": f"{scores.bases[1]} (not {scores.bases[0]}) × construct × positive (not negative) framing",
        **tests,
        "coefficient": mixed["coefficient"] if mixed["coefficient"] is not None else tests["coefficient"],
        **{key: mixed[key] for key in ("ci", "p_mixed", "mixed_reason", "coefficients")},
        "paired": paired_fit(scores, medians),
        "ci_models_prompts_words": interval,
        "p_random_lexicon": p_lexicon,
        "by_adjective": by_adjective(scores, medians),
    }


def three_way_model_unit(scores: Scores, medians: np.ndarray, draws: int, seed: int) -> dict:
    """The interaction with the model (or lineage) as the unit: ``coefficient`` and what ``model_units`` gives.

    A model is one vector, its framing contrast of each construct, and the test permutes bases over models; with two
    constructs it is one number, the second construct's contrast less the first's, and ``coefficient`` the bases'
    difference in it.
    """
    contrasts = framing_contrasts(framing_means(scores, medians).swapaxes(0, 1))  # models, constructs
    if len(scores.constructs) != 2:
        return {"coefficient": None} | model_units(scores, contrasts, draws, seed)
    contrasts = contrasts[:, 1] - contrasts[:, 0]
    gap = contrasts[scores.is_second].mean() - contrasts[~scores.is_second].mean()
    return {"coefficient": float(gap)} | model_units(scores, contrasts, draws, seed)


def by_adjective(scores: Scores, medians: np.ndarray) -> dict:
    """The interaction with the prompts' adjectives as units: framing is a few adjectives against a few others.

    An adjective is one vector, the bases' difference in each construct's median, averaged over its prompts; all
    assignments of framings to adjectives are counted. With three against three the smallest p is .10: nothing about
    framing at large, beyond these adjectives, can be significant.
    """
    names = prompts.value_laden().set_index("key").loc[scores.prompts, "adjective"].to_numpy()
    signs = np.where(scores.is_second, 1 / scores.is_second.sum(), -1 / (~scores.is_second).sum())
    gaps = np.einsum("kmp,m->pk", medians, signs)
    gaps -= gaps.mean(axis=1, keepdims=True)
    adjectives = list(dict.fromkeys(names))
    framing = {name: str(scores.framing[names == name][0]) for name in adjectives}
    negative = np.array([framing[name] == "negative" for name in adjectives])
    counts = int((~negative).sum()), int(negative.sum())
    return {
        "adjectives": {side: [name for name in adjectives if framing[name] == side] for side in FRAMINGS},
        "p": inference.group_permutation(np.array([gaps[names == name].mean(axis=0) for name in adjectives]), negative),
        "smallest_p": inference.smallest_p(*counts),
    }
