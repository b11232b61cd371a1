"""Pinned sources, without a network: archives made here, a local web server, a local Hub."""

import errno
import hashlib
import io
import json
import os
import socket
import tarfile
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from valuetrace import assets
from valuetrace import hub as model_hub
from valuetrace.core import files
from valuetrace.core.errors import InputError
from valuetrace.models import loading
from valuetrace.models.rows import Source, TokenizerChanges, provenance

WORDS, MORE = b"agency\ncommunion\n", b"care\nloyalty\n" * 1000
ZERO = "0" * 64


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- a local web server --------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, asked = self.path.split("?")[0], self.headers.get("Range")
        self.server.asked.append((self.command, path, asked))
        status, body, headers = self.server.answer(path)
        length = len(body)
        if asked and self.server.resumes and status == 200:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status, body = (206, body[start:]) if start < length else (416, b"")
            length = len(body)
        if self.server.drops:  # promise all, send a part
            self.server.drops -= 1
            body, self.close_connection = body[: len(body) // 2], True
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Serves ``files`` (path → bytes); ``drops`` answers break off half-way, ``resumes`` heeds Range."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.drops, self.resumes = {}, [], 0, True
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str) -> tuple[int, bytes, dict]:
        return (200, self.files[path], {}) if path in self.files else (404, b"none", {})


