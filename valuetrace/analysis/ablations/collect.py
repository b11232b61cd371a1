"""Collect the runs of all DVC experiments, the workspace and the committed tables, and fit them.

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

from valuetrace.analysis.ablations import fit as ablations
from valuetrace.analysis.ablations import inheritance
from valuetrace.core import files
from valuetrace.core.errors import InputError

RUNS = Path("plots/ablations/runs.csv")
INHERITANCE = RUNS.with_name("inheritance.csv")
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


def collect(folder: str | Path = ".") -> tuple[pd.DataFrame, pd.DataFrame, dict[str, object]]:
    """All runs: the committed tables, then the experiments, then the workspace; of one run the later counts.

    Returns the gaps (``ablations.COLUMNS``, a row a run, pair of bases and framing), the survival of each base's
    own ranking (``inheritance.COLUMNS``) and what was read (``experiments, without_results, runs``). InputError
    where there is no run at all.
    """
    folder = Path(folder)
    gaps, survival = [], []
    for path, columns, parts in ((RUNS, ablations.COLUMNS, gaps), (INHERITANCE, inheritance.COLUMNS, survival)):
        if (folder / path).is_file():
            parts.append(files.read_csv(folder / path, columns, na_values=[""]))
    found, without = experiments(folder)
    metrics = list(found.values())
    if (folder / METRICS).is_file():
        metrics.append(files.read_json(folder / METRICS))
    gaps += [pd.DataFrame(told.get("final", [])) for told in metrics]
    survival += [inheritance.last_survival(told) for told in metrics if told.get("survival")]
    if not any(len(part) for part in gaps):
        raise InputError(f"no run to collect: neither {RUNS}, nor an experiment, nor {METRICS}. Run dvc exp run first.")
    runs = merge(gaps, ablations.COLUMNS, ablations.KEY)
    distinct = runs.drop_duplicates([n for n in ablations.KEY if n not in ("first", "second", "framing")])
    read = {"experiments": len(found), "without_results": without, "runs": len(distinct)}
    return runs, merge(survival, inheritance.COLUMNS, inheritance.KEY), read


def merge(parts: list[pd.DataFrame], columns: tuple[str, ...], key: tuple[str, ...]) -> pd.DataFrame:
    """Rows of all tables, the later table's where two have one key, in the order of the key."""
    parts = [part.reindex(columns=list(columns)) for part in parts if len(part)]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(columns))
    return table.drop_duplicates(list(key), keep="last").sort_values(list(key), ignore_index=True)


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
    """Write plots/ablations/{runs,fit,curve,inheritance}.csv and metrics/ablations.json; the metrics are returned."""
    folder = Path(folder)
    runs, survival, read = collect(folder)
    metrics, fit, curve = summarise(runs, chosen)
    metrics = read | metrics | {"inheritance": inheritance.summary(survival, chosen.draws, chosen.seed)}
    for name, table in (("runs", runs), ("fit", fit), ("curve", curve), ("inheritance", survival)):
        files.write_csv(table, folder / RUNS.with_name(f"{name}.csv"))
    files.write_json(metrics, folder / "metrics/ablations.json")
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
    for row in metrics["inheritance"]:
        where = f"{row['base']}, {row['framing']} ({row['source']}, {row['objective']}, {row['profile']})"
        interval = "" if row["low"] is None else f" ({row['low']:+.2f} to {row['high']:+.2f})"
        lines.append(
            f"{where}: rho with its own base {row['own']:+.2f}, with another {row['other']:+.2f}, "
            f"difference {row['difference']:+.2f}{interval}, {row['runs']} runs"
        )
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
