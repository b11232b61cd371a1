"""Collect the runs of all DVC experiments, the workspace and runs.csv, fit them, draw one figure.

An experiment is a git reference (``refs/exps/…``) that DVC makes when a run has succeeded; a failed run has
none, so nothing stands for it. Each row says itself which run it is (metrics/dynamics.json, ``final``).
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from valuetrace import tables
from valuetrace.analysis import ablations
from valuetrace.errors import InputError

RUNS = Path("plots/ablations/runs.csv")
METRICS = "metrics/dynamics.json"
_EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")


@dataclass(frozen=True)
class Settings:
    """Group ``ablations`` of params.yaml: bootstrap draws over runs, and their seed."""

    draws: int
    seed: int

    def __post_init__(self):
        if self.draws < 1:
            raise ValueError("draws must be at least 1")


def experiments(folder: str | Path = ".") -> tuple[dict[str, dict], list[str]]:
    """metrics/dynamics.json of every DVC experiment, the oldest first, by name; and the names that have none.

    folder: the root of the pipeline. Empty where it is no git repository (a downloaded archive, say).
    """
    form = "--format=%(creatordate:unix) %(objectname) %(refname)"
    listed = _git(folder, "for-each-ref", form, "refs/exps")
    found, without = {}, []
    for line in sorted((listed or "").splitlines(), key=lambda line: int(line.split(" ", 1)[0])):
        _, commit, name = line.split(" ", 2)
        match = _EXPERIMENT.fullmatch(name)
        if match is None:  # DVC's own bookkeeping: queues, stashes
            continue
        text = _git(folder, "show", f"{commit}:./{METRICS}")
        metrics = _rows(text)
        name = match["name"] if match["name"] not in found else f"{match['name']} ({commit[:7]})"  # on another commit
        if metrics is None:
            without.append(name)
        else:
            found[name] = metrics
    return found, without


def collect(folder: str | Path = ".") -> tuple[pd.DataFrame, dict[str, object]]:
    """All runs: runs.csv, then the experiments, then the workspace; the later counts where two are one run.

    Returns the table (``ablations.COLUMNS``, a row a run, pair of bases and framing) and what was read
    (``experiments, without_results, runs``). InputError where there is no run at all.
    """
    folder = Path(folder)
    parts = []
    if (folder / RUNS).is_file():
        parts.append(tables.read_csv(folder / RUNS, ablations.COLUMNS, na_values=[""]))
    found, without = experiments(folder)
    parts += [pd.DataFrame(metrics["final"]) for metrics in found.values()]
    if (folder / METRICS).is_file():
        workspace = tables.read_json(folder / METRICS)
        parts.append(pd.DataFrame(workspace.get("final", [])))
    if not any(len(part) for part in parts):
        raise InputError(f"no run to collect: neither {RUNS}, nor an experiment, nor {METRICS}. Run dvc exp run first.")
    runs = ablations.merge_runs([part for part in parts if len(part)])
    distinct = runs.drop_duplicates([n for n in ablations.KEY if n not in ("first", "second", "framing")])
    return runs, {"experiments": len(found), "without_results": without, "runs": len(distinct)}


def summarise(runs: pd.DataFrame, chosen: Settings) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """metrics/ablations.json, and the tables of fits and curves (``ablations.fits``)."""
    fit, curve = ablations.fits(runs, chosen.draws, chosen.seed)
    groups = []
    for key, own in fit.groupby(list(ablations.GROUP), sort=True):
        row = own.iloc[0]
        group = dict(zip(ablations.GROUP, key, strict=True))
        group |= {name: int(row[name]) for name in ("runs", "sizes", "seeds", "smallest", "largest")}
        for model, rows in own.groupby("model"):
            refused = rows["refused"].iloc[0]
            group[model] = {"refused": refused} if refused else {}
            for part in rows.to_dict("records") if not refused else []:
                group[model][part["parameter"]] = {name: float(part[name]) for name in ("estimate", "low", "high")}
        groups.append(group)
    return {"draws": chosen.draws, "seed": chosen.seed, "groups": groups}, fit, curve


def update(folder: str | Path, chosen: Settings) -> dict:
    """Write plots/ablations/{runs,fit,curve}.csv and metrics/ablations.json; the metrics are returned."""
    folder = Path(folder)
    runs, read = collect(folder)
    metrics, fit, curve = summarise(runs, chosen)
    metrics = read | metrics
    for name, table in (("runs", runs), ("fit", fit), ("curve", curve)):
        tables.write_csv(table, folder / RUNS.with_name(f"{name}.csv"))
    tables.write_json(metrics, folder / "metrics/ablations.json")
    return metrics


def as_text(metrics: dict) -> str:
    """What was collected and fitted, for a terminal."""
    lines = [f"{metrics['runs']} runs ({metrics['experiments']} experiments read)"]
    if metrics["without_results"]:
        lines.append(f"without {METRICS}, left out: {', '.join(metrics['without_results'])}")
    for group in metrics["groups"]:
        pair = f"{group['second']} - {group['first']}, {group['framing']}"
        lines.append(f"{pair} ({group['source']}, {group['objective']}, {group['profile']}; {group['runs']} runs):")
        for model, name, unit in (("line", "per_doubling", "ranks a doubling"), ("power", "exponent", "exponent")):
            fit = group[model]
            if "refused" in fit:
                lines.append(f"  {model}: no fit, {fit['refused']}")
            else:
                part = fit[name]
                lines.append(f"  {model}: {part['estimate']:+.2f} {unit} ({part['low']:+.2f} to {part['high']:+.2f})")
    return "\n".join(lines)


def _rows(text: str | None) -> dict | None:
    """The metrics where they hold ``final`` rows of our columns, else None."""
    try:
        metrics = json.loads(text or "")
    except ValueError:
        return None
    rows = metrics.get("final") if isinstance(metrics, dict) else None
    whole = isinstance(rows, list) and rows and all(set(ablations.KEY) | {"gap"} <= set(row) for row in rows)
    return metrics if whole else None


def _git(folder: str | Path, *arguments: str) -> str | None:
    """Git's answer, or None where it refuses (no repository, no such file) or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
