"""More dimensions, honestly many: what dictionaries share, what is valence, what differs. A page of its own."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Many dimensions: what they share, and what is valence", 90
PAGE, MADE_BY = "dimensions.html", "make dimensions"
NEEDS = ("metrics/dimensions.json", "plots/dimensions.png", "plots/dimensions_multitrait.png")
FRAMINGS, UNITS = ("positive", "negative"), ("model", "prompt")


def render(context: Context) -> Markup:
    told = context.metrics["dimensions"]

    def named(construct: str) -> str:
        dictionary, _, name = construct.partition(":")
        return f"{told['titles'][dictionary]}: {name.replace('_', ' ').replace('.', ', ')}"

    given = {"d": told, "named": named, "framings": FRAMINGS, "units": UNITS}
    return context.fill("sections/dimensions.html.j2", **given)
