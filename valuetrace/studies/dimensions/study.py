"""All tables of the dimensions, from score tables and one lexicon.

Contrasts hold every construct × framing between two models, tested against random lists and corrected as one family.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace.measures.profile import profile
from valuetrace.measures.validity import FRAMINGS, Rule
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.inference import fdr_bh, holm, two_tailed_p
from valuetrace.studies.dimensions import convergence, valence
from valuetrace.studies.dimensions.dictionaries import Dimensions
from valuetrace.studies.dimensions.panels import Panel, members, orders, panel, readings
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
            at = {"source": one.source, "model": one.subject.model, "base": one.base, "construct": row["label"]}
            at |= {key: row[key] for key in ("framing", "words", "of")}
            numbers = {"percentile": row.get("percentile"), "low": low, "high": high}
            rows.append(at | numbers | {"refused": row.get("refused", "")})
    return pd.DataFrame(rows).astype({"percentile": float, "low": float, "high": float})


def panels(measured: list[Measured], found: list[dict], lexicon: pd.DataFrame) -> Iterator[tuple[str, Panel]]:
    """(framing, panel of that framing's prompts) of every source, of the models that can be read there."""
    words = lexicon["word"].drop_duplicates()
    for source, framing in product(SOURCES, FRAMINGS):
        scores, prompts = {}, cast(pd.Series, None)
        for one, own in zip(measured, found, strict=True):
            reads = any(row["framing"] == framing and "percentile" in row for row in own["rows"])
            if one.source == source and reads:
                prompts = one.prompts[one.prompts["framing"] == framing].set_index("key")["framing"]
                scores[one.subject.model] = word_scores(one.table, words, list(prompts.index), one.subject.form)
        if scores:
            yield framing, panel(source, scores, prompts)


def contrasts(own: Panel, lexicon: pd.DataFrame, draws: int, permutations: int, seed: int) -> pd.DataFrame:
    """Second − first of a panel's two models: ``construct, framing, words, difference, low, high, p``.

    difference: percentile points, of the median word, mean over the framing's prompts; 95 % over the construct's
    words; p: two-sided, the list's labels exchanged among all words of the same frequency and length. It asks whether
    these two models differ more on this list than on any, not whether their bases do.
    """
    names, member = members(lexicon, own.words)
    framings = list(dict.fromkeys(own.framing))
    exchanged, rows = orders(own.words, permutations, np.random.default_rng(seed)), []
    for at, name in enumerate(names):
        if member[at].sum() < FEWEST_WORDS:
            continue
        rng = np.random.default_rng([seed, at])
        one = member[at][None]
        observed = _differences(own, one, framings)[0]
        words = np.concatenate([counts[0] for counts in word_draws(one, draws, rng)])  # (draws, words)
        drawn, random = (_differences(own, counts, framings) for counts in (words, one[0][exchanged]))
        for i, framing in enumerate(framings):
            low, high = percentile_interval(drawn[:, i])
            row = {"construct": name, "framing": framing, "words": int(one.sum()), "difference": observed[i]}
            rows.append(row | {"low": low, "high": high, "p": two_tailed_p(observed[i], random[:, i])})
    return pd.DataFrame(rows)


def family(tests: pd.DataFrame) -> pd.DataFrame:
    """All tests as one family: ``p_holm`` (family-wise error) and ``p_bh`` (false discovery rate) beside ``p``."""
    return tests.assign(p_holm=holm(tests["p"].to_numpy()), p_bh=fdr_bh(tests["p"].to_numpy()))


def _differences(own: Panel, counts: np.ndarray, framings: list[str]) -> np.ndarray:
    """(lists, framings) from counts (lists, words)."""
    values = readings(own, counts)
    change = values[:, 1] - values[:, 0]
    return np.stack([change[:, own.framing == name].mean(axis=1) for name in framings], axis=1)


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
            tests = contrasts(own, lexicon, chosen.draws, chosen.permutations, chosen.seed)
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
        tables["contrasts"] = family(tables["contrasts"])
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
    # stereotype_seeds has the authors of stereotype_content: they are what precedes the first "_"
    first, second = (overlaps[side].str.extract("([^:_]*)")[0] for side in ("first", "second"))
    large = overlaps[(overlaps["share_of_smaller"] >= chosen.told_overlap) & (first != second)]
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
        "overlaps": _with_correlations(large.sort_values("share_of_smaller", ascending=False), tables["correlations"]),
        "contrasts": _counted(tables.get("contrasts")),
        "pairs": records(tables["pairs"]),
        "tests": records(tables["tests"]),
        "converging": _converging(tables["tests"]),
        "valence": {name: _verdicts(own) for name, own in tables["valence"].groupby("based_on", sort=False)},
        "variance": records(tables["variance"]),
    }


def _counted(tests: pd.DataFrame | None) -> dict | None:
    """Of the family of contrasts: how many tests, and how many are below .05 as they are and corrected; by source."""
    if tests is None:
        return None

    def below(own: pd.DataFrame) -> dict[str, int]:
        return {"tests": len(own)} | {name: int((own[name] < 0.05).sum()) for name in ("p", "p_holm", "p_bh")}

    by_source = [
        {"source": source, "first": own["first"].iloc[0], "second": own["second"].iloc[0]} | below(own)
        for source, own in tests.groupby("source", sort=False)
    ]
    left = tests[tests["p_holm"] < 0.05].sort_values("p_holm", kind="stable")
    chance = {"expected_by_chance": 0.05 * len(tests)}
    return below(tests) | chance | {"by_source": by_source, "left": records(left)}


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
    keys, verdicts, rows = ["source", "framing", "construct"], (valence.CHANCE, valence.ONLY, valence.MORE), []
    for key, own in table.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True)) | {"models": len(own)}
        row |= {name: int(own[name].min()) for name in ("words", "rated")}
        row |= {name: float(own[name].mean()) for name in ("distance", "explained", "rest")}
        rows.append(row | {name.replace(" ", "_"): int((own["verdict"] == name).sum()) for name in verdicts})
    counts = {name: int((table["verdict"] == name).sum()) for name in verdicts}
    return {"rows": rows, "counts": counts, "readings": len(table)}
