"""The atlas: the value profiles of all models whose scores were released, as one table.

A profile of the atlas is any other (``measures.profile``) with one key more, ``released``: ``base`` and ``lineage`` of
the model, the SHA-256 of each released ``files``, and the percentiles on the authors' own word list (``own_list``).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from valuetrace.measures import references
from valuetrace.scoring.chat import Format

PROFILES = Path("metrics/profiles/published")
COLUMNS = ("model", "kind", "base", "lineage", "lexicon", "construct", "framing", "prompts", "words", "of")
COLUMNS += ("percentile", "low", "high", "median_rank", "known_groups", "refused")


@dataclass(frozen=True)
class Lists:
    """rewards: a folder of ``data/published/reward_model_scores/``; words: a file of ``data/published/corpora/``."""

    rewards: str
    words: str


@dataclass(frozen=True)
class Asked:
    """How a language model was asked: a format by name, and what it is."""

    format: str
    form: Format


@dataclass(frozen=True)
class Atlas:
    """Group ``atlas`` of params.yaml. asked: by the training that ``language_models.csv`` names."""

    lexicons: dict[str, Lists]
    asked: dict[str, Asked]
    draws: int
    seed: int


def with_known(table: pd.DataFrame, others: list[pd.DataFrame]) -> pd.DataFrame:
    """A model's score table and, for the check of its reading, what its other tables score besides.

    The released files overlap (45 words); a word's scores are those of ``table``, where it has them.
    """
    joined = pd.concat([table, *others], ignore_index=True)
    own = joined.index < len(table)
    return joined[own | ~joined["token_decoded"].duplicated()].reset_index(drop=True)


def read(folder: Path = PROFILES) -> list[dict]:
    """The profiles of the atlas, reward models first, by base, lineage and name. InputError where one is broken."""
    found = [profile for profile in references.read(folder) if "released" in profile]
    order = ("base", "lineage")
    return sorted(
        found, key=lambda p: (p["kind"] != "reward", *(p["released"][key] for key in order), p["model"].lower())
    )


def table(profiles: list[dict]) -> pd.DataFrame:
    """One row a model, lexicon, construct and framing (``COLUMNS``): plots/atlas.csv.

    percentile, low, high: 0 to 100 (100 = all words at the top, 50 = as words drawn at random), 95 % over words;
    median_rank: 1 = best, of the ranked words; words ``of`` those in the lexicon; known_groups: percentile points,
    virtues less vices, positive less negative prompts. A number that is refused is missing.
    """
    rows = []
    for profile in profiles:
        of_model = {"model": profile["model"], "kind": profile["kind"], "lexicon": profile["lexicon"]}
        of_model |= {key: profile["released"][key] for key in ("base", "lineage")}
        of_model["known_groups"] = profile["reading"]["known_groups"].get("difference", {}).get("estimate")
        for row in profile["rows"]:
            low, high = row.get("percentile_interval", (None, None))
            of_model["prompts"] = profile["prompts"][row["framing"]]
            found = {"construct": row["label"], "low": low, "high": high, "refused": row.get("refused", "")}
            found |= {key: row.get(key) for key in ("framing", "words", "of", "percentile", "median_rank")}
            rows.append(of_model | found)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(profiles: list[dict]) -> dict:
    """What the page shows (metrics/atlas.json): a table for each kind of score and lexicon.

    A table has ``columns`` (construct × framing, with the ``words`` ranked, and of each base how many models it has
    there, their ``lowest``, ``mean`` and ``highest`` percentile), ``rows`` (a model each, ``cells`` in the columns'
    order), ``overlapping`` (columns in which the bases' ranges share a value) and ``largest_change``.
    """
    groups: dict[tuple[str, str], list[dict]] = {}
    for profile in profiles:
        groups.setdefault((profile["kind"], profile["lexicon"]), []).append(profile)
    interval = {key: profiles[0]["interval"][key] for key in ("level", "unit", "draws")} if profiles else None
    return {"interval": interval, "tables": [_page_table(*key, found) for key, found in groups.items()]}


def _page_table(kind: str, lexicon: str, profiles: list[dict]) -> dict:
    rows = [
        {key: profile["released"][key] for key in ("base", "lineage")}
        | {"model": profile["model"], "refused": profile["reading"]["refused"]}
        | {"known_groups": profile["reading"]["known_groups"].get("difference")}
        | {"cells": [_cell(row) for row in profile["rows"]]}
        for profile in profiles
    ]
    columns = []
    for at, row in enumerate(profiles[0]["rows"]):
        words = sorted({profile["rows"][at]["words"] for profile in profiles})
        columns.append(
            {"construct": row["label"], "framing": row["framing"], "key": f"{row['label']}.{row['framing']}"}
        )
        columns[-1] |= {"words": words, "of": row["of"], "bases": _by_base([(r["base"], r["cells"][at]) for r in rows])}
    found = {"kind": kind, "lexicon": lexicon, "models": len(rows), "columns": columns, "rows": rows}
    found |= {f"{key}s": dict(sorted(Counter(row[key] for row in rows).items())) for key in ("base", "lineage")}
    overlapping = sum(_overlap(column["bases"]) for column in columns)
    return found | {"overlapping": overlapping, "largest_change": largest_change(profiles).get(lexicon)}


def _cell(row: dict) -> dict:
    if "refused" in row:
        return {"refused": row["refused"]}
    low, high = row["percentile_interval"]
    return {"percentile": row["percentile"], "low": low, "high": high}


def _by_base(cells: list[tuple[str, dict]]) -> dict[str, dict]:
    told: dict[str, list[float]] = {}
    for base, cell in cells:
        if "percentile" in cell:
            told.setdefault(base, []).append(cell["percentile"])
    return {
        base: {"models": len(found), "lowest": min(found), "mean": sum(found) / len(found), "highest": max(found)}
        for base, found in sorted(told.items())
    }


def _overlap(bases: dict[str, dict]) -> bool:
    """Whether all bases' ranges share a value."""
    ends = [(found["lowest"], found["highest"]) for found in bases.values()]
    return len(ends) > 1 and max(low for low, _ in ends) <= min(high for _, high in ends)


def largest_change(profiles: list[dict]) -> dict[str, float]:
    """Lexicon → the largest change of a profile in percentile points on the authors' own word list."""
    changes: dict[str, list[float]] = {}
    for profile in profiles:
        own = {(row["label"], row["framing"]): row["percentile"] for row in profile["released"].get("own_list", [])}
        for row in profile["rows"]:
            if (other := own.get((row["label"], row["framing"]))) is not None and "percentile" in row:
                changes.setdefault(profile["lexicon"], []).append(abs(row["percentile"] - other))
    return {lexicon: max(found) for lexicon, found in changes.items()}
