"""A hub on loopback: the few answers of the Hugging Face hub that a push and a pull ask for."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

REVISION = "5" * 40


class Repository(NamedTuple):
    files: dict[str, bytes]
    private: bool


class LittleHub(ThreadingHTTPServer):
    """Repositories by name; it knows one ``token``."""

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.token, self.repositories, self.denied = token, dict[str, Repository](), 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: LittleHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        name, _, file = path.partition("/resolve/")
        repository = self.server.repositories.get(name.removeprefix("api/models/").partition("/revision/")[0])
        if repository is None or (repository.private and not self.known):
            return self.say(401 if not self.known else 404, {"error": "Repository not found"}, RepoNotFound)
        if not file:
            return self.say(200, self.told(name.removeprefix("api/models/"), repository))
        held = repository.files[file.partition("/")[2]]
        headers = {"ETag": hashlib.sha1(held).hexdigest(), "X-Repo-Commit": REVISION}
        self.say(200, held, headers)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.strip("/").removeprefix("api/")
        if self.server.denied or not self.known:
            return self.say(self.server.denied or 401, {"error": "denied"})
        if path == "repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("private") or asked.get("visibility") == "private"
            self.server.repositories[name] = Repository({}, bool(private))
            return self.say(200, {"url": f"{self.server.address}/{name}"})
        if path == "validate-yaml":
            return self.say(200, {})
        owner, name = path.split("/")[1:3]
        files = self.server.repositories[f"{owner}/{name}"].files
        if "/preupload/" in path:
            each = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.say(200, {"files": [file | {"shouldIgnore": False} for file in each]})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            if line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        url = f"{self.server.address}/{owner}/{name}/commit/{REVISION}"
        self.say(200, {"commitUrl": url, "commitOid": REVISION, "success": True})

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def told(self, name: str, repository: Repository) -> dict[str, object]:
        siblings = [{"rfilename": path, "size": len(held)} for path, held in repository.files.items()]
        return {"id": name, "private": repository.private, "sha": REVISION, "siblings": siblings}

    def say(self, status: int, what: bytes | dict[str, object], headers: dict[str, str] | None = None) -> None:
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        self.send_response(status)
        for header, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *what: object) -> None:
        pass


RepoNotFound = {"X-Error-Code": "RepoNotFound"}
