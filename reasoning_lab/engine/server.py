"""engine=server: exact power sampling by any OpenAI-style /v1/completions server that gives raw logprobs of the top k.

The server draws at the request's temperature and says log p of each token drawn and of the k most probable ones. log p
is then exact, and log Z, without which no draw at temperature 1/alpha can be corrected, is known within the certified
bounds of bounds.py. Acceptance is decided by the interval; where it leaves a verdict open both suffixes are scored
again with as many logprobs as the server gives.

What is lost against engine=transformers: bits (a server batches as it likes, so that a rerun is another draw of the
same law), and everything that takes the whole law: cuts by top k or top p, exclusions, alternatives.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from reasoning_lab.checks import require, require_count, require_positive
from reasoning_lab.engine.base import Answering, Engine, EngineError, Need, Subject
from reasoning_lab.engine.bounds import log_z_bounds, most_negentropy
from reasoning_lab.engine.client.address import check_address, check_key_name, is_loopback
from reasoning_lab.engine.client.http import Attempt, Endpoint
from reasoning_lab.engine.client.patience import Patience
from reasoning_lab.engine.client.secret import Secret, from_environment
from reasoning_lab.engine.driver import Driver, Job, require_room
from reasoning_lab.engine.ends import finish_of
from reasoning_lab.engine.policy import Chain, Coroutine, Finish, Request, State
from reasoning_lab.engine.rng import uniform
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.engine.server_replies import Continuation, read_continuation
from reasoning_lab.engine.work import Work

Name = TypeVar("Name")
T = TypeVar("T")

RESERVED = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "logprobs", "echo", "n", "stream", "stop"}
"""Parameters of the body that the engine sets itself."""
PROBE_TEMPERATURE = 0.25
RAW_TOLERANCE = 0.02
"""By how much raw logprobs may differ between two requests for the same position [nats]: arithmetic of half precision.
At PROBE_TEMPERATURE the logprobs of a law whose most probable token has p < FLAT differ by more."""
FLAT = 0.95
PROBES = 8
"""Prefixes of the first prompt that are tried for a law that isn't nearly certain."""


