"""Draw the answers of one arm: the engine over the samplers' coroutines, with a log from which a killed run goes on."""

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch

from reasoning_lab.artifacts.runlog import RunLog
from reasoning_lab.artifacts.stopping import saved_by
from reasoning_lab.engine.base import Answering
from reasoning_lab.engine.policy import Chain, Coroutine, score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.work import Work
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.reader import Reader
from reasoning_lab.records import Candidate, Completion, Compute, Passes
from reasoning_lab.sampler.base import Prompt, Sample, Sampler


class AnswerId(NamedTuple):
    """One answer to draw: the names under which it is logged."""

    problem: str
    chain: int


@dataclass(frozen=True)
class Shape:
    """Physical shape of every pass."""

    rows: int
    max_prompt_tokens: int


def draw_completions(
    engine: Answering,
    reader: Reader,
    sampler: Sampler,
    prompts: dict[str, tuple[int, ...]],
    chains: tuple[int, int],
    seed: int,
    vote: Callable[[str], str | None],
    shape: Shape,
    log: RunLog,
    checkpoint_seconds: float,
    on_done: Callable[[Completion, Counts], None],
) -> tuple[list[Completion], Counts]:
    """All answers of an arm in the order of problems, then chains; those in `log` are not drawn again.

    Arguments: `engine` draws from the model of `reader`; `prompts` maps problem ids to prompt ids; `vote` reads from a
    text the answer in the form in which it votes; `on_done` hears of every answer, logged ones first, and of what was
    drawn so far; finished answers and, at most every `checkpoint_seconds` per chain, states of long chains are appended
    to `log`.
    """
    items = [AnswerId(problem, chain) for problem in prompts for chain in range(*chains)]
    done, states, counts = _logged(log, set(items))
    for completion in done.values():
        on_done(completion, counts)
    candidate = _candidates(reader, vote)

    def tasks() -> Iterator[tuple[AnswerId, Any]]:
        for item in items:
            if item not in done:
                prompt = Prompt(
                    prompts[item.problem], reader.stop_ids, Key(seed, item.problem, item.chain), candidate,
                    reader.encode_inserted,
                )  # fmt: skip
                yield item, _let_go(sampler.sample(prompt, states.get(item)))

    capacity = shape.max_prompt_tokens + sampler.max_new_tokens
    newest = _States(log, checkpoint_seconds, counts)
    with saved_by(newest.save):
        try:
            for item, sample in engine.run(tasks(), shape.rows, capacity, newest.put, counts):
                done[item] = completion = _completion(item, sample, candidate, _compute(counts.work.pop(item)))
                log.append({"completion": completion.to_json()})
                newest.drop(item)
                on_done(completion, counts)
        except (torch.OutOfMemoryError, MemoryError):
            newest.save()  # The next attempt, in fewer rows, goes on from here.
            raise
    return [done[item] for item in items], counts


def _logged(
    log: RunLog, items: Container[AnswerId]
) -> tuple[dict[AnswerId, Completion], dict[AnswerId, dict[str, Any]], Counts]:
    """Finished answers of earlier attempts, the last saved states of unfinished ones, and what those had taken."""
    done: dict[AnswerId, Completion] = {}
    states: dict[AnswerId, dict[str, Any]] = {}
    counts = Counts()
    for item, found in log.of(items, _read):
        if isinstance(found, Completion):
            done[item] = found
        else:
            states[item], counts.work[item] = found
    return done, states, counts


def _read(record: dict[str, Any]) -> tuple[AnswerId, Completion | tuple[dict[str, Any], Work]]:
    """An item of the log with its answer, or with its state and what that had taken."""
    if "completion" in record:
        completion = Completion.from_json(record["completion"])
        return AnswerId(completion.problem, completion.chain), completion
    return AnswerId(record["problem"], record["chain"]), (record["state"], Work(**record["work"]))


