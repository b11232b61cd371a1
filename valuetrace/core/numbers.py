"""How a number, an interval and a p-value are written, in pages, pictures and terminals."""

from __future__ import annotations

from typing import Any

NONE = "–"


def number(value: float | None, digits: int = 2) -> str:
    """A number with ``digits`` after the point, or a dash where there is none."""
    return written(value, f".{digits}f")


def interval(pair: list[float] | None, digits: int = 1) -> str:
    """``low to high``, or a dash."""
    return NONE if pair is None else " to ".join(number(end, digits) for end in pair)


def p_value(p: float | None) -> str:
    """.012, or 3e−9 below .001; a dash where there is none."""
    return written(p, "p")


def written(value: Any, form: str = "") -> str:
    """``value`` in a format specification (``+.2f``), as a p-value (``p``), by its length (``count``) or as it is."""
    if value is None:
        return NONE
    if form == "count":
        return str(len(value))
    if isinstance(value, str):
        return value
    if form == "p":
        text = f"{value:.0e}".replace("e-0", "e-") if value < 0.001 else f"{value:.3f}".lstrip("0")
    else:
        text = format(value, form)
    return text.replace("-", "−")
