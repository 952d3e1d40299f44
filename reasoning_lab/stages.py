"""The story, to be read first: problems → completions → grades → report.

Each stage pulls what it needs and leaves an artifact; a second run finds everything. The rooms see no files, no
Hydra and no W&B: this file reads and writes for them.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab.artifacts import RunLog, Store
from reasoning_lab.experiment import Arm, Experiment
from reasoning_lab.recipes import (
    CompletionsRecipe,
    GradesRecipe,
    ScoresRecipe,
    golds_digest,
    prompts_digest,
)
from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.sampler.base import Sampler, Selection

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_lab.model_pair.pair import LoadedModel, Role
    from reasoning_lab.report.inputs import ArmResult
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


@dataclass(frozen=True)
class Draw:
    """What to draw: one sampler on one role's model, some problems, some chains."""

    arm: str
    role: "Role"
    sampler: Sampler
    problems: tuple[Problem, ...]
    chains: tuple[int, int]
    recipe: CompletionsRecipe
    matched: "Draw | None" = None
    """The draw whose decode tokens set the sampler's budget."""
    pool: "Draw | None" = None
    """The draw whose candidates a Selection chooses from."""

    @property
    def n_answers(self) -> int:
        """Answers in all."""
        return len(self.problems) * (self.chains[1] - self.chains[0])

    @property
    def label(self) -> str:
        """What a reader sees of it."""
        is_pool = getattr(self.sampler, "tokens_matched_to", None) is not None
        return self.arm + (" pool" if is_pool else "") + (" (pass@k)" if self.chains[0] > 0 else "")


# -- what there is to do -----------------------------------------------------------------------------------------------


def problems_of(experiment: Experiment) -> tuple[Problem, ...]:
    """The benchmark's problems."""
    return tuple(experiment.benchmark.load())


def table_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """One draw per arm: all problems, the table's chains."""
    return {name: _arm_draw(experiment, name, problems, (0, experiment.n_samples)) for name in experiment.arms}


def passk_draws(experiment: Experiment, problems: Sequence[Problem]) -> dict[str, Draw]:
    """The chains that pass@k needs beyond the table's, per arm; empty where the table has them all."""
    first, last = experiment.n_samples, experiment.passk.n_samples
    if last <= first:
        return {}
    chosen = problems[: experiment.passk.n_problems]
    return {name: _arm_draw(experiment, name, chosen, (first, last)) for name in experiment.passk.arms}


def _arm_draw(experiment: Experiment, name: str, problems: Sequence[Problem], chains: tuple[int, int]) -> Draw:
    arm = experiment.arms[name]
    if not isinstance(arm.sampler, Selection):
        return _draw(experiment, name, arm, arm.sampler, problems, chains)
    pool = _draw(experiment, name, arm, arm.sampler.pool, problems, chains)
    # A selection's recipe is its pool's with the selection as sampler: same draws, another choice.
    recipe = replace(pool.recipe, sampler=arm.sampler, name=_name(experiment, arm.role, arm.sampler))
    return replace(pool, sampler=arm.sampler, recipe=recipe, pool=pool)


def _draw(
    experiment: Experiment,
    name: str,
    arm: Arm,
    sampler: Sampler,
    problems: Sequence[Problem],
    chains: tuple[int, int],
) -> Draw:
    matched_name = getattr(sampler, "tokens_matched_to", None)
    matched = _arm_draw(experiment, matched_name, problems, chains) if matched_name else None
    pair, benchmark = experiment.model_pair, experiment.benchmark
    recipe = CompletionsRecipe(
        name=_name(experiment, arm.role, sampler),
        model=pair.source(arm.role).identity(),
        dtype=pair.dtype,
        steering=arm.steering,
        sampler=sampler,
        prompts=prompts_digest([(problem.id, benchmark.prompt(problem)) for problem in problems]),
        seed=experiment.seed,
        chains=chains,
        budget_of=matched.recipe if matched else None,
    )
    return Draw(name, arm.role, sampler, tuple(problems), chains, recipe, matched)


def _name(experiment: Experiment, role: str, sampler: Sampler) -> str:
    parts = (experiment.model_pair.name, role, type(sampler).__name__, type(experiment.benchmark).__name__)
    return "-".join(parts).lower()


def _flat(draws: Sequence[Draw]) -> list[Draw]:
    """Draws with those they depend on, dependencies first, each recipe once."""
    found: dict[str, Draw] = {}
    for draw in draws:
        upstream = [other for other in (draw.matched, draw.pool) if other is not None]
        for other in [*_flat(upstream), draw]:
            found.setdefault(other.recipe.key, other)
    return list(found.values())


# -- completions -------------------------------------------------------------------------------------------------------


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


# -- grades ------------------------------------------------------------------------------------------------------------


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


