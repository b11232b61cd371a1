"""The DVC side: ``checkpoints.dvc``, and the remote inside the repository with what a fresh clone needs.

What DVC 3.67 does, each line tried out in a clone (the README's commands follow from it):

- ``dvc pull`` fails on a cached output that is ``push: false``, since it is in no remote. ``{cache: false,
  push: false}`` keeps such outputs out of ``pull``; ``dvc repro --allow-missing`` skips them all the same.
- ``dvc push --run-cache`` sends the entries of the run cache but not their files, beyond those of the
  workspace. An ablation then runs again in a clone. ``push`` below sends the files, too.
- A stage with an output that is ``cache: false`` and no metric or plot never enters the run cache. So what
  training writes is cached, a metric or a plot.
- The run cache answers a stage whose dependencies all exist in the workspace: what lies between a stage and
  an output that is ``push: false`` must be a small file in git or in the remote.
- ``--allow-missing`` forgives a dependency that is absent, not a folder of which a part is there. Outputs
  that are pushed and outputs that are not never share a folder that a stage depends on.
- ``dvc exp run --pull --allow-missing -S data_size=…`` then answers an ablation from the run cache, offline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuetrace.core.errors import InputError, some

LIMIT = 20_000_000  # bytes of a remote that lies in the repository


@dataclass(frozen=True)
class Run:
    """One entry of the run cache (``key``/``value``); ``files``: bytes by md5; current: it made the workspace's."""

    key: str
    value: str
    stage: str
    files: dict[str, int]
    current: bool

    @property
    def place(self) -> tuple[str, ...]:
        """Where the entry lies in a cache or remote."""
        return "runs", self.key[:2], self.key, self.value


def push(say: Callable[[str], None], limit: int = LIMIT) -> int:
    """Bring the default remote up to date; returns its size in bytes (0 for one outside the repository).

    It gets every pushable output of the workspace and the run cache entries that the present code can use,
    files included. A remote inside the repository is held under ``limit`` bytes, the largest runs being left
    out (``say`` names them), and loses what neither the workspace nor a kept run uses. InputError where the
    workspace's own outputs are too large or are not here, or DVC fails.
    """
    with repository() as repo:
        odb = repo.cloud.get_remote_odb(None, "push", hash_name="md5-dos2unix")  # its path: the remote's root
        inside = odb.fs.protocol == "local" and Path(odb.path).is_relative_to(repo.root_dir)
        repo.stage_cache.pull(None)  # what others published stays
        own_objects = set().union(*repo.used_objs(push=True).values())
        own: dict[str, Any] = _sizes(repo, own_objects)
        if None in own.values():
            names = some(item.obj_name for item in own_objects if own[item.value] is None)
            raise InputError(f"outputs to publish are missing here: {names}. Run dvc pull or dvc repro.")
        if inside and sum(own.values()) > limit:
            names = {item.value: item.obj_name for item in own_objects}
            largest = sorted(own, key=own.__getitem__, reverse=True)
            raise InputError(
                f"the outputs to publish have {sum(own.values()) / 1e6:.1f} MB; the remote in the repository holds at "
                f"most {limit / 1e6:g} MB. Mark the largest push: false: "
                + some((f"{names[oid]} ({own[oid] / 1e6:.1f} MB)" for oid in largest), 3)
            )
        kept, left_out = within(usable_runs(repo), own, limit if inside else None)
        for run in left_out:
            say(f"left out of the remote: a run of {run.stage}, {sum(run.files.values()) / 1e6:.1f} MB")
        wanted = own_objects | {item for run in kept for item in _objects(repo, run.key, run.value)}
        failed = repo.cloud.push(wanted).failed
        if failed:
            raise InputError(
                f"DVC could not push {len(failed)} files to {odb.path}. The same command goes on from there."
            )
        for run in kept:
            _copy(repo.cache.legacy, odb, run.place)
        say(f"remote: {len(own)} files of the workspace and {len(kept)} runs of the run cache")
        oids = own.keys() | {oid for run in kept for oid in run.files}
        return _prune(Path(odb.path), oids, {run.place for run in kept}) if inside else 0


