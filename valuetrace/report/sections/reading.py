"""How to read the page, and how to make it again."""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "How to read this, and how to make it again", 90


def needs() -> list[str]:
    return []


def render(context: Context) -> Markup:
    return context.fill("sections/reading.html.j2")
