"""From results to what a report shows, for one run and for a sweep."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning_lab.artifacts.draws import Draw, describe, passk_draws, problems_of, row_of, table_draws
from reasoning_lab.artifacts.lab import Lab
from reasoning_lab.artifacts.results import completions, grades, scores
from reasoning_lab.experiment import Arm, Experiment
from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.steering.steering import NoSteering

if TYPE_CHECKING:
    from reasoning_lab.report.data import ArmResult, Report
    from reasoning_lab.report.views.sweep import SweepCell


def report_input(experiment: Experiment, lab: Lab) -> Any:
    """Everything that table, plots and page show."""
    from reasoning_lab.model_pair.pair import load_reader
    from reasoning_lab.report import Published, Report

    problems = problems_of(experiment)
    table, extra = table_draws(experiment, problems), passk_draws(experiment, problems)
    arms = arm_results(experiment, table, lab)
    studied = studied_arm(experiment)
    few = {problem.id for problem in problems[: experiment.passk.n_problems]}
    passk = [
        _first_problems(_arm_result(experiment, name, [table[name], *([extra[name]] if extra else [])], lab), few)
        for name in experiment.passk.arms
        if experiment.passk.n_samples > 1
    ]
    return Report(
        title=experiment.title or f"{experiment.model_pair.name} on {type(experiment.benchmark).__name__}",
        arms=arms,
        problems={problem.id: problem for problem in problems},
        decode=load_reader(experiment.model_pair.source("base")).decode,
        base=experiment.baseline,
        studied=studied,
        reference=_trained_arm(experiment, studied),
        question=POWER_QUESTION if isinstance(experiment.steering, NoSteering) else HYBRID_QUESTION,
        passk=passk,
        published=[Published(**row) for row in experiment.published if "arm" in row],
        footer=_footer(experiment, table),
        seed=experiment.seed,
    )


POWER_QUESTION = "Does sampling from p^α make the base model reason as well as its RL-trained sibling?"
HYBRID_QUESTION = "Does a base model that is steered where it matters reason as well as the thinking model?"


def studied_arm(experiment: Experiment) -> str:
    """The arm that the experiment is about: the sampler and steering of the root of the config, else the first."""
    at_root = (experiment.sampler, experiment.steering)
    return _first_with(experiment, lambda arm: (arm.sampler, arm.steering) == at_root) or next(iter(experiment.arms))


def _trained_arm(experiment: Experiment, studied: str) -> str | None:
    """What the studied arm is held against: the GRPO model, or the thinking model where it is steered."""
    role = "grpo" if isinstance(experiment.arms[studied].steering, NoSteering) else "thinking"
    return _first_with(experiment, lambda arm: arm.role == role)


def arm_results(experiment: Experiment, table: dict[str, Draw], lab: Lab) -> "list[ArmResult]":
    """One per row of the table: the draws of a random control are further chains of its one arm."""
    return [
        _arm_result(experiment, name, [draw for other, draw in table.items() if row_of(other) == name], lab)
        for name in experiment.arms
    ]


def _arm_result(experiment: Experiment, name: str, draws: Sequence[Draw], lab: Lab) -> "ArmResult":
    from reasoning_lab.report import ArmResult

    arm = experiment.arms[name]
    answers: list[Completion] = []
    verdicts: list[Grade] = []
    for number, draw in enumerate(draws):
        # Chains of a control's further draws are numbered on; those of pass@k are different already.
        shift = number * experiment.n_samples if draw.chains[0] == 0 else 0
        answers += [replace(a, chain=a.chain + shift) for a in completions(experiment, draw, lab)]
        verdicts += [replace(g, chain=g.chain + shift) for g in grades(experiment, draw, lab)]
    behaviours = Counter[str]()
    for answer in answers:
        behaviours.update(experiment.benchmark.behaviours(answer.text))
    rates = {kind: n / len(answers) for kind, n in behaviours.items()}
    known = experiment.benchmark.behaviours("").keys()
    # A control's likelihoods are shown nowhere.
    is_scored = isinstance(arm.steering, NoSteering) or name == studied_arm(experiment)
    return ArmResult(
        name=name,
        label=arm.label or name.replace("_", " "),
        role=arm.role,
        sampler=describe(arm.sampler),
        completions=answers,
        grades=verdicts,
        checks=rates.get("check", 0.0) if "check" in known else None,
        backtracks=rates.get("backtrack", 0.0) if "backtrack" in known else None,
        scored=[pair for draw in draws for pair in scores(experiment, draw, lab)] if is_scored else None,
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


def _footer(experiment: Experiment, table: dict[str, Draw]) -> list[str]:
    pair, runtime = experiment.model_pair, experiment.runtime
    skipped = experiment.benchmark.skipped()
    keys = ", ".join(f"{name} {draw.recipe.key[:12]}" for name, draw in table.items())
    return [
        *([pair.note] if pair.note else []),
        f"Model pair {pair.name}, {pair.dtype}; benchmark {type(experiment.benchmark).__name__} version "
        f"{experiment.benchmark.version}; seed {experiment.seed}; {experiment.n_samples} chain(s) per problem; "
        f"at most {experiment.sampler.max_new_tokens} tokens.",
        f"Arithmetic at {runtime.rows} rows on {runtime.device}; at one such shape results do not depend on "
        "neighbours, order or resumes.",
        *experiment.benchmark.notes(),
        *([f"{len(skipped)} bad rows were skipped: {skipped[0]}"] if skipped else []),
        f"Artifacts: {keys}.",
    ]


def sample_table(arms: "Sequence[ArmResult]", problems: dict[str, Problem]) -> tuple[list[str], list[list[Any]]]:
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


def write_lm_eval_files(experiment: Experiment, report: "Report", folder: Path) -> None:
    """Each arm's answers as files of lm-evaluation-harness, for the tools that read those."""
    import time
    from importlib.metadata import version

    from reasoning_lab.report.export.lm_eval import LmEvalTask, write_lm_eval

    benchmark, date = experiment.benchmark, time.time()
    for arm in report.arms:
        task = LmEvalTask(
            name=type(benchmark).__name__.lower(),
            version=benchmark.version,
            problems=report.problems,
            prompts={id: benchmark.prompt(problem) for id, problem in report.problems.items()},
            max_new_tokens=benchmark.max_new_tokens,
            model=f"{experiment.model_pair.name}-{arm.name}",
            model_args={"model_pair": experiment.model_pair.name, "role": arm.role, "sampler": arm.sampler},
            seed=experiment.seed,
        )
        write_lm_eval(arm, task, folder, date, {"transformers": version("transformers")})


