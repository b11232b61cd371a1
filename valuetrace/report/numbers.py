"""Numbers that say where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from valuetrace.core.errors import InputError
from valuetrace.core.numbers import written


class Numbers:
    """Metrics files by name, and a formatter that leaves the source of every number in the page.

    ``folder``: where the files are, as the reader sees it. ``plain``: for a terminal, the bare text. ``at``: the place
    below which every source lies.
    """

    def __init__(self, metrics: Mapping[str, Any], folder: str = "metrics/", plain: bool = False, at: str = ""):
        self.metrics, self.folder, self.plain, self.at = metrics, folder, plain, at

    def under(self, source: str | int) -> Numbers:
        """The numbers below a place: ``n.under("dynamics:gaps.0")("gap", "+.1f")``."""
        return Numbers(self.metrics, self.folder, self.plain, self._place(source))

    def rows(self, source: str, **wanted: Any) -> list[tuple[Numbers, Any]]:
        """The rows of a table with these values (a tuple: one of them), each after its numbers."""
        chosen = {key: value if isinstance(value, tuple) else (value,) for key, value in wanted.items()}
        rows = enumerate(self.value(source))
        return [(self.under(f"{source}.{i}"), row) for i, row in rows if all(row[k] in v for k, v in chosen.items())]

    def each(self, keys: Iterable, form: str = "") -> list[str]:
        """The numbers of several keys: a part of a table's row."""
        return [self(str(key), form) for key in keys]

    def listed(self, source: str, pattern: str = "{}", between: str = ", ", form: str = "") -> str:
        """The numbers of a list or a mapping in a sentence; ``pattern`` has the number and its key."""
        found, kind = self.value(source), str if self.plain else Markup
        keys = found if isinstance(found, dict) else range(len(found))
        return kind(between).join(kind(pattern).format(self(f"{source}.{key}", form), key) for key in keys)

    def value(self, source: str) -> Any:
        """The value at ``file:path`` (``base_preferences:comparisons.0.summary.cells``); a key may hold dots."""
        name, _, path = self._place(source).partition(":")
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
        place = self._place(source)
        name, _, path = place.partition(":")
        title = f"{self.folder}{name}.json: {path}"
        return Markup('<span class="n" data-source="{}" title="{}">{}</span>').format(place, title, text)

    def interval(self, source: str, form: str, ends: tuple[str, str] = ("0", "1")) -> str:
        """``low to high`` from the two keys ``ends`` at ``source``, or a dash where nothing is there."""
        if self.value(source) is None:
            return self(source)
        low, high = (self(f"{source}.{end}", form) for end in ends)
        return low + " to " + high

    def _place(self, source: str | int) -> str:
        return f"{self.at}{'.' if self.at and not self.at.endswith(':') else ''}{source}"


def _follow(value: Any, parts: list[str]) -> Any:
    """The value under ``parts``; KeyError with the part that is not there."""
    if not parts:
        return value
    if isinstance(value, list) and parts[0].isdecimal() and int(parts[0]) < len(value):
        return _follow(value[int(parts[0])], parts[1:])
    for end in range(len(parts), 0, -1):  # the longest key first: m1.5b before m1
        if isinstance(value, dict) and (key := ".".join(parts[:end])) in value:
            return _follow(value[key], parts[end:])
    raise KeyError(parts[0])
