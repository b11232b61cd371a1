"""Where bytes come from: pinned sources, checked by SHA-256, written whole or not at all.

A source is a row of ``assets:`` in params.yaml. The folder in the environment variable
``VALUETRACE_MIRROR`` is looked in first, for machines without a network: it holds package archives
under their own names, url files under their name, and Hub repositories as ``owner--name/revision/``.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast

from tqdm import tqdm

from valuetrace.core import files
from valuetrace.core.errors import InputError, some

FETCHED = Path("data/assets")
MIRROR = "VALUETRACE_MIRROR"
ATTEMPTS = 4  # then give up; the waits between them are 1, 2 and 4 seconds
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)  # what breaks a download
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of an asset: its SHA-256 and where it is found (members of a package are joined in order)."""

    sha256: str
    members: list[str] = field(default_factory=list)
    url: str | None = None
    path: str | None = None

    def __post_init__(self):
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError("sha256 must be 64 lower-case hexadecimal digits")


@dataclass(frozen=True)
class Asset:
    """One row of ``assets:``.

    package: ``packages`` maps pinned requirements to the SHA-256 of their archive, ``files`` says which
    members become which file. url, file: each file has its ``url`` or ``path``. Nothing is installed and
    no code of a source is run, but for the metadata step of a source distribution, which pip runs.
    """

    kind: Literal["package", "url", "file"]
    source: str
    licence: str
    files: dict[str, File]
    packages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if not self.files:
            raise ValueError("files is empty")
        if self.kind == "package" and not self.packages:
            raise ValueError("a package asset names its packages")
        for name, file in self.files.items():
            if not {"package": file.members, "url": file.url, "file": file.path}[self.kind]:
                raise ValueError(f"file {name} of a {self.kind} asset lacks its members, url or path")


def fetch(name: str, asset: Asset, folder: Path | None = None) -> Path:
    """Fetch an asset into ``folder`` (data/assets/<name>), whole and verified, or raise InputError."""
    folder = folder or FETCHED / name
    temporary = folder.with_name(f".{folder.name}.partial")
    with files.fresh_folder(temporary):
        if asset.kind == "package":
            _fetch_package(name, asset, temporary)
        for file_name, file in asset.files.items():
            to = temporary / file_name
            if asset.kind == "url":
                _fetch_url(name, file_name, file, to, folder.parent)
            elif asset.kind == "file":
                if not Path(cast(str, file.path)).is_file():
                    raise InputError(f"asset {name}: {file.path} does not exist. Put the file there.")
                shutil.copyfile(cast(str, file.path), to)
            verify(to, file.sha256, f"asset {name}: {file_name}")
        files.replace_folder(temporary, folder)
    return folder


def retry(what: str, action: Callable, errors: tuple[type[Exception], ...], attempts: int = ATTEMPTS):
    """Call ``action`` until it succeeds, waiting 1, 2, 4 … seconds after each of ``errors``."""
    for attempt in range(attempts):
        try:
            return action()
        except errors as error:
            if attempt == attempts - 1:
                raise
            print(f"{what}: {error}. Trying again in {2**attempt} s.", file=sys.stderr, flush=True)
            time.sleep(2**attempt)


