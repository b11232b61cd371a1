"""The one builder of pages: self-contained, escaped, every number from a metrics file that it names.

A section is a module of ``valuetrace/report/sections/`` with a template beside it, found by being there:

    TITLE, ORDER     its heading, and its place on the page

and, where it has use for them,

    NEEDS            the files that it reads: tables, pictures, metrics/NAME.json (``Context.metrics`` then holds those)
    needs()          the same files, where params.yaml names them
    render(context)  its HTML, by ``Context.fill``; without it the template alone makes it
    ABSENT           what the page says where a needed file is missing; without it the section is left out
    PAGE, MADE_BY    the file in plots/ that the section fills alone (the report links it), and the command for it
    NOTE             what to keep in mind on that page; without it the profile's note
"""

from __future__ import annotations

import base64
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from valuetrace.core import files, settings
from valuetrace.core.errors import InputError
from valuetrace.core.numbers import written
from valuetrace.models.rows import Model
from valuetrace.report import sections
from valuetrace.report.numbers import Numbers


class Context:
    """What every section is given: metrics by name (``compare/NAME`` too) and what params.yaml says of the run."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}
        self.n = Numbers(self.metrics)

    @cached_property
    def models(self) -> dict[str, Model]:
        """Name → row of params.yaml."""
        return settings.get("models", dict[str, Model])

    @cached_property
    def labels(self) -> dict[str, str]:
        """Model → its name in print."""
        return {name: row.label for name, row in self.models.items()}

    @cached_property
    def profile(self) -> str:
        """The profile of the run: demo, tiny or paper."""
        return settings.get("profile", str)

    @cached_property
    def note(self) -> str:
        """What to keep in mind about the profile's models."""
        return settings.get("profile_note", str)

    def fill(self, name: str, **given: Any) -> Markup:
        """A template (``sections/dynamics.html.j2``) with the context, ``n``, ``labels``, ``metrics`` and ``given``."""
        always = {"context": self, "n": self.n, "labels": self.labels, "metrics": self.metrics}
        always |= {"picture": picture, "written": written}
        return Markup(template(name).render(always | given).removesuffix("\n"))


def report() -> str:
    """plots/report.html: every section that is here, and the pages of groups of stages of their own."""
    modules, context = found(), Context()
    parts = [part for module in modules if not hasattr(module, "PAGE") if (part := _part(module, context))]
    more = [module for module in modules if hasattr(module, "PAGE")]
    return context.fill("page.html.j2", parts=parts, more=more)


def single(name: str) -> str:
    """The page of one section, alone. InputError where a file that it needs is missing."""
    module, context = next(module for module in found() if module.__name__.endswith(f".{name}")), Context()
    if missing := _missing(module):
        raise InputError(f"{missing}: no such file; plots/{module.PAGE} needs it. Run its stage.")
    told = {"title": module.TITLE, "note": getattr(module, "NOTE", None)}
    return context.fill("single.html.j2", section=_part(module, context), **told)


def found() -> list[ModuleType]:
    """The modules of ``valuetrace/report/sections/``, in the order of the page."""
    names = [f"{sections.__name__}.{info.name}" for info in pkgutil.iter_modules(sections.__path__)]
    return sorted(map(importlib.import_module, names), key=lambda module: (module.ORDER, module.__name__))


def needed(module: ModuleType) -> list[str]:
    """The files that a section reads."""
    return module.needs() if hasattr(module, "needs") else list(getattr(module, "NEEDS", ()))


def _missing(module: ModuleType) -> str | None:
    """The first needed file that is not there."""
    return next((path for path in needed(module) if not Path(path).is_file()), None)


def _part(module: ModuleType, context: Context) -> dict[str, Any] | None:
    """``title``, ``html`` and ``missing`` of a section, None where it is left out."""
    if missing := _missing(module):
        absent = getattr(module, "ABSENT", None)
        return absent and {"title": module.TITLE, "html": absent, "missing": missing}
    for path in needed(module):
        if path.startswith("metrics/"):
            context.metrics[path.removeprefix("metrics/").removesuffix(".json")] = files.read_json(path)
    name = module.__name__.rpartition(".")[2]
    html = module.render(context) if hasattr(module, "render") else context.fill(f"sections/{name}.html.j2")
    return {"title": module.TITLE, "html": html, "missing": None}


def refusals(found: Iterable[tuple[str, dict]]) -> list[dict]:
    """Pairs of a place and its row with ``refused`` and ``needs``, joined by reason: ``where, refused, needs``."""
    joined: dict[tuple[str, str], list[str]] = {}
    for where, row in found:
        joined.setdefault((row["refused"], row["needs"]), []).append(where)
    return [{"where": "; ".join(where), "refused": why, "needs": needs} for (why, needs), where in joined.items()]


def refusal_lines(rows: list[dict], start: str = "Refused (") -> list[str]:
    """The rows of ``refusals`` for a terminal."""
    return [f"{start}{row['where']}): {row['refused']}. Needed: {row['needs']}." for row in rows]


def picture(path: str | Path, description: str) -> Markup:
    """A PNG inside the page."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(description, data)


def template(name: str, package: str = "valuetrace.report", escape: bool = True) -> Any:
    """A package's template over this one's; a name that it uses and nobody gave is an error, all text is escaped.

    ``escape`` False: for a terminal.
    """
    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("valuetrace.report", ".")])
    options: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return Environment(loader=loader, autoescape=escape, **options).get_template(name)
