"""Profiles side by side: which can be compared, what differs between them, and where one stands among others.

Audits, cards and the atlas share one rule. What defines a number must be the same: kind of score, prompts, words and
their case, a language model's format. A reward model's template and its tokenisation may differ; the comparison lists
these differences.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from valuetrace.stats.inference import smallest_p

COLUMNS = ("model", "role", "base", "construct", "framing", "words", "percentile", "low", "high", "refused")
LEAST_SHARED = 0.9
"""Least share of a reference's words in each construct; below it two medians are of different words. A convention."""


def mismatch(ours: dict, other: dict) -> str | None:
    """Why profile ``other`` cannot be compared with ``ours``; None where it can (``caveats`` lists what differs)."""
    checks = {
        "kind of score": lambda p: p["kind"],
        "lexicon": lambda p: p["lexicon_sha256"],
        "format": _asked,
        "case": lambda p: p["case"],
        "prompts": lambda p: p["prompts_sha256"],
        "calibration": lambda p: p.get("calibrated"),
    }
    if "reward" in (ours["kind"], other["kind"]):
        del checks["format"]  # a reward model has its own; to a language model each is another question
    different = [name for name, of in checks.items() if of(ours) != of(other)]
    return f"another {' and '.join(different)}" if different else None


def caveats(ours: dict, other: dict) -> list[str]:
    """What differs between two profiles that can be compared: one text each."""
    found = []
    if _asked(ours) != _asked(other):
        found.append(f"format: here {_format(ours)}, there {_format(other)}")
    here, there = (p.get("tokenisation", "not recorded") for p in (ours, other))
    if ours["kind"] == "reward" and here != there:
        found.append(f"tokenisation: here {here}, there {there}")
    return found


def shared_words(ours: dict, other: dict) -> int:
    """How many of the words that ``ours`` ranks ``other`` ranks as well."""
    return len(_words(ours) & _words(other))


def common_words(references: list[dict]) -> set[str]:
    """The words that every reference ranks; at least one reference."""
    return set.intersection(*map(_words, references))


def place(own: dict, references: list[dict]) -> dict:
    """The place of a model among released ``references``, all comparable with it, and all reading the prompts.

    own: its profile on the words that they all rank (``common_words``). Returns ``bases`` and ``lineages`` (counts),
    ``words`` (ranked), ``differs`` (``caveats``, and of how many references one is true), ``among`` (model, base,
    lineage and rows of each) and ``rows``: construct × framing with ``percentile`` and its interval over words,
    ``above`` of ``of`` references, how many are below the interval's ends (``above_at_ends``), the references'
    ``lowest`` and ``highest``; or ``refused`` and ``needs``.
    """
    n, few = len(references), _too_few_shared(own, references)
    texts = Counter(text for other in references for text in caveats(own, other))
    among = [
        {"model": other["model"], **{key: other["released"][key] for key in ("base", "lineage")}, "rows": other["rows"]}
        for other in references
    ]
    counts = {f"{key}s": dict(sorted(Counter(other[key] for other in among).items())) for key in ("base", "lineage")}
    return counts | {
        "words": own["ranked_words"],
        "differs": [text if count == n else f"{text} ({count} of {n})" for text, count in texts.items()],
        "rows": [_standing(row, references, few) for row in own["rows"]],
        "among": among,
    }


def unplaced(ours: dict, released: list[dict]) -> dict[str, str]:
    """Why no released profile (of at least one) can be compared, and the options with which the nearest one could."""
    nearest = min(released, key=lambda other: len((mismatch(ours, other) or "").split(" and ")))
    prompts = " and ".join(f"{count} {framing}" for framing, count in nearest["prompts"].items())
    return {
        "refused": f"they have {mismatch(ours, nearest)} than this audit",
        "needs": f"--lexicon {nearest['lexicon']} --case {nearest['case']} and the prompts value_laden ({prompts})",
    }