def _fetch_package(name: str, asset: Asset, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.download.") as scratch:
        requirements = Path(scratch, "requirements.txt")
        lines = [f"{requirement} --hash=sha256:{digest}\n" for requirement, digest in asset.packages.items()]
        requirements.write_text("".join(lines), encoding="utf-8")
        archives = Path(scratch, "archives")
        mirror = os.environ.get(MIRROR)
        if not (mirror and _pip_download(name, asset, requirements, archives, ["--no-index", "--find-links", mirror])):
            download = partial(_pip_download, name, asset, requirements, archives, [], required=True)
            retry(f"asset {name}", download, (ConnectionError,))
        wanted = {member for file in asset.files.values() for member in file.members}
        unpacked = _unpack(sorted(archives.iterdir()), wanted, Path(scratch, "members"))
        if missing := wanted - unpacked.keys():
            raise InputError(
                f"asset {name}: {some(sorted(missing))} is not inside {some(asset.packages)}. "
                "Look into the archive and correct the row's members."
            )
        for file_name, file in asset.files.items():
            with open(folder / file_name, "wb") as out:
                for member in file.members:
                    with open(unpacked[member], "rb") as stream:
                        shutil.copyfileobj(stream, out, _CHUNK)


def _pip_download(name, asset, requirements: Path, to: Path, options: list[str], required: bool = False) -> bool:
    """pip's own client, so that a user's index, proxy and certificate settings hold."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-build-isolation"]
    command += ["--disable-pip-version-check", *options, "-d", str(to), "-r", str(requirements)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return True
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise InputError(
            f"asset {name}: an archive of {some(asset.packages)} does not have the expected sha256 "
            f"({some(asset.packages.values())}). The registry or mirror serves another file: do not use it; "
            "compare with the project's own release, then correct the row."
        )
    if not required:
        return False
    if "No matching distribution" in done.stderr and "connection" not in done.stderr.lower():
        raise InputError(
            f"asset {name}: the package registry does not offer {some(asset.packages)}. Check pip's index settings "
            f"(`pip config list`), or put the archive into the folder named by {MIRROR}."
        )
    last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    raise Unreachable(
        f"asset {name}: {some(asset.packages)} cannot be downloaded ({last}). Check the network and pip's settings, "
        f"or put the archive into the folder named by {MIRROR}"
    )


class Unreachable(InputError, ConnectionError):
    """A failure of the network, worth another try (``retry``); an input error when the tries are used up."""


def _unpack(archives: list[Path], wanted: set[str], to: Path) -> dict[str, Path]:
    """The wanted members of wheels and source archives as files named by number, each archive read once."""
    to.mkdir()
    unpacked: dict[str, Path] = {}

    def keep(member: str, stream: IO[bytes]) -> None:
        unpacked[member] = to / str(len(unpacked))
        with stream, open(unpacked[member], "wb") as out:
            shutil.copyfileobj(stream, out, _CHUNK)

    for path in archives:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in wanted.intersection(archive.namelist()):
                    keep(member, archive.open(member))
        else:
            with tarfile.open(path, "r|*") as archive:
                for entry in archive:
                    if entry.name in wanted and entry.isfile():
                        keep(entry.name, cast("IO[bytes]", archive.extractfile(entry)))
    return unpacked


def _fetch_url(name: str, file_name: str, file: File, to: Path, keep: Path) -> None:
    if mirrored := mirror(Path(file_name)):
        shutil.copyfile(mirrored, to)
        return
    # a broken download is kept beside the folder, so that the next attempt goes on from there
    part = keep / f".{name}.{file_name}.{file.sha256[:8]}.part"
    try:
        retry(f"asset {name}", lambda: _download(cast(str, file.url), part, file_name), _BROKEN)
    except _BROKEN as error:
        raise InputError(
            f"asset {name}: {file.url} cannot be fetched ({error}). Check the network and the row's url, or put "
            f"{file_name} into the folder named by {MIRROR}."
        ) from None
    part.replace(to)


def _download(url: str, part: Path, label: str) -> None:
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is already whole, or longer than the file
            part.unlink()
        raise
    with response, open(part, "ab" if response.status == 206 else "wb") as out:
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=label, disable=None) as bar:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
        out.flush()
        if total is not None and out.tell() != total:
            raise ConnectionError(f"the connection closed after {out.tell()} of {total} bytes")


def mirror(relative: Path) -> Path | None:
    """The file or folder ``relative`` of the mirror; None where there is no mirror or it lacks it."""
    root = os.environ.get(MIRROR)
    if root and (path := Path(root, relative)).exists():
        return path
    return None


def verify(path: Path, expected: str, what: str) -> None:
    """InputError about ``what`` where a file has another SHA-256 than ``expected`` (hex); the file is deleted."""
    found = files.sha256(path)
    if found != expected:
        path.unlink()
        raise InputError(
            f"{what}: expected sha256 {expected}, found {found}. The file is damaged or another version; it was "
            "deleted. Fetch it again, or correct the row if the new version is meant."
        )