def serve(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server():
    yield from serve(Server())


@pytest.fixture
def closed_url() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working folder of its own, no mirror, no real index, no waiting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(assets.MIRROR, raising=False)
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def left() -> list[str]:
    """What stands in the folder of the assets, hidden files too."""
    return sorted(path.name for path in assets.FETCHED.iterdir()) if assets.FETCHED.exists() else []


def fails(name: str, asset: assets.Asset, *says: str) -> None:
    """Fetching gives one error with all of ``says``, and leaves nothing behind."""
    before = left()
    with pytest.raises(InputError) as caught:
        assets.fetch(name, asset)
    for part in (f"asset {name}", *says):
        assert part in str(caught.value)
    assert left() == before


# --- packages ------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def source_archive(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    path = folder / f"{name}-1.0.tar.gz"
    setup = f"from setuptools import setup\nsetup(name='{name}', version='1.0', py_modules=[])\n".encode()
    with tarfile.open(path, "w:gz") as archive:
        for member, data in {"setup.py": setup, **members}.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{member}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv(assets.MIRROR, str(folder))
    return folder


def package(archives: list[Path], named: dict[str, tuple[list[str], str]]) -> assets.Asset:
    """files: name → (members, sha256)."""
    pins = {path.name.split("-1.0")[0] + "==1.0": files.sha256(path) for path in archives}
    return assets.Asset("package", "s", "l", {n: assets.File(h, m) for n, (m, h) in named.items()}, pins)


def test_package_members_are_joined_in_the_row_s_order_across_archives(mirror):
    two = [wheel(mirror, "part_two", {"b/data": MORE}), source_archive(mirror, "part_one", {"a/data": WORDS})]
    members = ["part_one-1.0/a/data", "b/data"]
    joined = {"joined": (members, sha256(WORDS + MORE)), "single": (["b/data"], sha256(MORE))}
    folder = assets.fetch("demo", package(two, joined))
    assert folder == assets.FETCHED / "demo"
    assert (folder / "joined").read_bytes() == WORDS + MORE
    assert (folder / "single").read_bytes() == MORE
    assert left() == ["demo"]
    # and again: the new folder takes the old one's place
    (folder / "stale").touch()
    assets.fetch("demo", package(two, joined))
    assert sorted(path.name for path in folder.iterdir()) == ["joined", "single"]


def test_wrong_archive_hash(mirror):
    archive = wheel(mirror, "demo_words", {"w": WORDS})
    asset = package([archive], {"w": (["w"], sha256(WORDS))})
    expected = files.sha256(archive)
    wheel(mirror, "demo_words", {"w": b"another"})
    fails("demo", asset, "demo_words==1.0", expected, "do not use it")


def test_wrong_file_hash_and_missing_member_keep_the_folder_that_was_there(mirror):
    archive = wheel(mirror, "demo_words", {"w": WORDS})
    assets.fetch("demo", package([archive], {"w": (["w"], sha256(WORDS))}))
    wrong = package([archive], {"w": (["w"], ZERO)})
    fails("demo", wrong, "w: expected sha256 " + ZERO, "found " + sha256(WORDS), "correct the row")
    fails(
        "demo", package([archive], {"v": (["v"], ZERO)}), "v is not inside demo_words==1.0", "correct the row's members"
    )
    assert (assets.FETCHED / "demo" / "w").read_bytes() == WORDS


def unknown() -> assets.Asset:
    return assets.Asset("package", "s", "l", {"w": assets.File(ZERO, ["w"])}, {"no-such-package==9.9": ZERO})


def test_a_registry_without_the_package(mirror, server, monkeypatch):
    """Neither the mirror nor the registry has it."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    fails("demo", unknown(), "no-such-package==9.9", "pip config list", assets.MIRROR)
    assert [path for _, path, _ in server.asked] == ["/simple/no-such-package/"]


def test_a_registry_out_of_reach_is_tried_again(closed_url, monkeypatch, capfd):
    monkeypatch.setenv("PIP_INDEX_URL", f"{closed_url}/simple")
    monkeypatch.setattr(assets, "retry", partial(assets.retry, attempts=2))
    fails("demo", unknown(), "no-such-package==9.9", "cannot be downloaded", "Check the network", assets.MIRROR)
    assert capfd.readouterr().err.count("Trying again in 1 s") == 1


# --- url -----------------------------------------------------------------------------------------


def from_url(url: str, digest: str = sha256(MORE)) -> assets.Asset:
    return assets.Asset("url", "s", "l", {"list.txt": assets.File(digest, url=url)})


def part() -> Path:
    return assets.FETCHED / f".demo.list.txt.{sha256(MORE)[:8]}.part"


def test_url(server):
    server.files["/list"] = MORE
    assert (assets.fetch("demo", from_url(f"{server.url}/list")) / "list.txt").read_bytes() == MORE
    assert left() == ["demo"]


@pytest.mark.parametrize("resumes", [True, False], ids=["resumed", "begun again"])
def test_a_dropped_connection(server, resumes):
    server.files["/list"], server.drops, server.resumes = MORE, 1, resumes
    assert (assets.fetch("demo", from_url(f"{server.url}/list")) / "list.txt").read_bytes() == MORE
    assert [asked for _, _, asked in server.asked] == [None, f"bytes={len(MORE) // 2}-"]
    assert left() == ["demo"]


def test_what_was_downloaded_before_is_kept_for_the_next_run(server):
    server.files["/list"], server.drops = MORE, 1
    asset = from_url(f"{server.url}/list")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "retry", partial(assets.retry, attempts=1))
        with pytest.raises(InputError, match=f"closed after {len(MORE) // 2} of {len(MORE)} bytes"):
            assets.fetch("demo", asset)
    assert left() == [part().name]  # named by its hash and hidden: no stage takes it for the file
    assets.fetch("demo", asset)
    assert server.asked[-1][2] == f"bytes={len(MORE) // 2}-"
    assert left() == ["demo"]


def test_a_part_longer_than_the_file_is_fetched_anew(server):
    server.files["/list"] = MORE
    assets.FETCHED.mkdir(parents=True)
    part().write_bytes(MORE + b"more")
    assert (assets.fetch("demo", from_url(f"{server.url}/list")) / "list.txt").read_bytes() == MORE


def test_a_damaged_part_ends_in_a_clean_second_try(server):
    server.files["/list"] = MORE
    assets.FETCHED.mkdir(parents=True)
    part().write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"expected sha256 {sha256(MORE)}"):
        assets.fetch("demo", from_url(f"{server.url}/list"))
    assert left() == []
    assets.fetch("demo", from_url(f"{server.url}/list"))


def test_wrong_hash_of_a_url(server):
    server.files["/list"] = MORE
    fails("demo", from_url(f"{server.url}/list", ZERO), "list.txt: expected sha256 " + ZERO, "found " + sha256(MORE))


def test_a_url_that_is_gone(server):
    fails("demo", from_url(f"{server.url}/list"), f"{server.url}/list", "404", assets.MIRROR)
    assert len(server.asked) == assets.ATTEMPTS


def test_a_url_out_of_reach(closed_url):
    fails("demo", from_url(f"{closed_url}/list"), f"{closed_url}/list", "refused", "Check the network", assets.MIRROR)


def test_the_mirror_comes_before_the_network(mirror, server):
    (mirror / "list.txt").write_bytes(MORE)
    assert (assets.fetch("demo", from_url(f"{server.url}/list")) / "list.txt").read_bytes() == MORE
    assert server.asked == []
    (mirror / "list.txt").write_bytes(b"another")
    fails("demo", from_url(f"{server.url}/list"), "expected sha256")
    assert (mirror / "list.txt").read_bytes() == b"another"


# --- file ----------------------------------------------------------------------------------------


def from_file(path: Path, digest: str = sha256(WORDS)) -> assets.Asset:
    return assets.Asset("file", "s", "l", {"list.txt": assets.File(digest, path=str(path))})


def test_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(WORDS)
    assert (assets.fetch("demo", from_file(path)) / "list.txt").read_bytes() == WORDS
    assert (assets.fetch("demo", from_file(path), tmp_path / "elsewhere") / "list.txt").read_bytes() == WORDS


def test_file_that_is_missing_or_another(tmp_path):
    path = tmp_path / "mine.txt"
    fails("demo", from_file(path), f"{path} does not exist", "Put the file there")
    path.write_bytes(MORE)
    fails("demo", from_file(path), "expected sha256 " + sha256(WORDS), "found " + sha256(MORE))
    assert path.read_bytes() == MORE  # the user's own file is never touched


# --- the Hub -------------------------------------------------------------------------------------

REVISION, OTHER = "a" * 40, "b" * 40
REPOSITORY = "someone/some-model"
WEIGHTS = {
    "model.safetensors": b"weights" * 100,
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickle",
    "modeling_custom.py": b"raise SystemExit",
}


class Hub(Server):
    """The few addresses of the Hub that a download needs. ``refusal`` answers every address but the lookups."""

    def __init__(self):
        super().__init__()
        self.files, self.current, self.wrong, self.refusal, self.gated = dict(WEIGHTS), REVISION, False, None, False

    def answer(self, path):
        if self.refusal:
            return self.refusal
        if not path.removeprefix("/api/models").startswith(f"/{REPOSITORY}"):
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if OTHER in path:
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        as_json = {"Content-Type": "application/json"}
        if "/tree/" in path:
            return (
                200,
                json.dumps([{"type": "file", "path": n, **self.entry(n, "oid")} for n in self.files]).encode(),
                as_json,
            )
        if path.startswith("/api/models/"):
            siblings = [{"rfilename": n, "blobId": "c" * 40, **self.entry(n, "sha256")} for n in self.files]
            return 200, json.dumps({"id": REPOSITORY, "sha": self.current, "siblings": siblings}).encode(), as_json
        if self.gated:
            return 403, b"{}", {"X-Error-Code": "GatedRepo"}
        data = self.files[path.rpartition("/")[2]]
        return 200, data, {"ETag": f'"{sha256(data)}"', "X-Repo-Commit": REVISION}

    def entry(self, name: str, key: str) -> dict:
        data = self.files[name]
        entry = {"size": len(data), "oid": "c" * 40}
        if name.endswith((".safetensors", ".bin")):
            digest = ZERO if self.wrong else sha256(data)
            entry["lfs"] = {key: digest, "size": len(data), "pointerSize": 130}
        return entry


def use_endpoint(url: str, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub_server(monkeypatch):
    server = Hub()
    use_endpoint(server.url, monkeypatch)
    yield from serve(server)


def make(repository: str = REPOSITORY, revision: str | None = None) -> Path:
    """As the stage does it."""
    folder = Path("models", "m")
    source = Source("hub", repository=repository, revision=revision)
    loading.make("m", source, TokenizerChanges(), folder)
    return folder


def make_fails(*says: str, **arguments) -> None:
    with pytest.raises(InputError) as caught:
        make(**arguments)
    for part in says:
        assert part in str(caught.value)
    assert list(Path("models").iterdir()) == []


def test_hub_brings_weights_config_and_tokenizer_and_no_code(hub_server):
    folder = make()
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "provenance.json",
        "tokenizer.json",
    ]
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == WEIGHTS[name]
    assert provenance(folder)["origin"] == {"repository": REPOSITORY, "revision": REVISION}


def test_hub_revision_is_recorded_once_and_used_again(hub_server):
    files.write_json({"another/model": OTHER}, model_hub.REVISIONS)
    make()
    assert files.read_json(model_hub.REVISIONS) == {"another/model": OTHER, REPOSITORY: REVISION}
    hub_server.current = OTHER  # the repository moves on; the run does not
    hub_server.asked.clear()
    assert provenance(make())["origin"]["revision"] == REVISION
    assert f"/api/models/{REPOSITORY}" not in [path for _, path, _ in hub_server.asked]


def test_hub_row_with_a_revision_asks_no_lock(hub_server):
    make(revision=REVISION)
    assert not model_hub.REVISIONS.exists()


def test_hub_gated(hub_server):
    hub_server.gated = True  # its page is public, its files are not
    make_fails(f"{REPOSITORY} is gated", "Accept its licence", "HF_TOKEN")


def test_hub_gated_altogether(hub_server):
    hub_server.refusal = 403, b"{}", {"X-Error-Code": "GatedRepo"}
    make_fails(f"{REPOSITORY} is gated")
    assert not model_hub.REVISIONS.exists()


@pytest.mark.parametrize("name", ["someone/else", "no such/name"])
def test_hub_missing_repository(hub_server, name):
    make_fails(f"repository {name} does not exist or is private", "Check its name", repository=name)
    assert not model_hub.REVISIONS.exists()


def test_hub_missing_revision(hub_server):
    make_fails(f"{REPOSITORY} has no revision {OTHER}", str(model_hub.REVISIONS), revision=OTHER)


@pytest.mark.parametrize("revision", [None, REVISION])
def test_hub_out_of_reach(closed_url, monkeypatch, revision):
    use_endpoint(closed_url, monkeypatch)
    make_fails(
        f"{REPOSITORY} cannot be fetched",
        "Check the network",
        f"${assets.MIRROR}/someone--some-model/",
        revision=revision,
    )


def test_hub_out_of_order(hub_server):
    hub_server.refusal = 500, b"", {}
    make_fails(f"{REPOSITORY} cannot be fetched", "500", "Check the network")


@pytest.mark.parametrize("before", [0, 60, 130, 160, 190, 210, 230, 250])
def test_hub_that_echoes_the_token(hub_server, monkeypatch, before):
    token = "hf_" + "A1b2C3d4" * 4
    monkeypatch.setenv("HF_TOKEN", token)
    said = "x" * before + f" Authorization: Bearer {token}"
    hub_server.refusal = 400, json.dumps({"error": said}).encode(), {"X-Error-Message": said}
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        make()
    assert "hf_A" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_hub_data_set_whose_reader_echoes_the_token(monkeypatch, error):
    import datasets

    from valuetrace.preferences import sources

    token = "hf_" + "A1b2C3d4" * 4
    monkeypatch.setenv("HF_TOKEN", token)

    def load(*_, **__):
        raise error("x" * 260 + f" Authorization: Bearer {token}\nand more")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError, match="data set o/n cannot be") as caught:
        sources._hub(sources.Source("hub", "mit", 0.5, repository="o/n", revision=REVISION))
    assert "hf_A" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"sha": 1}', b'{"id": []}'])
def test_hub_answers_that_are_none_of_the_hub_s(hub_server, body):
    hub_server.refusal = 200, body, {"Content-Type": "application/json"}
    make_fails(REPOSITORY)
    assert not model_hub.REVISIONS.exists()


def test_hub_onto_a_full_disk_names_the_disk(hub_server, monkeypatch):
    import huggingface_hub

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    make_fails(f"{Path('models')}/", "The disk is full")


def test_hub_where_no_revision_can_be_noted(hub_server):
    model_hub.REVISIONS.parent.write_text("a file")
    make_fails(str(model_hub.REVISIONS), "cannot be written")


def test_hub_wrong_sha256(hub_server):
    hub_server.wrong = True
    make_fails(
        f"{REPOSITORY}: model.safetensors", f"expected sha256 {ZERO}", "found " + sha256(WEIGHTS["model.safetensors"])
    )


def test_hub_wrong_file_is_not_left_in_any_folder(hub_server):
    hub_server.wrong = True
    with pytest.raises(InputError, match="expected sha256"):
        model_hub.fetch_hub(REPOSITORY, REVISION, Path("direct"))
    assert not list(Path("direct").glob("*.safetensors"))


def test_hub_without_safetensors(hub_server):
    del hub_server.files["model.safetensors"]
    make_fails(f"{REPOSITORY} at {REVISION} holds no safetensors file")


def test_hub_copy_in_the_mirror(mirror, closed_url, monkeypatch):
    use_endpoint(closed_url, monkeypatch)
    copy = mirror / "someone--some-model" / REVISION
    copy.mkdir(parents=True)
    (copy / "model.safetensors").write_bytes(b"w")
    assert (make(revision=REVISION) / "model.safetensors").read_bytes() == b"w"


# --- building blocks -----------------------------------------------------------------------------


def test_retry_gives_up_on_other_errors_at_once():
    calls = []

    def action():
        calls.append(1)
        raise KeyError("defect")

    with pytest.raises(KeyError):
        assets.retry("x", action, (ConnectionError,))
    assert len(calls) == 1


def test_a_folder_that_was_half_made_is_not_believed(tmp_path):
    folder = tmp_path / ".f.partial"
    folder.mkdir()
    (folder / "half").touch()
    with files.fresh_folder(folder) as fresh:
        assert list(fresh.iterdir()) == []
        (fresh / "whole").touch()
        files.replace_folder(fresh, tmp_path / "f")
    assert (tmp_path / "f" / "whole").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
