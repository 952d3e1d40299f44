"""A W&B server on 127.0.0.1 that keeps the runs it was sent, and fails as it is told to."""

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

PROJECT = {"id": "p", "name": "lab", "entity": {"id": "e", "name": "someone"}}
BUCKET = {
    "id": "b", "name": "run", "displayName": "run", "description": None, "config": "{}", "sweepName": None,
    "project": PROJECT, "historyLineCount": 0,
}  # fmt: skip
ANSWERS: dict[str, dict[str, Any]] = {
    "Viewer": {"viewer": {"id": "u", "entity": "someone", "username": "someone", "flags": "{}"}},
    "RunResumeStatus": {"model": {"bucket": None}},
    "ArtifactType": {"project": None},
    "CreateArtifact": {"createArtifact": {"artifact": {
        "id": "a", "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}}},
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "UpdateArtifactManifest": {"updateArtifactManifest": {"artifactManifest": {"id": "m", "file": {"id": "f"}}}},
    "CommitArtifact": {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}},
    "UseArtifact": {"useArtifact": {"artifact": {"id": "a", "digest": "d", "description": "", "aliases": []}}},
}  # fmt: skip
Fault = Literal["none", "401", "429", "500", "503", "death", "hang"]


@dataclass
class Received:
    """What the server was sent, and what it took in."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    """All, in their order."""
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Points by W&B's step, of the requests that were answered."""
    is_complete: bool = False
    """Whether the run's end was taken in."""
    queries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Of GraphQL: name and variables."""
    n: int = 0
    """Requests so far."""

    def asked(self, query: dict[str, Any]) -> dict[str, Any]:
        """The answer to a query of GraphQL."""
        named = re.search(r"(?:query|mutation) (\w+)", query["query"])
        name, given = named[1] if named else "", query.get("variables") or {}
        self.queries.append((name, given))
        if name == "UpsertBucket":
            bucket = BUCKET | {"name": given.get("name") or "run"}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/upload/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if name == "CreateArtifactManifest":
            file = {"id": "f", "uploadUrl": f"{self.url}/upload/{given['name']}", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
        if name == "CreateArtifactFiles":
            specs = given["input"]["artifactFiles"]
            nodes = [
                {"id": "f", "name": each["name"], "displayName": each["name"], "uploadUrl": f"{self.url}/upload",
                 "uploadHeaders": [], "storagePath": "s", "uploadMultipartUrls": None, "artifact": {"id": "a"}}
                for each in specs
            ]  # fmt: skip
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        return ANSWERS.get(name, {})

    def take_in(self, data: bytes) -> None:
        """Points and end of a file stream's body."""
        told = json.loads(data)
        for line in (told.get("files") or {}).get("wandb-history.jsonl", {}).get("content", []):
            point = json.loads(line)
            self.history[point["_step"]] = point
        self.is_complete |= bool(told.get("complete"))


@contextlib.contextmanager
def fake_wandb(fault: Fault = "none", after: int = 0, when: str = "") -> Iterator[Received]:
    """A server; from its request number `after` on (and once a path has contained `when`) it has the fault."""
    seen = Received()
    stopped = threading.Event()
    armed = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                data = b"".join(parts)
            else:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

        def do_POST(self) -> None:
            data = self.body()
            seen.n += 1
            seen.bodies.append(data)
            if when in self.path:
                armed.set()
            if fault != "none" and seen.n > after and armed.is_set() and self.fails():
                return
            answer: dict[str, Any] = {}
            if self.path.startswith("/graphql"):
                answer = {"data": seen.asked(json.loads(data))}
            elif self.path.endswith("/file_stream"):
                seen.take_in(data)
            self.answer(200, answer)

        do_GET = do_PUT = do_POST

        def fails(self) -> bool:
            """Fail as told, if this request is to fail."""
            if fault.isdecimal():
                if fault == "401" and not (self.path.startswith(("/graphql", "/files"))):
                    return False  # A page for people needs no key.
                self.answer(int(fault), {"errors": [{"message": "no"}]})
            elif fault == "hang":
                stopped.wait(60)
            else:
                server.socket.close()
                self.close_connection = True
                self.connection.close()
            return True

        def answer(self, code: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that has gone is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield seen
    finally:
        stopped.set()
        server.shutdown()
        with contextlib.suppress(OSError):
            server.server_close()
