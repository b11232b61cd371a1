"""What Section 2 states, beside what the data at hand say and what they say with the model as the unit."""

from __future__ import annotations

import pandas as pd

from valuetrace.analysis.compare.scores import Scores
from valuetrace.core.files import read_csv
from valuetrace.core.settings import ROOT

CLAIMS = ROOT / "conf" / "published" / "section_2.csv"
"""Section 2's statements, one a row: which base ranks a construct better, p and Cohen's d as printed, and why
recomputed numbers differ."""


def claims() -> pd.DataFrame:
    """Columns ``construct, framing, better, p, cohens_d, explanation``; empty text where the paper says nothing."""
    return read_csv(CLAIMS, ("construct", "framing", "better", "p", "cohens_d", "explanation"), dtype=str)


def compare_with(scores: Scores, cells: list[dict], three_way: dict) -> list[dict]:
    """The table "published, recomputed, with the model as the unit": one row a cell that Section 2 states.

    ``agrees`` says whether the sign is the published one; it is None where the paper names no better
    base or the bases are others than the paper's.
    """
    stated = claims()
    paper_bases = _paper_bases(stated)
    same_bases = _same(paper_bases, scores.bases)
    if not same_bases:
        stated["explanation"] = (
            f"The paper's models are of {' and '.join(paper_bases)}, these of {' and '.join(scores.bases)}: "
            "its numbers stand here for comparison only."
        )
    rows = []
    for cell in cells:
        mask = (stated["construct"] == cell["construct"].lower()) & (stated["framing"] == cell["framing"])
        for claim in stated[mask].to_dict("records"):
            better = scores.bases[1] if cell["difference"] < 0 else scores.bases[0]
            comparable = same_bases and claim["better"]
            rows.append(
                {
                    "construct": cell["construct"],
                    "framing": cell["framing"],
                    "published": {key: claim[key] or None for key in ("better", "p", "cohens_d")},
                    "recomputed": {"better": better}
                    | {key: cell[key] for key in ("difference", "cohens_d", "p_permutation", "p_parametric")},
                    "model_unit": _model_unit(cell),
                    "agrees": better.lower() == claim["better"].lower() if comparable else None,
                    "explanation": claim["explanation"],
                }
            )
    name = " × ".join(construct.lower() for construct in scores.constructs)
    for claim in stated[stated["construct"] == name].to_dict("records"):
        rows.append(
            {
                "construct": name,
                "framing": claim["framing"],
                "published": {key: claim[key] or None for key in ("better", "p", "cohens_d")},
                "recomputed": {"difference": three_way["coefficient"], "p_mixed": three_way["p_mixed"]},
                "model_unit": _model_unit(three_way),
                "agrees": None,
                "explanation": claim["explanation"],
            }
        )
    return rows


def with_cohens_d(bases: list[str]) -> set[tuple[str, str]]:
    """The cells (construct, framing) whose Cohen's d the paper printed; none where the bases are not the paper's."""
    stated = claims()
    printed = stated[stated["cohens_d"] != ""] if _same(_paper_bases(stated), bases) else stated.head(0)
    return set(zip(printed["construct"], printed["framing"], strict=True))


def _paper_bases(stated: pd.DataFrame) -> list[str]:
    return sorted(set(stated["better"]) - {""})


def _same(paper_bases: list[str], bases: list[str]) -> bool:
    return [name.lower() for name in paper_bases] == [name.lower() for name in bases]


def _model_unit(row: dict) -> dict:
    names = {"p": "p_model_unit", "p_studentised": "p_model_unit_studentised", "p_welch": "p_model_unit_welch"}
    names |= {"p_lineage": "p_lineage", "ci": "ci_models_prompts_words"}
    return {short: row[name] for short, name in names.items()}
