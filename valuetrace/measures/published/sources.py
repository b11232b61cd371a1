"""What the authors of the paper released: which files, and how they come here, each checked by its digest.

Files lie under ``data/published/`` at their path below the authors' own ``data/``. Two *parts* may be lacking: the
rewards of every checkpoint and the log-probabilities (2 GB). Where their source is out of reach the rest goes on; a
file that is not what its row says is refused wherever it comes from. The folder in ``VALUETRACE_MIRROR`` is looked in
first: it holds the same paths (``data/corpora/…``), log-probabilities as ``data/logprobs/OWNER--NAME.csv``.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from valuetrace import assets
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.core.settings import ROOT
from valuetrace.hub import REVISIONS, resolve_revision, told

FETCHED = Path("data/published")
UPSTREAM = "data/"  # the authors' folder: what follows it is a file's path in FETCHED
LANGUAGE_MODELS = ROOT / "conf" / "published" / "language_models.csv"
"""The twelve language models of Section 3, bases as the paper names them."""

_LENGTHS = {"sha256": 64, "git": 40}


class Unreachable(InputError):
    """The source of a file does not answer; a part that may be lacking is then left out."""


@dataclass(frozen=True)
class Dataset:
    """A data set of the Hugging Face Hub. revision None: found and recorded by ``valuetrace.hub.resolve_revision``."""

    repository: str
    revision: str | None


@dataclass(frozen=True)
class Sources:
    """``published.sources`` in params.yaml. files, checkpoints: path → ``sha256:…``, or ``git:…``, its blob's id."""

    source: str
    licence: str
    url: str
    files: dict[str, str]
    checkpoints: dict[str, str]
    logprobs: Dataset

    def __post_init__(self):
        for path, digest in (self.files | self.checkpoints).items():
            kind, _, value = digest.partition(":")
            if len(value) != _LENGTHS.get(kind) or set(value) - set("0123456789abcdef"):
                raise ValueError(f"{path}: {digest} is neither sha256: and 64 nor git: and 40 hexadecimal digits")
            if not path.startswith(UPSTREAM) or ".." in Path(path).parts:
                raise ValueError(f"{path} is no path below {UPSTREAM}")


def fetch(rows: Sources, folder: Path = FETCHED) -> list[str]:
    """Fetch every file that is not yet in ``folder`` and whole. Returns what is lacking, one line a part.

    InputError where a needed file cannot be had, or any file is not what its row says.
    """
    for path, digest in rows.files.items():
        _fetch_file(rows.url, path, digest, folder)
    (folder / "logprobs").mkdir(parents=True, exist_ok=True)  # there, if empty: stages depend on it
    lacks = []
    for what, how, files_of_part in (
        ("rewards of the whole vocabulary at every checkpoint", _fetch_checkpoints, rows.checkpoints),
        ("log-probabilities of the language models", _fetch_logprobs, language_models()["repository"]),
    ):
        try:
            how(rows, folder)
        except Unreachable as error:
            lacks.append(f"{what} ({len(files_of_part)} files)")
            print(f"lacks the {lacks[-1]}: {error} `make published` then adds them.", file=sys.stderr, flush=True)
    return lacks


def language_models() -> pd.DataFrame:
    """The rows of ``LANGUAGE_MODELS``: ``repository, label, base, training, size`` (10⁹ parameters, a number)."""
    frame = files.read_csv(LANGUAGE_MODELS, ("repository", "label", "base", "training", "size"), dtype=str)
    return frame.assign(size=frame["size"].astype(float))


def logprobs_file(repository: str) -> str:
    """A model's file in the data set, and in ``data/published/logprobs/``."""
    return f"{repository.replace('/', '--')}.csv"


def is_what(path: Path, digest: str) -> bool:
    """Whether the file has ``digest``: ``sha256:…``, or ``git:…``, the SHA-1 of ``blob <size>\\0`` and its bytes."""
    kind, _, value = digest.partition(":")
    if kind == "sha256":
        return files.sha256(path) == value
    told_first = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, told_first.copy).hexdigest() == value


def _fetch_checkpoints(rows: Sources, folder: Path) -> None:
    for path, digest in rows.checkpoints.items():
        _fetch_file(rows.url, path, digest, folder)


def _fetch_file(url: str, path: str, digest: str, folder: Path) -> None:
    """One file of the repository, from the mirror or by URL; assets.py's download goes on where one broke off."""
    to = folder / path.removeprefix(UPSTREAM)
    if to.is_file() and is_what(to, digest):
        return
    part = to.with_name(f".{to.name}.part")
    with files.writing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        if mirrored := assets.mirror(Path(path)):
            shutil.copyfile(mirrored, part)
        else:
            _download(f"{url}{path}", part)
        if not is_what(part, digest):
            part.unlink()
            raise InputError(
                f"{path} of {mirrored or url}: not the file that conf/published.yaml names ({digest}). It is damaged "
                "or another version, and was not kept. Fetch it again, or correct the row if that version is meant."
            )
        part.replace(to)


def _download(url: str, part: Path) -> None:
    try:
        assets.retry(url, lambda: assets._download(url, part, part.name), assets._BROKEN)
    except assets._BROKEN as error:
        raise Unreachable(
            f"{url} cannot be fetched ({error}). Check the network, or put the files under their own paths "
            f"({UPSTREAM}…) into the folder named by {assets.MIRROR}."
        ) from None


def _fetch_logprobs(rows: Sources, folder: Path) -> None:
    """The CSV of every language model, from the mirror or the Hub, whose own SHA-256 of each file is checked."""
    row, to = rows.logprobs, folder / "logprobs"
    wanted = [logprobs_file(model) for model in language_models()["repository"]]
    for name in [name for name in wanted if not (to / name).is_file()]:
        if mirrored := assets.mirror(Path(UPSTREAM, "logprobs", name)):
            files.write_atomically(to / name, lambda path, source=mirrored: shutil.copyfile(source, path))
    if wanted := [name for name in wanted if not (to / name).is_file()]:
        _fetch_from_hub(row, wanted, to)


def _fetch_from_hub(row: Dataset, names: list[str], to: Path) -> None:
    from huggingface_hub import HfApi, hf_hub_download  # which tries again, and goes on, by itself

    what = f"data set {row.repository}"
    try:
        revision = row.revision or resolve_revision(row.repository, lambda name: HfApi().dataset_info(name).sha)
        info = HfApi().dataset_info(row.repository, revision=revision, files_metadata=True)
        sums = {sibling.rfilename: sibling.lfs.sha256 for sibling in cast(Any, info.siblings) if sibling.lfs}
        for name in names:
            hf_hub_download(row.repository, name, repo_type="dataset", revision=revision, local_dir=to)
            if name in sums:
                assets.verify(to / name, sums[name], f"{what}: {name}")
    except InputError:
        raise
    except Exception as error:  # the client trips over an answer that is none of the Hub's in many ways
        raise Unreachable(
            f"{what} cannot be fetched ({type(error).__name__}: {told(error, 120)}). Check the network and the "
            f"revision in {REVISIONS}, or put its files into {UPSTREAM}logprobs/ of the folder {assets.MIRROR}."
        ) from None
    shutil.rmtree(to / ".cache", ignore_errors=True)