class _States:
    """The newest states of unfinished chains: in the log when the last one there (or the run's start) is old enough,
    and all of them when the process is told to end."""

    def __init__(self, log: RunLog, seconds: float, counts: Counts) -> None:
        self._log = log
        self._seconds = seconds
        self._counts = counts
        self._started = time.monotonic()
        self._logged: dict[AnswerId, float] = {}
        self._unlogged: dict[AnswerId, dict[str, Any]] = {}

    def put(self, item: AnswerId, state: dict[str, Any]) -> None:
        """A chain's state, with what it took to get there."""
        work = asdict(self._counts.work[item])
        self._unlogged[item] = {"problem": item.problem, "chain": item.chain, "state": state, "work": work}
        now = time.monotonic()
        if now - self._logged.get(item, self._started) >= self._seconds:
            self._logged[item] = now
            self._log.append(self._unlogged.pop(item))

    def drop(self, item: AnswerId) -> None:
        """The chain is done."""
        self._unlogged.pop(item, None)
        self._logged.pop(item, None)

    def save(self) -> None:
        """Log what is not logged yet. Another thread calls it while chains go on: a state of a chain that is done by
        then is passed over by whoever reads the log."""
        for record in list(self._unlogged.values()):
            self._log.append(record)
        self._log.sync()


def _candidates(reader: Reader, vote: Callable[[str], str | None]) -> Callable[[Chain], Candidate]:
    def candidate(chain: Chain) -> Candidate:
        text = reader.decode(chain.tokens)
        finish = "stop" if chain.tokens[-1] in reader.stop_ids else "cap"
        negentropy = sum(chain.negentropy) / chain.n_scored
        return Candidate(text, chain.tokens, finish, sum(chain.log_p), negentropy, vote(text), chain.inserted)

    return candidate


def _let_go(drawing: Coroutine[Sample]) -> Coroutine[Sample]:
    """The same, its answer without saved states: many may end in one step, and wait for their turn to be logged."""
    sample = yield from drawing
    return replace(sample, chain=replace(sample.chain, cache=()))


def _completion(
    item: AnswerId, sample: Sample, candidate: Callable[[Chain], Candidate], compute: Compute
) -> Completion:
    chosen = candidate(sample.chain)
    return Completion(
        item.problem, item.chain, chosen.text, chosen.ids, chosen.finish, chosen.log_p, chosen.negentropy,
        sample.decode_tokens, len(sample.moves),
        sum(move.accepted for move in sample.moves), sum(move.moved for move in sample.moves),
        # Moves are for reading; one chain per problem is enough to read.
        sample.moves if item.chain == 0 else (),
        tuple(map(candidate, sample.candidates)),
        chosen.inserted,
        compute,
        n_rescored=sum(move.settled == "rescored" for move in sample.moves),
        n_undecided=sum(move.settled == "undecided" for move in sample.moves),
    )  # fmt: skip


def _compute(work: Work) -> Compute:
    """The record of what an answer took."""
    own = Passes(work.prefill, work.decode, work.heads)
    return Compute(own, Passes(work.thinking_prefill, work.thinking_decode, work.thinking_heads))


def score_texts(
    model: LoadedModel, texts: Sequence[tuple[AnswerId, tuple[int, ...], tuple[int, ...]]], shape: Shape, cap: int
) -> dict[AnswerId, tuple[float, float]]:
    """(log p per token, mean sum_v p log p) of given answers under a model.

    Arguments: `texts` are (item, prompt ids, answer ids) triples, answers of at most `cap` tokens.
    """

    def scored(item: AnswerId, prompt: tuple[int, ...], ids: tuple[int, ...]) -> Any:
        return (yield score(prompt, ids, Key(0, item.problem, item.chain)))

    tasks = ((item, scored(item, prompt, ids)) for item, prompt, ids in texts)
    chains = run(model.policy, tasks, shape.rows, shape.max_prompt_tokens + cap)
    return {item: (_mean(chain.log_p), _mean(chain.negentropy)) for item, chain in chains}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
