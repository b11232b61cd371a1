"""A forecast's request, resolved: one or two reward models, one or two policies, words, prompts and budgets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import pandas as pd

from valuetrace.core.errors import InputError, some
from valuetrace.forecast import shares
from valuetrace.scoring.spelling import spellings
from valuetrace.subjects import inputs as audit
from valuetrace.subjects import results
from valuetrace.subjects.inputs import Job

RESULTS = ("forecast.json", "forecast.csv", "words.csv", "attribution.csv", "forecast.png", "forecast.html")
"""What a forecast writes into its folder; attribution.csv only where there are two of something."""

NATS = tuple(step / 2 for step in range(17))
COUNTS = tuple(2**step for step in range(13))
LARGEST = 1e6
"""The largest budget in nats and the largest n; more is taken for a typing error."""


@dataclass(frozen=True)
class Request:
    """The options of ``valuetrace forecast``, as they were given (see its --help)."""

    reward_models: tuple[str, ...]
    policies: tuple[str, ...]
    lexicon: str = "big_two_nouns"
    prompts: str = "value_laden"
    format: str | None = None
    policy_format: str | None = None
    template_arguments: dict[str, str | bool] = field(default_factory=dict)
    policy_template_arguments: dict[str, str | bool] = field(default_factory=dict)
    case: Literal["lower", "capitalised"] = "lower"
    head: str | None = None
    nats: tuple[float, ...] = NATS
    counts: tuple[int, ...] = COUNTS
    betas: tuple[float, ...] = ()
    out: Path | None = None
    device: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    draws: int = 2_000
    seed: int = 1
    max_minutes: float | None = None
    offline: bool = False


@dataclass(frozen=True)
class Jobs:
    """A request whose every part was found; each model as an audit's ``Job``. lexicon: all of it; that of the jobs is
    cut down to the words that every policy can say, once these are known. points: ``forecast.shares.grid``."""

    request: Request
    out: Path
    reward_models: list[Job]
    policies: list[Job]
    lexicon: pd.DataFrame
    points: pd.DataFrame

    @property
    def every(self) -> list[Job]:
        """Policies, then reward models."""
        return [*self.policies, *self.reward_models]

    @property
    def first(self) -> Job:
        """A job whose words, known groups and prompts are those of every other."""
        return self.policies[0]

    def only(self, words: set[str]) -> Jobs:
        """The same with these words of the lexicon alone."""
        chosen = self.lexicon[self.lexicon["word"].isin(words)].reset_index(drop=True)
        cut = {of: [replace(job, lexicon=chosen) for job in getattr(self, of)] for of in ("reward_models", "policies")}
        return replace(self, **cast(dict, cut))


def resolve(request: Request) -> Jobs:
    """Find everything that a request names. InputError for the first thing that is missing or invalid."""
    check_numbers(request)
    given = {"REWARD_MODEL": request.reward_models, "--policy": request.policies}
    for option, names in given.items():
        if not 1 <= len(names) <= 2:
            raise InputError(f"{option}: give one or two, not {len(names)}.")
        if len(set(names)) < len(names):
            raise InputError(f"{option} {names[0]}: given twice.")
    out = results.check(request.out or default_folder(request), RESULTS, "forecast")
    jobs = [_job(request, out, name, "reward") for name in request.reward_models]
    jobs += [_job(request, out, name, "logprob") for name in request.policies]
    if len({job.name for job in jobs}) < len(jobs):  # two of one name: each by the name that it was given by
        jobs = [replace(job, name=job.request.model) for job in jobs]
    rewards, policies = ([job for job in jobs if job.kind == kind] for kind in ("reward", "logprob"))
    points = shares.grid(sorted({0.0, *request.nats}), sorted(set(request.counts)), sorted(set(request.betas)))
    return Jobs(request, out, rewards, policies, jobs[0].lexicon, points)


def check_numbers(request: Request) -> None:
    """InputError for a budget out of range."""
    for value in request.nats:
        if not 0 <= value <= LARGEST:
            raise InputError(f"--budgets {value:g}: a KL divergence is 0 or more (nats; at most {LARGEST:g}).")
    for value in request.counts:
        if not 1 <= value <= LARGEST:
            raise InputError(f"--best-of {value}: n is a whole number from 1 to {LARGEST:,.0f}.")
    for value in request.betas:
        if not (math.isfinite(value) and value > 0):
            raise InputError(
                f"--beta {value:g}: β must be above 0. As it nears 0 the policy becomes the best reply alone: the "
                "largest of --budgets shows it."
            )


def default_folder(request: Request) -> Path:
    """forecast/REWARD_MODEL-on-POLICY, each as an audit's own folder would be called."""
    names = [
        "+".join(results.default_folder(audit.find_model(name, offline=request.offline)).name for name in of)
        for of in (request.reward_models, request.policies)
    ]
    return Path("forecast", "-on-".join(names))


def shared_words(jobs: Jobs, texts: list[set[str]]) -> set[str]:
    """The lexicon's words that are single tokens of every policy in its format's spelling. InputError for none.

    texts: the decoded tokens of each policy.
    """
    listed = jobs.lexicon["word"]
    spelt = [spellings(listed, job.form, job.request.case) for job in jobs.policies]
    said = [{word for text, word in of.items() if text in own} for of, own in zip(spelt, texts, strict=True)]
    shared = set.intersection(*said)
    if not shared:
        counts = "; ".join(f"{job.name} {len(own)}" for job, own in zip(jobs.policies, said, strict=True))
        raise InputError(
            f"none of the {listed.nunique()} words of {jobs.request.lexicon} ({some(listed, 3)}) is a single token of "
            f"every policy ({counts}). Try another --policy-format or --case, or a larger --lexicon."
        )
    return shared


@contextmanager
def of_policy() -> Iterator[None]:
    """An audit's errors about a policy name the options that a forecast has for it."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"--(format|template-argument)\b", r"--policy-\1", str(error))) from None


def _job(request: Request, out: Path, name: str, kind: str) -> Job:
    """One model. Its shards are kept beside the forecast's folder ``out``."""
    shared = ("lexicon", "prompts", "case", "device", "dtype", "batch_size", "draws", "seed", "max_minutes", "offline")
    options = {key: getattr(request, key) for key in shared}
    options["out"] = out.with_name(f"{out.name}.rewards")
    if kind == "reward":
        options |= {"format": request.format, "template_arguments": request.template_arguments, "head": request.head}
        job = audit.resolve(audit.Request(name, **options))
    else:
        options |= {"format": request.policy_format, "template_arguments": request.policy_template_arguments}
        with of_policy():
            job = audit.resolve(audit.Request(name, **options))
    if job.kind != kind:
        is_, wanted = ("language", "reward") if kind == "reward" else ("reward", "language")
        remedy = "give it as --policy" if kind == "reward" else "give it first, and a language model as --policy"
        raise InputError(f"{name}: a {is_} model ({job.architecture}) where a {wanted} model belongs; {remedy}.")
    return job
