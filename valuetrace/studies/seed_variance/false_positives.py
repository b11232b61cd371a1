"""How often does each test call two reward models different that differ in nothing but the seed?

Every test of two models that valuetrace reports is given two runs of one base and data size as if they were models of
two bases. Whatever it calls different at .05 is, as a statement about bases, a false positive: .05 of such pairs are
expected if the test's unit were the right one. Beside them stand the heads before training, and pairs of two bases
with one seed, for which the test is meant.

Pairs share runs (three seeds make three pairs), and the sizes of a seed share its head and pairs, so that a share has
fewer independent pairs behind it than it counts. Its interval is binomial over the pairs: at the least so wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, cast

import numpy as np
import pandas as pd

from valuetrace.measures.bases import cells, contrasts
from valuetrace.measures.compare import effects, random_lexicon
from valuetrace.measures.compare.scores import Scores
from valuetrace.measures.dynamics.inheritance import inheritance
from valuetrace.measures.dynamics.trajectories import Trajectories, construct_medians, gap_table, trajectories
from valuetrace.stats.blocks import over_seeds
from valuetrace.stats.inference import binomial_interval
from valuetrace.studies.seed_variance.components import WHEN
from valuetrace.tables import records

PAPER_CRITERION = 0.05 / 40
"""Section 2's criterion: .05 over its 40 tests."""

TESTS = {
    "permutation": ("prompts", "permutation of Welch's t (Section 2)"),
    "welch": ("prompts", "Welch's t"),
    "anova": ("prompts", "ANOVA, three-way interaction (Section 3)"),
    "paired": ("prompts", "paired t (Section 3)"),
    "once": ("prompts", "one number a prompt, interaction (Section 3)"),
    "labels": ("words", "permutation of construct labels (Section 3)"),
    "labels_contrast": ("words", "the same, three-way contrast"),
    "random_lexicon": ("words", "random lexicons (Section 2)"),
    "random_lexicon_contrast": ("words", "the same, three-way contrast"),
    "gap": ("words", "bootstrap interval of the gap (Section 4)"),
    "change": ("words", "the same, change since step 0"),
    "inherited": ("words", "bootstrap interval of own − other base (Section 4)"),
    "over_seeds": ("seeds", "Student's t over seeds, bases' labels exchanged"),
}
"""Test → its sampling unit, and its name in print."""

BOTH = "both"
"""The framing of a test that contrasts the two."""


@dataclass(frozen=True)
class Study:
    """What every pair is tested with. lexicon: ``word, construct`` and what else it has, constructs measured only."""

    lexicon: pd.DataFrame
    prompts: pd.DataFrame
    constructs: list[str]
    draws: int
    seed: int


def decisions(
    pair: dict[str, pd.DataFrame], logprobs: dict[str, pd.DataFrame], study: Study, whens: tuple[str, ...] = WHEN
) -> pd.DataFrame:
    """Every test of two runs, before training and at the last step (``whens``).

    pair: name → table of checkpoint scores; a difference is second − first in alphabetical order. logprobs: name → what
    its run's "own base" said (``inheritance.shared_logprobs``). A row a test and cell: ``test, construct, framing,
    when, first, second``, ``difference`` in the test's own unit, ``p`` or ``low, high`` (the others missing),
    ``different``.
    """
    paths = trajectories(pair, study.lexicon, study.prompts, study.constructs)
    rows = list(_of_dynamics(paths, logprobs, study))
    for when in whens:
        scores = _scores(pair, paths, -1 if when == WHEN[1] else 0)
        rows += [row | {"when": when} for row in (*_of_section_2(scores, study), *_of_section_3(scores, study))]
    head = {"construct": "", "first": paths.bases[0], "second": paths.bases[1]}
    table = pd.DataFrame([head | row for row in rows if row["when"] in whens])
    columns = ["test", "construct", "framing", "when", "first", "second", "difference", "p", "low", "high"]
    table = table.reindex(columns=columns).astype({"p": float, "low": float, "high": float})
    outside = (table["low"] > 0) | (table["high"] < 0)
    return table.assign(different=np.where(table["p"].notna(), table["p"] <= effects.ALPHA, outside))


def refusals(pair: dict[str, pd.DataFrame], study: Study) -> dict[str, str]:
    """The tests that make no statement of two single models, and why: what valuetrace itself answers."""
    scores = _scores(pair, trajectories(pair, study.lexicon, study.prompts, study.constructs), -1)
    medians = scores.medians()
    adjectives = effects.by_adjective(scores, medians)
    found = {
        "mixed model (Section 2)": effects.paper_fit(scores, medians)["mixed_reason"],
        "models as units": effects.model_unit_reason(scores),
    }
    if adjectives["smallest_p"] > effects.ALPHA:
        counts = " and ".join(str(len(names)) for names in adjectives["adjectives"].values())
        found["adjectives as units"] = f"with {counts} no p is below {adjectives['smallest_p']:.2g}"
    return {name: reason for name, reason in found.items() if reason}