@dataclass(frozen=True)
class ServerEngine(Engine):
    """A model behind a server, which this machine need not hold; its tokenizer and config are the pair's."""

    name: ClassVar[str] = "server"
    holds_weights: ClassVar[bool] = False
    lacks: ClassVar[frozenset[Need]] = frozenset({"top_k", "top_p", "hot", "excluded", "alternatives", "negentropy"})

    base_url: str
    """Up to and without /completions."""
    model: str | None
    """What the server calls the model; its replies must call it so too."""
    declared: str | None
    """What that is: weights, revision, dtype, quantisation, the server and its version. Part of the key, for nobody can
    look it up."""
    role: Literal["base", "thinking", "grpo"]
    """Whose answers it draws: a model of the pair."""
    logprobs: int
    """k: most probable tokens that it lists beside each drawn one."""
    most_logprobs: int
    """The same where a verdict is open: the most that the server gives."""
    chunk: int
    """Tokens per request where a floor may end a proposal early: the next ones are asked for only if it doesn't."""
    stop_parameter: str | None
    """How the server calls a list of ids that end an answer; null: it knows none, and what it draws behind one is cut
    off."""
    extra: dict[str, Any]
    """Further parameters of the body: those that make it return ids, and that switch off cuts and penalties of its
    own."""
    api_key_env: str | None
    """NAME of the environment variable that holds the key; servers of this machine need none."""
    timeout_s: float
    """Longest wait for one reply [s]."""
    retries: int
    """Tries after the first, where a failure may pass."""
    first_wait_s: float
    """Before the first retry [s]; doubled for each further one."""
    longest_wait_s: float
    """Before any retry [s]; a server that asks for more has failed."""

    def __post_init__(self) -> None:
        check_address(self.base_url, "engine")
        check_key_name(self.api_key_env)
        require_count(self, "logprobs", "most_logprobs", "chunk")
        most, fewer = self.most_logprobs, f"at least logprobs={self.logprobs}"
        require(most >= self.logprobs, "most_logprobs", most, fewer, "raise it, or lower logprobs")
        require(self.retries >= 0, "retries", self.retries, "at least 0", "0 tries once")
        require_positive(self, "timeout_s", "first_wait_s", "longest_wait_s")
        taken = sorted(RESERVED & set(self.extra))
        require(not taken, "extra", ", ".join(taken), "parameters that the engine does not set", "remove these")

    def identity(self) -> dict[str, Any]:
        """What is served, and what of the questions can change an answer; the address can't."""
        names = ("model", "declared", "logprobs", "most_logprobs", "chunk", "stop_parameter", "extra")
        return {"engine": self.name, "version": 1, **{name: getattr(self, name) for name in names}}

    @property
    def note(self) -> str:
        """A sentence for the table's footer."""
        return (
            f"Drawn by a server of {self.model} ({self.declared}): log p is the server's, log Z is known within "
            "certified bounds, sum p log p is the most that they allow; a rerun draws from the same law, but not the "
            "same bits."
        )

    def check(self) -> None:
        """ValueError where nobody said what is served, or no key is set for a server elsewhere."""
        for name, what in (("model", "what the server calls the model"), ("declared", "weights, revision, dtype ...")):
            require(bool(getattr(self, name)), f"engine.{name}", getattr(self, name), what, "it names the result")
        self.key()

    def refusal(self, role: str, is_steered: bool, needs: frozenset[Need]) -> str | None:
        """As Engine's; and it has one model alone."""
        if role != self.role:
            return f"role={role}, and the server serves the {self.role} model (engine.role={self.role})"
        return super().refusal(role, is_steered, needs)

    def key(self) -> Secret | None:
        """The key, None where none is needed and none is set."""
        optional = is_loopback(self.base_url) or self.api_key_env is None
        return from_environment(self.api_key_env, optional, "engine", "engine=transformers, which needs none")

    def open(self, subject: Subject) -> Answering:
        """Nothing is sent before the first request."""
        return Served(self, subject.n_layers)


@dataclass(frozen=True)
class Served(Answering):
    """A server at work, one thread per request in flight."""

    option: ServerEngine
    n_layers: int

    def run(
        self,
        tasks: Iterable[tuple[Name, Coroutine[T]]],
        rows: int,
        capacity: int,
        on_checkpoint: Callable[[Name, State], None] | None = None,
        counts: Counts | None = None,
    ) -> Iterator[tuple[Name, T]]:
        """As Answering; EngineError where the server can't be used."""
        counts = counts or Counts()
        counts.rows = rows
        driver = Driver(tasks, on_checkpoint, counts, lambda prompt: Work(prefill=(len(prompt) - 1) * self.n_layers))
        at_work: dict[Future[_Answered], Job[Name, T]] = {}
        with _Link(self.option, rows) as link, ThreadPoolExecutor(rows) as pool:
            try:
                while True:
                    jobs = driver.take(rows - len(at_work))
                    if jobs and not link.is_checked:
                        link.check(jobs[0].request.parent.prompt)
                    for job in jobs:
                        require_room(job.request, capacity)
                        at_work[pool.submit(_Answer(link, job.request).made)] = job
                    yield from driver.results()
                    if not at_work and driver.is_exhausted:
                        return
                    for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                        answered = future.result()
                        self._counted(counts, answered)
                        driver.answer(
                            at_work.pop(future), answered.chain, self._work(answered.n_forced + answered.chain.n_drawn)
                        )
            finally:
                link.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, n: int) -> Work:
        return Work(decode=n * self.n_layers, heads=n)

    def _counted(self, counts: Counts, answered: "_Answered") -> None:
        counts.drawn += answered.chain.n_drawn
        counts.forced += answered.n_forced
        counts.passed += self._work(answered.n_passed)


