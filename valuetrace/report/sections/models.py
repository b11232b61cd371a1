"""The models of the run, and what is to be known of each."""

from markupsafe import Markup

from valuetrace.core import settings
from valuetrace.report.page import Context

TITLE, ORDER = "The models", 10


def render(context: Context) -> Markup:
    rows = [context.models[name] for name in settings.get("bases", list[str])]
    return context.fill("sections/models.html.j2", rows=rows, format_notes=settings.get("format_notes", dict[str, str]))
