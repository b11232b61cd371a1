"""All tables of the dimensions, from score tables and one lexicon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pandas as pd

from valuetrace.measures.profile import profile
from valuetrace.measures.validity import FRAMINGS, Rule
from valuetrace.scoring.spelling import word_scores
from valuetrace.studies.dimensions import contrasts, convergence, valence
from valuetrace.studies.dimensions.dictionaries import Dimensions
from valuetrace.studies.dimensions.panels import Panel, panel
from valuetrace.studies.dimensions.sources import SOURCES, Measured
from valuetrace.tables import records

VALENCE = {"in": "as they are", "out": "without valence"}
"""Readings with what valence predicts, and without."""


def profiles(measured: list[Measured], lexicon: pd.DataFrame, known: pd.DataFrame, rule: Rule, chosen: Dimensions):
    """The value profile of each model on all dimensions, in the models' order."""
    return [
        profile(one.subject, one.table, lexicon, one.prompts, known, rule, draws=chosen.draws, seed=chosen.seed)
        for one in measured
    ]


def fingerprint(measured: list[Measured], found: list[dict]) -> pd.DataFrame:
    """``source, model, base, construct, framing, words, of, percentile, low, high, refused``, a row a reading."""
    rows = []
    for one, own in zip(measured, found, strict=True):
        for row in own["rows"]:
            low, high = row.get("percentile_interval", (None, None))
            rows.append({"source": one.source, "model": one.subject.model, "base": one.base, "construct": row["label"]})
            rows[-1] |= {key: row[key] for key in ("framing", "words", "of")}
            rows[-1] |= {"percentile": row.get("percentile"), "low": low, "high": high}
            rows[-1] |= {"refused": row.get("refused", "")}
    return pd.DataFrame(rows).astype({"percentile": float, "low": float, "high": float})


def panels(measured: list[Measured], found: list[dict], lexicon: pd.DataFrame) -> Iterator[tuple[str, Panel]]:
    """(framing, panel of that framing's prompts) of every source, of the models that can be read there."""
    for source in SOURCES:
        for framing in FRAMINGS:
            scores, prompts = {}, cast(pd.Series, None)
            for one, own in zip(measured, found, strict=True):
                reads = any(row["framing"] == framing and "percentile" in row for row in own["rows"])
                if one.source == source and reads:
                    prompts = one.prompts[one.prompts["framing"] == framing].set_index("key")["framing"]
                    words = lexicon["word"].drop_duplicates()
                    scores[one.subject.model] = word_scores(one.table, words, list(prompts.index), one.subject.form)
            if scores:
                yield framing, panel(source, scores, prompts)


