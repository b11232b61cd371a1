"""The audit, step by step: resolve, load, estimate the cost, score, profile, write."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
from huggingface_hub import ModelCard

from valuetrace import __version__, tables
from valuetrace.audit import card, comparison, optimal, page
from valuetrace.core import files
from valuetrace.measures.profile import extremes
from valuetrace.scoring import reference
from valuetrace.scoring.spelling import is_words, spellings
from valuetrace.subjects import cost as costs
from valuetrace.subjects import results
from valuetrace.subjects.inputs import Job, Request, resolve
from valuetrace.subjects.scorers import LogProbabilities, Rewards


@dataclass(frozen=True)
class PlannedAudit:
    """A loaded model, what scoring it will cost, and the search for optimal replies where one was asked for."""

    job: Job
    scorer: Rewards | LogProbabilities
    cost: costs.Cost
    optimal: optimal.Planned | None
    readme: ModelCard | None

    def costs(self) -> dict:
        """What ``--dry-run --json`` prints."""
        return asdict(self.cost) | ({} if self.optimal is None else {"optimal": asdict(self.optimal.cost)})


@dataclass(frozen=True)
class Audit:
    """``result`` is what profile.json holds; ``problem`` names scores that are not finite (None: all are)."""

    result: dict
    out: Path
    problem: str | None


def plan(request: Request, say: Callable[[str], None] = print) -> PlannedAudit:
    """Resolve and load, then estimate. InputError for what cannot run, or would run longer than ``max_minutes``."""
    job = resolve(request)
    say(f"{job.name}: {page.KINDS[job.kind]} ({job.architecture}), format {job.format}, lexicon {request.lexicon}")
    readme = card.read(job) if request.card else None
    scorer, cost = costs.load(job)
    if scorer.unnamed:
        say(f"The embedding has {scorer.unnamed} rows that no token of the tokenizer has; they are left out.")
    say(f"Cost: {cost}")
    for line in [] if isinstance(scorer, LogProbabilities) else reference.told(scorer.held):
        say(line)
    replies = optimal.plan(job, scorer) if isinstance(scorer, Rewards) else None
    if replies is not None:
        say(f"Optimal replies: {replies.cost}")
    smaller = "fewer --prompts or a smaller --lexicon" + (", or a smaller --optimal or --beam" if replies else "")
    seconds = cost.seconds + (replies.cost.seconds if replies else 0)
    costs.check_time(job.name, seconds, request.max_minutes, smaller)
    return PlannedAudit(job, scorer, cost, replies, readme)


def audit(request: Request, say: Callable[[str], None] = print) -> Audit:
    """Audit one model; writes scores.parquet, profile.json, profile.csv, profile.png and audit.html, and optimal.csv
    and card.md where they are asked for, all or none.

    A reward model's scores are kept in ``.<out>.shards`` as they are computed: a killed run goes on from there.
    """
    planned = plan(request, say)
    job, scorer = planned.job, planned.scorer
    start, progress = time.perf_counter(), sys.stderr.isatty()
    table, problem = scorer.score(results.shards(job.out), progress)
    result = evaluate(planned, table)
    result["not_finite"] = problem
    if planned.optimal is not None:
        result["optimal"] = optimal.find(planned.optimal, job, cast(Any, scorer), results.shards(job.out), progress)
    with results.whole(job.out) as folder:
        tables.write_scores(table, folder / "scores.parquet", _made_by(planned))
        draw(result, folder)
        memory = costs.peak_bytes(scorer.backbone.device)
        result["cost"]["actual"] = {"seconds": time.perf_counter() - start, "memory_bytes": memory}
        result = write(result, folder)
        if planned.readme is not None:
            card.write(planned.readme, result, folder)
    return Audit(result, job.out, problem)


def evaluate(planned: PlannedAudit, table: pd.DataFrame) -> dict:
    """Everything but the run's actual cost: profile, references, place, extremes, and claims that it cannot support."""
    job, request = planned.job, planned.job.request
    profile = job.profile(table)
    words = is_words(table)
    listed = table["token_decoded"].isin(spellings(job.lexicon["word"], None, request.case))
    others = [other for other in job.references if other["model"] != job.name and "released" not in other]
    reasons = [(other, comparison.mismatch(profile, other)) for other in others]
    comparable = [other for other, reason in reasons if reason is None]
    return {
        "model": {
            "name": job.name,
            **job.about(),
            "device": planned.cost.device,
            "dtype": planned.cost.dtype,
            "unnamed_rows": planned.scorer.unnamed,
            "template": job.form.template if job.form.kind == "text" else None,
        },
        "reference": None if isinstance(planned.scorer, LogProbabilities) else asdict(planned.scorer.held),
        "prompts": job.prompts.to_dict("records"),
        "profile": profile,
        "references": [
            {"model": other["model"], "file": other["file"], "ranked_words": other["ranked_words"]}
            | {"shared_words": comparison.shared_words(profile, other), "differs": comparison.caveats(profile, other)}
            | {"rows": other["rows"]}
            for other in comparable
        ],
        "references_not_comparable": [
            {"file": other["file"], "reason": reason} for other, reason in reasons if reason is not None
        ],
        "place": _place(job, table, profile),
        "extremes": {
            "of": "words" if words else "tokens",
            "rows": extremes(table[listed] if words else table, job.prompts),
        },
        "unsupported": comparison.unsupported(comparable),
        "cost": {"estimated": asdict(planned.cost)},
        "versions": results.versions(),
    }


