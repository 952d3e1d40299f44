"""The story, to be read first: problems → completions → grades → report, and the way to a hybrid model:
traces → activations → taxonomy → vectors.

A stage names artifacts (artifacts/arms.py made them of the experiment) and asks the context for them; each is found or
built, and so is what it is made of. A second run finds everything. What a number on a page is made of: report/collect.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from reasoning_lab.artifacts.arms import ArmRow, Arms, Categories, arms_of, cold_start, describe
from reasoning_lab.artifacts.base import Artifact, Context, Weights
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.console import show_plan
from reasoning_lab.artifacts.estimate import Asked, Plan, plan_cells
from reasoning_lab.artifacts.files import trained_on, write_text, write_trained_on
from reasoning_lab.artifacts.preferences import Preferences
from reasoning_lab.artifacts.schedule import (
    build_banks,
    build_missing,
    build_shared,
    completions_behind,
    cues_behind,
    shared_answers,
)
from reasoning_lab.artifacts.vectors import SteeringVectors
from reasoning_lab.bench.measure import measure
from reasoning_lab.bench.table import bench_json, bench_metrics, savings_table, speed_table
from reasoning_lab.benchmark.alpaca_eval import AlpacaEval
from reasoning_lab.benchmark.arithmetic import problem_of
from reasoning_lab.benchmark.base import problems_of
from reasoning_lab.checkup.findings import findings_table
from reasoning_lab.checkup.look import look_at
from reasoning_lab.engine.tensors import safetensors_bytes
from reasoning_lab.experiment import Experiment, Stage
from reasoning_lab.judge.preference import PreferenceOption, annotator_prompt
from reasoning_lab.model_pair.loaded import load_plain
from reasoning_lab.model_pair.pair import ModelPair
from reasoning_lab.model_pair.reader import load_reader, where_of
from reasoning_lab.model_pair.size import load_footprint
from reasoning_lab.report import (
    print_cue,
    print_hybrid,
    print_table,
    write_cue,
    write_hybrid,
    write_report,
    write_taxonomy,
)
from reasoning_lab.report.collect.answers import (
    collect_report,
    needed_scores,
    needed_trajectories,
    sample_table,
    shown,
    write_answers,
    write_lm_eval_files,
)
from reasoning_lab.report.collect.hybrid import collect_hybrid, needed_annotations
from reasoning_lab.report.collect.provenance import write_provenance
from reasoning_lab.report.collect.taxonomy import collect_taxonomy, taxonomy_metrics
from reasoning_lab.report.collect.vectors import untrained_words
from reasoning_lab.report.collect.win_rates import win_rates
from reasoning_lab.report.export.alpaca_eval import check_alpaca_eval
from reasoning_lab.sampler.power import Power
from reasoning_lab.statistics import accuracy_interval, outcomes
from reasoning_lab.steering.export import control_vectors, require_gguf
from reasoning_lab.taxonomy.export import saelens_files
from reasoning_lab.training.embedded_pair import build_embedded_pair
from reasoning_lab.training.thinking import graded, save_model, train_thinking

Metrics = dict[str, float]


@dataclass(frozen=True)
class Run:
    """An experiment at work."""

    experiment: Experiment
    context: Context
    folder: Path
    """The run's own."""
    log_table: Callable[[str, Sequence[str], Sequence[Sequence[Any]]], None] = lambda *_: None
    """Shows a table on the dashboard: name, columns, rows."""
    log_images: Callable[[Mapping[str, Path]], None] = lambda *_: None

    @cached_property
    def arms(self) -> Arms:
        """What the experiment asks for."""
        return arms_of(self.experiment)

    @property
    def categories(self) -> Categories:
        """Of the experiment's taxonomy; ValueError where it has none."""
        if self.arms.categories is None:
            raise ValueError("taxonomy=none: this needs categories of reasoning steps; choose taxonomy=venhoff2025.")
        return self.arms.categories

    @property
    def vectors(self) -> SteeringVectors:
        """Of the experiment's steering; ValueError where it has none."""
        if self.arms.vectors is None:
            raise ValueError("steering=none: there is no steering; choose steering=embedded or venhoff2025.")
        return self.arms.vectors

    def check(self) -> None:
        """ValueError where something is fitted on problems that the arms are measured on; before any work."""
        self.experiment.check_disjoint(trained_on(self.experiment.model_pair))

    def build(self, *artifacts: Artifact[Any]) -> None:
        """Build what is missing, after a look at everything that the experiment asks for."""
        build_missing(artifacts, self.context, beside=self.arms.made())

    def log_plots(self) -> None:
        """Show the report's plots on the dashboard as they are now."""
        self.log_images({image.stem: image for image in sorted((self.folder / "report").glob("*.png"))})

    def print(self, line: str) -> None:
        """Show a line as it is."""
        self.context.tell(line)


