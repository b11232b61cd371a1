"""Does more preference data close the gap between bases? A page of its own (Figures 4b and A5)."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Does more preference data close the gap?", 70
PAGE, MADE_BY = "ablations.html", "dvc repro stages/ablations/dvc.yaml"
NEEDS = ("metrics/ablations.json", "plots/ablations.png", "plots/inheritance.png")
QUANTITIES = (  # prefix of its tables, heading, format, what it is
    ("gap", "The gap between the bases", "+.1f", "Median ranks, agency − communion, second − first base"),
    ("inherited", "Own base, or any base?", "+.3f", "Half the sum of (own − other base), partial rank correlations"),
)


def render(context: Context) -> Markup:
    return context.fill("sections/ablations.html.j2", a=context.metrics["ablations"], quantities=QUANTITIES)