def draw(result: dict, folder: Path) -> None:
    """profile.csv and the picture that is drawn from it."""
    from valuetrace.audit import picture  # matplotlib: not for --dry-run

    placed = result["place"] if result["place"] and "rows" in result["place"] else None
    table = comparison.side_by_side(result["profile"], result["references"], placed)
    files.write_csv(table, folder / "profile.csv")
    picture.draw(folder / "profile.csv", folder / "profile.png")


def write(result: dict, folder: Path) -> dict:
    """profile.json, optimal.csv and the page; returns what profile.json holds, of which the page is made."""
    if "optimal" in result:
        files.write_csv(optimal.table(result["optimal"]), folder / "optimal.csv")
    stored = files.read_json(files.write_json(result, folder / "profile.json"))
    files.write_text(page.page(stored, folder / "profile.png"), folder / "audit.html")
    return stored


def _place(job: Job, table: pd.DataFrame, profile: dict) -> dict | None:
    """The model's place among those whose scores were released (``comparison.place``), or ``refused`` and ``needs``.

    None where no released model has this kind of score. The model is ranked on the words that all of them rank.
    """
    others = [other for other in job.references if other["model"] != profile["model"]]
    released = [other for other in others if "released" in other and other["kind"] == profile["kind"]]
    if not released:
        return None
    if profile["reading"]["refused"]:
        return {key: profile["reading"][key] for key in ("refused", "needs")}
    comparable = [o for o in released if comparison.mismatch(profile, o) is None and not o["reading"]["refused"]]
    if not comparable:
        return comparison.unplaced(profile, released)
    words, common = job.lexicon["word"], comparison.common_words(comparable)
    own = profile if set(words) == common else job.profile(table, job.lexicon[words.isin(common)])
    return comparison.place(own, comparable)


def _made_by(planned: PlannedAudit) -> dict:
    job = planned.job
    return {
        "model": job.name,
        "kind": job.kind,
        "format": job.format,
        "dtype": planned.cost.dtype,
        "origin": job.origin,
        "config_sha256": files.sha256(job.folder / "config.json"),
        "lexicon": job.request.lexicon,
        "case": job.request.case,
        **({"tokenisation": job.request.tokenisation} if job.kind == "reward" else {}),
        "valuetrace": __version__,
    }
