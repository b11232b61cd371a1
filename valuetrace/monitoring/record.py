"""The record of a training on disk: a tidy CSV, a row a step, construct and framing, and the scores at the start."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from valuetrace.core import files
from valuetrace.measures.validity import FRAMINGS
from valuetrace.monitoring.summary import correlation

COLUMNS = ("step", "construct", "framing", "prompts", "words", "percentile", "known_groups", "framing_within")
COLUMNS += ("framing_across", "correlation_with_start", "reads", "seconds")


def read(path: str | Path) -> pd.DataFrame:
    """A record (``COLUMNS``); InputError where it is missing or another file."""
    return files.read_csv(path, COLUMNS, na_values=[""])


class Record:
    """The record at ``path``, up to the step from which the training goes on; later rows are dropped.

    ``<name>.start.csv`` holds the words' mean scores at the start, so that a resumed training is compared with them.
    """

    def __init__(self, path: Path, step: int):
        self.path, self.start_path = path, path.with_suffix(".start.csv")
        rows = read(path) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))  # no other file is overwritten
        self.rows = rows[rows["step"] < step]
        self.start = None if step == 0 else self._read_start()

    def _read_start(self) -> dict[str, dict[str, float]]:
        """Word → mean score, by framing; no words where an earlier training kept none."""
        if not self.start_path.is_file():
            return {side: {} for side in FRAMINGS}
        start = files.read_csv(self.start_path, ("word", *FRAMINGS), na_values={side: [""] for side in FRAMINGS})
        return {side: dict(zip(start["word"], start[side], strict=True)) for side in FRAMINGS}

    def add(self, step: int, found: dict, seconds: float) -> dict[str, float]:
        """Append a profile (``summary.summarise``), rewrite the file, return the scalars that are logged."""
        if self.start is None:
            files.write_csv(pd.DataFrame(found["means"]).rename_axis("word").reset_index(), self.start_path)
            self.start = self._read_start()  # with the digits that a training that goes on finds
        reading = found["reading"]
        shared = {
            "known_groups": reading["known_groups"]["difference"],
            "framing_within": reading["framing"]["within"],
            "framing_across": reading["framing"]["across"],
            "correlation_with_start": correlation(found["means"], self.start),
            "reads": found["refused"] is None,
            "seconds": seconds,
        }
        rows = pd.DataFrame(found["rows"]).assign(step=step, **shared)[list(COLUMNS)]
        self.rows = pd.concat([self.rows, rows], ignore_index=True) if len(self.rows) else rows
        files.write_csv(self.rows, self.path)
        logged = {f"values/{row['construct']}/{row['framing']}": row["percentile"] for row in found["rows"]}
        kept = ("known_groups", "framing_across", "correlation_with_start", "seconds")
        return logged | {f"values/{name}": shared[name] for name in kept}
