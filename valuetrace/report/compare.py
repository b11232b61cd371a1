"""The comparison in words: a section of the report, a page of its own and a table for the terminal."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from valuetrace.core.numbers import written
from valuetrace.report.numbers import Numbers
from valuetrace.report.page import picture, template

CAPTION = "Median ranks by base, construct and framing (as Figure 1)."
CELLS = (  # key in a row of panels, heading, format; a column of nothing but dashes is left out
    ("difference", "difference", ".1f"),
    ("cohens_d", "d", ".2f"),
    ("cliffs_delta", "Cliff's δ", ".2f"),
    ("p_permutation", "p, prompts as units", "p"),
    ("p_bonferroni", "Bonferroni", "p"),
    ("p_model_unit", "p, models as units", "p"),
    ("p_model_unit_studentised", "studentised", "p"),
    ("p_model_unit_holm", "Holm", "p"),
    ("p_lineage", "p, lineages", "p"),
    ("p_random_lexicon", "p, random lexicons", "p"),
    ("p_random_lexicon_holm", "Holm", "p"),
)
TERMINAL = {"difference": 11, "cohens_d": 7, "p_bonferroni": 20, "p_model_unit": 20, "p_random_lexicon": 20}  # widths


def page(metrics: dict, title: str, plots: str | Path) -> str:
    """A page of its own (``valuetrace compare``); ``plots``: the folder of the pictures, which are put inside."""
    body = section(Numbers({"compare": metrics}, folder=""), "compare", title, plots)
    return template("compare.html.j2").render(title=title, body=body)


def section(n: Numbers, name: str, title: str, plots: str | Path) -> Markup:
    """The part of a page for one comparison: ``n`` holds its metrics under ``name``."""
    metrics = n.metrics[name]
    columns = [column for column in CELLS if any(row[column[0]] is not None for row in metrics.get("panels", []))]
    figure = picture(Path(plots, "figure_1.png"), CAPTION)
    given = {"n": n, "at": f"{name}:", "m": metrics, "title": title, "figure": figure, "caption": CAPTION}
    return Markup(template("sections/comparisons.html.j2").render(columns=columns, **given))


def as_text(metrics: dict) -> str:
    """The panels, the interaction and what was left out, for a terminal; no number of what is refused."""
    say, n = template("sentences.j2", escape=False).module, Numbers({"compare": metrics}, "", plain=True, at="compare:")

    def said(sentence) -> str:
        return " ".join(sentence(n, metrics).split())

    if refused := " ".join(say.refused(metrics).split()):
        return "\n".join([said(say.summary), "", refused, said(say.left_out)])
    columns = [column for column in CELLS if column[0] in TERMINAL]
    lines = [f"{'construct':<14}{'framing':<10}" + "".join(f"{head:>{TERMINAL[key]}}" for key, head, _ in columns)]
    for row in metrics["panels"]:
        numbers = (f"{written(row[key], form):>{TERMINAL[key]}}" for key, _, form in columns)
        lines.append(f"{row['construct']:<14}{row['framing']:<10}" + "".join(numbers))
    return "\n".join([said(say.summary), "", *lines, "", said(say.three_way), said(say.left_out)])