@dataclass(frozen=True)
class _Answered:
    """A request's chain, and what the server did for it."""

    chain: Chain
    n_forced: int
    """Given tokens that it read for the chain."""
    n_passed: int
    """Tokens that it drew or scored, those behind the chain's end included."""


@dataclass
class _Answer:
    """One request at work."""

    link: "_Link"
    request: Request
    tokens: list[int] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)
    n_drawn: int = 0
    n_passed: int = 0

    def made(self) -> _Answered:
        """Forced tokens, then draws until a stop id, the cap or the floor."""
        request = self.request
        kept = request.parent.kept(request.keep)
        self.tokens = list(kept.tokens)
        self.columns = {name: list(getattr(kept, name)) for name in ("log_p", "log_q", "log_z", "negentropy")}
        self.columns["log_z_slack"] = list(kept.log_z_slack or (0.0,) * len(kept))
        finish = self._force()
        while finish is None:
            finish = self._draw()
        inserted = tuple(range(request.keep, request.keep + len(request.forced))) if request.insert else ()
        columns = {name: tuple(column) for name, column in self.columns.items()}
        chain = Chain(
            kept.prompt, tuple(self.tokens), columns["log_p"], columns["log_q"], columns["log_z"],
            columns["negentropy"], ((),) * len(self.tokens), finish, self.n_drawn, kept.inserted + inserted,
            log_z_slack=columns["log_z_slack"],
        )  # fmt: skip
        return _Answered(chain, len(request.forced), self.n_passed)

    def _force(self) -> Finish | None:
        """Append the forced tokens: insertions as they are, the rest scored; by a server that scores nothing, what the
        parent has of the same tokens."""
        request, forced = self.request, self.request.forced
        parent, stop = request.parent, request.keep + len(forced)
        self.n_passed += len(forced)
        if request.insert:
            self.tokens += forced
            for column in self.columns.values():
                column += [0.0] * len(forced)
        elif forced and not self.link.scores_given and parent.tokens[request.keep : stop] == forced:
            self.tokens += forced
            for name, column in self.columns.items():
                column += getattr(parent, name)[request.keep : stop] or (0.0,) * len(forced)
        elif forced:
            option, start = self.link.option, len(self.tokens)
            ids = [*request.parent.prompt, *self.tokens, *forced]
            scored = self.link.scored(ids, len(forced))
            for i, id in enumerate(forced):
                self._append(id, scored.log_p[i], scored.listed[i], option.most_logprobs, start + i)
        return "cap" if len(self.tokens) == request.cap else None

    def _draw(self) -> Finish | None:
        """Ask for some tokens more; the end, if they hold it."""
        request, position = self.request, len(self.tokens)
        temperature, n = request.temperature_at(position), request.cap - position
        if isinstance(request.temperature, tuple):
            same = (request.temperature_at(position + i) == temperature for i in range(n))
            n = next((i for i, is_same in enumerate(same) if not is_same), n)
        if request.floor is not None:
            n = min(n, self.link.option.chunk)
        drawn = self.link.drawn([*request.parent.prompt, *self.tokens], n, temperature, request.stop_ids, self._seed())
        self.n_passed += len(drawn.ids)
        for i, id in enumerate(drawn.ids[:n]):
            self._append(id, drawn.log_p[i], drawn.listed[i], self.link.option.logprobs, position + i)
            self.n_drawn += 1
            if (finish := self._finish(id)) is not None:
                return finish
        if len(drawn.ids) < n:
            why = "with none" if not drawn.ids else f"behind id {drawn.ids[-1]}"
            raise EngineError(
                f"{self.link.where}: ended {why} of {n} tokens drawn, and neither a stop id of the model nor the "
                "cap is there; let engine.extra switch off other ends (ignore_eos: true), or let the model's "
                "generation config name the id."
            )
        return None

    def _append(self, id: int, log_p: float, listed: tuple[float, ...], k: int, position: int) -> None:
        temperature = self.request.temperature_at(position)
        low, high = log_z_bounds(listed, k, 1 / temperature) if temperature else (0.0, 0.0)
        self.tokens.append(id)
        self.columns["log_p"].append(log_p)
        self.columns["log_q"].append(log_p / temperature - low if temperature else 0.0)
        self.columns["log_z"].append(low)
        self.columns["log_z_slack"].append(high - low)
        self.columns["negentropy"].append(most_negentropy(listed, k) if self.request.want_negentropy else 0.0)

    def _finish(self, id: int) -> Finish | None:
        """Why the request ends with the token just appended. The floor is passed for certain where the greatest log Z
        is below it: Request.floor is made of the least of the current state."""
        most = sum(sum(self.columns[name][self.request.keep :]) for name in ("log_z", "log_z_slack"))
        return finish_of(self.request, len(self.tokens), id, False, most)

    def _seed(self) -> int:
        """Of the tokens drawn from here on: a function of the key and the position; 53 bits, which JSON keeps."""
        return int(uniform(self.request.key, len(self.tokens), "server's seed") * 2.0**53)


