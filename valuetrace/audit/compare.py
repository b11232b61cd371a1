"""``valuetrace audit A B C``: each model into its own folder, then one comparison of those that can be compared.

A model that cannot be audited loses no other. What can be compared is ``comparison.mismatch``'s to say.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from valuetrace.audit import comparison
from valuetrace.audit.page import KINDS, refused_rows, visible
from valuetrace.audit.run import Audit, audit, plan
from valuetrace.core import files
from valuetrace.core.errors import InputError, some
from valuetrace.core.numbers import interval, number
from valuetrace.report.numbers import Numbers
from valuetrace.report.page import picture, refusal_lines, template
from valuetrace.subjects import results
from valuetrace.subjects.inputs import Request

OUT = Path("audit", "compare")
RESULTS = ("compare.json", "compare.csv", "compare.png", "compare.html")
COLUMNS = ("group", "model", "construct", "framing", "words", "percentile", "low", "high", "refused")
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Compared:
    """done: the audits by model as it was given; failed: what is wrong with the others, in one line each; result: what
    compare.json in ``out`` holds (None: fewer than two were done, and nothing is written)."""

    done: dict[str, Audit]
    failed: dict[str, str]
    result: dict | None
    out: Path


def plan_each(models: Sequence[str], request: Request, say: Callable[[str], None]) -> tuple[dict[str, dict], dict]:
    """The cost of each model's audit (``PlannedAudit.costs``), and what is wrong with the others.

    Each model is let go before the next is loaded. InputError for a model given twice.
    """
    return _each(models, request, say, lambda asked: plan(asked, say).costs())


def audit_each(models: Sequence[str], request: Request, say: Callable[[str], None] = print) -> Compared:
    """Audit each of ``models`` as ``request`` says, into audit/MODEL, and compare them in ``request.out``
    (audit/compare). InputError, before anything runs, for a model given twice and a folder that cannot be written."""
    out = results.check(request.out or OUT, RESULTS, "comparison")
    done, failed = _each(models, replace(request, out=None), say, lambda asked: audit(asked, say))
    result = None
    if len(done) > 1:
        result = compare({name: (found.result, found.out) for name, found in done.items()}, failed)
        with results.whole(out, "comparison") as folder:
            result = write(result, folder, out)
    return Compared(done, failed, result, out)


def _each(
    models: Sequence[str], request: Request, say: Callable[[str], None], work: Callable[[Request], _Done]
) -> tuple[dict[str, _Done], dict[str, str]]:
    """What ``work`` makes of each model, and the errors of the others."""
    if twice := [name for at, name in enumerate(models) if Path(name) in map(Path, models[:at])]:
        raise InputError(f"{some(twice)}: given twice. Each model is audited once.")
    done, failed = {}, {}
    for at, name in enumerate(models, start=1):
        say(f"[{at} of {len(models)}] {name}")
        try:
            done[name] = work(replace(request, model=name))
        except InputError as error:
            failed[name] = str(error)
            say(f"error: {error}")
    return done, failed


def compare(audits: Mapping[str, tuple[dict, Path]], failed: Mapping[str, str]) -> dict:
    """What compare.json holds. audits: model as it was given → what its profile.json holds, and its folder.

    ``groups``: models of one kind of score (of language models: one format, too), in the order given; each with
    ``kind``, ``title``, ``apart`` (why it does not stand beside the first group), ``common_words`` (that all of them
    rank) and ``models``: ``model``, ``audit`` (its folder), ``format``, ``ranked_words``, ``differs`` (from the first),
    ``not_finite``, ``rows`` of its profile. ``failed``: what is wrong with the models that are not there.
    """
    groups: list[list[tuple[str, dict, Path]]] = []
    names = Counter(result["model"]["name"] for result, _ in audits.values())
    for given, (result, out) in audits.items():
        name = result["model"]["name"] if names[result["model"]["name"]] == 1 else given
        like = (g for g in groups if comparison.mismatch(g[0][1]["profile"], result["profile"]) is None)
        if (group := next(like, None)) is None:
            groups.append(group := [])
        group.append((name, result, out))
    first = groups[0][0][1]["profile"]
    return {
        "lexicon": first["lexicon"],
        "prompts": first["prompts"],
        "interval": first["interval"],
        "groups": [_group(group, first) for group in groups],
        "failed": [{"model": name, "error": error} for name, error in failed.items()],
    }


def table(result: dict) -> pd.DataFrame:
    """compare.csv: ``COLUMNS``; group is its title, a refused number is missing and ``refused`` says why."""
    parts = [
        comparison.side_by_side(group["models"][0], group["models"][1:]).assign(group=group["title"])
        for group in result["groups"]
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)]


def write(result: dict, folder: Path, out: Path) -> dict:
    """RESULTS into ``folder``, which becomes ``out``; returns what compare.json holds, of which the page is made."""
    from valuetrace.audit import picture as pictures  # matplotlib

    stored = files.read_json(files.write_json(result, folder / "compare.json"))
    files.write_csv(table(stored), folder / "compare.csv")
    pictures.draw(folder / "compare.csv", folder / "compare.png")
    files.write_text(page(stored, folder / "compare.png", out), folder / "compare.html")
    return stored


def page(result: dict, image: Path, out: Path) -> str:
    """compare.html, self-contained but for its links to the audits' own pages."""
    return template("compare.html.j2", "valuetrace.audit").render(
        n=Numbers({"compare": result}, folder=""),
        r=result,
        refused=refused_rows,
        link=lambda audit: Path(os.path.relpath(Path(audit, "audit.html"), out)).as_posix(),
        picture=picture(image, "Percentiles by construct and framing of every audited model"),
        visible=visible,
    )


def as_text(result: dict) -> str:
    """The percentiles and the refusals, for a terminal."""
    lines = []
    for group in result["groups"]:
        count = len(group["models"])
        lines.append(f"{group['title'].capitalize()} ({count}): {group['common_words']} words are ranked by all")
        lines += [f"  not beside the first: {group['apart']}"] if group["apart"] else []
        for at, row in enumerate(group["models"][0]["rows"]):
            lines.append(f"  {row['label']}, {row['framing']} prompts: percentile (95% over words)")
            for model in group["models"]:
                own = model["rows"][at]
                told = "refused"
                if "refused" not in own:
                    told = f"{number(own['percentile'], 1)} ({interval(own['percentile_interval'])})"
                lines.append(f"    {model['model']:<40} {told}")
        for model in group["models"]:
            lines += refusal_lines(refused_rows(model), f"  Refused ({model['model']}: ")
    return "\n".join(lines + [f"Not audited ({row['model']}): {row['error']}" for row in result["failed"]])


def _group(group: list[tuple[str, dict, Path]], first: dict) -> dict:
    profiles = [result["profile"] for _, result, _ in group]
    ours = profiles[0]
    models = [
        {
            "model": name,
            "audit": out.as_posix(),
            "format": result["profile"]["format"]["name"],
            "ranked_words": result["profile"]["ranked_words"],
            "not_finite": result["not_finite"],
            "differs": comparison.caveats(ours, result["profile"]),
            "rows": result["profile"]["rows"],
        }
        for name, result, out in group
    ]
    return {
        "kind": ours["kind"],
        "title": f"{KINDS[ours['kind']]}s"
        + (f", format {ours['format']['name']}" if ours["kind"] == "logprob" else ""),
        "apart": comparison.mismatch(first, ours),
        "common_words": len(comparison.common_words(profiles)),
        "models": models,
    }
