"""What Section 2 states, beside what the data at hand say and what they say with the model as the unit."""

from __future__ import annotations

from typing import cast

import pandas as pd

from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT
from valuetrace.measures.compare.scores import Scores

CLAIMS = ROOT / "conf" / "published" / "section_2.csv"
"""Section 2's statements, one a row: which base ranks a construct better, p and Cohen's d as printed, and why
recomputed numbers differ."""

MODEL_UNIT = {
    "p": "p_model_unit",
    "p_studentised": "p_model_unit_studentised",
    "p_welch": "p_model_unit_welch",
    "p_lineage": "p_lineage",
    "ci": "ci_models_prompts_words",
}
"""What stands beside a published number, by the name in a cell of the comparison."""


def claims() -> pd.DataFrame:
    """Columns ``construct, framing, better, p, cohens_d, explanation``; empty text where the paper says nothing."""
    return read_csv(CLAIMS, ("construct", "framing", "better", "p", "cohens_d", "explanation"), dtype=str)


def compare_with(scores: Scores, cells: list[dict], three_way: dict) -> list[dict]:
    """The table "published, recomputed, with the model as the unit": one row a cell that Section 2 states.

    ``agrees`` says whether the sign is the published one; it is None where the paper names no better
    base or the bases are others than the paper's.
    """
    stated = claims()
    same_bases = _are_papers(scores.bases)
    if not same_bases:
        stated["explanation"] = (
            f"The paper's models are of {' and '.join(_bases(stated))}, these of {' and '.join(scores.bases)}: "
            "its numbers stand here for comparison only."
        )
    interaction = " × ".join(construct.lower() for construct in scores.constructs)
    found = {(cell["construct"].lower(), cell["framing"]): cell for cell in cells}
    rows = []
    for claim in stated.to_dict("records"):
        row = found.get((claim["construct"], claim["framing"]))
        if row is None and claim["construct"] != interaction:
            continue
        if row is None:
            row, better = three_way | {"construct": interaction}, cast(str, None)
            recomputed = {"difference": row["coefficient"], "p_mixed": row["p_mixed"]}
        else:
            better = scores.bases[int(row["difference"] < 0)]
            keys = ("difference", "cohens_d", "p_permutation", "p_parametric")
            recomputed = {"better": better} | {key: row[key] for key in keys}
        rows.append(
            {
                "construct": row["construct"],
                "framing": claim["framing"],
                "published": {key: claim[key] or None for key in ("better", "p", "cohens_d")},
                "recomputed": recomputed,
                "model_unit": {short: row[name] for short, name in MODEL_UNIT.items()},
                "agrees": better.lower() == claim["better"].lower() if same_bases and claim["better"] else None,
                "explanation": claim["explanation"],
            }
        )
    return rows


def with_cohens_d(bases: list[str]) -> set[tuple[str, str]]:
    """The cells (construct, framing) whose Cohen's d the paper printed; none where the bases are not the paper's."""
    stated = claims()
    printed = stated[(stated["cohens_d"] != "") & _are_papers(bases)]
    return set(zip(printed["construct"], printed["framing"], strict=True))


def _bases(stated: pd.DataFrame) -> list[str]:
    return sorted(set(stated["better"]) - {""})


def _are_papers(bases: list[str]) -> bool:
    return [name.lower() for name in _bases(claims())] == [name.lower() for name in bases]
