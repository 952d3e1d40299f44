"""A judge that runs here: a hub model (or local folder) through the lab's own policy and engine, greedily."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasoning_lab.checks import require, require_count
from reasoning_lab.engine.policy import Chain, Request
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.judge.base import ChatRequest, CountingChat, JudgeOption, Reply, Usage
from reasoning_lab.judge.chat import ChatJudge
from reasoning_lab.model_pair.loaded import LoadedModel, load_model, resolve_device
from reasoning_lab.model_pair.pair import DTYPES, ModelSource
from reasoning_lab.model_pair.reader import load_reader


@dataclass(frozen=True)
class Local(JudgeOption):
    """A model of ours as the judge."""

    model: ModelSource
    """Its prompt_format is chat for every model that has a template."""
    dtype: str
    """Of weights and arithmetic."""
    rows: int
    """Questions that are answered at the same time: part of the physical shape."""
    max_prompt_tokens: int
    """Longest question; longer ones count as failed. 50 sentences have some 3000."""
    max_tokens: int
    """Longest reply."""

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}", "set dtype to one of them")
        require_count(self, "rows", "max_prompt_tokens", "max_tokens")

    def open(self, cache: Path, device: str) -> ChatJudge:
        """The judge, its weights loaded. Greedy replies need no cache."""
        return ChatJudge(self.chat(cache, device))

    def chat(self, cache: Path, device: str) -> "LocalChat":
        """The model, its weights loaded."""
        self.check()
        model = load_model(self.model, self.dtype, resolve_device(device))
        name = f"{self.model.gguf_file or self.model.path} (run here)"
        return LocalChat(model, name, self.rows, self.max_prompt_tokens, self.max_tokens)

    def limited(self, max_tokens: int) -> "Local":
        """As JudgeOption.limited."""
        return replace(self, max_tokens=max_tokens)

    def identity(self) -> dict[str, Any]:
        """The model and the limits that shape its answers."""
        limits = {"max_prompt_tokens": self.max_prompt_tokens, "max_tokens": self.max_tokens}
        return {"judge": "local", "model": self.model.identity(), "dtype": self.dtype, **limits}

    def check(self) -> None:
        """ValueError if the model can't be found, has no chat template that it is asked for, or is too short."""
        reader = load_reader(self.model)
        if self.model.prompt_format == "chat" and not reader.tokenizer.chat_template:
            raise ValueError(
                f"judge.model.prompt_format=chat: {self.model.path} has no chat template; set it to raw, or choose an "
                "instruction-tuned model."
            )
        most = reader.context_length - self.max_tokens
        require(
            self.max_prompt_tokens <= most, "judge.max_prompt_tokens", self.max_prompt_tokens,
            f"at most {most}, the model's {reader.context_length} positions less max_tokens={self.max_tokens}",
            "lower one of the two",
        )  # fmt: skip


class LocalChat(CountingChat):
    """Greedy replies of a loaded model, `rows` at a time. A repetition is the same reply again."""

    def __init__(self, model: LoadedModel, name: str, rows: int, max_prompt_tokens: int, max_tokens: int) -> None:
        super().__init__()
        self.name = name
        self._model, self._rows = model, rows
        self._max_prompt_tokens, self._max_tokens = max_prompt_tokens, max_tokens

    def estimate(self, requests: Sequence[ChatRequest]) -> Usage:
        """Prompts as the tokenizer has them, replies of the expected length."""
        different = list(dict.fromkeys(requests))
        read = sum(len(self._model.encode(request.prompt)) for request in different)
        written = sum(min(request.expected_tokens, self._max_tokens) for request in different)
        return Usage(len(different), sent=len(different), prompt_tokens=read, completion_tokens=written)

    def _replies(self, requests: Sequence[ChatRequest]) -> list[Reply]:
        prompts = [self._model.encode(request.prompt) for request in requests]
        fitting = [number for number, ids in enumerate(prompts) if len(ids) <= self._max_prompt_tokens]
        tasks = ((number, self._greedy(prompts[number])) for number in fitting)
        capacity = self._max_prompt_tokens + self._max_tokens
        chains = dict(run(self._model.policy, tasks, self._rows, capacity)) if fitting else {}
        return [self._reply(ids, chains.get(number)) for number, ids in enumerate(prompts)]

    def _greedy(self, ids: tuple[int, ...]) -> Generator[Request, Chain, Chain]:
        key = Key(0, "judge")  # At temperature 0 nothing is drawn by it.
        return (yield Request(Chain(ids), 0, key, self._max_tokens, self._model.stop_ids, temperature=0.0))

    def _reply(self, ids: tuple[int, ...], chain: Chain | None) -> Reply:
        if chain is None:
            return Reply(
                None, f"a prompt of {len(ids)} tokens is longer than judge.max_prompt_tokens={self._max_prompt_tokens}"
            )
        return Reply(
            self._model.decode(chain.tokens),
            cut=chain.finish == "cap",
            attempts=1,
            prompt_tokens=len(ids),
            completion_tokens=len(chain.tokens),
        )
