"""A look at all that a run will need, a minute long, before its first hour: the models of its arms, their tokenizers,
the engine's law, the benchmark, the machine. Nothing is kept but the findings."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reasoning_lab.artifacts.arms import Arms
from reasoning_lab.artifacts.base import Context
from reasoning_lab.artifacts.preflight import preflight
from reasoning_lab.artifacts.schedule import completions_behind
from reasoning_lab.checkup.findings import Broken, Claim, Finding
from reasoning_lab.checkup.law import SteeredModels, law_claims, steering_claims, stream_claims, weight_claims
from reasoning_lab.checkup.machine import Need, free_memory, memory_claim, speed_claim
from reasoning_lab.checkup.tokens import token_claims, vocabulary_claims
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import Counts, run
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.experiment import Experiment
from reasoning_lab.model_pair.loaded import LoadedModel
from reasoning_lab.model_pair.pair import ModelSource, Role
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.model_pair.size import load_footprint
from reasoning_lab.records import Problem
from reasoning_lab.sampler.ancestral import Temperature
from reasoning_lab.sampler.base import Prompt
from reasoning_lab.steering.steering import NoSteering

DRAWN = 32
"""Tokens of each answer that is drawn on trial."""


class _Role(NamedTuple):
    role: Role
    source: ModelSource
    layers: tuple[int, ...]
    """That are read or steered in it."""
    tags: tuple[str, ...]
    """Around its thinking text."""


def look_at(experiment: Experiment, arms: Arms, context: Context) -> Iterator[Finding]:
    """All findings, as they are made; a claim that can't be looked at for an earlier one is left out."""
    runtime, benchmark = experiment.runtime, experiment.benchmark
    capacity, roles = runtime.max_prompt_tokens + benchmark.max_new_tokens, _roles(experiment, arms)
    problems, rows = arms.problems.problems, context.shape_of(arms.rows[arms.studied].draws[0].completions).rows
    ends = [problems[0], problems[-1]]
    yield Claim(
        "run", "prompts, answers and layers fit the models", lambda: _preflight(arms, runtime.max_prompt_tokens)
    ).finding()
    fit = _fit(experiment, arms, roles, context, rows * (capacity + 1)).finding()
    yield fit
    prompts = {problem.id: benchmark.prompt(problem) for problem in ends}
    models: dict[Role, LoadedModel[HuggingFacePolicy]] = {}
    for each in roles:
        readable = Claim(each.role, "tokenizer and config load", lambda each=each: _read(each.source)).finding()
        yield readable
        if not readable.holds:
            continue
        reader = load_reader(each.source)
        for claim in token_claims(each.role, reader, prompts[ends[0].id], each.tags):
            yield claim.finding()
        if fit.holds:  # Else the system would end this process before it has said a word.
            yield Claim(each.role, "weights load", lambda each=each: _load(each, arms, context, models)).finding()
        if each.role in models:
            yield from _of_model(each, models[each.role], list(prompts.values()), rows, capacity)
    for each in roles:
        if each.role != "base" and {"base", each.role} <= models.keys():
            other, is_thinking = models[each.role].reader, each.role == "thinking"
            for claim in vocabulary_claims(
                models["base"].reader, other, f"base, {each.role}", _steers(experiment) and is_thinking
            ):
                yield claim.finding()
    if _steers(experiment) and {"base", "thinking"} <= models.keys():
        yield from _of_hybrid(experiment, arms, models, prompts[ends[0].id], rows, capacity)
    yield from _of_benchmark(experiment, ends[0])
    if "base" in models:
        yield from _of_drawing(experiment, arms, models["base"], prompts[ends[0].id], ends[0], rows)


def _steers(experiment: Experiment) -> bool:
    return any(not isinstance(arm.steering, NoSteering) for arm in experiment.arms.values())


def _roles(experiment: Experiment, arms: Arms) -> list[_Role]:
    """The models of the arms, the base first, with the taxonomy's."""
    categories = arms.categories
    of_taxonomy: list[Role] = [] if categories is None else ["thinking"]
    used: list[Role] = ["base", *(arm.role for arm in experiment.arms.values()), *of_taxonomy]
    found = []
    for role in dict.fromkeys(used):
        layers, tags = [], []
        if role == "base" and arms.vectors is not None:
            layers = [arms.vectors.layer]
        if role == "thinking" and categories is not None:
            layers = list(categories.taxonomy.layers)
            tags = [tag for tag in (categories.taxonomy.think_open, categories.taxonomy.think_close) if tag is not None]
        found.append(_Role(role, arms.pair.source(role), tuple(layers), tuple(tags)))
    return found


def _preflight(arms: Arms, max_prompt_tokens: int) -> str:
    made = arms.made()
    try:
        preflight(made, max_prompt_tokens)
    except ValueError as error:
        found, _, move = str(error).partition("; ")
        raise Broken(found, move or "see the message") from error
    return f"{len(arms.problems.problems)} problems, prompts of at most {max_prompt_tokens} tokens"


