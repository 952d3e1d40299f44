"""The table's rows from completions, grades and scores."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.arms import Answers, ArmRow, Arms, describe
from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import write_lines
from reasoning_lab.artifacts.scores import Scores
from reasoning_lab.artifacts.sizes import Size
from reasoning_lab.artifacts.trajectories import Trajectories
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.report.collect.judges import judge_costs
from reasoning_lab.report.collect.provenance import of_report
from reasoning_lab.report.collect.vectors import untrained_lines
from reasoning_lab.report.data import ArmResult, Published, Report
from reasoning_lab.report.export.lm_eval import LmEvalTask, write_lm_eval
from reasoning_lab.report.views.cue import cue_words
from reasoning_lab.sampler.power import Power

HYBRID_QUESTION = "Does a base model that is steered where it matters reason as well as the thinking model?"
SAMPLES = 20
"""Answers of each arm in the dashboard's table."""


def collect_report(arms: Arms, title: str, published: Sequence[dict[str, Any]], context: Context) -> Report:
    """Everything that table, plots and page show."""
    problems = arms.problems.problems
    few = {problem.id for problem in problems[: arms.passk.n_problems]}
    return Report(
        title=title or f"{arms.pair.name} on {type(arms.problems.benchmark).__name__}",
        arms=[_result(row, row.draws, arms, context) for row in arms.rows.values()],
        problems={problem.id: problem for problem in problems},
        decode=load_reader(arms.rows[arms.studied].draws[0].completions.model).decode,
        base=arms.base,
        studied=arms.studied,
        reference=arms.reference,
        question=_question(arms),
        passk=[_of_problems(_passk_result(arms.rows[name], arms, context), few) for name in _passk_arms(arms)],
        published=[Published(**row) for row in published if "arm" in row],
        footer=[*judge_costs(arms, context), *_footer(arms, context)],
        provenance=of_report(arms, shown(arms), context),
        seed=_asked(arms).seed,
    )


def _question(arms: Arms) -> str:
    """What the page asks. A chain of N steps has another law than p^α, which the question must not hide."""
    if arms.vectors is not None:
        return HYBRID_QUESTION
    sampler = _asked(arms).sampler
    if not isinstance(sampler, Power) or not sampler.tends_to_power_law:
        return "Which way of sampling answers best?"
    asked = "answer better" if arms.reference is None else "reason as well as its RL-trained sibling"
    return f"Does sampling towards p^α, the law as N grows (here N = {sampler.n_steps}), make the base model {asked}?"


def needed_trajectories(arms: Arms) -> list[Trajectories]:
    """The states that `collect_report` reads: of every arm of chains, the table's first draw."""
    return [found for row in arms.rows.values() if (found := _trajectories(row)) is not None]


def _trajectories(row: ArmRow) -> Trajectories | None:
    draw = row.draws[0]
    return Trajectories(draw.grades) if draw.completions.sampler.is_chain else None


def shown(arms: Arms) -> list[Artifact[Any]]:
    """The artifacts that `collect_report` reads."""
    answers = (made for each in arms.answers() for made in (each.completions, each.grades))
    sizes = (Size(arms.pair.source(role)) for row in arms.rows.values() for role in _roles(row))
    return [*answers, *needed_scores(arms), *needed_trajectories(arms), *dict.fromkeys(sizes)]


def _roles(row: ArmRow) -> tuple[Role, ...]:
    """Of the models that an arm's answers pass through: the one that writes, and the one that steers it."""
    return (row.role, "thinking") if row.is_steered else (row.role,)


def _asked(arms: Arms) -> Completions:
    """The studied arm's completions, which know what all arms have in common."""
    return arms.rows[arms.studied].draws[0].completions


def _passk_arms(arms: Arms) -> tuple[str, ...]:
    return arms.passk.arms if arms.passk.n_samples > 1 else ()


def _passk_result(row: ArmRow, arms: Arms, context: Context) -> ArmResult:
    return _result(row, [row.draws[0], *([row.beyond] if row.beyond else [])], arms, context)


