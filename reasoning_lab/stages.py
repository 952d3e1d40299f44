"""The story, to be read first: problems → completions → grades → report.

Each stage pulls what it needs and leaves an artifact; a second run finds everything. What is drawn: draws.py. How a
result is made or found: results.py. How many draw at a time: plan.py. What the page shows: reporting.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.draws import all_draws, cold_start_draw, flat, problems_of, table_draws, trace_draw
from reasoning_lab.artifacts.judgements import check_judge
from reasoning_lab.artifacts.lab import Lab, model_of, trainable
from reasoning_lab.artifacts.lineage import taxonomy_of
from reasoning_lab.artifacts.plan import build_shared, draw_all, grade_all, progress, show_plan
from reasoning_lab.artifacts.results import activations, completions, grades, taxonomy, traces, vectors
from reasoning_lab.experiment import Experiment
from reasoning_lab.report.hybrid_reporting import hybrid_report, is_hybrid, taxonomy_metrics, taxonomy_view
from reasoning_lab.report.reporting import report_input, report_sweep, sample_table, write_lm_eval_files


def _check(experiment: Experiment) -> None:
    """Sandbox, judge: what would be missing after hours of drawing is an error now."""
    experiment.benchmark.check_grading()
    check_judge(experiment)


def traces_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """The thinking model's answers to the taxonomy's problems, cut into sentences."""
    draw_all([(experiment, trace_draw(experiment))], lab)
    found = traces(experiment, lab)
    n = sum(len(trace.spans) for trace in found)
    lab.console.print(f"{len(found):,} traces of {n:,} sentences", highlight=False)
    right = sum(trace.verdict == "correct" for trace in found)
    return {"n_traces": float(len(found)), "n_sentences": float(n), "accuracy/traces": right / len(found)}


def activations_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """One vector per sentence at every collected layer."""
    metrics = traces_stage(experiment, lab)
    with progress(lab):
        activations(experiment, lab, taxonomy_of(experiment).layer)
    return metrics


def taxonomy_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Clusters, named and scored where there is a judge; its table and page."""
    from reasoning_lab.report import write_taxonomy

    _check(experiment)
    activations_stage(experiment, lab)
    view = taxonomy_view(experiment, lab)
    folder = lab.folder / "report"
    write_taxonomy(view, folder, lab.console)
    return taxonomy_metrics(experiment, lab)


def vectors_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """One steering vector per category."""
    activations_stage(experiment, lab)
    with progress(lab):
        found, log = vectors(experiment, experiment.steering, lab)
    for category, why in log.skipped.items():
        lab.console.print(f"no vector for category {category}: {why}", style="yellow", highlight=False)
    return {f"norm/{category}": float(norm) for category, norm in enumerate(found.norms)}


def export_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Clusters and vectors in the formats of other tools: SAELens, safetensors, GGUF control vectors."""
    from reasoning_lab.steering.export import control_vectors, safetensors_bytes
    from reasoning_lab.taxonomy.export import saelens_files

    taxonomy_stage(experiment, lab)
    layer, pair = taxonomy_of(experiment).layer, experiment.model_pair
    folder = lab.folder / "export"
    found, _ = vectors(experiment, experiment.steering, lab)
    x = activations(experiment, lab, layer).layers[layer]
    files = saelens_files(taxonomy(experiment, lab), x, pair.source("thinking").path, layer)
    base: Any = model_of(experiment, "base", lab).policy
    groups = {"sae_lens": files, "vectors": {"vectors.safetensors": safetensors_bytes(found)}}
    groups["control_vectors"] = control_vectors(found, base.architecture)
    for name, written in groups.items():
        (folder / name).mkdir(parents=True)
        for file, content in written.items():
            (folder / name / file).write_bytes(content)
    lab.console.print(f"Exported to {folder}", highlight=False, soft_wrap=True)
    return {"files": float(sum(map(len, groups.values())))}


def completions_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw all arms' answers."""
    draws = all_draws(experiment)
    show_plan(experiment, lab, draws)
    draw_all([(experiment, draw) for draw in flat(draws)], lab)
    return {}


def _graded(experiment: Experiment, lab: Lab) -> None:
    """Every answer drawn and graded."""
    _check(experiment)
    completions_stage(experiment, lab)
    grade_all(experiment, all_draws(experiment), lab)