def usable_runs(repo: Any) -> list[Run]:
    """The run cache's entries that present code and sources can use, one a key: the workspace's, then small ones first.

    Usable: a stage has the entry's command and outputs, all of which may be pushed; the entry's dependencies
    that no stage makes (prompts …), and the keys of its code, are as they are now; its files are here or in the remote.
    """
    stages = {str(stage.cmd): stage for stage in repo.index.stages if stage.cmd}
    made = [out.fs_path for out in repo.index.outs if out.def_path != "metrics/code"]
    runs: dict[str, Run] = {}
    entries = Path(repo.stage_cache.cache_dir).glob("*/*/*")
    for path in sorted(entries, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        key, value = path.parent.name, path.name
        entry = repo.stage_cache._load_cache(key, value)
        stage = stages.get(str(entry["cmd"])) if entry else None
        if stage is None or not _same_outputs(entry, stage) or not _same_sources(entry, stage, made):
            continue
        objects = _objects(repo, key, value)
        if None in _sizes(repo, objects).values():
            repo.cloud.pull(objects)
        files: dict[str, Any] = _sizes(repo, objects)
        if None in files.values():
            continue
        told = {out["path"]: out.get("md5") for out in entry["outs"]}
        current = all(out.hash_info.value == told[out.def_path] for out in stage.outs)
        if key not in runs or (current and not runs[key].current):
            runs[key] = Run(key, value, stage.addressing, files, current)
    return sorted(runs.values(), key=lambda run: (not run.current, sum(run.files.values()), run.key))


def within(runs: list[Run], own: dict[str, int], limit: int | None) -> tuple[list[Run], list[Run]]:
    """The runs (in order) whose files fit under ``limit`` bytes beside ``own``, and those left out."""
    held, kept, left_out = own, [], []
    for run in runs:
        together = held | run.files
        if limit is not None and sum(together.values()) > limit:
            left_out.append(run)
        else:
            held = together
            kept.append(run)
    return kept, left_out


def _same_outputs(entry: dict, stage: Any) -> bool:
    paths = {out["path"] for out in entry["outs"]}
    return paths == {out.def_path for out in stage.outs} and all(out.can_push for out in stage.outs)


def _same_sources(entry: dict, stage: Any, made: list[str]) -> bool:
    told = {dep["path"]: dep.get("md5") for dep in entry.get("deps", [])}
    for dep in stage.deps:
        if dep.protocol != "local" or not dep.def_path or hasattr(dep, "params"):
            continue
        related = (dep.fs.isin_or_eq(dep.fs_path, path) or dep.fs.isin(path, dep.fs_path) for path in made)
        if not any(related) and (not dep.exists or told.get(dep.def_path) != dep.get_hash().value):
            return False
    return True


def _objects(repo: Any, key: str, value: str) -> set[Any]:
    return set().union(*repo.stage_cache.get_used_objs([(key, value)]).values())


def _sizes(repo: Any, objects: set[Any]) -> dict[str, int | None]:
    """Bytes by md5 of the objects in the local cache; None for one that is not there."""
    paths = {item.value: Path(repo.cache.local.oid_to_path(item.value)) for item in objects}
    return {oid: path.stat().st_size if path.is_file() else None for oid, path in paths.items()}


def _copy(source: Any, target: Any, place: tuple[str, ...]) -> None:
    from dvc.fs import generic

    to = target.fs.join(target.path, *place)
    if not target.fs.exists(to):
        generic.copy(source.fs, source.fs.join(source.path, *place), target.fs, to)


def _prune(root: Path, oids: set[str], places: set[tuple[str, ...]]) -> int:
    """Delete what is not wanted from a remote inside the repository (git keeps it for the commits that need it)."""
    size = 0
    for path in [path for path in root.rglob("*") if path.is_file()]:
        place = path.relative_to(root).parts
        if place in places or (place[:2] == ("files", "md5") and "".join(place[2:]) in oids):
            size += path.stat().st_size
        else:
            path.unlink()
    return size


@contextmanager
def repository() -> Iterator[Any]:
    """The DVC repository of this folder; what DVC says is an InputError."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    logger = logging.getLogger("dvc")
    before = logger.level
    logger.setLevel(logging.ERROR)  # its advice would stand between the lines of ours
    try:
        with Repo() as repo:
            yield repo
    except NotDvcRepoError:
        raise InputError("this is no DVC repository. Run from the root of the repository.") from None
    except DvcException as error:
        raise InputError(f"DVC: {error}") from None
    finally:
        logger.setLevel(before)
