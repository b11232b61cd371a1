"""The forecast, step by step: resolve, estimate the cost, score, compute, write."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from valuetrace.core import files
from valuetrace.forecast import compute, inputs
from valuetrace.forecast.inputs import Jobs, Request
from valuetrace.lexicon.entries import labelled
from valuetrace.models import loading
from valuetrace.subjects import cost as costs
from valuetrace.subjects import results, scorers
from valuetrace.subjects.inputs import Job

_DRAW_SECONDS = 1e-9  # a word, prompt, point, construct and draw of the bootstrap, one core of a server of 2023
_SOLVE_SECONDS = 5e-5  # a word and prompt, all budgets of the default grid
_PAGE_SECONDS = 5.0


@dataclass(frozen=True)
class PlannedForecast:
    """What will be scored, and what that costs. costs: by model, loading apart; seconds: of everything."""

    jobs: Jobs
    costs: dict[str, costs.Cost]
    seconds: float

    def __str__(self) -> str:
        return f"time about {costs.duration(self.seconds)} in all, loading apart"

    def as_dict(self) -> dict:
        """What forecast.json and ``--dry-run --json`` hold."""
        models = {name: {k: v for k, v in asdict(c).items() if k != "after_seconds"} for name, c in self.costs.items()}
        return {"seconds": self.seconds, "models": models}


@dataclass(frozen=True)
class Done:
    """``result`` is what forecast.json holds; ``problems`` name scores that are not finite."""

    result: dict
    out: Path
    problems: list[str]


def plan(request: Request, say: Callable[[str], None] = print) -> PlannedForecast:
    """Resolve, then load each model once to estimate. InputError for what cannot run, or longer than ``max_minutes``.

    One model is held at a time. The reward models score only the words that every policy can say.
    """
    jobs = inputs.resolve(request)
    found, texts = {}, []
    for job in jobs.policies:
        with inputs.of_policy():
            found[job.name], text = _estimate(job, "policy", say)
        texts.append(text)
    words = inputs.shared_words(jobs, texts)
    listed = jobs.lexicon["word"].nunique()
    say(f"{len(words):,} of {listed:,} words of {request.lexicon} are single tokens of every policy")
    jobs = jobs.only(words)
    for job in jobs.reward_models:
        found[job.name], _ = _estimate(job, "reward model", say)
    seconds = sum(cost.seconds for cost in found.values()) + _after_seconds(jobs)
    planned = PlannedForecast(jobs, found, seconds)
    say(f"Cost: {planned}")
    costs.check_time("the forecast", seconds, request.max_minutes, "fewer --prompts or a smaller --lexicon")
    return planned


def forecast(request: Request, say: Callable[[str], None] = print) -> Done:
    """Forecast; writes RESULTS, all or none. Rewards are kept in ``.<out>.rewards.shards`` as they are computed: a
    killed run goes on from there."""
    planned = plan(request, say)
    jobs, start = planned.jobs, time.perf_counter()
    tables, problems = {}, []
    for job in jobs.every:
        tables[job.name], problem = _scores(job)
        problems += [problem] if problem else []
    computed = compute.compute(jobs, tables)
    result = {
        **computed.result,
        "models": {job.name: _about(job, planned.costs[job.name]) for job in jobs.every},
        "not_finite": problems,
        "cost": {"estimated": planned.as_dict()},
        "versions": results.versions(),
    }
    with results.whole(jobs.out, "forecast") as folder:
        stored = write(result, computed.frames, folder, start)
    return Done(stored, jobs.out, problems)


def write(result: dict, frames: dict[str, pd.DataFrame], folder: Path, start: float) -> dict:
    """Everything that a forecast leaves: tables, picture, JSON, page; returns what forecast.json holds."""
    from valuetrace.forecast import page, picture  # matplotlib: not for --dry-run

    for name, frame in frames.items():
        files.write_csv(frame, folder / f"{name}.csv")
    picture.draw(folder / "forecast.csv", folder / "forecast.png")
    result["cost"]["actual"] = {"seconds": time.perf_counter() - start}
    stored = files.read_json(files.write_json(result, folder / "forecast.json"))
    files.write_text(page.page(stored, folder / "forecast.png"), folder / "forecast.html")
    return stored


def _estimate(job: Job, role: str, say: Callable[[str], None]) -> tuple[costs.Cost, set[str]]:
    """The cost of one model's scores, and a policy's tokens as text."""
    scorer, estimated = costs.load(job)
    cost = replace(estimated, seconds=estimated.seconds - estimated.after_seconds, after_seconds=0.0)
    say(
        f"{job.name}: {role} ({job.architecture}), format {job.format}; {cost.candidates:,} candidates × "
        f"{cost.prompts} prompts, {cost.tokens:,} tokens, memory about {costs.size(cost.memory_bytes)} on "
        f"{cost.device}, time about {costs.duration(cost.seconds)}"
    )
    texts = set()
    if job.kind == "logprob":
        rows = loading.vocabulary(scorer.backbone, scorer.tokenizer)
        texts = set(rows["token_decoded"].head(len(scorer.tokenizer)))
    del scorer
    torch.cuda.empty_cache()  # for the next model's check of memory; without CUDA it does nothing
    return cost, texts


def _scores(job: Job) -> tuple[pd.DataFrame, str | None]:
    found = scorers.load(job).score(results.shards(job.out), progress=sys.stderr.isatty())
    torch.cuda.empty_cache()
    return found


def _after_seconds(jobs: Jobs) -> float:
    """Of everything after the scores."""
    lexicon, prompts = jobs.first.lexicon, len(jobs.first.prompts)
    cells = len(jobs.policies) * len(jobs.reward_models)
    once = lexicon["word"].nunique() * prompts
    bootstrap = once * len(jobs.points) * labelled(lexicon).nunique() * jobs.request.draws * _DRAW_SECONDS
    profiles = sum(costs.after_seconds(job) for job in jobs.reward_models)
    return math.fsum([_PAGE_SECONDS, cells * (bootstrap + once * _SOLVE_SECONDS), profiles])


def _about(job: Job, cost: costs.Cost) -> dict:
    return {
        **job.about(),
        "format": job.format,
        "template": job.form.template if job.form.kind == "text" else None,
        "device": cost.device,
        "dtype": cost.dtype,
    }