class _Link:
    """What is sent to the server and tried again, by any number of threads; a context manager."""

    def __init__(self, option: ServerEngine, connections: int) -> None:
        self.option, self.where = option, f"engine.base_url={option.base_url}"
        self.stop = threading.Event()
        self.is_checked = False
        self.scores_given = False
        """Whether the server scores given tokens."""
        url, loopback = option.base_url.rstrip("/") + "/completions", is_loopback(option.base_url)
        self._patience = Patience(option.first_wait_s, option.longest_wait_s)
        self._endpoint = Endpoint(url, option.key(), connections, option.timeout_s, loopback, read_continuation)

    def __enter__(self) -> "_Link":
        self._endpoint.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._endpoint.__exit__(*error)

    # -- what is asked ---------------------------------------------------------------------------------------------

    def drawn(
        self, ids: list[int], n: int, temperature: float, stop_ids: frozenset[int], seed: int, k: int | None = None
    ) -> Continuation:
        """At most `n` tokens drawn behind `ids`."""
        ends = {self.option.stop_parameter: sorted(stop_ids)} if self.option.stop_parameter and stop_ids else {}
        body = self._body(ids, k or self.option.logprobs) | ends
        found = self._ask(body | {"max_tokens": n, "temperature": temperature, "seed": seed})
        return self._checked(found, k or self.option.logprobs)

    def scored(self, ids: list[int], n: int) -> Continuation:
        """The last `n` of `ids` scored, with as many logprobs as there are to be had."""
        if not self.scores_given:
            raise EngineError(
                f"{self.where}: does not score given tokens (echo with logprobs={self.option.most_logprobs}), and a "
                "request asks for that; lower engine.most_logprobs to what it gives, or use another server."
            )
        return self._scored(self._ask(self._echo(ids)), ids, n)

    def _echo(self, ids: list[int]) -> dict[str, Any]:
        # One token more is drawn, for not every server takes 0.
        return self._body(ids, self.option.most_logprobs) | {
            "echo": True,
            "max_tokens": 1,
            "temperature": 1.0,
            "seed": 0,
        }

    def _scored(self, found: Continuation, ids: list[int], n: int) -> Continuation:
        if len(found.log_p) not in (len(ids) - 1, len(ids)) or found.ids[: len(ids) - 1] != tuple(ids[1:]):
            raise EngineError(
                f"{self.where}: scored other tokens than it was given; it must take and return token ids."
            )
        last = len(ids) - 1
        part = slice(last - n, last)
        scored = Continuation(found.model, found.ids[part], found.log_p[part], found.listed[part], False)
        return self._checked(scored, self.option.most_logprobs)

    def _body(self, ids: list[int], k: int) -> dict[str, Any]:
        return {"model": self.option.model, "prompt": ids, "logprobs": k, "top_p": 1, **self.option.extra}

    def _checked(self, found: Continuation, k: int) -> Continuation:
        """EngineError for fewer logprobs than were asked for, where they are not all there are."""
        for listed in found.listed:
            if len(listed) < k and not math.isclose(math.fsum(map(math.exp, listed)), 1, abs_tol=1e-4):
                raise EngineError(
                    f"{self.where}: gave {len(listed)} logprobs of the {k} asked for; lower engine.logprobs and "
                    "engine.most_logprobs to what it gives, or raise its own limit (vllm: --max-logprobs)."
                )
        if found.model != self.option.model:
            raise EngineError(
                f"{self.where}: says that it serves {found.model}, and engine.model={self.option.model}; set it "
                "to what is served, and engine.declared to what that is."
            )
        return found

    # -- the check -------------------------------------------------------------------------------------------------

    def check(self, prompt: tuple[int, ...]) -> None:
        """EngineError unless the logprobs are of the model's own law, whatever the temperature; finds out whether given
        tokens are scored. `prompt` is one that will be asked about."""
        for n in self._prefixes(len(prompt)):
            ids = list(prompt[:n])
            raw, tempered = (
                sorted(self.drawn(ids, 1, temperature, frozenset(), 0).listed[0], reverse=True)[: self.option.logprobs]
                for temperature in (1.0, PROBE_TEMPERATURE)
            )
            if any(abs(a - b) > RAW_TOLERANCE for a, b in zip(raw, tempered, strict=False) if a > math.log(1e-3)):
                raise EngineError(
                    f"{self.where}: its logprobs follow the temperature, so that log p of the model can't be told from "
                    "them; let it return raw logprobs (vllm: --logprobs-mode raw_logprobs)."
                )
            if raw[0] < math.log(FLAT):
                break
        else:
            raise EngineError(
                f"{self.where}: is certain of what follows every beginning of the first prompt, so that nothing shows "
                "whether its logprobs follow the temperature; ask about another benchmark first."
            )
        attempt = self._endpoint.post(
            self._echo(ids := list(prompt[: max(2, n)]) if len(prompt) > 1 else [*prompt] * 2)
        )
        try:
            self.scores_given = attempt.completion is not None and bool(self._scored(attempt.completion, ids, 1).log_p)
        except EngineError:
            self.scores_given = False
        self.is_checked = True

    @staticmethod
    def _prefixes(length: int) -> list[int]:
        """Lengths to try, the whole first."""
        return list(dict.fromkeys([length, *(max(1, length * i // PROBES) for i in range(PROBES))]))

    # -- one body --------------------------------------------------------------------------------------------------

    def _ask(self, body: dict[str, Any]) -> Continuation:
        """The reply to a body, after as many tries as it takes."""
        option = self.option
        for number in range(option.retries + 1):
            self._patience.wait_for_hold(self.stop)
            if self.stop.is_set():
                raise EngineError(f"{self.where}: stopped")
            attempt = self._endpoint.post(body)
            if attempt.completion is not None:
                return attempt.completion
            is_hopeless = attempt.kind in ("fatal", "refused") or (attempt.wait_s or 0.0) > option.longest_wait_s
            if is_hopeless or number == option.retries:
                raise EngineError(self._explained(attempt))
            self._patience.back_off(self.stop, repr((body["prompt"], body["seed"])), number, attempt.wait_s)
        raise AssertionError("the last attempt raises")

    def _explained(self, attempt: Attempt[Continuation]) -> str:
        """A failure with the next move."""
        option = self.option
        advice = {
            None: "start the server, or correct engine.base_url; what is done is kept",
            400: "the server refuses the parameters: correct engine.extra, engine.logprobs or engine.stop_parameter",
            401: f"the key in {option.api_key_env} is refused: set a valid one",
            403: f"the key in {option.api_key_env} may not use model {option.model}: use another of either",
            404: f"engine.base_url (it usually ends in /v1) or engine.model={option.model} is not what the server has",
            200: "it must return token ids and logprobs: correct engine.extra, or use a server that does (vllm)",
        }.get(attempt.status, "look at the server's own log; what is done is kept, and the same command goes on")
        return f"{self.where}: {attempt.failure}; {advice}."
