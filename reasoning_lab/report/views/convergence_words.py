"""What the chains let one say of convergence, in sentences and tables. 'Converged' is never said; 'settled' needs an
interval within the margin and chains that moved (Convergence.is_settled)."""

from collections.abc import Sequence

from reasoning_lab.report.data import Report
from reasoning_lab.report.views.convergence import MARGIN, MOST, Convergence, studied_convergence
from reasoning_lab.report.views.tables import Cell, Words, with_bounds
from reasoning_lab.report.words import percent, percent_sentence, points

RUNG_HEADINGS = (
    "Rung", "Steps so far", "Chains", "Accepted %", "Moved %", "Chains moved %", "Answers changed %",
    "Accuracy after %",
)  # fmt: skip
STEP_HEADINGS = ("Steps of the last rung", "Accuracy %", "Answers changed since the step before %")


def convergence_sentences(given: Convergence) -> list[str]:
    """How much moved, what the steps of the last rung changed, and whether that may be called settled."""
    top = given.rungs[-1]
    said = [
        f"With N = {given.n_steps} steps a rung {percent_sentence(top.chains_moved)} of {top.n_chains} chains of "
        f"{given.label} changed their text on the last rung, where {percent_sentence(top.acceptance)} of the proposals "
        f"were accepted and {percent_sentence(top.moved)} changed the text."
    ]
    if given.change is None:
        return [*said, "Its states were not graded (a judge grades the answers): not shown to have converged."]
    shown = ", ".join(f"{100 * place.accuracy.value:.1f}" for place in given.last if place.accuracy)
    steps = ", ".join(str(place.step) for place in given.last)
    changed, rung = given.last[-1].answers_changed, given.ends[-1].answers_changed
    assert changed is not None, "a rung has at least one step"
    whole = f"the last rung changed {percent_sentence(rung)} of the answers, its last step" if rung else "its last step"
    said.append(
        f"Accuracy after {steps} steps of the last rung: {shown} %; {whole} {percent_sentence(changed)}. "
        f"{_claim(given)}"
    )
    return said


def convergence_lines(report: Report) -> list[str]:
    """The sentences on the studied arm; none where it has no chains."""
    found = studied_convergence(report)
    return convergence_sentences(found) if found else []


def _claim(given: Convergence) -> str:
    assert given.change is not None
    margin = f"{100 * MARGIN:.0f} points"
    over = f"from step {(given.n_steps) // 2} to step {given.n_steps} accuracy changes by {points(given.change)} points"
    if given.is_settled:
        return f"Settled within ±{margin} over the last rung: {over}; chains of one start can't show more."
    reasons = []
    if not (given.change.low >= -MARGIN and given.change.high <= MARGIN):
        reasons.append(f"{over}, an interval that reaches beyond ±{margin}")
    if given.moved_late.low <= MOST:
        reasons.append(
            f"{percent_sentence(given.moved_late)} of all chains moved in that half, too few for little change to mean "
            "that they have arrived"
        )
    return f"Not shown to have converged: {'; '.join(reasons)}."


def rung_table(given: Convergence) -> list[Words]:
    """A row per rung."""
    ends = {place.rung: place for place in given.ends}
    return [
        (
            str(rung.rung + 1), str(ends[rung.rung].steps), str(rung.n_chains), percent(rung.acceptance),
            percent(rung.moved), percent(rung.chains_moved), percent(ends[rung.rung].answers_changed),
            percent(ends[rung.rung].accuracy),
        )
        for rung in given.rungs
    ]  # fmt: skip


def step_table(given: Convergence) -> list[Words]:
    """A row per number of steps of the last rung."""
    return [(str(place.step), percent(place.accuracy), percent(place.answers_changed)) for place in given.last]


def convergence_records(given: Sequence[Convergence]) -> list[dict[str, Cell]]:
    """Every place of every arm in numbers: the ends of the rungs, then the steps of the last."""
    records: list[dict[str, Cell]] = []
    for arm in given:
        rungs = {rung.rung: rung for rung in arm.rungs}
        for where, places in (("rung end", arm.ends), ("last rung", arm.last)):
            for place in places:
                rung = rungs.get(place.rung) if where == "rung end" else None
                records.append({
                    "arm": arm.name, "at": where, "rung": place.rung + 1, "step": place.step,
                    "steps_so_far": place.steps,
                    **with_bounds("accuracy", place.accuracy),
                    **with_bounds("answers_changed", place.answers_changed),
                    "n_chains": rung.n_chains if rung else None,
                    **with_bounds("acceptance", rung.acceptance if rung else None),
                    **with_bounds("moved", rung.moved if rung else None),
                    **with_bounds("chains_moved", rung.chains_moved if rung else None),
                })  # fmt: skip
    return records


def convergence_metrics(given: Convergence) -> dict[str, float | None]:
    """Flat numbers of an arm's last rung."""
    top, end = given.rungs[-1], given.last[-1]
    metrics = with_bounds(f"{given.name}/last_rung_chains_moved", top.chains_moved)
    metrics |= with_bounds(f"{given.name}/last_rung_acceptance", top.acceptance)
    metrics |= with_bounds(f"{given.name}/last_step_answers_changed", end.answers_changed)
    return metrics | with_bounds(f"{given.name}/last_rung_accuracy_change", given.change)
