"""The words that are ranked, and how many of them a vocabulary holds as single tokens."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "The words", 20


def needs() -> list[str]:
    return ["metrics/lexicons.json", "metrics/base_preferences.json"]


def render(context: Context) -> Markup:
    return context.fill("sections/words.html.j2")