# -- the stages --------------------------------------------------------------------------------------------------------


def completions_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw all arms' answers."""
    problems = problems_of(experiment)
    draws = [*table_draws(experiment, problems).values(), *passk_draws(experiment, problems).values()]
    show_plan(experiment, lab, draws)
    draw_all([(experiment, draw) for draw in _flat(draws)], lab)
    return {}


def draw_all(work: Sequence[tuple[Experiment, Draw]], lab: Lab) -> None:
    """Draw what is not in the store, several draws at a time where the runtime has several workers.

    A worker that needs another's result waits for its lock, so the order is a matter of speed alone: longest first,
    behind what they depend on.
    """
    missing = [(experiment, draw) for experiment, draw in work if lab.store.get(draw.recipe) is None]
    if not missing:
        return
    for experiment, draw in missing:
        check_prompts(experiment, draw)
    missing.sort(key=lambda pair: (pair[1].matched is not None, pair[1].pool is not None, -_tokens(*pair)))
    n_workers = _n_workers(missing)
    with _progress(lab):
        if n_workers == 1:
            for experiment, draw in missing:
                completions(experiment, draw, lab)
            return
        from reasoning_lab.workers import call_all

        calls = [(experiment, draw, lab.store.root, lab.store.runtime) for experiment, draw in missing]
        call_all(_draw_apart, calls, n_workers, lambda event: _relay(event, lab))


def _n_workers(work: Sequence[tuple[Experiment, Draw]]) -> int:
    """As the runtime says on a CPU; one process has the GPU."""
    from reasoning_lab.model_pair.pair import resolve_device

    runtime = work[0][0].runtime
    if runtime.workers > 1 and resolve_device(runtime.device) != "cpu":
        return 1
    return min(runtime.workers, sum(draw.pool is None for _, draw in work) or 1)


_worker_models: dict[Any, "LoadedModel"] = {}
"""Models of a worker process, kept from one draw to the next."""


def _draw_apart(
    report: Callable[[Any], None], experiment: Experiment, draw: Draw, root: Path, runtime: dict[str, Any]
) -> None:
    """One draw in a worker process; lines and progress go to the parent."""
    from io import StringIO

    from rich.console import Console

    from reasoning_lab.tracking import Tracker

    lines = StringIO()
    store = Store(root, note=lambda line: report(("line", line)))
    store.runtime = runtime
    lab = Lab(store, Tracker(root), Console(file=lines, width=200), root, _worker_models, _rarely(report))
    completions(experiment, draw, lab)
    report(("line", lines.getvalue().rstrip("\n")))


def _rarely(report: Callable[[Any], None]) -> Callable[[str, int, int, int], None]:
    """Progress events, at most five a second and the last one always."""
    last = [0.0]

    def on_progress(label: str, total: int, done: int, tokens: int) -> None:
        if done == total or time.monotonic() - last[0] > 0.2:
            last[0] = time.monotonic()
            report(("progress", label, total, done, tokens))

    return on_progress


def _relay(event: Any, lab: Lab) -> None:
    kind, *rest = event
    if kind == "progress":
        lab.on_progress(*rest)
    elif rest[0]:
        lab.console.print(rest[0], highlight=False, soft_wrap=True)


def grades_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw and grade all arms; the accuracies."""
    from reasoning_lab.statistics import accuracy_interval, outcomes

    completions_stage(experiment, lab)
    draws = table_draws(experiment, problems_of(experiment))
    return {
        f"accuracy/{name}": accuracy_interval(outcomes(grades(experiment, draw, lab))).value
        for name, draw in draws.items()
    }


def report_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw and grade all arms; write table, plots and page; the headline metrics."""
    from reasoning_lab.report import print_table, write_report

    completions_stage(experiment, lab)
    report = report_input(experiment, lab)
    folder = lab.folder / "report"
    metrics = write_report(report, folder)
    print_table(report, lab.console)
    lab.console.print(f"\nPage: {folder / 'index.html'}", highlight=False)
    lab.tracker.images({image.stem: image for image in sorted(folder.glob("*.png"))})
    lab.tracker.table("samples", *_sample_table(report.arms, report.problems))
    return metrics


def embedded_pair_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Rebuild the embedded pair from nothing, in the run's folder."""
    from reasoning_lab.model_pair.pair import resolve_device
    from reasoning_lab.training.embedded_pair import build_embedded_pair

    folder, device = lab.folder / "embedded", resolve_device(experiment.runtime.device)
    seconds = build_embedded_pair(folder, seed=experiment.seed, device=device, report=lab.console.print)
    lab.console.print(f"Built in {folder}; point model_pair.base.path and its siblings there to use it.")
    return {f"seconds/{stage}": value for stage, value in seconds.items()}


