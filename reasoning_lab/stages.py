"""The story, to be read first: problems → completions → grades → report.

Each stage pulls what it needs and leaves an artifact; a second run finds everything. What is drawn: draws.py. How a
result is made or found: results.py. How many draw at a time: plan.py. What the page shows: reporting.py.
"""

from collections.abc import Callable

from reasoning_lab.draws import flat, passk_draws, problems_of, table_draws
from reasoning_lab.experiment import Experiment
from reasoning_lab.plan import build_shared, draw_all, show_plan
from reasoning_lab.reporting import report_input, report_sweep, sample_table
from reasoning_lab.results import Lab, completions, grades


def completions_stage(experiment: Experiment, lab: Lab) -> dict[str, float]:
    """Draw all arms' answers."""
    problems = problems_of(experiment)
    draws = [*table_draws(experiment, problems).values(), *passk_draws(experiment, problems).values()]
    show_plan(experiment, lab, draws)
    draw_all([(experiment, draw) for draw in flat(draws)], lab)
    return {}


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
    lab.tracker.table("samples", *sample_table(report.arms, report.problems))
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


__all__ = [
    "STAGES", "Lab", "build_shared", "completions", "problems_of", "report_input", "report_sweep", "table_draws",
]  # fmt: skip
