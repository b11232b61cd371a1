"""Does a reward model follow its own base, or what any base would say? (Section 4; every run is one observation.)

``survival`` correlates a reward model's ranking of words with the log-probabilities of its own base and of the
other. What it shares with both is common to language models; what it shares with its own alone is inherited.
One run's difference says little, since words are shared by all: the unit here is the run (a data size and a seed).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuetrace.stats.bootstrap import percentile_interval

GROUP = ("profile", "source", "objective")
KEY = (*GROUP, "data_size", "seed", "data_seed", "base", "logprobs_of", "framing")
COLUMNS = (*KEY, "step", "spearman", "low", "high", "words", "prompts")
FEWEST_RUNS = 3


def last_survival(metrics: dict) -> pd.DataFrame:
    """The survival at the last checkpoint that one run's metrics/dynamics.json tells of, a row as in ``COLUMNS``."""
    rows = [metrics["run"] | row for row in metrics["survival"] if row["step"] == metrics["last_step"]]
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run, base and framing: ``own`` ρ, ``other`` ρ (mean over the other bases) and ``difference``."""
    index = [name for name in KEY if name != "logprobs_of"]
    own = table["base"] == table["logprobs_of"]
    sides = {
        name: part.groupby(index)["spearman"].mean() for name, part in (("own", table[own]), ("other", table[~own]))
    }
    runs = pd.concat(sides, axis=1).dropna().reset_index()
    return runs.assign(difference=runs["own"] - runs["other"])


def summary(table: pd.DataFrame, draws: int, seed: int) -> list[dict]:
    """Means over the runs of every group, base and framing, and of their difference 95% bootstrap over runs.

    table: as ``last_survival`` gives it, of all runs. Each row: the group, ``base, framing, runs, own, other,
    difference, low, high``; the interval is null below FEWEST_RUNS runs.
    """
    rows = []
    for key, own in by_run(table).groupby([*GROUP, "base", "framing"], sort=True):
        row = dict(zip((*GROUP, "base", "framing"), key, strict=True)) | {"runs": len(own)}
        row |= {name: float(own[name].mean()) for name in ("own", "other", "difference")}
        row |= {"low": None, "high": None}
        if len(own) >= FEWEST_RUNS:
            at = np.random.default_rng(seed).integers(len(own), size=(draws, len(own)))
            row["low"], row["high"] = percentile_interval(own["difference"].to_numpy()[at].mean(axis=1))
        rows.append(row)
    return rows