STAGES: dict[str, Callable[[Experiment, Lab], dict[str, float]]] = {
    "completions": completions_stage,
    "grades": grades_stage,
    "report": report_stage,
    "embedded_pair": embedded_pair_stage,
}


# -- the report's input ------------------------------------------------------------------------------------------------


def report_input(experiment: Experiment, lab: Lab) -> Any:
    """Everything that table, plots and page show."""
    from reasoning_lab.model_pair.pair import load_reader
    from reasoning_lab.report import Published, ReportInput

    problems = problems_of(experiment)
    table, extra = table_draws(experiment, problems), passk_draws(experiment, problems)
    arms = [_arm_result(experiment, name, [draw], lab) for name, draw in table.items()]
    few = {problem.id for problem in problems[: experiment.passk.n_problems]}
    passk = [
        _first_problems(_arm_result(experiment, name, [table[name], *([extra[name]] if extra else [])], lab), few)
        for name in experiment.passk.arms
        if experiment.passk.n_samples > 1
    ]
    return ReportInput(
        title=experiment.title or f"{experiment.model_pair.name} on {type(experiment.benchmark).__name__}",
        arms=arms,
        problems={problem.id: problem for problem in problems},
        decode=load_reader(experiment.model_pair.source("base")).decode,
        base=experiment.baseline,
        power=_first_with(experiment, lambda arm: arm.sampler == experiment.sampler) or next(iter(experiment.arms)),
        rl=_first_with(experiment, lambda arm: arm.role == "grpo"),
        passk=passk,
        published=[Published(**row) for row in experiment.published],
        footer=_footer(experiment, table),
        seed=experiment.seed,
    )


def _arm_result(experiment: Experiment, name: str, draws: Sequence[Draw], lab: Lab) -> "ArmResult":
    from reasoning_lab.report import ArmResult

    arm = experiment.arms[name]
    answers = [answer for draw in draws for answer in completions(experiment, draw, lab)]
    behaviours = Counter[str]()
    for answer in answers:
        behaviours.update(experiment.benchmark.behaviours(answer.text))
    rates = {kind: n / len(answers) for kind, n in behaviours.items()}
    known = experiment.benchmark.behaviours("").keys()
    return ArmResult(
        name=name,
        label=arm.label or name.replace("_", " "),
        role=arm.role,
        sampler=describe(arm.sampler),
        completions=answers,
        grades=[grade for draw in draws for grade in grades(experiment, draw, lab)],
        checks=rates.get("check", 0.0) if "check" in known else None,
        backtracks=rates.get("backtrack", 0.0) if "backtrack" in known else None,
        scored=[pair for draw in draws for pair in scores(experiment, draw, lab)],
    )


def _first_problems(arm: "ArmResult", ids: set[str]) -> "ArmResult":
    assert arm.scored is not None
    return replace(
        arm,
        completions=[answer for answer in arm.completions if answer.problem in ids],
        grades=[grade for grade in arm.grades if grade.problem in ids],
        scored=[pair for answer, pair in zip(arm.completions, arm.scored, strict=True) if answer.problem in ids],
    )


def _first_with(experiment: Experiment, holds: Callable[[Arm], bool]) -> str | None:
    return next((name for name, arm in experiment.arms.items() if holds(arm)), None)


def describe(sampler: Sampler) -> str:
    """One line: the class and its parameters, without the length cap."""
    from dataclasses import fields

    shown = []
    for f in fields(sampler):  # pyright: ignore[reportArgumentType] -- every sampler is a dataclass
        value = getattr(sampler, f.name)
        if f.name == "max_new_tokens" or value == f.default or value is None:
            continue
        shown.append(f"{f.name}={describe(value) if isinstance(value, Sampler) else value}")
    return f"{type(sampler).__name__}({', '.join(shown)})"


def _footer(experiment: Experiment, table: dict[str, Draw]) -> list[str]:
    pair, runtime = experiment.model_pair, experiment.runtime
    keys = ", ".join(f"{name} {draw.recipe.key[:12]}" for name, draw in table.items())
    return [
        *([pair.note] if pair.note else []),
        f"Model pair {pair.name}, {pair.dtype}; benchmark {type(experiment.benchmark).__name__} version "
        f"{experiment.benchmark.version}; seed {experiment.seed}; {experiment.n_samples} chain(s) per problem; "
        f"at most {experiment.sampler.max_new_tokens} tokens.",
        f"Arithmetic at {runtime.rows} rows on {runtime.device}; at one such shape results do not depend on "
        "neighbours, order or resumes.",
        f"Artifacts: {keys}.",
    ]


