"""The models whose scores were released, to look at before reading: a page of its own, to sort and to filter."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "An atlas of reward models: which words do they rank high?", 65
PAGE, MADE_BY = "atlas.html", "dvc repro stages/published/dvc.yaml"
NEEDS = ("metrics/atlas.json", "plots/atlas.png")
NOTE = (
    "Models of one lineage share training data or weights: they are not so many independent draws. The page shows "
    "where each model stands; whether two bases differ is asked by valuetrace compare, with the model as the unit."
)
KINDS = {"reward": "Reward models", "logprob": "Language models, by log-probability"}
LEXICONS = {"big_two_nouns": "the Big Two (nouns)", "mfd2": "moral foundations (MFD2)"}


def render(context: Context) -> Markup:
    told = context.metrics["atlas"]
    choices = {key: sorted({row[key] for t in told["tables"] for row in t["rows"]}) for key in ("base", "lineage")}
    given = {"choices": choices, "kinds": KINDS, "lexicons": LEXICONS, "tint": tint}
    return context.fill("sections/atlas.html.j2", a=told, **given)


def tint(percentile: float) -> str:
    """The colour behind a percentile: blue above chance, orange below; the number always stands in it."""
    return f"rgba({'0,114,178' if percentile >= 50 else '213,94,0'},{abs(percentile - 50) / 80:.2f})"