# --- from the thinking model's answers to steering vectors ------------------------------------------------------------


def traces_stage(run: Run) -> Metrics:
    """The thinking model's answers to the taxonomy's problems, cut into sentences."""
    run.build(*ASKED["traces"](run))
    traces = run.context.get(run.categories.traces)
    n = sum(len(trace.spans) for trace in traces)
    run.print(f"{len(traces):,} traces of {n:,} sentences")
    right = sum(trace.verdict == "correct" for trace in traces)
    return {"n_traces": float(len(traces)), "n_sentences": float(n), "accuracy/traces": right / len(traces)}


def activations_stage(run: Run) -> Metrics:
    """One vector per sentence at every collected layer."""
    metrics = traces_stage(run)
    run.build(*ASKED["activations"](run))
    return metrics


def taxonomy_stage(run: Run) -> Metrics:
    """Clusters, named and scored where there is a judge; their table and page."""
    _check(run.experiment)
    activations_stage(run)
    run.build(*ASKED["taxonomy"](run))
    view = collect_taxonomy(run.categories, run.context)
    write_taxonomy(view, run.folder / "report", run.context.console)
    write_provenance(view.provenance, run.folder / "report")
    run.log_plots()
    return taxonomy_metrics(view, run.categories, run.context)


def vectors_stage(run: Run) -> Metrics:
    """One steering vector per category."""
    activations_stage(run)
    run.build(*ASKED["vectors"](run))
    vectors, log = run.context.get(run.vectors)
    for category, why in log.skipped.items():
        run.context.console.print(f"no vector for category {category}: {why}", style="yellow", highlight=False)
    if untrained := untrained_words(log):
        run.context.console.print(untrained, style="yellow", highlight=False)
    return {f"norm/{category}": float(norm) for category, norm in enumerate(vectors.norms)}


def export_stage(run: Run) -> Metrics:
    """Clusters and vectors in the formats of other tools: SAELens, safetensors, GGUF control vectors."""
    require_gguf()
    taxonomy_stage(run)
    vectors, clusters = run.context.get(run.vectors).vectors, run.categories.clusters
    x = run.context.get(clusters.activations).layer(clusters.layer).layers[clusters.layer]
    base = run.context.model(run.vectors.model, run.vectors.dtype).policy
    groups = {
        "sae_lens": saelens_files(run.context.get(clusters).clusters, x, clusters.thinking.path, clusters.layer),
        "vectors": {"vectors.safetensors": safetensors_bytes(vectors.tensors(), vectors.metadata())},
        "control_vectors": control_vectors(vectors, base.architecture),
    }
    folder = run.folder / "export"
    for name, files in groups.items():
        (folder / name).mkdir(parents=True)
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
    run.print(f"Exported to {folder}")
    return {"files": float(sum(map(len, groups.values())))}


# --- an opening -------------------------------------------------------------------------------------------------------


def cue_stage(run: Run) -> Metrics:
    """The opening of the least answer entropy, found without labels; all candidates in a table."""
    if run.arms.cue is None:
        raise ValueError("cue=none: no cue is looked for; choose cue=arithmetic, gsm8k or hendrycks_math.")
    show_plan("Plan: a cue", [], run.experiment.typical_length, run.context, [run.arms.cue])
    run.build(*ASKED["cue"](run))
    found = run.context.get(run.arms.cue)
    print_cue(found, run.context.console)
    write_cue(found, run.folder / "cue.csv")
    chosen, without = found.chosen, found.without
    return {"entropy/cue": chosen.entropy, "entropy/without": without.entropy, "tokens": float(found.tokens)}


# --- the arms -------------------------------------------------------------------------------------------------------


def completions_stage(run: Run) -> Metrics:
    """Draw all arms' answers."""
    answers = _answers(run)
    pair, benchmark = run.experiment.model_pair.name, type(run.experiment.benchmark).__name__
    show_plan(f"Plan: {pair} on {benchmark}", answers, run.experiment.typical_length, run.context, cues_behind(answers))
    run.build(*answers)
    return {}


def grades_stage(run: Run) -> Metrics:
    """Draw and grade all arms; the accuracies."""
    _check(run.experiment)
    completions_stage(run)
    run.build(*ASKED["grades"](run))
    return {
        f"accuracy/{draw.completions.caption}": accuracy_interval(outcomes(run.context.get(draw.grades))).value
        for row in run.arms.rows.values()
        for draw in row.draws
    }


