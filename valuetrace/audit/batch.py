"""``valuetrace audit A B C``: each model into its own folder, then one comparison; a bad one loses no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from valuetrace.audit import compare
from valuetrace.audit.run import Audit, PlannedAudit, audit, plan
from valuetrace.core.errors import InputError, some
from valuetrace.subjects import results
from valuetrace.subjects.inputs import Request

OUT = Path("audit", "compare")
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
    """The cost of each model's audit (``PlannedAudit.costs``), and what is wrong with the others."""
    _check(models)
    return _each(models, request, say, lambda asked: _costs(plan(asked, say)))


def audit_each(models: Sequence[str], request: Request, say: Callable[[str], None] = print) -> Compared:
    """Audit each of ``models`` as ``request`` says, into audit/MODEL, and compare them in ``request.out``
    (audit/compare). InputError, before anything runs, for a model given twice and a folder that cannot be written."""
    _check(models)
    out = results.check(request.out or OUT, compare.RESULTS, "comparison")
    done, failed = _each(models, replace(request, out=None), say, lambda asked: audit(asked, say))
    result = None
    if len(done) > 1:
        result = compare.compare({name: (found.result, found.out) for name, found in done.items()}, failed)
        with results.whole(out, "comparison") as folder:
            result = compare.write(result, folder, out)
    return Compared(done, failed, result, out)


def _each(
    models: Sequence[str], request: Request, say: Callable[[str], None], work: Callable[[Request], _Done]
) -> tuple[dict[str, _Done], dict[str, str]]:
    done, failed = {}, {}
    for number, name in enumerate(models, start=1):
        say(f"[{number} of {len(models)}] {name}")
        try:
            done[name] = work(replace(request, model=name))
        except InputError as error:
            failed[name] = str(error)
            say(f"error: {error}")
    return done, failed


def _costs(planned: PlannedAudit) -> dict:
    """The numbers alone: the model is let go before the next is loaded."""
    return planned.costs()


def _check(models: Sequence[str]) -> None:
    twice = [name for at, name in enumerate(models) if Path(name) in map(Path, models[:at])]
    if twice:
        raise InputError(f"{some(twice)}: given twice. Each model is audited once.")
