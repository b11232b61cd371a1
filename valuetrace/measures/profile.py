"""The value profile of one model: where each construct's words rank, and which numbers are refused.

The measure is the paper's (Section 2): within each prompt the lexicon's scored words are ranked, 1 = best, and a
construct has the median rank of its words. A profile averages those medians over the prompts of a framing. Beside the
rank stands the percentile among the ranked words (100 = all at the top, 0 = at the bottom, 50 = as words drawn at
random), so that models that rank different numbers of words can be set side by side. Intervals come from a bootstrap
over words; prompts of one model are not independent observations and are averaged, never drawn. A number that cannot be
supported is not there: its row says ``refused`` and ``needs`` instead.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from valuetrace.lexicon.entries import label, labelled
from valuetrace.measures import validity
from valuetrace.measures.calibration import calibrated
from valuetrace.scoring.chat import Format
from valuetrace.scoring.spelling import CASES, is_words, word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS, percentile_interval, word_draws
from valuetrace.stats.ranks import rank_words, subset_medians

INTERVAL = {
    "level": 0.95,
    "unit": "word",
    "note": "words are drawn anew within each construct, with their ranks; prompts are averaged, not drawn: prompts of "
    "one model are not independent observations",
}


@dataclass(frozen=True)
class Subject:
    """What a profile is of. kind: ``reward`` or ``logprob``; lexicon and format by name; case of the words;
    tokenisation of rewards (``scoring.search``)."""

    model: str
    kind: Literal["reward", "logprob"]
    lexicon: str
    format: str
    form: Format
    case: Literal["lower", "capitalised"] = "lower"
    tokenisation: Literal["exact", "as_published"] | None = None


def profile(
    subject: Subject,
    table: pd.DataFrame,
    lexicon: pd.DataFrame,
    prompts: pd.DataFrame,
    known: pd.DataFrame,
    rule: validity.Rule,
    *,
    neutral: pd.DataFrame | None = None,
    draws: int = 9_999,
    seed: int = 1,
) -> dict:
    """The profile of a score table: what ``metrics/profiles/<model>/<format>.json`` holds.

    table: a score table (``tables.read_scores``) of candidate words, or of tokens, of which the words' single-token
    forms count. lexicon: ``word, construct, polarity``. prompts: ``key, text, framing``. known: the known groups,
    ``word, polarity``: whether the table reads is asked first, by ``rule`` (``reading``). neutral: ``key, text`` of
    neutral prompts in the table, to calibrate with. Scores that are not finite are named in ``left_out``.

    ``rows``: construct × framing, ``words`` (ranked) ``of`` (in the lexicon), ``median_rank`` (1 = best, mean over
    prompts), ``percentile`` (100 = best), 95 % intervals over words; or ``refused`` and ``needs``. ``differences``.
    """
    keys, against = list(prompts["key"]), [] if neutral is None else list(neutral["key"])
    raw, left_out = _finite(word_scores(table, lexicon["word"], [*keys, *against], subject.form, subject.case))
    scores = _calibrated(raw, against)
    framing = prompts.set_index("key")["framing"].reindex(scores.columns)
    ranks = rank_words(scores.to_numpy()) if scores.size else np.empty(scores.shape)
    probability = validity.probability(raw[scores.columns], framing) if subject.kind == "logprob" else None
    improbable = {} if probability is None else _improbable(probability, subject, table, lexicon, keys, rule)
    reading = _reading(subject, table, lexicon, framing, against, known, rule)
    unread = {"refused": reading["refused"], "needs": reading["needs"]} if reading["refused"] else None
    single = not is_words(table)
    rows, differences, groups = [], [], []
    for index, ((construct, polarity), listed) in enumerate(cast(Any, lexicon.groupby(["construct", "polarity"]))):
        member = scores.index.isin(listed["word"])
        group = {"construct": construct, "polarity": polarity, "label": label(construct, polarity)}
        groups.append(group | {"in_lexicon": len(listed), "ranked": int(member.sum())})
        groups[-1]["words"] = sorted(scores.index[member])
        group |= {"words": int(member.sum()), "of": len(listed)}
        few = _too_few(group["words"], len(listed), single)
        of_group = {} if few else _medians(ranks[member], framing, draws, [seed, index])
        found = {
            name: few
            or _no_prompt(name, framing)
            or improbable.get(name)
            or unread
            or _numbers(of_group[name], len(scores))
            for name in dict.fromkeys(prompts["framing"])
        }
        rows += [group | {"framing": name} | numbers for name, numbers in found.items()]
        if {"positive", "negative"} <= set(found):
            refused = [found[name] for name in ("positive", "negative") if "refused" in found[name]]
            differences.append(group | (refused[0] if refused else _difference(of_group, len(scores))))
    about = _about(subject, lexicon, prompts, framing, rule) | {"ranked_words": len(scores)}
    if neutral is not None:
        told = _digest(neutral[["key", "text"]].itertuples(index=False))
        about["calibrated"] = {"neutral_prompts": len(set(against) & set(raw.columns)), "prompts_sha256": told}
    about["interval"] = INTERVAL | {"draws": draws, "seed": seed}
    found = {"probability_on_ranked_words": probability, "reading": reading, "groups": groups, "rows": rows}
    return about | found | {"differences": differences, "left_out": left_out}


def _about(subject: Subject, lexicon: pd.DataFrame, prompts: pd.DataFrame, framing: pd.Series, rule) -> dict:
    """What a profile is of, so that two can be told to be of one kind."""
    return {
        "model": subject.model,
        "kind": subject.kind,
        "lexicon": subject.lexicon,
        "lexicon_sha256": _digest(zip(labelled(lexicon), lexicon["word"], strict=True)),
        "format": {"name": subject.format} | _family(subject.form),
        "case": subject.case,
        **({"tokenisation": subject.tokenisation} if subject.tokenisation else {}),
        "prompts": {str(name): int(count) for name, count in framing.value_counts(sort=False).items()},
        "prompts_sha256": _digest(prompts[["key", "text", "framing"]].itertuples(index=False)),
        "percentile": "100 × (ranked words − median rank) / (ranked words − 1): 100 is best, 50 is chance",
        "thresholds": {
            "fewest_words": FEWEST_WORDS,
            "least_probability": rule.least_probability,
            "least_known": rule.least_known,
        },
    }


def _finite(scores: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """Leave out prompts in which most scores are not finite, then words that have any such score."""
    finite: Any = np.isfinite(scores)
    kept = finite.mean(axis=0) > 0.5 if len(scores) else pd.Series(True, index=scores.columns)
    whole = finite.loc[:, kept].all(axis=1)
    left_out = {"prompts": list(scores.columns[~kept]), "words": list(scores.index[~whole])}
    return scores.loc[whole, kept], left_out


def _medians(ranks: np.ndarray, framing: pd.Series, draws: int, seed: list[int]) -> dict[str, np.ndarray]:
    """Mean over prompts of the median rank, by framing: (1 + draws,), the data first, then resampled words."""
    every = np.ones((1, len(ranks)), dtype=bool)
    drawn = [subset_medians(ranks, counts[0]) for counts in word_draws(every, draws, np.random.default_rng(seed))]
    medians = np.concatenate([np.median(ranks, axis=0)[None], *drawn])
    return {name: medians[:, framing == name].mean(axis=1) for name in framing.unique()}


def _numbers(medians: np.ndarray, words: int) -> dict:
    percentiles = _percentile(medians, words)
    return {
        "median_rank": float(medians[0]),
        "median_rank_interval": list(percentile_interval(medians[1:])),
        "percentile": float(percentiles[0]),
        "percentile_interval": list(percentile_interval(percentiles[1:])),
    }


def _difference(medians: dict[str, np.ndarray], words: int) -> dict:
    percentiles = _percentile(medians["positive"], words) - _percentile(medians["negative"], words)
    return {"difference": float(percentiles[0]), "interval": list(percentile_interval(percentiles[1:]))}


def _percentile(rank: np.ndarray, words: int) -> np.ndarray:
    return 100 * (words - rank) / (words - 1)


def _too_few(words: int, listed: int, single: bool) -> dict | None:
    if words >= FEWEST_WORDS:
        return None
    are, needs = "were scored", "a larger lexicon"
    if single:
        are = "are single tokens of this vocabulary in the spelling that the format asks for"
        needs = "another --case or --format, or a larger lexicon; a reward model scores words of any length"
    return {
        "refused": f"only {words} of its {listed} words {are}; no interval holds the median of so few",
        "needs": f"at least {FEWEST_WORDS} words of the construct: {needs}",
    }


def _no_prompt(name: str, framing: pd.Series) -> dict | None:
    if (framing == name).any():
        return None
    return {"refused": f"no {name} prompt has finite scores", "needs": "scores in float32 or bfloat16 (--dtype)"}


def _calibrated(raw: pd.DataFrame, against: list[str]) -> pd.DataFrame:
    """Less the mean of the columns in ``against``, where there are any; those columns are gone."""
    if not against:
        return raw
    there = [key for key in against if key in raw]
    return calibrated(raw.drop(columns=there), raw, there)


def _reading(subject: Subject, table, lexicon, framing: pd.Series, against: list[str], known, rule) -> dict:
    """``validity.reading`` of the lexicon's words and the known groups' together."""
    known = validity.with_own(known, lexicon)
    asked = [*lexicon["word"], *known["word"]]
    scores, _ = _finite(word_scores(table, asked, [*framing.index, *against], subject.form, subject.case))
    found = validity.reading(_calibrated(scores, against), framing, known, rule, pd.Index(lexicon["word"].unique()))
    if found["refused"] and subject.kind == "logprob" and not against and "not read" in found["refused"]:
        found["needs"] += ", or calibrated log-probabilities (--calibrated)"
    return found


def _improbable(probability: dict, subject: Subject, table, lexicon, keys: list[str], rule) -> dict[str, dict]:
    """The framings under which the words are too improbable to be ranked, and what each would need."""
    low = validity.improbable(probability, rule)
    if not low:
        return {}
    other = next(case for case in CASES if case != subject.case)
    spelt = word_scores(table, lexicon["word"], keys, subject.form, other)
    mass = np.exp(spelt.astype(np.float64)).sum(axis=0).mean()
    needs = f"at least {rule.least_probability:g} of probability on them: "
    if mass >= rule.least_probability:
        needs += f"--case {other} (spelled so, the words have {mass:.2g})"
    else:
        needs += "a format in which the model answers with such words (--format)"
    return {name: {"refused": why, "needs": needs} for name, why in low.items()}


def _family(form: Format) -> dict:
    """What makes two formats one: a chat template is each model's own, what it is told and a text template must be
    the same."""
    if form.kind == "chat":
        return {"kind": "chat"} | ({"arguments": form.arguments} if form.arguments else {})
    return {"kind": "text", "template": form.template, "space": form.space, "closing": form.closing}


def _digest(rows) -> str:
    return hashlib.sha256("\n".join(sorted("\t".join(map(str, row)) for row in rows)).encode()).hexdigest()


SHOWN = 20
"""Tokens (or words) at the top and at the bottom."""


def extremes(table: pd.DataFrame, prompts: pd.DataFrame, shown: int = SHOWN) -> list[dict]:
    """The best and worst rows of a score table by mean rank over the prompts of each framing.

    Returns ``framing, end`` (top, bottom), ``place`` (1 = the very best or worst), ``text``, ``token_id``
    (None for words), ``mean_rank`` and ``ranked`` (how many were). Rows without a text and rows with a
    score that is not finite are left out; a prompt without any finite score, too.
    """
    keys = [key for key in prompts["key"] if np.isfinite(table[key]).mean() > 0.5]
    known = table[(table["token_decoded"] != "") & np.isfinite(table[keys]).all(axis=1)]  # type: ignore[operator]
    found = []
    for framing, of_framing in prompts[prompts["key"].isin(keys)].groupby("framing", sort=False):
        mean = rank_words(known[list(of_framing["key"])].to_numpy()).mean(axis=1)
        order = np.argsort(mean, kind="stable")
        for end, chosen in (("top", order[:shown]), ("bottom", order[::-1][:shown])):
            for place, at in enumerate(chosen, start=1):
                row = known.iloc[at]
                found.append({"framing": framing, "end": end, "place": place, "text": row["token_decoded"]})
                found[-1]["token_id"] = None if pd.isna(row["token_id"]) else int(row["token_id"])
                found[-1] |= {"mean_rank": float(mean[at]), "ranked": len(known)}
    return found
