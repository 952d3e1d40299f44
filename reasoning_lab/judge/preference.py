"""AlpacaEval 2.0's annotator weighted_alpaca_eval_gpt4_turbo: which of two outputs is better, by a judge's next token.

The judge is shown the instruction and both outputs under the names m and M and writes one token. The preference for the
output under M is P(M) / (P(m) + P(M)), read off the token's log probabilities (Dubois et al. 2024, arXiv:2404.04475).
Which output stands under which name is drawn by key, per problem and chain. A reply in which neither name is among the
most probable tokens is no preference, and counted as such.

The prompt is the alpaca_eval package's own file (extra `alpaca`); nothing else of the package is used here.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_lab.checks import require
from reasoning_lab.engine.client.http import BadReply, Endpoint, Redact
from reasoning_lab.engine.rng import Key, uniform
from reasoning_lab.judge.base import Chat, ChatRequest
from reasoning_lab.judge.chat import ChatJudge
from reasoning_lab.judge.client.completion import ChatCompletion, read_completion
from reasoning_lab.judge.openai import OpenAI
from reasoning_lab.records import Record

ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
NAMES = ("m", "M")
_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)\n<\|im_end\|>", re.DOTALL)
_SLOT = re.compile(r"\{(instruction|output_1|output_2)\}")


@dataclass(frozen=True)
class Pair(Record):
    """Two outputs for one instruction."""

    problem: str
    chain: int
    instruction: str
    output: str
    """The one whose preference is asked."""
    reference: str


@dataclass(frozen=True)
class Preference(Record):
    """What the judge said of a pair."""

    problem: str
    chain: int
    value: float | None
    """Probability that the output is preferred to the reference; None: no reply, or neither name in it."""
    output_first: bool
    """Whether the output stood first, as m."""


@dataclass(frozen=True)
class PreferenceOption(OpenAI):
    """A chat model that gives the log probabilities of its tokens; a line of conf/judge."""

    def __post_init__(self) -> None:
        super().__post_init__()
        weighed = self.extra.get("logprobs") and self.extra.get("top_logprobs")
        names = "logprobs: true and top_logprobs: 5"
        require(bool(weighed), "extra", self.extra, f"parameters with {names}", "preferences are weighted by them")

    def open(self, cache: Path, device: str) -> ChatJudge:
        """Refused: it says which of two outputs is better, and nothing else."""
        raise ValueError("judge=alpaca_eval: names no categories; choose judge=lexical, local or openai.")

    def body_of(self, prompt: str) -> dict[str, Any]:
        """The request's body; the turns of a prompt in ChatML are messages."""
        turns = [{"role": role, "content": text} for role, text in _TURN.findall(prompt)]
        return super().body_of(prompt) | ({"messages": turns} if turns else {})

    def connect(self) -> Endpoint[ChatCompletion]:
        """An endpoint whose texts are the first token's log probabilities."""
        return Endpoint(self.url, self.key(), self.concurrency, self.timeout_s, self.is_loopback, _read_weights)


_ROUNDING = 1e-3
"""By how much a server's log probability may lie above 0."""


def _read_weights(body: bytes, redact: Redact) -> ChatCompletion:
    """A completion whose text is its first token's log probabilities, as JSON."""
    done = read_completion(body, redact)
    weights = json.dumps(_first_token(json.loads(body)), sort_keys=True)
    return ChatCompletion(redact(weights), False, done.prompt_tokens, done.completion_tokens)


def _first_token(reply: dict[str, Any]) -> dict[str, float]:
    """Log probability by token, of the first token's alternatives."""
    try:
        alternatives = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        weights = {str(each["token"]): float(each["logprob"]) for each in alternatives}
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        raise BadReply("no top_logprobs; the server must give log probabilities") from None
    if not all(weight <= _ROUNDING for weight in weights.values()):
        raise BadReply("top_logprobs above 0 or not numbers; the server must give log probabilities")
    return weights


def preferences(chat: Chat, pairs: Sequence[Pair], template: str, seed: int) -> list[Preference]:
    """Ask about every pair, all at the same time; equal outputs tie unasked."""
    requests = preference_requests(pairs, template, seed)
    replies = dict(zip(requests, chat.ask(list(requests.values())), strict=True))
    given = []
    for pair in pairs:
        text, is_first = replies[pair].text if pair in replies else None, output_first(seed, pair)
        value = None if text is None else weight(text, is_first)
        given.append(Preference(pair.problem, pair.chain, value if pair in replies else 0.5, is_first))
    return given


def preference_requests(pairs: Sequence[Pair], template: str, seed: int) -> dict[Pair, ChatRequest]:
    """What is asked of each pair whose outputs differ."""
    asked = [pair for pair in pairs if pair.output != pair.reference]
    return {
        pair: ChatRequest(preference_prompt(template, pair, output_first(seed, pair)), expected_tokens=1)
        for pair in asked
    }


def output_first(seed: int, pair: Pair) -> bool:
    """Whether the output stands first: a fair coin of its own for each problem and chain."""
    return uniform(Key(seed, pair.problem, pair.chain), 0, "order of the outputs") < 0.5


def preference_prompt(template: str, pair: Pair, is_first: bool) -> str:
    """The template with its slots filled in one pass: no text is searched for slots. ChatML's marks in the texts are
    broken up, so that none can end a turn (the package leaves them)."""
    one, other = (pair.output, pair.reference) if is_first else (pair.reference, pair.output)
    texts = {"instruction": pair.instruction, "output_1": one, "output_2": other}
    return _SLOT.sub(lambda slot: texts[slot[1]].replace("<|im_", "<| im_"), template)


def weight(reply: str, is_first: bool) -> float | None:
    """P(ours) / (P(m) + P(M)) of a reply that is a JSON object of log probabilities by token."""
    log_p = json.loads(reply)
    mine, other = NAMES if is_first else NAMES[::-1]
    known = [log_p[name] for name in NAMES if name in log_p]
    if not known or max(known) == -math.inf:
        return None
    masses = {name: math.exp(log_p[name] - max(known)) if name in log_p else 0.0 for name in NAMES}
    return masses[mine] / (masses[mine] + masses[other])


def annotator_prompt() -> str:
    """The package's prompt. ValueError where the extra is missing."""
    from importlib.util import find_spec

    spec = find_spec("alpaca_eval")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("judge=alpaca_eval needs the extra `alpaca`: run `pip install -e '.[alpaca]'`.")
    folder = Path(next(iter(spec.submodule_search_locations))) / "evaluators_configs"
    return (folder / "alpaca_eval_clf_gpt4_turbo" / "alpaca_eval_clf.txt").read_text(encoding="utf-8")
