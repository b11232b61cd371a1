"""One self-contained page: the story, with every number taken from a metrics file."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from valuetrace.core.errors import InputError


class Numbers:
    """Metrics files by name, and a formatter that leaves the source of every number in the page."""

    def __init__(self, metrics: dict[str, dict], folder: str = "metrics/"):
        self.metrics, self.folder = metrics, folder

    def value(self, source: str) -> Any:
        """The value at ``file:path`` (``log_probabilities:comparisons.0.summary.cells``)."""
        name, _, path = source.partition(":")
        value: Any = self.metrics[name]
        for part in path.split(".") if path else []:
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise InputError(f"{self.folder}{name}.json has no {path} (at {part}). Run its stage again.") from None
        return value

    def __call__(self, source: str, form: str = "") -> Markup:
        """The number at ``source`` as HTML, its origin in ``data-source`` and in the tooltip.

        form: a format specification (``.2f``), ``p`` for a p-value, or nothing for the value as it is.
        """
        value = self.value(source)
        if value is None:
            text = "–"
        elif form == "p":
            text = p_value(value)
        else:
            text = format(value, form)
        name, _, path = source.partition(":")
        title = html.escape(f"{self.folder}{name}.json: {path}")
        return Markup(f'<span class="n" data-source="{html.escape(source)}" title="{title}">{html.escape(text)}</span>')


def p_value(p: float) -> str:
    """.012, or 3e-09 below .001."""
    return f"{p:.0e}" if p < 0.001 else f"{p:.3f}".lstrip("0")


def picture(path: str | Path, description: str) -> Markup:
    """A PNG inside the page."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return Markup(f'<img alt="{html.escape(description)}" src="data:image/png;base64,{data}">')


def template(name: str, package: str = "valuetrace.report") -> Template:
    """A package's template over this one's base; a name that it uses and nobody gave is an error, text is escaped."""
    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("valuetrace.report", ".")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def render(metrics: dict[str, dict], tables: dict[str, pd.DataFrame], **context: Any) -> str:
    """The page from ``page.html.j2``. ``n("file:path")`` in the template prints a number with its source."""
    return template("page.html.j2").render(
        n=Numbers(metrics), metrics=metrics, tables=tables, picture=picture, **context
    )