def preferences_stage(run: Run) -> Metrics:
    """Draw all arms and compare their answers with the gold ones by the judge; win rates, in the package's files."""
    judge, benchmark = _preference_judge(run.experiment), run.experiment.benchmark
    completions_stage(run)
    metrics: Metrics = {}
    for row in run.arms.rows.values():
        told = _preferences(row, judge)
        rates = win_rates(f"{run.arms.pair.name}-{row.name}", told, run.folder / "alpaca_eval" / row.name, run.context)
        known = {name: value for name, value in rates.items() if value is not None}
        metrics |= {f"{name}/{row.name}": value for name, value in known.items()}
        run.print(f"{row.name}: " + ", ".join(f"{words} {_rate(known, name)}" for name, words in WIN_RATES.items()))
    for note in benchmark.notes():
        run.print(note)
    return metrics


WIN_RATES = {"win_rate": "win rate", "length_controlled_winrate": "length-controlled"}


def _preferences(row: ArmRow, judge: PreferenceOption) -> Preferences:
    """On an arm's first draw."""
    answers = row.draws[0].completions
    return Preferences(answers, judge, answers.seed)


def _rate(rates: Metrics, name: str) -> str:
    """A rate as printed; the length-controlled one is missing where its regression can't be fitted."""
    return f"{rates[name]:.1f} %" if name in rates else "not known"


def report_stage(run: Run) -> Metrics:
    """Draw and grade all arms; write table, plots and page; the headline metrics."""
    grades_stage(run)
    arms, experiment, folder = run.arms, run.experiment, run.folder / "report"
    run.build(*_measures(run))
    report = collect_report(arms, experiment.title, experiment.published, run.context)
    metrics = write_report(report, folder)
    write_answers(report, folder / "answers")
    write_provenance(report.provenance, folder)
    print_table(report, run.context.console)
    run.context.console.print(f"\nPage: {folder / 'index.html'}", highlight=False)
    write_lm_eval_files(arms, report, folder / "lm_eval")
    run.log_table("samples", *sample_table(report))
    if not arms.is_hybrid:
        run.log_plots()
        return metrics
    run.build(*_seen(run))
    hybrid = collect_hybrid(arms, report, experiment.published, run.context)
    metrics |= write_hybrid(hybrid, folder)
    print_hybrid(hybrid, run.context.console)
    run.print(f"\nPage of the hybrid: {folder / 'hybrid.html'}")
    run.log_plots()
    return metrics


def _check(experiment: Experiment) -> None:
    """Sandbox, judge: what would be missing after hours of drawing is an error now."""
    experiment.benchmark.check_grading()
    experiment.judge.check()
    if isinstance(experiment.judge, PreferenceOption):
        annotator_prompt()


def _preference_judge(experiment: Experiment) -> PreferenceOption:
    """The judge; ValueError where answers can't be compared or counted here."""
    benchmark, judge = experiment.benchmark, experiment.judge
    if not isinstance(benchmark, AlpacaEval):
        name = type(benchmark).__name__
        raise ValueError(f"benchmark={name}: its answers are graded by rule; stage=preferences is for alpaca_eval.")
    check_alpaca_eval(benchmark.lc_tables)
    if not isinstance(judge, PreferenceOption):
        raise ValueError(f"judge={type(judge).__name__}: weighs no preferences; choose judge=alpaca_eval.")
    _check(experiment)
    return judge


def bench_stage(run: Run) -> Metrics:
    """How fast this machine draws: beside the published algorithm written plainly, and beside the memory's floor."""
    experiment, context = run.experiment, run.context
    if not isinstance(sampler := experiment.sampler, Power):
        raise ValueError(
            f"sampler={type(sampler).__name__}: stage=bench measures power sampling; choose sampler=power."
        )
    pair, problems = experiment.model_pair, run.arms.problems
    model = context.model(pair.base, pair.dtype)
    prompts = list(problems.encoded(model).values())
    capacity = context.runtime.max_prompt_tokens + sampler.max_new_tokens
    studied = run.arms.rows[run.arms.studied].draws[0].completions
    found = measure(
        model, load_plain(pair.base, pair.dtype, context.device), sampler, prompts, context.shape_of(studied).rows,
        capacity,
        load_footprint(pair.base), pair.dtype, experiment.seed, run.print,
    )  # fmt: skip
    for table in (speed_table(found), savings_table(found)):
        context.console.print(table)
    told = bench_json(found, context.witness(studied) | {"model": pair.base.path, "sampler": describe(sampler)})
    write_text(run.folder / "bench.json", json.dumps(told, indent=1, default=str))
    return bench_metrics(found)


