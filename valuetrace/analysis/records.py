"""A table's rows as JSON knows them."""

from __future__ import annotations

import pandas as pd


def records(table: pd.DataFrame) -> list[dict]:
    """Rows as dicts, None where a number is missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