def side_by_side(ours: dict, references: list[dict], placed: dict | None = None) -> pd.DataFrame:
    """The picture's table: ``model, role, base, construct, framing, words, percentile, low, high, refused``.

    role: ``audited``, ``reference``; of a place (``place``) also ``placed``, the audited model on the words that the
    released ones rank, and ``released``, each of these. base: of a released model. A refused number is missing, and
    ``refused`` says why (empty elsewhere).
    """
    parts = [("audited", ours["model"], "", ours["rows"])]
    parts += [("reference", other["model"], "", other["rows"]) for other in references]
    if placed:
        parts += [("placed", ours["model"], "", placed["rows"])]
        parts += [("released", other["model"], other["base"], other["rows"]) for other in placed["among"]]
    none = {"percentile": None, "percentile_interval": (None, None), "refused": ""}
    shown = ("label", "framing", "words", "percentile")
    rows = [
        [model, role, base, *(row[key] for key in shown), *row["percentile_interval"], row["refused"]]
        for role, model, base, listed in parts
        for row in (none | row for row in listed)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"percentile": float, "low": float, "high": float})


def unsupported(references: list[dict]) -> list[dict]:
    """Claims that an audit of one model cannot make: ``claim, refused, needs``."""
    each = next(n for n in range(2, 100) if smallest_p(n, n) < 0.05)
    return [
        {
            "claim": "that the model has its values from its base model",
            "refused": "one model was audited; a difference between bases is one between models, not between prompts",
            "needs": f"score tables of models of two bases, at least {each} of each (with {each - 1} and {each - 1} no "
            f"permutation of models can reach p < .05; with {each} and {each} the smallest is "
            f"{smallest_p(each, each):.3f}), then valuetrace compare",
        },
        {
            "claim": "that the model differs from a reference model",
            "refused": "no test is made: the profiles rank different sets of words, and their intervals are over the "
            "words of one model"
            if references
            else "no reference model was scored in this way",
            "needs": "the score tables of both on the same words, then valuetrace compare",
        },
    ]


def _standing(row: dict, references: list[dict], few: dict | None) -> dict:
    found = {name: row[name] for name in ("label", "framing", "words")}
    refused = few or {name: row[name] for name in ("refused", "needs") if name in row}
    if refused:
        return found | refused
    at = [
        r for other in references for r in other["rows"] if (r["label"], r["framing"]) == (row["label"], row["framing"])
    ]
    theirs = np.array([r["percentile"] for r in at if "percentile" in r])
    if not len(theirs):
        return found | {"refused": "none of the references can be read here", "needs": "references that can be"}
    above = {
        "above": int((theirs < row["percentile"]).sum()),
        "above_at_ends": [int((theirs < end).sum()) for end in row["percentile_interval"]],
        "of": len(theirs),
    }
    own = {name: row[name] for name in ("percentile", "percentile_interval")}
    return found | own | above | {"lowest": float(theirs.min()), "highest": float(theirs.max())}


def _too_few_shared(own: dict, references: list[dict]) -> dict | None:
    """The refusal of a place where some construct's words are not the references' words."""
    ours = {group["label"]: set(group["words"]) for group in own["groups"]}
    shares = {
        (other["model"], group["label"]): len(ours[group["label"]] & set(group["words"])) / len(group["words"])
        for other in references
        for group in other["groups"]
        if group["words"]
    }
    (model, construct), share = min(shares.items(), key=lambda item: item[1])
    if share >= LEAST_SHARED:
        return None
    return {
        "refused": f"only {share:.0%} of the {construct} words that {model} ranks are ranked here",
        "needs": f"scores of {LEAST_SHARED:.0%} of them: a reward model scores words of any length (no --vocabulary)",
    }


def _words(profile: dict) -> set[str]:
    return {word for group in profile["groups"] for word in group["words"]}


def _asked(profile: dict) -> dict:
    """A profile's format but for its name."""
    return {key: value for key, value in profile["format"].items() if key != "name"}


def _format(profile: dict) -> str:
    form = profile["format"]
    told = ", ".join(f"{key}={value}" for key, value in form.get("arguments", {}).items())
    chat = "its own chat template" + (f" ({told})" if told else "")
    return chat if form["kind"] == "chat" else f"the text format {form['name']}"
