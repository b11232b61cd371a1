"""What Section 2 states, beside what the data at hand say and what they say with the model as the unit."""

from __future__ import annotations

import pandas as pd

from valuetrace.analysis.compare.scores import Cube
from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT

CLAIMS = ROOT / "conf" / "published" / "section_2.csv"
"""Section 2's statements, one a row: which base ranks a construct better, p and Cohen's d as printed, and why
recomputed numbers differ."""


def claims() -> pd.DataFrame:
    """Columns ``construct, framing, better, p, cohens_d, explanation``; empty text where the paper says nothing."""
    return read_csv(CLAIMS, ("construct", "framing", "better", "p", "cohens_d", "explanation"), dtype=str)


def compare_with(cube: Cube, panels: list[dict], three_way: dict) -> list[dict]:
    """The table "published, recomputed, with the model as the unit": one row a panel that Section 2 states.

    ``agrees`` says whether the sign is the published one; it is None where the paper names no better
    base or the bases are others than the paper's.
    """
    stated = claims()
    paper_bases = sorted(set(stated["better"]) - {""})
    same_bases = [name.lower() for name in paper_bases] == [name.lower() for name in cube.bases]
    if not same_bases:
        stated["explanation"] = (
            f"The paper's models are of {' and '.join(paper_bases)}, these of {' and '.join(cube.bases)}: "
            "its numbers stand here for comparison only."
        )
    rows = []
    for panel in panels:
        mask = (stated["construct"] == panel["construct"].lower()) & (stated["framing"] == panel["framing"])
        for claim in stated[mask].to_dict("records"):
            better = cube.bases[1] if panel["difference"] < 0 else cube.bases[0]
            comparable = same_bases and claim["better"]
            rows.append(
                {
                    "construct": panel["construct"],
                    "framing": panel["framing"],
                    "published": {key: claim[key] or None for key in ("better", "p", "cohens_d")},
                    "recomputed": {"better": better}
                    | {key: panel[key] for key in ("difference", "cohens_d", "p_permutation", "p_parametric")},
                    "model_unit": {"p": panel["p_model_unit"], "ci": panel["ci_model_unit"]},
                    "agrees": better.lower() == claim["better"].lower() if comparable else None,
                    "explanation": claim["explanation"],
                }
            )
    name = " × ".join(construct.lower() for construct in cube.constructs)
    for claim in stated[stated["construct"] == name].to_dict("records"):
        rows.append(
            {
                "construct": name,
                "framing": claim["framing"],
                "published": {key: claim[key] or None for key in ("better", "p", "cohens_d")},
                "recomputed": {"difference": three_way["coefficient"], "p_mixed": three_way["p_mixed"]},
                "model_unit": {"p": three_way["p_model_unit"], "ci": three_way["ci_model_unit"]},
                "agrees": None,
                "explanation": claim["explanation"],
            }
        )
    return rows
