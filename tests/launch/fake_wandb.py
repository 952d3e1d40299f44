"""A W&B server on 127.0.0.1 that takes one run's data and remembers every body it was sent."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROJECT = {"id": "p", "name": "lab", "entity": {"id": "e", "name": "someone"}}
BUCKET = {
    "id": "b", "name": "run", "displayName": "run", "description": None, "config": "{}", "sweepName": None,
    "project": PROJECT, "historyLineCount": 0,
}  # fmt: skip
ANSWERS: dict[str, dict[str, Any]] = {
    "Viewer": {"viewer": {"id": "u", "entity": "someone", "username": "someone", "flags": "{}"}},
    "RunResumeStatus": {"model": {"bucket": None}},
    "UpsertBucket": {"upsertBucket": {"bucket": BUCKET, "inserted": True}},
    "CreateRunFiles": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}},
}


@contextlib.contextmanager
def fake_wandb() -> Iterator[tuple[str, list[bytes]]]:
    """The server's address, and the bodies it was sent."""
    seen: list[bytes] = []

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
            seen.append(data)
            answer: dict[str, Any] = {}
            if self.path.startswith("/graphql"):
                query = json.loads(data)
                name = query.get("operationName") or ""
                answer = {"data": ANSWERS.get(name, {})}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
