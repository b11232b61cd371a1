"""Push published adapters, and the atlas as a data set, to the Hugging Face Hub (HF_ENDPOINT: or another server).

huggingface_hub uploads large files through Xet, in chunks that the server already has skipped; with
HF_HUB_DISABLE_XET=1, which a server without Xet needs, through git-LFS. It tries each upload again by
itself; a step that still fails on the network is tried again here. What arrived stays: the same command
goes on from there. The token comes from the environment or `hf auth login` and appears nowhere.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from valuetrace.assets import Unreachable, retry
from valuetrace.core.errors import InputError
from valuetrace.hub import told

LOGIN = "Log in with `hf auth login`, or set HF_TOKEN to a token with write access (huggingface.co/settings/tokens)"
QUOTA = (402, 413, 507)
TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504)


def repositories(prefix: str, bases: list[str]) -> dict[str, str]:
    """The repository of each base's adapter: ``OWNER/NAME-PREFIX-<base>``; InputError for a prefix that is none."""
    names = {base: f"{prefix}-{base}" for base in bases}
    hint = f"give OWNER/NAME-PREFIX, such as me/values (me/values-{bases[0]} is written)"
    if prefix.count("/") != 1 or not all(prefix.split("/")):
        raise InputError(f"--to {prefix}: {hint}.")
    for name in names.values():
        check_name("--to", name)
    return names


def check_name(option: str, name: str) -> None:
    """InputError where ``name``, given with ``option``, is no repository's OWNER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if name.count("/") != 1 or not all(name.split("/")):
        raise InputError(f"{option} {name}: give OWNER/NAME, such as me/atlas.")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{option} {name}: {error}") from None


def login(say: Callable[[str], None]) -> Any:
    """A client that the server knows; says for whom. InputError without a token or with a wrong one."""
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise InputError(f"no Hugging Face token. {LOGIN}.")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    user = _step("log in", api, lambda: api.whoami()["name"])
    say(f"logged in to {api.endpoint} as {user}")
    return api


def push(
    folder: Path,
    repository: str,
    private: bool,
    api: Any,
    say: Callable[[str], None],
    kind: Literal["model", "dataset"] = "model",
) -> str:
    """Create ``repository`` where it is missing, upload ``folder``, and return the commit's address.

    The folder's files are one commit; files that the repository has are not sent again. A repository that
    exists keeps its visibility. InputError says what went wrong and how to go on.
    """
    say(f"{repository}: uploading {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB")
    message = f"Adapter of {folder.name}" if kind == "model" else f"The {folder.name}"
    made: dict = {"private": private or None, "exist_ok": True}
    sent: dict = {"folder_path": folder, "commit_message": message}
    _step(f"create {repository}", api, lambda: api.create_repo(repository, repo_type=kind, **made))
    upload = _step(
        f"upload to {repository}", api, lambda: api.upload_folder(repo_id=repository, repo_type=kind, **sent)
    )
    return upload.commit_url


def _step(what: str, api: Any, action: Callable[[], Any]) -> Any:
    """``action`` tried until it is done or hopeless; each failure becomes one line without the token."""

    def attempt() -> Any:
        try:
            with _quiet():
                return action()
        except (KeyboardInterrupt, InputError):
            raise
        except Exception as error:
            if sys.stderr.isatty():
                print(file=sys.stderr)  # below the progress bar
            raise explain(what, error, api.endpoint) from None

    return retry("publish", attempt, (Unreachable,))


def explain(what: str, error: Exception, endpoint: str) -> InputError:
    """What an exception of the client means for the user; ``Unreachable`` where another try may help."""
    from huggingface_hub import errors

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    status = next((e.response.status_code for e in chain if isinstance(e, errors.HfHubHTTPError)), None)
    said, endpoint = " ".join(str(e) for e in chain if str(e)), told(endpoint)
    if status in QUOTA or (status in (400, 403) and re.search("quota|storage limit", said, re.IGNORECASE)):
        return InputError(f"{what}: the account's storage is full ({status}). Free some, or publish elsewhere (--to).")
    if status == 401:
        return InputError(f"{what}: {endpoint} does not accept the token (401). {LOGIN}.")
    if status == 403:
        return InputError(
            f"{what}: forbidden (403): the token may not write there. {LOGIN}, accept the licence where the repository "
            "is gated, or name another owner (--to)."
        )
    if status == 404:
        return InputError(
            f"{what}: not found (404) on {endpoint}. Check the name after --to or --atlas, and HF_ENDPOINT if set."
        )
    resume = "What arrived stays: the same command goes on from there"
    if status in TRANSIENT:
        return Unreachable(f"{what}: {endpoint} answers {status}. {resume}")
    if status is not None:
        return InputError(f"{what}: {endpoint} refuses ({status}): {told(said)}")
    network = (errors.HTTPError, ConnectionError, TimeoutError)  # the first: httpx's, without an answer
    if any(isinstance(e, network) for e in chain):
        return Unreachable(
            f"{what}: the connection to {endpoint} failed ({type(chain[-1]).__name__}: {told(chain[-1])}). {resume}"
        )
    if isinstance(error, OSError):
        return InputError(f"{what}: {told(error)}")
    hint = "" if "huggingface.co" in endpoint else " If that server has no Xet storage, set HF_HUB_DISABLE_XET=1."
    return InputError(f"{what}: {type(chain[-1]).__name__}: {told(said)}.{hint} {resume}.")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars in a log, and none of the client's warnings: they name signed upload addresses."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    before, hide = logging.get_verbosity(), not (sys.stderr.isatty() or are_progress_bars_disabled())
    logging.set_verbosity_error()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if hide:
            enable_progress_bars()