def _fit(experiment: Experiment, arms: Arms, roles: Sequence[_Role], context: Context, positions: int) -> Claim:
    """Sizes come from configs: a model that is too large is told before it is loaded."""
    free, dtype = free_memory(context.device), arms.pair.dtype
    together = ("base", "thinking") if _steers(experiment) else ("base",)

    def need() -> Need:
        sizes = {each.role: load_footprint(each.source) for each in roles}
        weights = sum(size.bytes(dtype, 0) for size in sizes.values())
        caches = [
            size.bytes(dtype, positions) - size.bytes(dtype, 0) for role, size in sizes.items() if role in together
        ]
        return Need(weights, sum(caches))

    return Claim("machine", "weights and caches fit", lambda: memory_claim(need(), free).look())


def _read(source: ModelSource) -> str:
    reader = load_reader(source)
    return f"{type(reader.tokenizer).__name__}, {len(reader.tokenizer):,} tokens, {reader.n_layers} layers"


def _load(each: _Role, arms: Arms, context: Context, models: dict[Role, LoadedModel[HuggingFacePolicy]]) -> str:
    models[each.role] = model = context.model(each.source, arms.pair.dtype)
    return f"{model.policy.architecture}, {arms.pair.dtype} on {model.policy.device}"


def _of_model(
    each: _Role, model: LoadedModel[HuggingFacePolicy], prompts: Sequence[str], rows: int, capacity: int
) -> Iterator[Finding]:
    ids = [model.encode(prompt) for prompt in prompts]
    for claim in weight_claims(each.role, model, ids[0]):
        yield claim.finding()
    for claim in law_claims(each.role, model.policy, ids, rows, capacity):
        yield claim.finding()
    if each.layers:
        for claim in stream_claims(each.role, model.policy, ids[0], each.layers):
            yield claim.finding()


def _of_hybrid(
    experiment: Experiment, arms: Arms, models: dict[Role, LoadedModel[HuggingFacePolicy]], prompt: str, rows: int,
    capacity: int,
) -> Iterator[Finding]:  # fmt: skip
    assert arms.categories is not None, "who steers has categories"
    rule = next(arm.steering for arm in experiment.arms.values() if not isinstance(arm.steering, NoSteering))
    base, thinking = models["base"], models["thinking"]
    pair = SteeredModels(
        base, thinking, (base.encode(prompt), thinking.encode(prompt)), arms.categories.taxonomy.layer, rule.inner
    )
    for claim in steering_claims(pair, rows, capacity):
        yield claim.finding()


def _of_benchmark(experiment: Experiment, problem: Problem) -> Iterator[Finding]:
    yield Claim("benchmark", "a gold answer is graded correct", lambda: _gold(experiment, problem)).finding()
    yield Claim("judge", "it can be asked", lambda: _judge(experiment)).finding()


def _gold(experiment: Experiment, problem: Problem) -> str:
    benchmark = experiment.benchmark
    benchmark.check_grading()
    if benchmark.asks_judge:
        return "the judge has the word"
    grade = benchmark.grade(problem, benchmark.gold_text(problem), 0, "stop")
    if grade.verdict != "correct":
        found = f"problem {problem.id}: {grade.verdict} ({grade.reason})"
        raise Broken(
            found, "the benchmark's file or grader is not what it should be: see benchmark.path and benchmark.grader"
        )
    return f"problem {problem.id}: {grade.reason}"


def _judge(experiment: Experiment) -> str:
    experiment.judge.check()
    return type(experiment.judge).__name__


def _of_drawing(
    experiment: Experiment,
    arms: Arms,
    model: LoadedModel[HuggingFacePolicy],
    prompt: str,
    problem: Problem,
    rows: int,
) -> Iterator[Finding]:
    """One problem, answered in all rows."""
    counts, seconds, text = Counts(), [0.0], [""]

    def draw() -> str:
        runtime, ids = experiment.runtime, model.encode(prompt)
        sampler = Temperature(min(DRAWN, experiment.benchmark.max_new_tokens), 1.0)
        tasks = (
            (n, sampler.sample(Prompt(ids, model.stop_ids, Key(experiment.seed, problem.id, n)))) for n in range(rows)
        )
        capacity = runtime.max_prompt_tokens + experiment.benchmark.max_new_tokens
        started = time.monotonic()
        drawn = dict(run(model.policy, tasks, rows, capacity, counts=counts))
        seconds[0] = time.monotonic() - started
        chain = drawn[0].chain
        text[0] = model.decode(chain.tokens)
        grade = experiment.benchmark.grade(problem, text[0], 0, "stop" if chain.finish == "stop" else "cap")
        return f"problem {problem.id}: {text[0][:60]!r}, {grade.verdict} ({grade.reason})"

    finding = Claim("base", "one problem is drawn and graded", draw).finding()
    yield finding
    if finding.holds:
        answers = completions_behind([each.completions for each in arms.answers()])
        tokens = sum(each.expected_tokens(experiment.typical_length) for each in answers)
        yield speed_claim(tokens, counts.drawn, seconds[0]).finding()
