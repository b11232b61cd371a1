"""The Hugging Face Hub: which revision, and weights, configuration and tokenizer of a model, hash-checked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from valuetrace.assets import MIRROR, mirror, verify
from valuetrace.core import files, settings
from valuetrace.core.errors import InputError

REVISIONS = Path("conf/revisions.lock.json")
_SECRETS = re.compile(r"\bhf_\w+|(?<=bearer )[^\s\"',]+|(?<=://)[^/\s@]+(?=@)", re.IGNORECASE)
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]  # never pickled weights, never code


def told(said: object, limit: int = 300) -> str:
    """What a server or client said, on one line, at most ``limit`` characters, without the token.

    Masked before it is cut: a server may echo the header that holds the token, and half a token is one, too.
    """
    from huggingface_hub import get_token

    text = " ".join(str(said).split())
    return _SECRETS.sub("***", text.replace(get_token() or "\n", "***"))[:limit]


def resolve_revision(repository: str, lookup: Callable[[str], str | None], lock: Path = REVISIONS) -> str:
    """The revision of a Hub repository whose row pins none: from the lock file, else looked up and recorded."""
    with files.writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(lock), FileLock(lock.with_name(f".{lock.name}.lock")):
        known = settings.build(dict[str, str], files.read_json(lock), str(lock)) if lock.is_file() else {}
        if repository not in known:
            known[repository] = cast(str, lookup(repository))
            if not re.fullmatch("[0-9a-f]{40}", str(known[repository])):
                raise InputError(f"{repository}: the server names no revision, but {told(known[repository], 50)}.")
            files.write_json(dict(sorted(known.items())), lock)
        return known[repository]


def fetch_hub(repository: str, revision: str | None, folder: Path) -> dict[str, str]:
    """Download weights, config and tokenizer of a Hub repository into ``folder``, every large file hash-checked.

    Returns ``{"repository", "revision"}``. Resumes within huggingface_hub's own cache. InputError says
    what a gated, missing or unreachable repository needs.
    """
    from huggingface_hub import HfApi, errors, snapshot_download  # which tries again by itself

    where = f"repository {repository}"
    try:
        revision = revision or resolve_revision(repository, lambda name: HfApi().model_info(name).sha)
        mirrored = mirror(Path(repository.replace("/", "--")) / revision)
        if mirrored:
            with files.writing(folder):
                for path in [path for pattern in _HUB_FILES for path in mirrored.glob(pattern)]:
                    shutil.copyfile(path, folder / path.name)
            return _with_weights(folder, repository, revision)
        info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        with files.writing(folder):
            snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=_HUB_FILES)
    except InputError:
        raise
    except Exception as error:  # the client fails in many ways at an answer that is not the Hub's
        if isinstance(error, errors.GatedRepoError):
            what = "is gated. Accept its licence on the Hub with your account, then run `hf auth login` or set HF_TOKEN"
        elif isinstance(error, errors.RevisionNotFoundError):
            what = f"has no revision {revision}. Correct the row, or delete its line in {REVISIONS}"
        elif isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
            what = "does not exist or is private. Check its name, or log in with `hf auth login`"
        else:
            what = f"cannot be fetched ({type(error).__name__}: {told(error)}). Check the network, or put a copy under "
            what += f"${MIRROR}/{repository.replace('/', '--')}/REVISION/"
        raise InputError(f"{where} {what}.") from None
    for sibling in cast(Any, info.siblings):
        if sibling.lfs and (folder / sibling.rfilename).is_file():
            verify(folder / sibling.rfilename, sibling.lfs.sha256, f"{where}: {sibling.rfilename}")
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return _with_weights(folder, repository, revision)


def _with_weights(folder: Path, repository: str, revision: str) -> dict[str, str]:
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"repository {repository} at {revision} holds no safetensors file. valuetrace loads no other weights."
        )
    return {"repository": repository, "revision": revision}