def _sample_table(arms: "Sequence[ArmResult]", problems: dict[str, Problem]) -> tuple[list[str], list[list[Any]]]:
    """The first problems' answers, for the dashboard."""
    rows = []
    for arm in arms:
        verdicts = {(grade.problem, grade.chain): grade for grade in arm.grades}
        for answer in [answer for answer in arm.completions if answer.chain == 0][:20]:
            grade = verdicts[answer.problem, answer.chain]
            problem = problems[answer.problem]
            rows.append(
                [arm.name, answer.problem, problem.question, answer.text, grade.answer, problem.gold, grade.verdict]
            )
    return ["arm", "problem", "question", "text", "answer", "gold", "verdict"], rows


# -- plan, sweeps ------------------------------------------------------------------------------------------------------


def show_plan(experiment: Experiment, lab: Lab, draws: Sequence[Draw]) -> None:
    """Print what will be drawn: arms, problems, expected decode tokens."""
    from rich.table import Table

    table = Table(
        title=f"Plan: {experiment.model_pair.name} on {type(experiment.benchmark).__name__}", title_justify="left"
    )
    for column in ("draw", "model", "sampler"):
        table.add_column(column)
    for column in ("answers", "expected tokens", "state"):
        table.add_column(column, justify="right")
    total = 0.0
    for draw in _flat(draws):
        tokens = _tokens(experiment, draw)
        built = lab.store.get(draw.recipe) is not None
        total += 0 if built else tokens
        state = "built" if built else "resumes" if lab.store.log_path(draw.recipe).exists() else "to draw"
        chosen = "chosen from its pool" if draw.pool else f"{tokens:,.0f}"
        table.add_row(draw.label, draw.role, describe(draw.sampler), f"{draw.n_answers:,}", chosen, state)
    lab.console.print(table)
    lab.console.print(
        f"About {total:,.0f} tokens to draw, at {experiment.typical_length} tokens per plain answer.", highlight=False
    )


def _tokens(experiment: Experiment, draw: Draw) -> float:
    """Expected decode tokens of a whole draw."""
    return 0.0 if draw.pool else draw.n_answers * _expected(experiment, draw)


def _expected(experiment: Experiment, draw: Draw) -> float:
    """Expected decode tokens per answer."""
    if draw.matched is not None:
        return _expected(experiment, draw.matched)
    return draw.sampler.expected_tokens(experiment.typical_length)


def build_shared(experiments: Sequence[Experiment], lab: Lab) -> None:
    """Draw what more than one cell of a sweep needs, once, before the cells start."""
    needed: Counter[str] = Counter()
    owners: dict[str, tuple[Experiment, Draw]] = {}
    for experiment in experiments:
        problems = problems_of(experiment)
        draws = [*table_draws(experiment, problems).values(), *passk_draws(experiment, problems).values()]
        for draw in _flat(draws):
            needed[draw.recipe.key] += 1
            owners.setdefault(draw.recipe.key, (experiment, draw))
    shared = [key for key, n in needed.items() if n > 1]
    lab.console.print(
        f"{len(shared)} of {len(needed)} draws are shared by several cells; built first.", highlight=False
    )
    draw_all([owners[key] for key in shared], lab)
    lab.models.clear()


def report_sweep(folder: Path, lab: Lab) -> Path:
    """One table and one heat map of the finished cells of a sweep folder; names the cells that are missing."""
    from reasoning_lab.report import report_sweep as write_sweep

    cells, missing = [], []
    for cell in sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)):
        row = cell / "row.json"
        data = json.loads(row.read_text()) if row.is_file() else {}
        if data.get("status") == "completed":
            cells.append((data["overrides"], data["metrics"]))
        else:
            missing.append(cell.name)
    if missing:
        lab.console.print(f"[bold red]Not finished: cells {', '.join(missing)}[/]; run the same command again.")
    if not cells:
        raise ValueError(f"{folder} has no finished cell; run the sweep first.")
    write_sweep(cells, folder / "report")
    lab.console.print(f"Sweep page: {folder / 'report' / 'index.html'}", highlight=False)
    return folder / "report"


# -- files and progress ------------------------------------------------------------------------------------------------


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _read_lines(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)


@contextmanager
def _progress(lab: Lab) -> Iterator[None]:
    """A bar per draw at work: answers done, tokens so far, time."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[tokens]:>11,} tokens"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=lab.console, transient=True) as bars:
        at: dict[str, Any] = {}

        def on_progress(label: str, total: int, done: int, tokens: int) -> None:
            if label not in at:
                at[label] = bars.add_task(label, total=total, tokens=0)
            bars.update(at[label], completed=done, tokens=tokens, visible=done < total)

        lab.on_progress = on_progress
        try:
            yield
        finally:
            lab.on_progress = lambda *_: None


__all__ = ["STAGES", "Lab", "build_shared", "report_sweep", "show_plan"]
