"""Adopt results after a refactoring that was meant to change nothing: run some cells again and demand equal bytes.

A stage depends on the key of its code (``core.keys``). Where only that key has changed, ``adopt`` runs a sample of the
stage's cells in a folder of its own, with the code as it is, and compares every byte that they write with what the lock
file records; where a machine's last digits differ from the recording machine's, with what the code of a git revision
writes here. Equal bytes, and the lock files name the new key; metrics/adopted.json keeps who vouches for what.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from valuetrace.core import files, keys
from valuetrace.core.errors import InputError, some
from valuetrace.publish.remote import repository

RECORD = Path("metrics/adopted.json")
CODE = "metrics/code/"
_SHARED = ("data/models", "data/assets")  # what stages read beyond their declared dependencies (dvc.yaml says why)
_TREE = ("conf", "lexicons", "metrics", "params.yaml", "prompts", "requirements.lock", "stages", "valuetrace")


def adopt(
    kernel: str,
    sample: int,
    seed: int,
    against: str,
    scratch: Path,
    say: Callable[[str], None],
    unverified: str | None = None,
) -> dict[str, Any] | None:
    """Compare ``sample`` cells of a stage's script (``planting.plant``) and let its lock entries name the new key.

    against: the git revision whose code is run where this machine does not write the recorded bytes. scratch: a folder
    for the trees in which cells run; what one kernel wrote there is input of the next one's. unverified: why no cell is
    run, which is recorded. Returns the new entry of metrics/adopted.json, None where the lock files have the key
    already. Raises InputError where something other than code has changed, where no cell can run here, and where a byte
    differs.
    """
    with repository() as repo:
        cells = [stage for stage in repo.index.stages if (stage.cmd or "").split()[2:3] == [f"stages.{kernel}"]]
        recorded = [stage for stage in cells if stage.outs and all(out.hash_info for out in stage.outs)]
        if not recorded:
            raise InputError(f"stages.{kernel}: no lock file has a run of it. Run it: dvc repro.")
        stale = [stage for stage in recorded if _code(stage).hash_info != _code(stage).get_hash()]
        if not stale:
            return None
        for stage in stale:
            _only_code_changed(stage)
        can_run = [stage for stage in stale if not unverified and _can_run(stage)]
        if not can_run and not unverified:
            lacking = some(dep.def_path for dep in _lacking(stale[0]))
            raise InputError(f"stages.{kernel}: no cell can be run here, which lacks {lacking}. Pull or make it.")
        compared = []
        drawn = random.Random(seed).sample(can_run, len(can_run))
        drawn.sort(key=lambda stage: sum(not (scratch / "new" / _path(dep)).exists() for dep in _lacking(stage)))
        for stage in drawn[:sample]:
            say(f"{stage.cmd}: once more")
            compared.append({"cell": stage.addressing, "equal_to": _compare(stage, against, scratch, say)})
        for stage in stale:
            _code(stage).save()
        _write_locks(stale)
        for stage in stale:  # a run that is here is found by its new key, too
            whole = all(item.exists for item in [*stage.deps, *stage.outs])
            if whole and not any(out.changed_checksum() for out in stage.outs):
                repo.stage_cache.save(stage)
    key = keys.kernel(f"stages.{kernel}").digest
    made: dict[str, Any] = {"kernel": kernel, "old_key": _old_key(kernel, against), "key": key}
    made |= {"commit": _git("rev-parse", "HEAD"), "cells": len(stale), "seed": seed, "compared": compared}
    made |= {"unverified": unverified} if unverified else {}
    files.write_json([*read(), made], RECORD)
    return made


def read() -> list[dict[str, Any]]:
    """Every adoption so far; none where nothing was adopted."""
    return files.read_json(RECORD) if RECORD.is_file() else []  # type: ignore[return-value]


def summary() -> list[str]:
    """How many results stand without having been made by the code beside them: a line, or none where all were."""
    made = read()
    cells, compared = sum(row["cells"] for row in made), sum(len(row["compared"]) for row in made)
    unverified = sum(row["cells"] for row in made if "unverified" in row)
    told = f"adopted: {cells} cells of {len({row['kernel'] for row in made})} kernels, {compared} of them run again"
    return [told + (f"; {unverified} cells unverified" if unverified else "")] if made else []


def _old_key(kernel: str, revision: str) -> str | None:
    """The key at a revision; None before there were any."""
    path = Path(CODE, *kernel.split(".")).with_suffix(".json")
    done = subprocess.run(["git", "show", f"{revision}:{path}"], capture_output=True, text=True)
    return None if done.returncode else json.loads(done.stdout)["key"]


def prune() -> list[str]:
    """Take out of the lock files what no pipeline has a stage for; the names that are gone."""
    from dvc.utils.serialize import modify_yaml

    gone = []
    with repository() as repo:
        names: dict[str, set[str]] = {}
        for stage in repo.index.stages:
            if stage.cmd:
                names.setdefault(stage.path, set()).add(stage.name)
        for path, wanted in names.items():
            lock = Path(path).with_suffix(".lock")
            with modify_yaml(str(lock)) as data:
                dead = sorted(set(data.get("stages", {})) - wanted)
                for name in dead:
                    del data["stages"][name]
                gone += dead
    return gone


def _code(stage: Any) -> Any:
    """The dependency on the stage's own key."""
    return next(dep for dep in stage.deps if str(dep.def_path).startswith(CODE) or f"/{CODE}" in str(dep.def_path))


