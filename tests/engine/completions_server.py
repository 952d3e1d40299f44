"""A real HTTP server on loopback: OpenAI-style completions of a policy, drawn by our own engine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reasoning_lab.engine.policy import Chain, Policy, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run


@dataclass
class CompletionsServer:
    """What is served and how; its address once it is up, and what it has been asked."""

    policy: Policy
    model: str = "served"
    most_logprobs: int = 1000
    returns: str = "token_ids"
    """token_ids, prefixed (token_id:N as the token's text) or text."""
    processed: bool = False
    """Whether its logprobs follow the temperature."""
    echoes: bool = True
    knows_stop_ids: bool = True
    ends_at: frozenset[int] = frozenset()
    """Ids at which it ends by itself."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """(status, words) of the next requests."""
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and content."""
        if self.failures:
            status, words = self.failures.pop(0)
            return status, {"error": {"message": words}}
        if body["logprobs"] > self.most_logprobs:
            return 400, {"error": {"message": f"logprobs={body['logprobs']} is more than {self.most_logprobs}"}}
        if body.get("echo") and not self.echoes:
            return 400, {"error": {"message": "echo is not supported"}}
        return 200, self._completion(body)

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, k, temperature = tuple(body["prompt"]), body["logprobs"], body["temperature"]
        stops = frozenset(body.get("stop_token_ids", ()) if self.knows_stop_ids else ()) | self.ends_at
        n_given = len(ids) - 1 if body.get("echo") else 0
        parent = Chain(ids[: len(ids) - n_given])
        request = Request(
            parent, 0, Key(body["seed"], "server"), n_given + body["max_tokens"], stops, temperature=temperature,
            forced=ids[len(ids) - n_given :], n_alternatives=k,
        )  # fmt: skip
        with self._lock:
            [(_, chain)] = run(self.policy, [(0, _one(request))], 1, len(ids) + body["max_tokens"] + 1)
        tops = [
            dict(top) | {id: log_p}
            for top, id, log_p in zip(chain.alternatives, chain.tokens, chain.log_p, strict=True)
        ]
        if self.processed:
            tops = [
                {id: log_p / temperature - log_z for id, log_p in top.items()}
                for top, log_z in zip(tops, chain.log_z, strict=True)
            ]
        leading = [ids[0]] if body.get("echo") else []
        tokens = [*leading, *chain.tokens]
        named = [self._name(id) for id in tokens]
        choice = {
            "finish_reason": "length" if chain.finish == "cap" else "stop",
            "logprobs": {
                "tokens": named,
                "token_logprobs": [None for _ in leading]
                + [top[id] for top, id in zip(tops, chain.tokens, strict=True)],
                "top_logprobs": [None for _ in leading]
                + [{self._name(id): log_p for id, log_p in top.items()} for top in tops],
            },
        }
        if self.returns == "token_ids":
            choice["token_ids"] = tokens
        return {"model": self.model, "choices": [choice]}

    def _name(self, id: int) -> str:
        return f"token_id:{id}" if self.returns == "prefixed" else f"<{id}>"


def _one(request: Request) -> Any:
    return (yield request)


@contextmanager
def served(server: CompletionsServer) -> Iterator[CompletionsServer]:
    """The server at work on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server._lock:
                server.bodies.append(body)
                server._at_once += 1
                server.most_at_once = max(server.most_at_once, server._at_once)
            try:
                status, content = server.reply(body)
            finally:
                with server._lock:
                    server._at_once -= 1
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    httpd = Quiet(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
