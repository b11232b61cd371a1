"""Do two bases rank agency and communion words differently? (Section 3.1)"""

from markupsafe import Markup

from valuetrace.report.page import Context

TITLE, ORDER = "Preferences of the bases (Section 3.1)", 30
ABSENT = "The bases were not compared."


def needs() -> list[str]:
    return ["metrics/base_preferences.json", "plots/base_preferences.png", "plots/format_grid.png"]


def render(context: Context) -> Markup:
    return context.fill("sections/base_preferences.html.j2")
