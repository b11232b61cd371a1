"""A local server that speaks what huggingface_hub 2.4 asks of the Hub when it pushes a folder without Xet.

In the order of the calls: whoami-v2, repos/create, validate-yaml, preupload, LFS batch, one PUT (or one a
part, then the completion), LFS verify, commit. It keeps what arrives and refuses what the Hub refuses: a
wrong token, a file whose SHA-256 is not the announced one, a commit that names a large file it never got.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_OnlyForThisTestServer0123456789"


@dataclass
class Hub:
    """The state of the server. ``drops``: how many PUTs are cut off after half of their bytes; ``part``: bytes a
    part of a multipart upload (None: one PUT); ``answer``: path pattern → status that is returned instead;
    ``spoil``: uploads are stored with a byte changed; ``echo``: a refusal repeats the request's headers, behind as
    many other letters."""

    drops: int = 0
    part: int | None = None
    spoil: bool = False
    echo: int | None = None
    answer: dict[str, int] = field(default_factory=dict)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    visibility: dict[str, str | None] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # large files by SHA-256
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    commits: int = 0
    url: str = ""

    def count(self, pattern: str) -> int:
        """How many requests match ``METHOD /path`` by regular expression."""
        return sum(re.search(pattern, line) is not None for line in self.requests)

    def __enter__(self) -> Hub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        hub.requests.append(f"{method} {path}")
        if method == "PUT":
            return self._receive(path)
        body = self._body()
        for pattern, status in hub.answer.items():
            if re.search(pattern, path):
                said = "" if hub.echo is None else "x" * hub.echo + f" Authorization: {self.headers['Authorization']}"
                return self._send({"error": f"refused with {status}{said}"}, status)
        open_to_all = path == "/api/validate-yaml" or path.startswith("/complete/")  # the Hub's is a signed address
        if not open_to_all and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send({"error": "Invalid username or password."}, 401)
        for pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return self._send(*answer(hub, body, *found.groups()))
        return self._send({"error": "not found"}, 404)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _receive(self, path: str) -> None:
        hub = self.hub
        if hub.drops > 0:  # half of the bytes, then the line is cut
            hub.drops -= 1
            self.rfile.read(max(1, int(self.headers.get("Content-Length") or 2) // 2))
            self.close_connection = True
            return self.connection.close()
        data = self._body()
        if hub.spoil:
            data = bytes([data[0] ^ 1]) + data[1:]
        oid, _, part = path.removeprefix("/storage/").partition("/")
        if part:
            hub.parts[oid, int(part)] = data
        else:
            hub.objects[oid] = data
        self._send({}, 200, {"ETag": hashlib.md5(data).hexdigest()})

    def _send(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _whoami(hub: Hub, body: bytes):
    return {"type": "user", "name": "tester", "auth": {"accessToken": {"role": "write"}}}, 200


def _create(hub: Hub, body: bytes):
    asked = json.loads(body)
    name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
    if name in hub.repositories:
        return {"error": "You already created this model repo", "url": f"{hub.url}/{name}"}, 409
    hub.repositories[name] = {}
    hub.visibility[name] = asked.get("visibility")
    return {"url": f"{hub.url}/{name}", "name": name, "id": name}, 200


def _validate(hub: Hub, body: bytes):
    text = json.loads(body)["content"]
    errors = [] if text.startswith("---\n") else [{"message": "no metadata"}]
    return {"errors": errors, "warnings": []}, 400 if errors else 200


def _preupload(hub: Hub, body: bytes, name: str):
    if name not in hub.repositories:
        return {"error": "Repository not found"}, 404
    here = hub.repositories[name]
    files = []
    for file in json.loads(body)["files"]:
        large = file["path"].endswith(".safetensors")
        oid = None
        if file["path"] in here:
            data = here[file["path"]]
            header = f"blob {len(data)}\0".encode()
            oid = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(header + data).hexdigest()
        row = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
        files.append(row)
    return {"files": files}, 200


def _batch(hub: Hub, body: bytes, name: str):
    objects = []
    for asked in json.loads(body)["objects"]:
        oid, size = asked["oid"], asked["size"]
        if oid in hub.objects:
            objects.append({"oid": oid, "size": size})
            continue
        verify = {"href": f"{hub.url}/{name}.git/info/lfs/verify", "header": {}}
        if hub.part is None:
            upload = {"href": f"{hub.url}/storage/{oid}", "header": {}}
        else:
            count = -(-size // hub.part)
            parts = {str(n): f"{hub.url}/storage/{oid}/{n}" for n in range(1, count + 1)}
            upload = {"href": f"{hub.url}/complete/{oid}", "header": {"chunk_size": str(hub.part), **parts}}
        objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    return {"transfer": "basic" if hub.part is None else "multipart", "objects": objects}, 200


def _complete(hub: Hub, body: bytes, oid: str):
    asked = json.loads(body)["parts"]
    parts = [hub.parts[oid, part["partNumber"]] for part in asked]
    if [hashlib.md5(data).hexdigest() for data in parts] != [part["etag"] for part in asked]:
        return {"error": "a part has another ETag"}, 400
    hub.objects[oid] = b"".join(parts)
    return {}, 200


def _verify(hub: Hub, body: bytes, name: str):
    asked = json.loads(body)
    data = hub.objects.get(asked["oid"], b"")
    if hashlib.sha256(data).hexdigest() != asked["oid"] or len(data) != asked["size"]:
        hub.objects.pop(asked["oid"], None)
        return {"error": "the stored file has another SHA-256"}, 422
    return {}, 200


def _commit(hub: Hub, body: bytes, name: str):
    lines = [json.loads(line) for line in body.splitlines() if line]
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
        elif value["oid"] in hub.objects:
            hub.repositories[name][value["path"]] = hub.objects[value["oid"]]
        else:
            return {"error": f"large file {value['path']} was never uploaded"}, 400
    hub.commits += 1
    oid = hashlib.sha1(str(hub.commits).encode()).hexdigest()
    return {"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid, "pullRequestUrl": None}, 200


def _info(hub: Hub, body: bytes, name: str):
    if name not in hub.repositories:
        return {"error": "Repository not found"}, 404
    oid = hashlib.sha1(str(hub.commits).encode()).hexdigest()
    files = [{"rfilename": path} for path in hub.repositories[name]]
    return {
        "id": name,
        "modelId": name,
        "sha": oid,
        "siblings": files,
        "tags": [],
        "downloads": 0,
        "private": False,
    }, 200


_ROUTES = [
    (r"GET /api/whoami-v2", _whoami),
    (r"POST /api/repos/create", _create),
    (r"POST /api/validate-yaml", _validate),
    (r"POST /api/(?:models|datasets)/(.+)/preupload/main", _preupload),
    (r"POST /(.+)\.git/info/lfs/objects/batch", _batch),
    (r"POST /complete/([0-9a-f]{64})", _complete),
    (r"POST /(.+)\.git/info/lfs/verify", _verify),
    (r"POST /api/(?:models|datasets)/(.+)/commit/main", _commit),
    (r"GET /api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/main)?", _info),
]
