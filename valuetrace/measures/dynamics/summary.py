"""What one training of all bases says: as metrics, and as the one table that ``dvc plots diff`` compares."""

from __future__ import annotations

import pandas as pd

from valuetrace.measures.dynamics.trajectories import FRAMINGS


def run_summary(found: dict[str, pd.DataFrame], training: dict[str, dict]) -> dict[str, object]:
    """The findings of metrics/dynamics.json.

    found: the tables of ``stages/dynamics.py``; training: base → its metrics/training/<base>.json. ``refused``: base →
    why its last checkpoint cannot be read; a gap with such a base is no reading.
    """
    last, checked = int(found["gaps"]["step"].max()), found["readings"]
    unread = checked[(checked["step"] == last) & ~checked["reads"]]
    final_gap: dict[str, dict[str, float]] = {}
    for row in found["gaps"][found["gaps"]["step"] == last].to_dict("records"):
        final_gap.setdefault(f"{row['second']} - {row['first']}", {})[row["framing"]] = row["gap"]
    told = {name: found[name].to_dict("records") for name in ("kendall", "gaps", "survival", "inherited", "readings")}
    ends = {base: made["checkpoints"][-1] for base, made in training.items()}
    return {
        "last_step": last,
        "refused": unread.set_index("base")[["refused", "needs"]].to_dict("index"),
        "final_gap": final_gap,
        "held_out": {
            base: {name.removeprefix("held_out_"): value for name, value in end.items() if "held_out" in name}
            for base, end in ends.items()
        },
        **told,
    }


def overlay(gaps: pd.DataFrame, kendall: pd.DataFrame, survival: pd.DataFrame) -> pd.DataFrame:
    """One row a step, for ``dvc plots diff``: the first pair's gaps and its two bases' curves.

    Columns ``step, gap_positive, gap_negative`` (ranks), ``kendall_first, kendall_second`` (τ with the final
    ranks) and ``survival_first, survival_second`` (partial ρ with the own base), the last four means over framings.
    """
    first, second = gaps[["first", "second"]].iloc[0]
    pair = gaps[(gaps["first"] == first) & (gaps["second"] == second)]
    table = pair.pivot(index="step", columns="framing", values="gap")[list(FRAMINGS)].add_prefix("gap_")
    for name, frame, value in (("kendall", kendall, "kendall"), ("survival", survival[survival["own"]], "partial")):
        for which, base in (("first", first), ("second", second)):
            table[f"{name}_{which}"] = frame[frame["base"] == base].groupby("step")[value].mean()
    return table.reset_index()
