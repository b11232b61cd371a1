"""From score tables to the forecast: the covered replies, what is refused, every number of JSON and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.forecast import policies, shares
from valuetrace.forecast.inputs import Jobs
from valuetrace.forecast.shares import Optimum
from valuetrace.lexicon.entries import labelled
from valuetrace.measures import validity
from valuetrace.scoring.spelling import word_scores
from valuetrace.stats.bootstrap import FEWEST_WORDS

GAINERS = 10  # words a point

INTERVAL = {
    "level": 0.95,
    "words": "over words: those of the construct are drawn anew among themselves and the others among themselves, each "
    "with its probability, at the same β or n",
    "prompts": f"over prompts: those of a framing are drawn anew; none of fewer than {shares.FEWEST_PROMPTS}",
}
DEFINITION = (
    "difference: share with the second policy and the second reward model less share with the first of both; policy: "
    "what exchanging the policy adds, the mean of its effect under the first and under the second reward model "
    "(Shapley's value); reward: likewise; interaction: by how much the one effect depends on the other. Policy and "
    "reward add up to the difference"
)


@dataclass(frozen=True)
class Covered:
    """The replies of the forecast. words: index; prompts: ``key, text, framing``; scores: model → (words, prompts);
    left_out: prompts and words without finite scores."""

    words: pd.Index
    prompts: pd.DataFrame
    scores: dict[str, np.ndarray]
    left_out: dict[str, list[str]]

    @property
    def framing(self) -> np.ndarray:
        """(prompts,)"""
        return self.prompts["framing"].to_numpy()


@dataclass(frozen=True)
class Computed:
    """result: what forecast.json holds; frames: tables by the name of their CSV."""

    result: dict
    frames: dict[str, pd.DataFrame]


def compute(jobs: Jobs, tables: dict[str, pd.DataFrame]) -> Computed:
    """The forecast. tables: score tables by model. InputError where no reply has finite scores of every model."""
    rule, covered = validity.rule(), cover(jobs, tables)
    references = {job.name: policies.normalised(covered.scores[job.name]) for job in jobs.policies}
    means = {name: shares.framing_means(of, covered.framing) for name, (_, of) in references.items()}
    mass = {name: {framing: float(mean) for framing, mean in of.items()} for name, of in means.items()}
    profile = {job.name: job.profile(tables[job.name]) for job in jobs.reward_models}
    groups = constructs(jobs.lexicon, covered.words)
    of_word = _constructs_of(jobs.lexicon, covered.words)
    cells, frames, gained, drawn = [], [], [], {}
    for (i, policy), (j, reward) in product(enumerate(jobs.policies), enumerate(jobs.reward_models)):
        cell = shares.follow(
            policy.name, reward.name, references[policy.name][0], covered.scores[reward.name], jobs.points
        )
        refused = refusals(mass[policy.name], profile[reward.name]["reading"], rule)
        rows, frame, drawn[i, j] = _shares(jobs, cell, covered, groups, refused)
        gains = shares.gainers(cell, jobs.points, of_word, covered.framing, GAINERS)
        gains = gains[~gains["framing"].isin(refused)]
        leaders = [r for r in shares.leaders(cell, of_word, covered.prompts) if r["framing"] not in refused]
        named = {"policy": policy.name, "reward_model": reward.name}
        cells.append(
            {
                **named,
                "refused": refused,
                "budgets": _budgets(jobs.points, cell, covered.framing),
                "rows": rows,
                "gainers": gains.to_dict("records"),
                "leaders": leaders,
                "first_changes": shares.first_changes(leaders),
            }
        )
        frames.append(frame)
        gained.append(gains.assign(**named)[[*named, *shares.GAINERS]])
    result: dict = {
        "lexicon": jobs.request.lexicon,
        "case": jobs.request.case,
        "words": {"covered": len(covered.words), "listed": int(jobs.lexicon["word"].nunique())},
        "prompts": covered.prompts.to_dict("records"),
        "left_out": covered.left_out,
        "constructs": [{key: value for key, value in group.items() if key != "member"} for group in groups],
        "interval": INTERVAL | {"draws": jobs.request.draws, "seed": jobs.request.seed},
        "thresholds": {"least_probability": rule.least_probability, "fewest_words": FEWEST_WORDS},
        "probability": mass,
        "profiles": profile,
        "cells": cells,
        "attribution": None,
    }
    tables_out = {"forecast": pd.concat(frames, ignore_index=True), "words": pd.concat(gained, ignore_index=True)}
    if len(cells) > 1:
        rows = _attribution(jobs, drawn, covered, groups, {name for cell in cells for name in cell["refused"]})
        corners = {"policies": [j.name for j in jobs.policies], "reward_models": [j.name for j in jobs.reward_models]}
        result["attribution"] = {"definition": DEFINITION, "models": corners, "rows": rows}
        columns = ["effect", "framing", "kind", "budget", "construct", *_NUMBERS]
        tables_out["attribution"] = pd.DataFrame(rows, columns=columns)
    return Computed(result, tables_out)


def cover(jobs: Jobs, tables: dict[str, pd.DataFrame]) -> Covered:
    """The words that every model scored. A prompt with mostly missing scores of some model is left out, then a word
    with any; a log-probability of −inf is a score, as long as some word of the prompt has a finite one."""
    listed, prompts = pd.Index(jobs.first.lexicon["word"].unique()), jobs.first.prompts
    scores, there = {}, np.ones((len(listed), len(prompts)), dtype=bool)
    for job in jobs.every:
        found = word_scores(tables[job.name], listed, list(prompts["key"]), job.form, job.request.case)
        scores[job.name] = own = found.reindex(listed).to_numpy(dtype=np.float64)
        said = np.isfinite(own)
        there &= said if job.kind == "reward" else (said | np.isneginf(own)) & said.any(axis=0)
    kept = there.mean(axis=0) > 0.5
    whole = there[:, kept].all(axis=1)
    if not (kept.any() and whole.any()):
        raise InputError(f"no reply has finite scores of all of {some(scores)}. Try --dtype float32.")
    left_out = {"prompts": list(prompts["key"][~kept]), "words": list(listed[~whole])}
    scores = {name: own[np.ix_(whole, kept)] for name, own in scores.items()}
    return Covered(listed[whole], prompts[kept].reset_index(drop=True), scores, left_out)


def constructs(lexicon: pd.DataFrame, covered: pd.Index) -> list[dict]:
    """``label, words`` (covered) ``of`` (in the lexicon) and ``member`` (words,); with too few also ``refused``."""
    groups = []
    for label, listed in lexicon.groupby(labelled(lexicon), sort=True)["word"]:
        member = covered.isin(listed)
        group = {"label": label, "words": int(member.sum()), "of": int(listed.nunique()), "member": member}
        if group["words"] < FEWEST_WORDS:
            few = f"only {group['words']} of its {group['of']} words are replies that every policy can say as one token"
            group |= {"refused": few, "needs": f"at least {FEWEST_WORDS}: another --policy-format or --case"}
        groups.append(group)
    return groups


def refusals(mass: dict[str, float], reading: dict, rule: validity.Rule) -> dict[str, dict[str, str]]:
    """Framing → ``refused`` and ``needs``, for those that no forecast can be given of."""
    if reading["refused"]:
        return {name: {key: reading[key] for key in ("refused", "needs")} for name in mass}
    needs = (
        f"at least {rule.least_probability:g} of probability on the covered replies: a --policy-format in which the "
        "policy answers with such words, another --case, or a larger --lexicon"
    )
    return {name: {"refused": why, "needs": needs} for name, why in validity.improbable(mass, rule).items()}


_NUMBERS = ("share", "low", "high", "low_prompts", "high_prompts")


def _shares(jobs: Jobs, cell: Optimum, covered: Covered, groups: list[dict], refused: dict) -> tuple:
    """Rows of JSON (means over a framing), the tidy frame (prompts, too;
    reached: the share of prompts that reach the budget), and by construct the shares (points, prompts) and
    their draws by framing."""
    points, framing = jobs.points, covered.framing
    rows, parts, drawn = [], [_refused_rows(groups, dict.fromkeys(framing), refused)], {}
    nats, reached = (shares.framing_means(values, framing) for values in (cell.nats, cell.reached.astype(float)))
    for index, group in enumerate(groups):
        if "refused" in group:
            continue
        label, rng = group["label"], np.random.default_rng([jobs.request.seed, index])
        share = shares.shares(cell.log_policy, group["member"])
        by_word = shares.share_draws(cell, group["member"], jobs.request.draws, rng)
        drawn[label] = share, shares.framing_means(by_word, framing)
        for name, found in shares.by_framing(*drawn[label], framing, jobs.request.seed).items():
            if name not in refused:
                told = {"framing": name, "construct": label, "nats": nats[name], "reached": reached[name]}
                frame = points.assign(**told, **found)
                rows += _records(frame[["framing", "kind", "budget", "construct", *_NUMBERS]])
                parts.append(frame)
        each = shares.by_prompt(share, by_word)
        for column, row in enumerate(covered.prompts.itertuples()):
            if row.framing not in refused:
                found = {key: values[:, column] for key, values in each.items()}
                told = {"framing": row.framing, "prompt": row.key, "construct": label, "nats": cell.nats[:, column]}
                parts.append(points.assign(**told, reached=cell.reached[:, column].astype(float), **found))
    columns = ["policy", "reward_model", "framing", "prompt", "kind", "budget", "nats", "reached", "construct"]
    columns += [*_NUMBERS, "refused"]
    frame = pd.concat(parts, ignore_index=True).assign(policy=cell.policy, reward_model=cell.reward_model)
    return rows, frame.reindex(columns=columns), drawn


def _refused_rows(groups: list[dict], framings: dict, refused: dict) -> pd.DataFrame:
    """A row for each construct and framing without a number, with the reason."""
    rows = [
        {"framing": name, "construct": group["label"], "refused": why}
        for group, name in product(groups, framings)
        if (why := group.get("refused") or refused.get(name, {}).get("refused"))
    ]
    return pd.DataFrame(rows, columns=["framing", "construct", "refused"])


def _attribution(jobs: Jobs, drawn: dict, covered: Covered, groups: list[dict], refused: set[str]) -> list[dict]:
    """What exchanging policy and reward model does to each share, but for framings ``refused`` in any forecast."""
    rows = []
    for group in groups:
        if "refused" in group:
            continue
        label = group["label"]
        observed = shares.attribute({at: of[label][0] for at, of in drawn.items()})
        names = next(iter(drawn.values()))[label][1]
        resampled = {name: shares.attribute({at: of[label][1][name] for at, of in drawn.items()}) for name in names}
        for effect, share in observed.items():
            of_effect = {name: of[effect] for name, of in resampled.items()}
            found = shares.by_framing(share, of_effect, covered.framing, jobs.request.seed)
            for name, numbers in found.items():
                if name not in refused:
                    rows += _records(jobs.points.assign(effect=effect, framing=name, construct=label, **numbers))
    return rows


def _budgets(points: pd.DataFrame, cell: Optimum, framing: np.ndarray) -> list[dict]:
    """Framing by framing and point by point: mean ``nats``, of best-of-n also their ``bound``, in how many ``prompts``
    the budget is ``reached``, and the middle β (None of best-of-n, of budget 0, and where it is 0)."""
    rows = []
    for name in dict.fromkeys(framing):
        of = framing == name
        for at, (kind, budget) in enumerate(points.itertuples(index=False)):
            beta = float(np.median(cell.beta[at, of]))  # NaN of best-of-n
            row = {"framing": name, "kind": kind, "budget": budget, "nats": float(cell.nats[at, of].mean())}
            row["bound"] = float(policies.best_of_bound([budget])[0]) if kind == "best_of_n" else None
            row |= {"prompts": int(of.sum()), "reached": int(cell.reached[at, of].sum())}
            rows.append(row | {"beta": beta if 0 < beta < np.inf else None})
    return rows


def _constructs_of(lexicon: pd.DataFrame, covered: pd.Index) -> pd.Series:
    """Each covered word's constructs as text."""
    labels = lexicon.assign(label=labelled(lexicon)).drop_duplicates(["word", "label"])
    return labels.groupby("word")["label"].agg(", ".join).reindex(covered)


def _records(frame: pd.DataFrame) -> list[dict]:
    """Rows as JSON holds them: None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