def over_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Student's t over the seeds of the gap between two bases, rows as in ``every_pair``.

    table: ``every_pair``. With differs ``base`` as the ablations report it. With ``seed`` once for every way in which
    the bases' labels could be exchanged within seeds (but for exchanging all, which changes no t): had the bases no
    part in it, each would be as likely.
    """
    rows = []
    keys = ["first", "second", "framing", "when", "data_size"]
    gaps = table[(table["test"] == "gap") & (table["differs"] == "base")]
    for key, own in gaps.groupby(keys, sort=True):
        values = own.sort_values("of")["difference"].to_numpy()
        for signs in product((1, -1), repeat=len(values) - 1):
            found = over_seeds(values * np.array([1, *signs]))
            row = dict(zip(keys, key, strict=True)) | {"test": "over_seeds", "construct": "", "p": found.p}
            row |= {"of": "all seeds", "difference": found.estimate, "low": found.low, "high": found.high}
            row["different"] = found.p is not None and found.p <= effects.ALPHA
            rows += [row | {"differs": "seed"}] + ([row | {"differs": "base"}] if min(signs, default=1) > 0 else [])
    return pd.DataFrame(rows)


def every_pair(
    runs: dict[tuple[str, int, int], pd.DataFrame], logprobs: dict[str, pd.DataFrame], study: Study
) -> pd.DataFrame:
    """``decisions`` of every pair, with ``differs, of, data_size``, and ``over_labels``.

    runs: (base, data size, seed) → checkpoint scores. differs: ``seed`` (one base, which is ``of``, and size) or
    ``base`` (one seed and size). Of two seeds of one base the first is held against that base's log-probabilities and
    the second against another's, as if it were of that one: ``inherited`` is then half of what the first has more of
    (own − other), and 0 where only the seed matters. Untrained heads are tested once, not with every size.
    """
    bases, sizes, seeds = cast(Any, (sorted({key[i] for key in runs}) for i in range(3)))
    rows = []
    for size in sizes:
        whens = WHEN if size == sizes[0] else WHEN[1:]
        for base, (a, b) in product(bases, combinations(seeds, 2)):
            names, other = (f"seed {a}", f"seed {b}"), bases[bases.index(base) - 1]
            pair = dict(zip(names, (runs[base, size, a], runs[base, size, b]), strict=True))
            said = dict(zip(names, (logprobs[base], logprobs[other]), strict=True))
            rows.append(decisions(pair, said, study, whens).assign(differs="seed", of=base, data_size=size))
        for seed, names in product(seeds, combinations(bases, 2)):
            pair = {base: runs[base, size, seed] for base in names}
            said = {base: logprobs[base] for base in names}
            found = decisions(pair, said, study, whens)
            rows.append(found.assign(differs="base", of=f"seed {seed}", data_size=size))
    table = pd.concat(rows, ignore_index=True)
    return pd.concat([table, over_labels(table)], ignore_index=True)


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """The share of pairs called different: a row a test and cell of ``every_pair``.

    Columns ``test, unit, label`` (TESTS), ``differs, when, construct, framing``, ``pairs, called, share``, ``low,
    high`` (exact binomial, 95 %), ``called_paper`` (p at most PAPER_CRITERION; missing where the test gives an
    interval).
    """
    rows = []
    keys = ["test", "differs", "when", "construct", "framing"]
    for key, own in cast(Any, table.groupby(keys, sort=False)):
        unit, label = TESTS[key[0]]
        count, total = int(own["different"].sum()), len(own)
        low, high = binomial_interval(count, total)
        strict = int((own["p"] <= PAPER_CRITERION).sum()) if own["p"].notna().all() else None
        row = dict(zip(keys, key, strict=True)) | {"unit": unit, "label": label, "pairs": total, "called": count}
        rows.append(row | {"share": count / total, "low": low, "high": high, "called_paper": strict})
    made = pd.DataFrame(rows).astype({"called_paper": "Int64"})
    return made.sort_values("test", key=lambda names: names.map(list(TESTS).index), kind="stable", ignore_index=True)


def summary(
    found: pd.DataFrame, study: Study, runs: dict[tuple[str, int, int], pd.DataFrame]
) -> dict[str, list | dict]:
    """The tests in metrics/seed_variance.json: ``tests``, ``by_unit``, ``no_test`` (``refusals``).

    ``tests``: a test and cell with its numbers for ``seed`` and ``base`` (trained) and ``untrained`` (two heads of one
    base; None where there is no such test). ``by_unit``: unit → the least and the greatest share of the seed pairs that
    its tests call different.
    """
    kinds = {"seed": ("seed", "trained"), "untrained": ("seed", "untrained"), "base": ("base", "trained")}
    counts = ["pairs", "called", "share", "low", "high", "called_paper"]
    rows, ends = [], cast("dict[str, list[float]]", {})
    for key, own in cast(Any, found.groupby(["test", "unit", "label", "construct", "framing"], sort=False)):
        row = dict(zip(("test", "unit", "label", "construct", "framing"), key, strict=True))
        for name, (differs, when) in kinds.items():
            numbers = records(own[(own["differs"] == differs) & (own["when"] == when)][counts])
            row[name] = numbers[0] if numbers else None
        rows.append(row)
        ends.setdefault(row["unit"], []).append(row["seed"]["share"])
    units = {unit: {"least": min(shares), "most": max(shares), "tests": len(shares)} for unit, shares in ends.items()}
    (base, size, first), *others = sorted(runs)
    second = next(seed for of, at, seed in others if (of, at) == (base, size))
    pair = {f"seed {seed}": runs[base, size, seed] for seed in (first, second)}
    return {"tests": rows, "by_unit": units, "no_test": refusals(pair, study)}


def _of_dynamics(paths: Trajectories, logprobs: dict[str, pd.DataFrame], study: Study) -> Iterator[dict]:
    gaps = gap_table(paths, *construct_medians(paths, study.draws, study.seed))
    _, inherited = inheritance(paths, logprobs, study.draws, study.seed)
    when = dict(zip((paths.steps[0], paths.steps[-1]), WHEN, strict=True))
    for row in gaps[gaps["step"].isin(when)].to_dict("records"):
        at = {"framing": row["framing"], "when": when[row["step"]]}
        yield at | {"test": "gap", "difference": row["gap"], "low": row["low"], "high": row["high"]}
        if row["step"]:
            change = {"difference": row["change"], "low": row["change_low"], "high": row["change_high"]}
            yield at | {"test": "change"} | change
    for row in inherited[inherited["step"].isin(when)].to_dict("records"):
        at = {"test": "inherited", "framing": row["framing"], "when": when[row["step"]]}
        yield at | {"difference": row["inherited"], "low": row["low"], "high": row["high"]}


def _of_section_2(scores: Scores, study: Study) -> Iterator[dict]:
    ranks = scores.ranks()
    medians = scores.medians(ranks)
    none = scores.words[:0], np.empty((2, len(scores.prompts), 0))  # words beside the lexicon: labels are exchanged
    null, _ = random_lexicon.random_medians(scores, ranks, study.lexicon, *none, study.draws, study.seed)
    names = {"p_permutation": "permutation", "p_parametric": "welch", "p_random_lexicon": "random_lexicon"}
    for cell in effects.cells(scores, ranks, medians, None, null, study.draws, study.seed):
        at = {key: cell[key] for key in ("construct", "framing", "difference")}
        yield from (at | {"test": test, "p": cell[name]} for name, test in names.items())
    three = effects.three_way(scores, medians, None, null, study.draws, study.seed)
    both = {"framing": BOTH, "difference": three["coefficient"], "p": three["p_random_lexicon"]}
    yield both | {"test": "random_lexicon_contrast"}


def _of_section_3(scores: Scores, study: Study) -> Iterator[dict]:
    words = study.lexicon[["word", "construct"]].reset_index(drop=True)
    at: Any = [scores.words.get_loc(word) for word in words["word"]]
    values = scores.values[:, :, at].swapaxes(1, 2)
    cell = cells.Cell(cast(Any, tuple(scores.models)), words, study.prompts, values)
    anova = contrasts.three_way_anova(cells.medians(cell)).set_index("term")
    found, contrast = contrasts.panels(cell, study.draws, study.seed)
    for panel in found:
        row = {key: panel[key] for key in ("construct", "framing", "difference")}
        yield row | {"test": "labels", "p": panel["p_words"]}
        yield row | {"test": "paired", "p": panel["p_paired"]}
    both = {"framing": BOTH, "difference": contrast["contrast"]}
    yield both | {"test": "labels_contrast", "p": contrast["p_words"]}
    yield both | {"test": "once", "p": contrast["p_prompts"]}
    yield both | {"test": "anova", "p": anova.loc["model × construct × framing", "p"]}


def _scores(pair: dict[str, pd.DataFrame], paths: Trajectories, step: int) -> Scores:
    """The block of Section 2 for two runs at one of the steps (0, -1), as models of two bases."""
    values = []
    for frame in pair.values():
        words = frame[frame["token_id"].isna() & (frame["step"] == paths.steps[step])].set_index("word")
        values.append(words.loc[paths.words, paths.prompts].to_numpy(dtype=np.float32).T)
    names, order = list(pair), np.argsort(paths.constructs)
    return Scores(
        values=np.stack(values),
        words=pd.Index(paths.words, name="word"),
        models=names,
        base_of=np.array(names),
        lineage_of=np.array(names),
        prompts=paths.prompts,
        framing=paths.framing,
        constructs=sorted(paths.constructs),
        member=paths.member[order],
        excluded={},
    )