def report_sweep(folder: Path, lab: Lab) -> Path:
    """One table and one heat map of the finished cells of a sweep folder; names the cells that are missing."""
    from reasoning_lab.report import write_sweep

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
    if any("score/final" in metrics for _, metrics in cells):
        _write_grid(cells, folder / "report")
    else:
        write_sweep(cells, folder / "report")
    lab.console.print(f"Sweep page: {folder / 'report' / 'sweep.html'}", highlight=False)
    return folder / "report"


ELBOW_RULE = (
    "the size whose score lies farthest above the chord from the first to the last size (Satopää et al. 2011), ties to "
    "the smaller"
)


def _write_grid(cells: "list[SweepCell]", folder: Path) -> None:
    """The taxonomy grid, with each layer's elbow."""
    from reasoning_lab.report import write_grid
    from reasoning_lab.taxonomy.elbow import elbow

    curves: dict[str, dict[int, float]] = {}
    for overrides, metrics in cells:
        if (score := metrics.get("score/final")) is not None:
            curves.setdefault(str(overrides["taxonomy.layer"]), {})[int(overrides["taxonomy.n_clusters"])] = score
    elbows = {layer: float(elbow(list(curve), list(curve.values())).size) for layer, curve in curves.items()}
    write_grid(cells, folder, elbows, ELBOW_RULE)
