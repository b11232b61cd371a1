"""Section 4 from the released medians: what each training says, which files are one, and what 'more data' rests on.

A *lean* is the median rank of agency less that of communion (negative: agency is preferred); a *gap* is the second
base's lean less the first's, as in ``measures.dynamics``.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace.core.files import read_csv, sha256
from valuetrace.measures.published import inputs

EPOCHS, BATCH = 2, 16
"""Section 4.1: two epochs, effective batch size 16; so the last step tells the number of pairs."""


def runs() -> pd.DataFrame:
    """The rows of ``inputs.RUNS``, ``sha256``, and ``same_as``: the run whose file has the same bytes, or empty."""
    rows = read_csv(inputs.RUNS, ("run", "file", "printed", "pairs", "source", "objective"), dtype=str)
    rows["sha256"] = [sha256(inputs.TRAINING / name) for name in rows["file"]]
    first = rows.drop_duplicates("sha256").set_index("sha256")["run"]
    rows["same_as"] = rows["sha256"].map(first).where(rows["sha256"].map(first) != rows["run"], "")
    return rows


def medians(rows: pd.DataFrame) -> pd.DataFrame:
    """``run, source, objective, pairs, base, construct, step, median_rank, copies`` of every run.

    pairs: from the last step; NaN where a file has one checkpoint without its step (the GRMs).
    """
    parts = []
    for row in cast(Any, rows.itertuples()):
        frame = inputs.read_medians(inputs.TRAINING / row.file)
        last = frame["step"].max()
        pairs = last * BATCH / EPOCHS if last > 1 else np.nan
        parts.append(frame.assign(run=row.run, source=row.source, objective=row.objective, pairs=pairs))
    first = ["run", "source", "objective", "pairs"]
    return pd.concat(parts, ignore_index=True)[[*first, "base", "construct", "step", "median_rank", "copies"]]


def leans(table: pd.DataFrame) -> pd.DataFrame:
    """``run, base, step, lean`` of a table of medians."""
    wide = table.pivot(index=["run", "base", "step"], columns="construct", values="median_rank")
    return (wide["agency"] - wide["communion"]).rename("lean").reset_index()


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """``run, first, second, step, gap`` of every pair of bases at every step of a run, in ranks."""
    rows = []
    for (run, step), own in leans(table).groupby(["run", "step"], sort=False):
        lean = own.set_index("base")["lean"]
        for first, second in combinations(sorted(lean.index), 2):
            rows.append({"run": run, "first": first, "second": second, "step": step, "gap": lean[second] - lean[first]})
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame, table: pd.DataFrame, gap: pd.DataFrame) -> dict:
    """What metrics/published/training.json holds of the runs."""
    found = {}
    for row in cast(Any, rows.itertuples()):
        own, lean = table[table["run"] == row.run], leans(table[table["run"] == row.run])
        last = own[own["step"] == own["step"].max()]
        pairs = last["pairs"].iloc[0]
        found[row.run] = {
            "file": row.file,
            "sha256": row.sha256,
            "file_says": inputs.file_says(inputs.TRAINING / row.file),
            "same_file_as": row.same_as or None,
            "printed": row.printed,
            "source": row.source,
            "objective": row.objective,
            "last_step": None if np.isnan(pairs) else int(last["step"].iloc[0]),
            "pairs_from_last_step": None if np.isnan(pairs) else int(pairs),
            "rows_ranked": {base: int(n) for base, n in last.groupby("base")["copies"].sum().items() if n > 2},
            "medians": {
                base: dict(zip(of["construct"], of["median_rank"], strict=True)) for base, of in last.groupby("base")
            },
            "middle": {base: float(of["median_rank"].mean()) for base, of in last.groupby("base")},
            "lean": {base: _course(of, "lean") for base, of in lean.groupby("base")},
            "gap": {
                f"{second} − {first}": _course(of, "gap")
                for (first, second), of in gap[gap["run"] == row.run].groupby(["first", "second"])
            },
        }
    return found


def by_size(rows: pd.DataFrame, table: pd.DataFrame, gap: pd.DataFrame) -> list[dict]:
    """For each source with more than one size: the gap of distinct files by size, and what an order can tell.

    The gap of the two bases that every run has. smallest_p: of a test whether independent runs, one a size, are in
    order, two-sided: 2 over the orders there are.
    """
    first, second = sorted(set.intersection(*(set(own) for _, own in table.groupby("run")["base"])))[:2]
    distinct = rows[rows["same_as"] == ""]
    last = table.loc[table.groupby("run")["step"].idxmax()].set_index("run")
    result = []
    for source, own in distinct.groupby("source"):
        if len(own) < 2:
            continue
        pair = gap[(gap["first"] == first) & (gap["second"] == second)]
        at_end = [float(pair[pair["run"] == run].sort_values("step")["gap"].iloc[-1]) for run in own["run"]]
        sizes = [int(last.loc[run, "pairs"]) for run in own["run"]]
        ordered = [value for _, value in sorted(zip(sizes, at_end, strict=True))]
        steps = np.diff(np.abs(ordered))
        result.append(
            {
                "source": source,
                "bases": f"{second} − {first}",
                "pairs": sorted(sizes),
                "gaps": ordered,
                "narrows_at_every_step": bool((steps < 0).all()),
                "changes_sign": bool(np.ptp(np.sign(ordered)) > 0),
                "smallest_p": min(1.0, 2 / factorial(len(ordered))),
            }
        )
    return result


def tables(rows: pd.DataFrame, table: pd.DataFrame, gap: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The plot tables: ``medians`` and ``gaps`` of every run; ``ends`` and ``end_gaps``, the last step of each file.

    A file that stands under two names is there once, and ``also`` names the other. pairs_drawn: the number of pairs
    that the last step tells, or the paper's where a file does not say its step.
    """
    about = rows.set_index("run")
    titles = about["source"] + ", " + about["printed"] + " pairs"
    told = table.assign(title=table["run"].map(titles), rows_ranked=ranked()["rows"])
    told["same_as"] = told["run"].map(about["same_as"])
    distinct = about.index[about["same_as"] == ""]
    last = table.groupby("run")["step"].transform("max") == table["step"]
    ends = table[last & table["run"].isin(distinct)]
    ends = ends.assign(
        printed=ends["run"].map(about["printed"]),
        also=ends["run"].map(about[about["same_as"] != ""].groupby("same_as")["printed"].agg(", ".join)).fillna(""),
        pairs_drawn=ends["pairs"].fillna(ends["run"].map(about["pairs"]).astype(float)),
    )
    at = ends.drop_duplicates("run").set_index("run")
    end_gaps = gap[gap.groupby("run")["step"].transform("max") == gap["step"]]
    end_gaps = end_gaps[end_gaps["run"].isin(distinct)].join(at[["source", "printed", "pairs_drawn"]], on="run")
    return {"medians": told, "gaps": gap, "ends": ends, "end_gaps": end_gaps}


