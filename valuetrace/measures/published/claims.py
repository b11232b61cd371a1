"""What the paper prints, beside what its released files give: one row a number or statement, and whether they agree.

The rows are data (conf/published/claims.csv). ``source`` says where the recomputed value is: a file below
metrics/published/, then the keys to it, ``key=value`` choosing among the rows of a list:
``section_2/mfd2: panels construct=Care framing=positive difference``. Within a key ``~`` stands for a space, ``_−_``
for a minus sign between two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.settings import ROOT

CLAIMS = ROOT / "conf" / "published" / "claims.csv"
COLUMNS = ("item", "claim", "printed", "expected", "source", "beside", "explanation")
METRICS = Path("metrics/published")
NOT_HERE = "Its files could not be fetched."
UNEXPLAINED = "Not yet explained."


def rows() -> pd.DataFrame:
    """``COLUMNS`` of the data file, text. expected: what the printed words ask of the value (``agrees``); beside: the
    source of the same with the model (lineage, word, …) as the unit; explanation: of what differs, or is not told."""
    return files.read_csv(CLAIMS, COLUMNS, dtype=str)


def check(listed: pd.DataFrame, metrics: Mapping[str, Any]) -> list[dict]:
    """Every claim with ``recomputed`` and ``beside`` (None where not to be had) and ``agrees`` (True, False, None).

    metrics: the files below metrics/published/ by their path without suffix. ``explanation`` is the row's own, or says
    that the value is NOT_HERE or the difference UNEXPLAINED. InputError names a source that is not there.
    """
    found = []
    for row in listed.to_dict("records"):
        where = f"{CLAIMS.name}, {row['item']}, {row['claim']}"
        value, beside = (_shown(look(metrics, row[key], where)) if row[key] else None for key in ("source", "beside"))
        told = None if value is None else agrees(row["expected"], value, where)
        why = row["explanation"] or {True: "", False: UNEXPLAINED, None: NOT_HERE}[told]
        kept = {key: row[key] for key in ("item", "claim", "printed")}
        found.append(kept | {"recomputed": value, "beside": beside, "agrees": told, "explanation": why})
    return found


def counts(found: list[dict]) -> dict[str, int]:
    """How many claims agree, differ and cannot be recomputed from what is here."""
    told = [row["agrees"] for row in found]
    return {"claims": len(told), "agree": told.count(True), "differ": told.count(False), "open": told.count(None)}


def look(metrics: Mapping[str, Any], source: str, where: str) -> Any:
    """The value at ``source``; None where the part that holds it is lacking (None on the way)."""
    name, _, keys = source.partition(":")
    if name not in metrics:
        raise InputError(f"{where}: metrics/published/{name}.json is not there. Known: {some(metrics)}.")
    value = metrics[name]
    chosen: dict[str, str] = {}
    for key in [*(key.replace("_−_", " − ").replace("~", " ") for key in keys.split()), ""]:
        if value is None:
            return None
        if "=" in key:
            chosen |= cast(Any, [key.split("=")])
            continue
        if chosen:
            fits = [row for row in value if all(str(row[k]) == v for k, v in chosen.items())]
            if len(fits) != 1:
                raise InputError(f"{where}: {len(fits)} rows have {chosen} in {source}. Correct the source.")
            value, chosen = fits[0], {}
        if key:
            if key not in value:
                raise InputError(f"{where}: {source} has no {key!r} (found: {some(value, 8)}). Correct the source.")
            value = value[key]
    return value


def agrees(expected: str, value: Any, where: str) -> bool:
    """Whether a value is as ``expected``.

    ``= 88.8`` to the printed digits; ``< .0001``, ``> 0``; ``.40 to .43``, with ``±`` before it of the size alone;
    ``is true``; ``has choice, love``: all among a list of texts, white space around them apart.
    """
    kind, _, rest = expected.partition(" ")
    try:
        if kind == "is":
            return str(value).lower() == rest
        if kind == "has":
            return set(rest.split(", ")) <= {str(text).strip() for text in value}
        if kind == "=":
            return abs(value - float(rest)) <= 0.5 * 10.0 ** -len(rest.partition(".")[2]) + 1e-9
        if kind in "<>":
            return value < float(rest) if kind == "<" else value > float(rest)
        low, high = map(float, expected.lstrip("±").split(" to "))
        return low <= (abs(value) if expected.startswith("±") else value) <= high
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: {expected!r} cannot be asked of {value!r}. Correct 'expected' or 'source'."
        ) from None


def _shown(value: Any) -> Any:
    """A value for a table: a list of texts as it is, numbers as they are; anything else is no value of a claim."""
    if isinstance(value, dict):
        raise InputError(f"{CLAIMS.name}: a source leads to {some(value)} and not to a value. Complete its keys.")
    return value