def study(measured: list[Measured], found: list[dict], lexicon: pd.DataFrame, rated: pd.Series, chosen: Dimensions):
    """Tables by name, ``source`` and ``framing`` in each: ``pairs, tests`` (convergence, with and without valence),
    ``correlations, valence, variance, contrasts`` (one family)."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for framing, own in panels(measured, found, lexicon):
        at: dict = {"source": own.name, "framing": framing, "models": len(own.models), "ranked_words": len(own.words)}
        rating = rated.reindex(own.words).fillna(0.0).to_numpy()
        made = {"valence": valence.tables(own, lexicon, rating, chosen.draws, chosen.seed)}
        spread = valence.explained_variance(own.percentiles.mean(axis=2), rating)
        made["variance"] = pd.DataFrame({"model": own.models, "explained_variance": spread})
        if len(own.models) == 2:
            tests = contrasts.contrasts(own, lexicon, chosen.draws, chosen.permutations, chosen.seed)
            made["contrasts"] = tests.assign(first=own.models[0], second=own.models[1])
        for name, table in made.items():
            parts.setdefault(name, []).append(table.assign(**at))
        for key, read in (("in", own), ("out", valence.without(own, rating))):
            found = convergence.multitrait(read, lexicon, chosen.traits, chosen.draws, chosen.seed)
            for name, table in zip(("pairs", "tests"), found, strict=True):
                parts.setdefault(name, []).append(table.assign(**at, valence=VALENCE[key]))
        parts.setdefault("correlations", []).append(convergence.every_pair(own, lexicon).assign(**at))
    tables = {name: pd.concat([t for t in of if len(t)] or of[:1], ignore_index=True) for name, of in parts.items()}
    if "contrasts" in tables:
        tables["contrasts"] = contrasts.family(tables["contrasts"])
    return tables


def summary(
    measured: list[Measured],
    found: list[dict],
    words: pd.DataFrame,
    overlaps: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    chosen: Dimensions,
) -> dict:
    """What metrics/dimensions.json holds: rows that the page shows, counts over the rest."""
    models = []
    for one, own in zip(measured, found, strict=True):
        row = {"source": one.source, "model": one.subject.model, "base": one.base, "ranked_words": own["ranked_words"]}
        row |= {"prompts": sum(own["prompts"].values()), "refused": own["reading"]["refused"]}
        models.append(row | {"known_groups": own["reading"]["known_groups"].get("difference")})
    told = overlaps[overlaps["share_of_smaller"] >= chosen.told_overlap]
    told = told[told["first"].map(_authors) != told["second"].map(_authors)]
    return {
        "titles": {name: row.title for name, row in chosen.dictionaries.items()},
        "sources": SOURCES,
        "zipf_floor": chosen.zipf_floor,
        "rated": chosen.rated,
        "least_rating": cast(Any, chosen.dictionaries[chosen.rated].ratings).least,
        "told_overlap": chosen.told_overlap,
        "draws": chosen.draws,
        "permutations": chosen.permutations,
        "smallest_p": 2 / (chosen.permutations + 1),  # two-sided
        "constructs": len(words),
        "words": records(words),
        "models": models,
        "pairs_of_constructs": len(overlaps),
        "sharing": int((overlaps["shared"] > 0).sum()),
        "overlaps": _with_correlations(told.sort_values("share_of_smaller", ascending=False), tables["correlations"]),
        "contrasts": _counted(tables.get("contrasts")),
        "pairs": records(tables["pairs"]),
        "tests": records(tables["tests"]),
        "converging": _converging(tables["tests"]),
        "valence": {name: _verdicts(own) for name, own in tables["valence"].groupby("based_on", sort=False)},
        "variance": records(tables["variance"]),
    }


def _authors(construct: str) -> str:
    """The dictionary's authors: seed words are their full list's."""
    return construct.partition(":")[0].partition("_")[0]


def _counted(tests: pd.DataFrame | None) -> dict | None:
    """Of the family of contrasts: how many tests, and how many are below .05 as they are and corrected; by source."""
    if tests is None:
        return None
    told = [
        {"source": source, "first": own["first"].iloc[0], "second": own["second"].iloc[0], "tests": len(own)}
        | {name: int((own[name] < 0.05).sum()) for name in ("p", "p_holm", "p_bh")}
        for source, own in tests.groupby("source", sort=False)
    ]
    whole = {name: int((tests[name] < 0.05).sum()) for name in ("p", "p_holm", "p_bh")}
    left = tests[tests["p_holm"] < 0.05].sort_values("p_holm", kind="stable")
    return {
        "tests": len(tests),
        **whole,
        "expected_by_chance": 0.05 * len(tests),
        "by_source": told,
        "left": records(left),
    }


def _converging(tests: pd.DataFrame) -> list[dict]:
    """Readings as they are and without valence: in how many tests, against each kind, the interval lies above 0."""
    if tests.empty:
        return []
    return [
        {"valence": key, "against": against, "tests": len(own), "above": int((own["low"] > 0).sum())}
        for (key, against), own in tests.groupby(["valence", "against"])
    ]


def _with_correlations(pairs: pd.DataFrame, correlations: pd.DataFrame) -> list[dict]:
    """Overlapping pairs with the correlations of their profiles, without the common words, by source and framing."""
    rows = []
    for row in records(pairs):
        own = correlations[(correlations["first"] == row["first"]) & (correlations["second"] == row["second"])]
        keys = own["source"] + " " + own["unit"] + " " + own["framing"]
        rows.append(row | {"correlations": dict(zip(keys, own["r"].astype(float), strict=True))})
    return rows


def _verdicts(table: pd.DataFrame) -> dict:
    """How many models each construct is valence alone in, by source and framing; and the count of all verdicts."""
    keys = ["source", "framing", "construct"]
    rows = [
        dict(zip(keys, key, strict=True))
        | {"models": len(own), "words": int(own["words"].min()), "rated": int(own["rated"].min())}
        | {name: float(own[name].mean()) for name in ("distance", "explained", "rest")}
        | {
            name.replace(" ", "_"): int((own["verdict"] == name).sum())
            for name in (valence.CHANCE, valence.ONLY, valence.MORE)
        }
        for key, own in table.groupby(keys, sort=False)
    ]
    counts = table["verdict"].value_counts()
    names = (valence.CHANCE, valence.ONLY, valence.MORE)
    return {"rows": rows, "counts": {name: int(counts.get(name, 0)) for name in names}, "readings": len(table)}