def _only_code_changed(stage: Any) -> None:
    for dep in stage.deps:
        if dep is _code(stage):
            continue
        changed = dep.status() if dep.hash_info and dep.exists else {}
        if changed or not dep.hash_info:
            raise InputError(f"{stage.addressing}: {dep} has changed, too. That is no refactoring: dvc repro runs it.")


def _can_run(stage: Any) -> bool:
    """Whether every input is here, or can be made by its own stage from what is here."""
    return all((maker := _maker(stage.repo, dep)) and _can_run(maker) for dep in _lacking(stage))


def _lacking(stage: Any) -> list[Any]:
    return [dep for dep in stage.deps if not dep.exists]


def _maker(repo: Any, dep: Any) -> Any | None:
    """The stage that makes an input."""
    return next((out.stage for out in repo.index.outs if out.stage.cmd and out.fs_path == dep.fs_path), None)


def _compare(stage: Any, against: str, scratch: Path, say: Callable[[str], None]) -> str:
    """``recorded``, or the commit whose code writes the same bytes here; InputError where there is no such."""
    with ThreadPoolExecutor() as pool:  # side by side: the second is needed wherever another machine made the record
        both = [pool.submit(_run, stage, scratch / "new", None), pool.submit(_run, stage, scratch / "old", against)]
        made, others = (run.result() for run in both)
    if all(made[path] == str(out.hash_info.value) for path, out in _outs(stage).items()):
        return "recorded"
    say(f"not the bytes that are recorded, which another machine may have made: held against {against}'s code")
    if differ := sorted(path for path in made if made[path] != others[path]):
        raise InputError(f"{stage.addressing}: {some(differ)} differ from what {against} writes; nothing is adopted.")
    return _git("rev-parse", against)


def _path(item: Any) -> str:
    """Where an input or output lies, from the root of the repository, whatever folder its pipeline stands in."""
    return os.path.relpath(item.fs_path)


def _outs(stage: Any) -> dict[str, Any]:
    return {_path(out): out for out in stage.outs}


def _run(stage: Any, tree: Path, revision: str | None) -> dict[str, str]:
    """Run a cell in a tree of its own, before it what makes lacking inputs; path → DVC's hash of what it wrote."""
    if tree.exists():
        pass  # of an earlier cell
    elif revision is None:
        tree.mkdir()
        for name in _TREE:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy2
            copy(name, tree / name)
    else:
        tree.mkdir()
        archive = subprocess.run(["git", "archive", revision, *_TREE], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    _execute(stage, tree, revision or "the code as it is")
    return {path: _hash(tree / path) for path in _outs(stage)}


def _execute(stage: Any, tree: Path, whose: str) -> None:
    for path in (outs := _outs(stage)):
        shutil.rmtree(tree / path) if (tree / path).is_dir() else (tree / path).unlink(missing_ok=True)
    for dep in _lacking(stage):
        if not (tree / _path(dep)).exists():
            _execute(_maker(stage.repo, dep), tree, whose)
    inputs = [_path(dep) for dep in stage.deps if not hasattr(dep, "params")]
    shared = [name for name in _SHARED if not any(f"{path}/".startswith(f"{name}/") for path in outs)]
    for name in [*inputs, *shared]:
        target = tree / name
        if not target.exists() and Path(name).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(name).resolve())
    done = subprocess.run([sys.executable, *stage.cmd.split()[1:]], cwd=tree, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise InputError(f"{stage.addressing} failed with {whose}: {last}")


def _hash(path: Path) -> str:
    """DVC's hash of a file or folder."""
    from dvc_data.hashfile.hash import file_md5
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    if path.is_file():
        return file_md5(str(path))
    tree = Tree()
    for at in (at for at in path.rglob("*") if at.is_file()):
        tree.add(at.relative_to(path).parts, None, HashInfo("md5", file_md5(str(at))))
    tree.digest()
    return str(tree.hash_info.value)


def _write_locks(stages: list[Any]) -> None:
    for path in {stage.path for stage in stages}:
        group = [stage for stage in stages if stage.path == path]
        group[0].dvcfile._lockfile.dump_stages(group)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
