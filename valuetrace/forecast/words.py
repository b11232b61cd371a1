"""Single words of a forecast: which gain most, and at what budget another becomes the most probable."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.forecast import policies
from valuetrace.forecast.shares import Optimum

GAINERS = ["framing", "kind", "budget", "word", "constructs", "reference", "probability", "gain", "log_ratio"]


def gainers(cell: Optimum, points: pd.DataFrame, words: pd.Series, framing: np.ndarray, shown: int) -> pd.DataFrame:
    """The ``shown`` words that gain most probability at every point, columns GAINERS.

    words: word (index) → its constructs as text. Probabilities are means over a framing's prompts; gain = probability
    − reference, log_ratio = log(probability / reference) in nats.
    """
    rows = []
    for name in dict.fromkeys(framing):
        of = framing == name
        reference = np.exp(cell.log_reference[:, of]).mean(axis=1)
        for (kind, budget), log_policy in zip(points.itertuples(index=False), cell.log_policy, strict=True):
            probability = np.exp(log_policy[:, of]).mean(axis=1)
            gain = probability - reference
            best = np.lexsort((words.index, -gain))[:shown]
            for at in best[gain[best] > 0]:
                ratio = float(np.log(probability[at] / reference[at]))
                found = (words.index[at], words.iloc[at], reference[at], probability[at], gain[at], ratio)
                rows.append((name, kind, budget, *found))
    return pd.DataFrame(rows, columns=GAINERS)


def leaders(cell: Optimum, words: pd.Series, prompts: pd.DataFrame) -> list[dict]:
    """The most probable word of each prompt as the KL budget grows, exact and not on a grid.

    A row a prompt: ``prompt, framing, reach`` (nats) and ``leads``: ``word, constructs, nats`` from which it leads, and
    its ``probability`` there; the first from 0 on. prompts: ``key, framing``, in the order of the cell's columns.
    """
    rows = []
    for column, (key, framing) in enumerate(prompts[["key", "framing"]].itertuples(index=False)):
        one = slice(column, column + 1)
        log_reference, rewards = cell.log_reference[:, one], cell.rewards[:, one]
        leads = []
        for at, slope in policies.leaders(log_reference[:, 0], rewards[:, 0]):
            beta = np.array([[1 / slope if slope else np.inf]])
            log_policy = policies.tilted(log_reference, rewards, beta)
            nats = policies.divergence(log_policy, log_reference)[0, 0]
            named = {"word": words.index[at], "constructs": words.iloc[at]}
            leads.append(named | {"nats": float(nats), "probability": float(np.exp(log_policy[0, at, 0]))})
        rows.append({"prompt": key, "framing": framing, "reach": float(cell.reach[column]), "leads": leads})
    return rows


def first_changes(rows: list[dict]) -> list[dict]:
    """By framing, of ``leaders``: ``prompts``, ``changing`` (in how many another word ever leads), and of the budget of
    the first change ``lowest, median, highest`` (nats; None where none changes)."""
    found = []
    for framing in dict.fromkeys(row["framing"] for row in rows):
        of = [row for row in rows if row["framing"] == framing]
        nats = [row["leads"][1]["nats"] for row in of if len(row["leads"]) > 1]
        spread = {"lowest": min(nats), "median": float(np.median(nats)), "highest": max(nats)} if nats else {}
        none = dict.fromkeys(("lowest", "median", "highest"))
        found.append({"framing": framing, "prompts": len(of), "changing": len(nats)} | none | spread)
    return found