def _result(row: ArmRow, draws: Sequence[Answers], arms: Arms, context: Context) -> ArmResult:
    """One row: the draws of a random control are further chains of its one arm."""
    completions, grades = _numbered(draws, context)
    rates = _behaviours(arms.problems.benchmark, completions)
    sizes = [context.get(Size(arms.pair.source(role))) for role in _roles(row)]
    return ArmResult(
        name=row.name,
        label=row.title,
        role=row.role,
        sampler=_sampler_words(draws[0].completions, context),
        completions=completions,
        grades=grades,
        matched_to=row.matched_to,
        is_null=row.is_null,
        is_steered=row.is_steered,
        is_plain=row.is_plain,
        n_draws=len(draws) if draws is row.draws else 1,
        checks=rates.get("check"),
        backtracks=rates.get("backtrack"),
        scored=[score for draw in draws for score in context.get(draw.scores)] if _is_scored(row, arms) else None,
        states=context.get(found) if (found := _trajectories(row)) is not None else (),
        own_size=sizes[0],
        thinking_size=sizes[1] if row.is_steered else None,
        note="" if draws[0].completions.cue is None else cue_words(context.get(draws[0].completions.cue)),
    )


def _sampler_words(answers: Completions, context: Context) -> str:
    """The sampler in one line, its cue as text."""
    sampler, decode = answers.sampler, load_reader(answers.model).decode
    return describe(sampler if answers.cue is None else sampler.with_cue(context.get(answers.cue).chosen.ids), decode)


def needed_scores(arms: Arms) -> list[Scores]:
    """The scores that `collect_report` reads."""
    rows = [row for row in arms.rows.values() if _is_scored(row, arms)]
    return [draw.scores for row in rows for draw in (*row.draws, *([row.beyond] if row.beyond else []))]


def _is_scored(row: ArmRow, arms: Arms) -> bool:
    """A control's likelihoods are shown nowhere."""
    return not row.is_steered or row.name == arms.studied


def _numbered(draws: Sequence[Answers], context: Context) -> tuple[list[Completion], list[Grade]]:
    """Answers and verdicts; chains of a control's further draws are numbered on, those of pass@k differ already."""
    completions: list[Completion] = []
    grades: list[Grade] = []
    for number, draw in enumerate(draws):
        first, last = draw.completions.chains
        shift = number * last if first == 0 else 0
        completions += [replace(a, chain=a.chain + shift) for a in context.get(draw.completions)]
        grades += [replace(g, chain=g.chain + shift) for g in context.get(draw.grades)]
    return completions, grades


def _behaviours(benchmark: Benchmark, completions: Sequence[Completion]) -> dict[str, float]:
    """Mean number of sentences of each behaviour that the benchmark knows, per answer."""
    counts = Counter(benchmark.behaviours(""))
    for completion in completions:
        counts.update(benchmark.behaviours(completion.text))
    return {kind: n / len(completions) for kind, n in counts.items()}


def _of_problems(arm: ArmResult, ids: set[str]) -> ArmResult:
    """The arm on some of its problems."""
    assert arm.scored is not None
    return replace(
        arm,
        completions=[answer for answer in arm.completions if answer.problem in ids],
        grades=[grade for grade in arm.grades if grade.problem in ids],
        scored=[pair for answer, pair in zip(arm.completions, arm.scored, strict=True) if answer.problem in ids],
    )


def _footer(arms: Arms, context: Context) -> list[str]:
    pair, benchmark, asked = arms.pair, arms.problems.benchmark, _asked(arms)
    skipped = benchmark.skipped()
    keys = [
        f"{draw.completions.caption} {draw.completions.key[:12]}" for row in arms.rows.values() for draw in row.draws
    ]
    return [
        *([pair.note] if pair.note else []),
        f"Model pair {pair.name}, {pair.dtype}; benchmark {type(benchmark).__name__} version {benchmark.version}; "
        f"seed {asked.seed}; {asked.chains[1]} chain(s) per problem; at most {asked.sampler.max_new_tokens} tokens.",
        asked.engine.note,
        *_open_verdicts(arms, context),
        *untrained_lines(arms, context),
        *benchmark.notes(),
        *([f"{len(skipped)} bad rows were skipped: {skipped[0]}"] if skipped else []),
        f"Artifacts: {', '.join(keys)}.",
    ]


