"""A real HTTP server on loopback that answers by a script, for the judge's client."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["Exchange"], None]
"""Answers one request."""


@dataclass
class Exchange:
    """One request, and the means to answer it."""

    handler: BaseHTTPRequestHandler
    body: dict[str, Any]
    number: int
    """How many the server had before."""

    @property
    def prompt(self) -> str:
        return self.body["messages"][0]["content"]

    def send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(len(content) if length is None else length))
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def reply(
        self, text: str | None, prompt_tokens: int = 10, completion_tokens: int = 5, finish: str = "stop"
    ) -> None:
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
        self.send(200, json.dumps({"choices": [choice], "usage": usage}).encode())

    def fail(self, status: int, words: str = "no", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(status, json.dumps({"error": {"message": words}}).encode(), named)

    def hang_up(self) -> None:
        """Promise more than is sent, then close."""
        self.send(200, b'{"choices": [{"mess', length=1000)
        self.handler.close_connection = True


@dataclass
class Server:
    """Its address, and what it has received."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorisations: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def serve(script: Script, port: int = 0) -> Iterator[Server]:
    """A server on a port of this machine, 0 for a free one; each request is answered in a thread of its own."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(body)
                server.authorisations.append(self.headers["Authorization"])
                server.times.append(time.monotonic())
            if self.path != "/v1/chat/completions":
                Exchange(self, body, number).fail(404, "no such path")
                return
            try:
                script(Exchange(self, body, number))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # Clients that time out hang up.

    httpd = Quiet(("127.0.0.1", port), Handler)
    server = Server(f"http://127.0.0.1:{httpd.server_address[1]}/v1")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
