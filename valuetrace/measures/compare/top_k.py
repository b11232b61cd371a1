"""What the base means at the top: the best-scored texts of the shared vocabulary (Section 2, "top-k analysis")."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace.measures.compare.scores import Scores

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
            rows.append(
                {
                    "prompts": scope,
                    "base": base,
                    "construct": construct,
                    "mean_count": float(row["count"]),
                    "mean_rank": rank,
                }
            )
    return rows