def ranked() -> dict:
    """The rows that Figure 4 ranks and where they come from: the dictionary, its repeated words, the tokens."""
    words, tokens = inputs.dictionary(), inputs.shared_tokens()
    rows = inputs.ranked_tokens(tokens, words)
    times = words["word"].value_counts()
    of_nouns = inputs.nouns()
    return {
        "shared_tokens": len(tokens),
        "dictionary": {
            "rows": len(words),
            "words": len(times),
            "repeated": {word: int(n) for word, n in sorted(times[times > 1].items())},
            "constructs": words.drop_duplicates()["construct"].value_counts().sort_index().to_dict(),
        },
        "rows": len(rows),
        "by_construct": rows["construct"].value_counts().sort_index().to_dict(),
        "tokens": rows["token"].nunique(),
        "texts": inputs.ascii_only(rows["token"]).nunique(),
        "nouns": len(of_nouns),
        "nouns_that_are_shared_tokens": int(of_nouns["word"].isin(set(tokens)).sum()),
    }


def _course(of: pd.DataFrame, value: str) -> dict:
    """First, last and widest of a value over the steps."""
    of = of.sort_values("step")
    widest = of.loc[cast(Any, of[value].abs().idxmax())]
    return {
        "first_step": int(of["step"].iloc[0]),
        "first": float(of[value].iloc[0]),
        "last": float(of[value].iloc[-1]),
        "widest": float(widest[value]),
        "widest_step": int(widest["step"]),
    }
