"""Completions, grades and scores: each pulled from the store, or made now and left there.

The rooms see no files, no Hydra and no W&B: this file reads and writes for them.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab.artifacts import RunLog, Store
from reasoning_lab.draws import Draw
from reasoning_lab.experiment import Experiment
from reasoning_lab.recipes import GradesRecipe, ScoresRecipe, golds_digest
from reasoning_lab.records import Completion, Grade
from reasoning_lab.sampler.base import Selection

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_lab.model_pair.pair import LoadedModel, Role
    from reasoning_lab.tracking import Tracker


@dataclass
class Lab:
    """What a run works with beside its experiment."""

    store: Store
    tracker: "Tracker"
    console: "Console"
    folder: Path
    """The run's own folder."""
    models: dict[Any, "LoadedModel"] = field(default_factory=dict)
    """Models loaded so far."""
    on_progress: Callable[[str, int, int, int], None] = lambda *_: None
    """Hears of a draw's label, its answers in all and done, and its tokens so far."""


def completions(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """The draw's answers, drawn now where they are not in the store."""

    def build(folder: Path) -> None:
        found = _selected(experiment, draw, lab) if draw.pool else _drawn(experiment, draw, lab)
        _write_lines(folder / "completions.jsonl", [completion.dumps() for completion in found])

    folder = lab.store.get_or_build(draw.recipe, build)
    return [Completion.from_json(line) for line in _read_lines(folder / "completions.jsonl")]


def _selected(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """A selection's answers, read off its pool's."""
    assert draw.pool is not None
    assert isinstance(draw.sampler, Selection)
    found = []
    for pooled in completions(experiment, draw.pool, lab):
        chosen = pooled.candidates[draw.sampler.choose(pooled.candidates)]
        found.append(
            replace(
                pooled,
                text=chosen.text,
                ids=chosen.ids,
                finish=chosen.finish,
                log_p=chosen.log_p,
                negentropy=chosen.negentropy,
            )
        )
    return found


def _drawn(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """Run the engine, or as much of it as the log of an earlier attempt leaves to do."""
    from reasoning_lab.drawing import draw_completions

    sampler = _with_budget(experiment, draw, lab)
    model = _model(experiment, draw.role, lab)
    prompts = _encoded(experiment, draw, model)
    started, done, tokens = time.monotonic(), 0, 0

    def on_done(completion: Completion) -> None:
        nonlocal done, tokens
        done, tokens = done + 1, tokens + completion.decode_tokens
        lab.on_progress(draw.label, draw.n_answers, done, tokens)

    log = RunLog(lab.store.log_path(draw.recipe))
    try:
        found, counts = draw_completions(
            model, sampler, prompts, draw.chains, experiment.seed, _vote(experiment), _shape(experiment), log,
            experiment.runtime.checkpoint_seconds, on_done,
        )  # fmt: skip
    finally:
        log.close()
    seconds = time.monotonic() - started
    lab.console.print(
        f"  {draw.label}: {len(found):,} answers, {counts.drawn:,} tokens drawn in {seconds:.1f} s "
        f"({counts.drawn / max(seconds, 1e-9):,.0f}/s, {100 * counts.occupancy:.0f} % of row-steps useful)",
        highlight=False,
        soft_wrap=True,
    )
    return found


def _with_budget(experiment: Experiment, draw: Draw, lab: Lab) -> Any:
    """The sampler, its budget resolved to the matched arm's mean decode tokens per problem."""
    if draw.matched is None:
        return draw.sampler
    spent = [completion.decode_tokens for completion in completions(experiment, draw.matched, lab)]
    return replace(draw.sampler, tokens_matched_to=None, budget=sum(spent) / len(spent))  # pyright: ignore


def _vote(experiment: Experiment) -> Callable[[str], str | None]:
    def vote(text: str) -> str | None:
        answer = experiment.benchmark.answer(text)
        return None if answer is None else experiment.benchmark.canonical(answer)

    return vote


def _shape(experiment: Experiment) -> Any:
    from reasoning_lab.drawing import Shape

    return Shape(experiment.runtime.rows, experiment.runtime.max_prompt_tokens)


def _model(experiment: Experiment, role: "Role", lab: Lab) -> "LoadedModel":
    from reasoning_lab.model_pair.pair import load, resolve_device

    source = experiment.model_pair.source(role)
    at = (source, experiment.model_pair.dtype, experiment.runtime.device)
    if at not in lab.models:
        import torch

        if experiment.runtime.threads:
            torch.set_num_threads(experiment.runtime.threads)
        lab.models[at] = load(source, experiment.model_pair.dtype, resolve_device(experiment.runtime.device))
    return lab.models[at]


def _encoded(experiment: Experiment, draw: Draw, model: "LoadedModel") -> dict[str, tuple[int, ...]]:
    """Prompt ids by problem."""
    return {problem.id: model.encode(experiment.benchmark.prompt(problem)) for problem in draw.problems}


def check_prompts(experiment: Experiment, draw: Draw) -> None:
    """A model that isn't there, a prompt that can't be read or doesn't fit: an error before anything is drawn."""
    from reasoning_lab.model_pair.pair import load_reader

    reader = load_reader(experiment.model_pair.source(draw.role))
    limit = experiment.runtime.max_prompt_tokens
    for problem in draw.problems:
        text = experiment.benchmark.prompt(problem)
        reader.check_round_trip(text)
        n = len(reader.encode(text))
        if not 0 < n <= limit:
            raise ValueError(
                f"problem {problem.id}: its prompt has {n} tokens, runtime.max_prompt_tokens={limit}; "
                f"raise it to the longest prompt's length."
            )
    needed = limit + draw.sampler.max_new_tokens
    if needed > reader.context_length:
        raise ValueError(
            f"runtime.max_prompt_tokens={limit} + max_new_tokens={draw.sampler.max_new_tokens} exceed the "
            f"{reader.context_length} positions of the {draw.role} model; lower benchmark.max_new_tokens to at most "
            f"{reader.context_length - limit}."
        )


def grades(experiment: Experiment, draw: Draw, lab: Lab) -> list[Grade]:
    """Verdicts on the draw's answers."""
    benchmark = experiment.benchmark
    recipe = GradesRecipe(
        draw.recipe, f"{type(benchmark).__name__} {benchmark.version}", golds_digest(list(draw.problems))
    )

    def build(folder: Path) -> None:
        problems = {problem.id: problem for problem in draw.problems}
        log = RunLog(lab.store.log_path(recipe))
        done = {(grade.problem, grade.chain): grade for grade in map(Grade.from_json, log.records)}
        answers = completions(experiment, draw, lab)
        try:
            for answer in answers:
                if (answer.problem, answer.chain) not in done:
                    grade = benchmark.grade(problems[answer.problem], answer.text, answer.chain, answer.finish)
                    done[answer.problem, answer.chain] = grade
                    log.append(grade.to_json())
        finally:
            log.close()
        _write_lines(folder / "grades.jsonl", [done[answer.problem, answer.chain].dumps() for answer in answers])

    folder = lab.store.get_or_build(recipe, build)
    return [Grade.from_json(line) for line in _read_lines(folder / "grades.jsonl")]


def scores(experiment: Experiment, draw: Draw, lab: Lab) -> list[tuple[float, float]]:
    """(log p per token, mean negative entropy) of the draw's answers under the base model."""
    answers = completions(experiment, draw, lab)
    if draw.role == "base":
        return [(answer.log_p / len(answer.ids), answer.negentropy) for answer in answers]
    pair = experiment.model_pair
    recipe = ScoresRecipe(draw.recipe, pair.source("base").identity(), pair.dtype)

    def build(folder: Path) -> None:
        from reasoning_lab.drawing import Item, score_texts

        base = _model(experiment, "base", lab)
        prompts = _encoded(experiment, draw, base)
        texts = [(Item(a.problem, a.chain), prompts[a.problem], a.ids) for a in answers]
        found = score_texts(base, texts, _shape(experiment), draw.sampler.max_new_tokens)
        _write_lines(folder / "scores.jsonl", [json.dumps(found[item]) for item, _, _ in texts])

    folder = lab.store.get_or_build(recipe, build)
    return [(log_p, negentropy) for log_p, negentropy in _read_lines(folder / "scores.jsonl")]


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _read_lines(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)
