"""Numbers that say where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from valuetrace.core.errors import InputError
from valuetrace.core.numbers import written


class Numbers:
    """Metrics files by name, and a formatter that leaves the source of every number in the page.

    ``folder``: where the files are, as the reader sees it. ``plain``: for a terminal, the bare text.
    """

    def __init__(self, metrics: Mapping[str, Any], folder: str = "metrics/", plain: bool = False):
        self.metrics, self.folder, self.plain = metrics, folder, plain

    def value(self, source: str) -> Any:
        """The value at ``file:path`` (``base_preferences:comparisons.0.summary.cells``); a key may hold dots."""
        name, _, path = source.partition(":")
        try:
            return _follow(self.metrics[name], path.split(".") if path else [])
        except KeyError as at:
            where = f"{self.folder}{name}.json has no {path} (at {at.args[0]})"
            raise InputError(f"{where}. Run its stage again.") from None

    def __call__(self, source: str, form: str = "") -> str:
        """The number at ``source`` (``form`` as in ``written``) in HTML, its origin in ``data-source`` and title."""
        text = written(self.value(source), form)
        if self.plain:
            return text
        name, _, path = source.partition(":")
        title = f"{self.folder}{name}.json: {path}"
        return Markup('<span class="n" data-source="{}" title="{}">{}</span>').format(source, title, text)

    def interval(self, source: str, form: str, ends: tuple[str, str] = ("0", "1")) -> str:
        """``low to high`` from the two keys ``ends`` at ``source``, or a dash where nothing is there."""
        if self.value(source) is None:
            return self(source)
        low, high = (self(f"{source}.{end}", form) for end in ends)
        return low + " to " + high


def _follow(value: Any, parts: list[str]) -> Any:
    """The value under ``parts``; KeyError with the part that is not there."""
    if not parts:
        return value
    if isinstance(value, list) and parts[0].isdecimal() and int(parts[0]) < len(value):
        return _follow(value[int(parts[0])], parts[1:])
    keys = [".".join(parts[:end]) for end in range(1, len(parts) + 1)] if isinstance(value, dict) else []
    for end in range(len(keys), 0, -1):  # the longest first: m1.5b before m1
        if keys[end - 1] in value:
            return _follow(value[keys[end - 1]], parts[end:])
    raise KeyError(parts[0])
