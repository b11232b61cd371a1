"""The paper's mixed model of a comparison's medians (Section 2), and the one that pairs prompts within models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.measures.compare.scores import Scores
from valuetrace.stats import inference

_SINGULAR = "the mixed model is singular"


def paper_fit(scores: Scores, medians: np.ndarray) -> dict:
    """The paper's model: ``median ~ base × construct × framing``, a random intercept a model.

    Returns ``coefficient``, ``ci`` (with two constructs), ``p_mixed`` (joint over constructs), ``coefficients`` (each
    construct against the first) and ``mixed_reason`` where there is no fit.
    """
    frame = _frame(scores.tidy(medians), scores)
    found: dict = {"coefficient": None, "ci": None, "p_mixed": None, "mixed_reason": None, "coefficients": []}
    fit = _fit(scores, frame, "median ~ base * construct * framing", "base:construct:framing")
    if isinstance(fit, str):
        return found | {"mixed_reason": fit}
    terms = fit.terms[[name.count(":") == 2 for name in fit.terms.index]]
    rows = [
        {"construct": construct, "reference": scores.constructs[0]} | _term(term)
        for construct, (_, term) in zip(scores.constructs[1:], terms.iterrows(), strict=True)
    ]
    one = {key: rows[0][key] for key in ("coefficient", "ci")} if len(rows) == 1 else {}
    return found | one | {"p_mixed": fit.joint["p"], "coefficients": rows}


def paired_fit(scores: Scores, medians: np.ndarray) -> dict:
    """``second construct − first ~ base × framing`` a prompt, a random intercept and slope of framing a model.

    One ranking gives both medians, so the paper's model counts it twice: its residuals of two constructs are nearly
    mirror images (``residual_correlation``). Their difference is one observation, and a slope a model lets models of
    one base differ in how framing moves it: the paper's random intercept does not. ``p`` and ``ci`` take degrees of
    freedom as infinite, as the paper's do. Only for two constructs.
    """
    result: dict = {"coefficient": None, "ci": None, "p": None, "residual_correlation": None, "reason": None}
    if len(scores.constructs) != 2:
        return result | {"reason": "more than two constructs: see the tests with models as units"}
    frame = scores.tidy(medians).pivot(
        index=["model", "base", "prompt", "framing"], columns="construct", values="median"
    )
    within = frame - frame.groupby(["model", "framing"]).transform("mean")
    first, second = scores.constructs
    if within.std().min() > 0:
        result["residual_correlation"] = float(within[first].corr(within[second]))
    frame = frame.assign(median=frame[second] - frame[first]).reset_index()
    fit = _fit(scores, _frame(frame, scores), "median ~ base * framing", "base:framing", slopes="~framing")
    if isinstance(fit, str):
        return result | {"reason": fit}
    return result | _term(fit.terms.iloc[-1])


def _term(term: pd.Series) -> dict:
    """A fixed effect of the fit for JSON."""
    interval = [float(term["low"]), float(term["high"])]
    return {"coefficient": float(term["estimate"]), "ci": interval, "p": float(term["p"])}


def _frame(frame: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """The factors in the order of the references: first base, first construct, negative framing."""
    levels = {"framing": ["negative", "positive"], "base": scores.bases, "construct": scores.constructs}
    return frame.assign(**{name: pd.Categorical(frame[name], of) for name, of in levels.items() if name in frame})


def _fit(scores: Scores, frame: pd.DataFrame, formula: str, joint: str, **options) -> inference.Mixed | str:
    """The fitted model, or why there is none."""
    if len(scores.models) < 3:
        return "one model a base: its random intercept cannot be told from the base"
    if frame.groupby("model")["median"].nunique().max() < 2:
        return "the medians do not vary"
    try:
        fit = inference.mixed_model(frame, formula, "model", joint, **options)
    except np.linalg.LinAlgError:
        return _SINGULAR
    return fit if np.isfinite(fit.joint["p"]) else _SINGULAR


def number(value, index: int | None = None) -> float | None:
    """A float for JSON: None where there is no value or it is not finite."""
    if value is None:
        return None
    value = float(value if index is None else value[index])
    return value if np.isfinite(value) else None
