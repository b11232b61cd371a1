"""The tables that Figures 1, A1 and A2 are drawn from: every statistic is here, none in the figures."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import scipy  # loads scipy.stats when it is used: a second

from valuetrace.measures.compare.scores import Scores

SINGLE_PROMPTS = ("greatest_ever_one", "worst_ever_one")
"""Appendix D's two prompts, those of Christian et al. 2025."""

DENSITY_POINTS = 64

NAMES = ("medians", "models", "bases", "density", "single_prompts", "single_prompt_bases", "panels", "sensitivity")
"""The tables that ``tables`` makes."""


def tables(scores: Scores, medians: np.ndarray, cells: list[dict], sensitivity: list[dict]) -> dict[str, pd.DataFrame]:
    """The plot tables by name.

    ``medians`` (every prompt and model, Figure A1), ``models`` and ``bases`` (mean ± s.e., Figure 1),
    ``density`` (violins), ``single_prompts`` (Figure A2), ``panels`` and ``sensitivity`` (the metrics
    as tables). Medians and means are ranks among the lexicon's words, 1 = best.
    """
    frame = scores.tidy(medians)
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
        {key: row[key] for key in ("variant", "kind", "words", "models")} | panel
        for row in rows
        for panel in row.get("panels", [])
    ]
    return pd.DataFrame(flat)


K = 10
"""Section 2 counts among the ten best-scored tokens."""

PAPER_PROMPT = "greatest_ever_one"
"""The prompt of the exhaustive token search that Section 2 starts from (Christian et al. 2025)."""


def top_k(
    scores: Scores, shared: tuple[pd.Index, np.ndarray] | None, lexicon: pd.DataFrame, k: int = K
) -> tuple[pd.DataFrame | None, dict]:
    """How many of each model's k best texts belong to a construct, and their mean rank.

    shared: the texts that all vocabularies share and their scores (models, prompts, texts), or None. A text belongs
    to a construct whatever its case and white space (`` Love`` is *love*). Returns a table of one row a model, prompt
    and construct: ``model, base, prompt, framing, construct, count, mean_rank`` (NaN where the count is 0), ``top``
    (the k texts, best first, joined by a space), and what the metrics say of it.
    """
    if shared is None:
        return None, {"k": k, "texts": None, "rows": [], "reason": "the score files are lists of words"}
    texts, values = shared
    plain = pd.Series(texts.str.strip().str.lower())
    belongs = {
        name: plain.isin(lexicon.loc[lexicon["construct"] == name, "word"]).to_numpy() for name in scores.constructs
    }
    rows = []
    for m, model in enumerate(scores.models):
        for p, prompt in enumerate(scores.prompts):
            best = np.argsort(-values[m, p], kind="stable")[:k]
            for name in scores.constructs:
                ranks = np.flatnonzero(belongs[name][best]) + 1
                mean = float(ranks.mean()) if len(ranks) else np.nan
                top = " ".join(repr(text) for text in texts[best])
                rows.append((model, scores.base_of[m], prompt, scores.framing[p], name, len(ranks), mean, top))
    columns = ["model", "base", "prompt", "framing", "construct", "count", "mean_rank", "top"]
    table = pd.DataFrame(rows, columns=columns)
    return table, {"k": k, "texts": len(texts), "rows": summary(table), "reason": None}


def summary(table: pd.DataFrame) -> list[dict]:
    """Means a base, over its models of their means over prompts: the paper's one prompt, and each framing's prompts."""
    scopes = {PAPER_PROMPT: table["prompt"] == PAPER_PROMPT}
    scopes |= {framing: table["framing"] == framing for framing in ("positive", "negative")}
    rows = []
    for scope, mask in scopes.items():
        by_model = table[mask].groupby(["base", "construct", "model"])[["count", "mean_rank"]].mean()
        by_base = by_model.groupby(level=["base", "construct"]).mean()
        for (base, construct), row in cast(Any, by_base.iterrows()):
            rank = None if np.isnan(row["mean_rank"]) else float(row["mean_rank"])
            found = {"prompts": scope, "base": base, "construct": construct}
            rows.append(found | {"mean_count": float(row["count"]), "mean_rank": rank})
    return rows