def grades_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw and grade all arms; the accuracies."""
    from reasoning_lab.statistics import accuracy_interval, outcomes

    _graded(experiment, lab)
    draws = table_draws(experiment, problems_of(experiment))
    return {
        f"accuracy/{name}": accuracy_interval(outcomes(grades(experiment, draw, lab))).value
        for name, draw in draws.items()
    }


def preferences_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw all arms and compare their answers with the reference's by the judge; win rates, in the package's files."""
    from reasoning_lab.report.win_rates import check_preferences, win_rates

    check_preferences(experiment)
    completions_stage(experiment, lab)
    metrics: dict[str, float] = {}
    for name, draw in table_draws(experiment, problems_of(experiment)).items():
        row = win_rates(experiment, draw, lab, lab.folder / "alpaca_eval" / name)
        metrics |= {f"{metric}/{name}": value for metric, value in row.items() if value is not None}
        lab.console.print(
            f"{name}: win rate {row['win_rate']:.1f} %, length-controlled {row['length_controlled_winrate']:.1f} %"
        )
    for note in experiment.benchmark.notes():
        lab.console.print(note)
    return metrics


def report_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw and grade all arms; write table, plots and page; the headline metrics."""
    from reasoning_lab.report import print_table, write_report

    _graded(experiment, lab)
    report = report_input(experiment, lab)
    folder = lab.folder / "report"
    metrics = write_report(report, folder)
    print_table(report, lab.console)
    lab.console.print(f"\nPage: {folder / 'index.html'}", highlight=False)
    lab.tracker.images({image.stem: image for image in sorted(folder.glob("*.png"))})
    write_lm_eval_files(experiment, report, folder / "lm_eval")
    lab.tracker.table("samples", *sample_table(report.arms, report.problems))
    return metrics | (_hybrid_page(experiment, lab, folder) if is_hybrid(experiment) else {})


def _hybrid_page(experiment: Experiment, lab: Lab, folder: Path) -> dict[str, float]:
    """The table of controls and the page of a hybrid model."""
    from reasoning_lab.report import print_hybrid, write_hybrid

    report = hybrid_report(experiment, lab)
    metrics = write_hybrid(report, folder)
    print_hybrid(report, lab.console)
    lab.console.print(f"\nPage of the hybrid: {folder / 'hybrid.html'}", highlight=False, soft_wrap=True)
    return metrics


def embedded_pair_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Rebuild the embedded pair from nothing, in the run's folder."""
    from reasoning_lab.benchmark.arithmetic import problem_of
    from reasoning_lab.model_pair.loaded import resolve_device
    from reasoning_lab.training.embedded_pair import build_embedded_pair
    from reasoning_lab.training.thinking import graded

    folder, device = lab.folder / "embedded", resolve_device(experiment.runtime.device)
    right = graded(experiment.benchmark.grade)
    seconds = build_embedded_pair(
        folder, lambda problem, text: right(problem_of(problem), text),
        seed=experiment.seed, device=device, report=lab.console.print,
    )  # fmt: skip
    lab.console.print(f"Built in {folder}; point model_pair.base.path and its siblings there to use it.")
    return {f"seconds/{stage}": value for stage, value in seconds.items()}


def thinking_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Train a thinking model from the pair's base on the benchmark's problems, in the run's folder."""
    import torch

    from reasoning_lab.model_pair.loaded import resolve_device
    from reasoning_lab.model_pair.reader import load_reader
    from reasoning_lab.training.thinking import graded, save_model, train_thinking

    recipe, problems = experiment.training, problems_of(experiment)
    recipe.check(len(problems))
    draw = cold_start_draw(experiment) if recipe.cold_start else None
    right: list[tuple[str, str]] = []
    if draw is not None:
        draw_all([(experiment, draw)], lab)
        texts = {answer.problem: answer.text for answer in completions(experiment, draw, lab)}
        right = [(grade.problem, texts[grade.problem]) for grade in grades(experiment, draw, lab) if grade.correct]
        lab.console.print(f"cold start: {len(right)} of {len(problems)} answers of the base are right")
    model, tokenizer = trainable(experiment, resolve_device(experiment.runtime.device))
    reader = load_reader(experiment.model_pair.source("base"))
    prompts = {problem.id: reader.render(experiment.benchmark.prompt(problem)) for problem in problems}
    log = train_thinking(model, tokenizer, prompts, problems, graded(experiment.benchmark.grade), right, recipe)
    save_model(model, tokenizer, lab.folder / "thinking", getattr(torch, experiment.model_pair.dtype))
    lab.console.print(f"Trained: {lab.folder / 'thinking'}; set model_pair.thinking.path to it.", soft_wrap=True)
    return {"reward/first": log["reward"][0], "reward/last": log["reward"][-1], "cold_start": float(len(right))}


STAGES: dict[str, Callable[[Experiment, Lab], dict[str, float]]] = {
    "traces": traces_stage,
    "activations": activations_stage,
    "taxonomy": taxonomy_stage,
    "vectors": vectors_stage,
    "export": export_stage,
    "completions": completions_stage,
    "grades": grades_stage,
    "preferences": preferences_stage,
    "report": report_stage,
    "thinking": thinking_stage,
    "embedded_pair": embedded_pair_stage,
}


__all__ = [
    "STAGES", "Lab", "build_shared", "completions", "problems_of", "report_input", "report_sweep", "table_draws",
]  # fmt: skip
