"""The tables that Figures 1, A1 and A2 are drawn from: every statistic is here, none in the figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

from valuetrace.measures.compare.scores import Scores

SINGLE_PROMPTS = ("greatest_ever_one", "worst_ever_one")
"""Appendix D's two prompts, those of Christian et al. 2025."""

DENSITY_POINTS = 64

NAMES = ("medians", "models", "bases", "density", "single_prompts", "single_prompt_bases", "panels", "sensitivity")
"""The tables that ``tables`` makes."""


def tidy(scores: Scores, medians: np.ndarray) -> pd.DataFrame:
    """One row a construct, model and prompt: ``model, base, prompt, framing, construct, median``."""
    k, m, p = medians.shape
    return pd.DataFrame(
        {
            "model": np.tile(np.repeat(scores.models, p), k),
            "base": np.tile(np.repeat(scores.base_of, p), k),
            "prompt": np.tile(scores.prompts, k * m),
            "framing": np.tile(scores.framing, k * m),
            "construct": np.repeat(scores.constructs, m * p),
            "median": medians.ravel(),
        }
    )


def tables(scores: Scores, medians: np.ndarray, cells: list[dict], sensitivity: list[dict]) -> dict[str, pd.DataFrame]:
    """The plot tables by name.

    ``medians`` (every prompt and model, Figure A1), ``models`` and ``bases`` (mean ± s.e., Figure 1),
    ``density`` (violins), ``single_prompts`` (Figure A2), ``panels`` and ``sensitivity`` (the metrics
    as tables). Medians and means are ranks among the lexicon's words, 1 = best.
    """
    frame = tidy(scores, medians)
    by = ["construct", "framing", "base"]
    single = frame[frame["prompt"].isin(SINGLE_PROMPTS)]
    return {
        "medians": frame,
        "models": _means(frame, [*by, "model"]),
        "bases": _means(frame, by).assign(words=len(scores.words)),
        "density": _densities(frame, by),
        "single_prompts": single,
        "single_prompt_bases": _means(single, by),
        "panels": _cells(cells),
        "sensitivity": _sensitivity(sensitivity),
    }


def _means(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean, standard error (empty for one value), standard deviation and number of the medians in each cell."""
    grouped = frame.groupby(by, sort=True)["median"]
    return grouped.agg(mean="mean", se="sem", sd="std", n="count").reset_index()


def _densities(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """A Gaussian kernel density (Scott's bandwidth) of each cell's medians, on its own range; 1 at its highest."""
    parts = []
    for key, cell in frame.groupby(by, sort=True):
        values = cell["median"].to_numpy()
        if len(values) < 3 or np.ptp(values) == 0:
            continue
        grid = np.linspace(values.min(), values.max(), DENSITY_POINTS)
        density = scipy.stats.gaussian_kde(values)(grid)
        parts.append(
            pd.DataFrame(dict(zip(by, key, strict=True)) | {"median": grid, "density": density / density.max()})
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*by, "median", "density"])


def _cells(cells: list[dict]) -> pd.DataFrame:
    intervals = {"models_prompts_words": "ci_models_prompts_words", "random_lexicon": "random_lexicon_95"}
    drop = {"means", "model_unit_reason", *intervals.values()}
    rows = [{key: value for key, value in row.items() if key not in drop} for row in cells]
    for row, cell in zip(rows, cells, strict=True):
        for name, key in intervals.items():
            row[f"low_{name}"], row[f"high_{name}"] = cell[key] or (None, None)
    return pd.DataFrame(rows)


def _sensitivity(rows: list[dict]) -> pd.DataFrame:
    flat = [
        {"variant": row["variant"], "kind": row["kind"], "words": row["words"], "models": row["models"]} | panel
        for row in rows
        for panel in row.get("panels", [])
    ]
    return pd.DataFrame(flat)