def _open_verdicts(arms: Arms, context: Context) -> list[str]:
    """Of each arm, what became of verdicts that bounds on log Z left open."""
    drawn = {
        name: [answer for draw in row.draws for answer in context.get(draw.completions)]
        for name, row in arms.rows.items()
    }
    return [line for name, answers in drawn.items() if (line := open_verdict_words(name, answers))]


def open_verdict_words(arm: str, answers: Sequence[Completion]) -> str:
    """How many of an arm's proposals the bounds on log Z left open, and what decided those; '' where they left none."""
    n, rescored, undecided = (
        sum(getattr(answer, field) for answer in answers) for field in ("n_proposals", "n_rescored", "n_undecided")
    )
    if not rescored + undecided:
        return ""
    return (
        f"Arm {arm}: of {n:,} proposals the bounds on log Z left {rescored + undecided:,} open; {rescored:,} were "
        f"settled by more logprobs, {undecided:,} stayed open and were decided by the middle of the interval."
    )


def sample_table(report: Report) -> tuple[list[str], list[list[Any]]]:
    """The first problems' answers, for the dashboard."""
    rows = []
    for arm in report.arms:
        verdicts = {(grade.problem, grade.chain): grade for grade in arm.grades}
        for answer in [answer for answer in arm.completions if answer.chain == 0][:SAMPLES]:
            grade, problem = verdicts[answer.problem, answer.chain], report.problems[answer.problem]
            rows.append(
                [arm.name, answer.problem, problem.question, answer.text, grade.answer, problem.gold, grade.verdict]
            )
    return ["arm", "problem", "question", "text", "answer", "gold", "verdict"], rows


def write_answers(report: Report, folder: Path) -> None:
    """Each arm's answers with their verdicts, one JSON line each, in `<arm>.jsonl`: what the page lets one download."""
    folder.mkdir(parents=True, exist_ok=True)
    for arm in report.arms:
        verdicts = {(grade.problem, grade.chain): grade for grade in arm.grades}
        graded = ((answer, verdicts[answer.problem, answer.chain]) for answer in arm.completions)
        write_lines(folder / f"{arm.name}.jsonl", (_answer_line(*each, report) for each in graded))


def _answer_line(answer: Completion, grade: Grade, report: Report) -> str:
    told = {name: getattr(answer, name) for name in ("problem", "chain", "text", "finish", "log_p", "decode_tokens")}
    told |= {"tokens": len(answer.ids), "answer": grade.answer, "gold": report.problems[answer.problem].gold}
    return json.dumps(told | {"verdict": grade.verdict, "reason": grade.reason}, ensure_ascii=False)


def write_lm_eval_files(arms: Arms, report: Report, folder: Path) -> None:
    """Each arm's answers as files of lm-evaluation-harness, for the tools that read those."""
    benchmark, date, pair = arms.problems.benchmark, time.time(), arms.pair.name
    problems: dict[str, Problem] = report.problems
    for arm in report.arms:
        task = LmEvalTask(
            name=type(benchmark).__name__.lower(),
            version=benchmark.version,
            problems=problems,
            prompts={id: benchmark.prompt(problem) for id, problem in problems.items()},
            max_new_tokens=benchmark.max_new_tokens,
            model=f"{pair}-{arm.name}",
            model_args={"model_pair": pair, "role": arm.role, "sampler": arm.sampler},
            seed=report.seed,
        )
        write_lm_eval(arm, task, folder, date, {"transformers": version("transformers")})