def checkup_stage(run: Run) -> Metrics:
    """Look at models, tokenizers, law, benchmark and machine, a line each; ValueError where a claim doesn't hold."""
    findings = list(look_at(run.experiment, run.arms, run.context))
    write_text(run.folder / "check.json", json.dumps([asdict(each) for each in findings], indent=1, ensure_ascii=False))
    run.context.console.print(findings_table(findings))
    red = [each for each in findings if not each.holds]
    if red:
        told = "; ".join(f"{each.subject}: {each.claim} (found: {each.found})" for each in red)
        raise ValueError(
            f"{len(red)} of {len(findings)} claims do not hold: {told}. Next moves: {run.folder / 'check.json'}"
        )
    return {"claims": float(len(findings))}


# --- training -------------------------------------------------------------------------------------------------------


def embedded_pair_stage(run: Run) -> Metrics:
    """Rebuild the embedded pair from nothing, in the run's folder."""
    folder, right = run.folder / "embedded", graded(run.experiment.benchmark.grade)
    seconds = build_embedded_pair(
        folder, lambda problem, text: right(problem_of(problem), text),
        seed=run.experiment.seed, device=run.context.device, report=run.context.console.print,
        tell=run.context.on_values,
    )  # fmt: skip
    run.context.console.print(f"Built in {folder}; point model_pair.base.path and its siblings there to use it.")
    return {f"seconds/{stage}": value for stage, value in seconds.items()}


def thinking_stage(run: Run) -> Metrics:
    """Train a thinking model from the pair's base on the problems of training.benchmark, in the run's folder."""
    experiment, context = run.experiment, run.context
    training, pair = experiment.training, experiment.model_pair
    benchmark, problems = training.benchmark, problems_of(training.benchmark)
    training.check(len(problems))
    right = _right_answers(run) if training.cold_start else []
    model, tokenizer = _trainable(pair, context.device)
    reader = load_reader(pair.base)
    prompts = {problem.id: reader.render(benchmark.prompt(problem)) for problem in problems}
    reward, tell = graded(benchmark.grade), context.on_values
    log = train_thinking(model, tokenizer, prompts, problems, reward, right, training, tell)
    save_model(model, tokenizer, run.folder / "thinking", getattr(torch, pair.dtype))
    # What the base was trained on, the thinking model was trained on too.
    earlier = (each for name, of_role in trained_on(pair).items() if ".base." in name for each in of_role)
    write_trained_on(run.folder / "thinking", [*earlier, *problems])
    run.print(f"Trained: {run.folder / 'thinking'}; set model_pair.thinking.path to it.")
    return {"reward/first": log["reward"][0], "reward/last": log["reward"][-1], "cold_start": float(len(right))}


def _right_answers(run: Run) -> list[tuple[str, str]]:
    """The base model's own right answers, by problem."""
    verdicts = cold_start(run.experiment)
    build_missing([verdicts], run.context)
    texts = {answer.problem: answer.text for answer in run.context.get(verdicts.completions)}
    right = [(grade.problem, texts[grade.problem]) for grade in run.context.get(verdicts) if grade.correct]
    run.print(f"cold start: {len(right)} of {len(texts)} answers of the base are right")
    return right


def _trainable(pair: ModelPair, device: str) -> tuple[Any, Any]:
    """The base model and its tokenizer as a trainer wants them: whole, in float32, padded on the left."""
    from transformers import AutoModelForCausalLM

    place, options = where_of(pair.base)
    tokenizer = load_reader(pair.base).tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options)
    return model.to(device), tokenizer


STAGES: dict[Stage, Callable[[Run], Metrics]] = {
    "traces": traces_stage,
    "activations": activations_stage,
    "taxonomy": taxonomy_stage,
    "vectors": vectors_stage,
    "export": export_stage,
    "cue": cue_stage,
    "completions": completions_stage,
    "grades": grades_stage,
    "preferences": preferences_stage,
    "report": report_stage,
    "bench": bench_stage,
    "check": checkup_stage,
    "thinking": thinking_stage,
    "embedded_pair": embedded_pair_stage,
}


# --- what a stage asks for, told without doing it ---------------------------------------------------------------------


def _answers(run: Run) -> list[Completions]:
    """All arms' answers, and those that they are made of."""
    return completions_behind([each.completions for each in run.arms.answers()])


def _grades(run: Run) -> list[Artifact[Any]]:
    return [*_answers(run), *(each.grades for each in run.arms.answers())]


def _measures(run: Run) -> list[Artifact[Any]]:
    """What a report shows of the answers beside their verdicts."""
    return [*needed_scores(run.arms), *needed_trajectories(run.arms)]


def _seen(run: Run) -> list[Artifact[Any]]:
    """What a hybrid's page shows."""
    return [*_taxonomy(run), run.vectors, *needed_annotations(run.arms)] if run.arms.is_hybrid else []


def _preferred(run: Run) -> list[Artifact[Any]]:
    judge = _preference_judge(run.experiment)
    return [*_answers(run), *(_preferences(row, judge) for row in run.arms.rows.values())]


def _taxonomy(run: Run) -> list[Artifact[Any]]:
    return [run.categories.activations, run.categories.naming or run.categories.clusters]


ASKED: dict[Stage, Callable[[Run], Sequence[Artifact[Any]]]] = {
    "traces": lambda run: [run.categories.traces],
    "activations": lambda run: [run.categories.traces, run.categories.activations],
    "taxonomy": _taxonomy,
    "vectors": lambda run: [run.categories.activations, run.vectors],
    "export": lambda run: [*_taxonomy(run), run.vectors],
    "cue": lambda run: [run.arms.cue] if run.arms.cue else [],
    "completions": _answers,
    "grades": _grades,
    "preferences": _preferred,
    "report": lambda run: [*_answers(run), *shown(run.arms), *_seen(run)],
    "check": lambda run: [],
    "thinking": lambda run: [cold_start(run.experiment)] if run.experiment.training.cold_start else [],
    "bench": lambda run: [],
    "embedded_pair": lambda run: [],
}
"""What a stage asks the context for, whatever else it does."""
TRAINING = ("thinking", "embedded_pair")
"""Stages that train a model, which is no artifact."""


def plan_of(
    experiments: Sequence[Experiment], context: Context, cells_per_job: int = 1, is_first_apart: bool = True
) -> Plan:
    """What the runs of some experiments (the cells of a sweep) will find, build and load; nothing of it is done.

    Arguments: `context` has the store and the runtime; `cells_per_job` cells that follow each other share a process;
    `is_first_apart` says whether what they share is built by a process of its own.
    """
    runs = [Run(each, context, Path()) for each in experiments]
    cells = [
        Asked(tuple(ASKED[stage](run)), run.experiment.typical_length, _loaded(run), trains=stage in TRAINING)
        for run in runs
        for stage in (run.experiment.stage,)
    ]
    return plan_cells(cells, context, cells_per_job, shared_first(experiments), is_first_apart)


def _loaded(run: Run) -> tuple[Weights, ...]:
    """What a stage loads beside its builds: an export reads the base model's layers."""
    return (run.vectors.loads()[0],) if run.experiment.stage == "export" else ()


CELLS_SHARE = ("taxonomy", "completions", "grades", "report")
"""Stages whose cells may share what is drawn."""


def shared_first(experiments: Sequence[Experiment]) -> list[Artifact[Any]]:
    """What is built once, before the cells of a sweep: of taxonomies all clusters, else the answers that several cells
    need."""
    cells = [arms_of(each) for each in experiments if each.runtime.build_shared and each.stage in CELLS_SHARE]
    if len(cells) < 2:
        return []
    if experiments[0].stage == "taxonomy":
        return [cell.categories.clusters for cell in cells if cell.categories]
    return [*shared_answers([[each.completions for each in cell.answers()] for cell in cells])]


def share_between_cells(experiments: Sequence[Experiment], context: Context) -> None:
    """Build once what several cells of a sweep need, before they start."""
    cells = [arms_of(each) for each in experiments if each.runtime.build_shared and each.stage in CELLS_SHARE]
    if len(cells) < 2:
        return
    if experiments[0].stage == "taxonomy":
        build_banks([cell.categories.clusters for cell in cells if cell.categories], context)
    else:
        build_shared([[each.completions for each in cell.answers()] for cell in cells], context)


def optimised(run: Run, metrics: Metrics) -> float:
    """What a sweeper optimises: the metric that the experiment names, else the studied arm's accuracy, win rate or
    the taxonomy's score; nan where the stage measures none of them. ValueError for a name that is not there."""
    named, studied = run.experiment.metric, run.arms.studied
    if named is not None and named not in metrics:
        raise ValueError(f"metric={named}: stage={run.experiment.stage} measures {', '.join(sorted(metrics))}.")
    usual = ("accuracy", f"accuracy/{studied}", f"length_controlled_winrate/{studied}", f"win_rate/{studied}")
    names = (named,) if named is not None else (*usual, "score/final", "nmi", "accuracy/traces", "reward/last")
    return next((metrics[name] for name in names if name in metrics), math.nan)
