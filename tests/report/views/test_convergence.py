"""What chains show of convergence: by hand, and what may be said of it when."""

from pathlib import Path
from typing import Any

import pytest

from reasoning_lab import statistics as st
from reasoning_lab.records import ChainState, Completion, Grade, Move, Problem
from reasoning_lab.report import ArmResult, Report, write_report
from reasoning_lab.report.views.convergence import MARGIN, convergences, studied_convergence
from reasoning_lab.report.views.convergence_words import (
    convergence_lines,
    convergence_metrics,
    convergence_records,
    convergence_sentences,
    rung_table,
    step_table,
)

CHANGED, SAME, LOST = ((1,), (2,), 0.0, True), ((1,), (1,), 0.0, True), ((1,), (2,), None, False)


def arm(paths: list[dict[tuple[int, int], str]], moves: list[list[list[Any]]], graded: bool = True) -> ArmResult:
    """An arm of one chain per path; a state is its answer, right where it is 'right'. moves[chain][rung][step - 1]."""
    completions, grades, states = [], [], []
    for i, (path, rungs) in enumerate(zip(paths, moves, strict=True)):
        made = tuple(Move(k, s, 0, *kind) for k, rung in enumerate(rungs) for s, kind in enumerate(rung, 1))
        last = path[max(path)]
        completions.append(Completion(f"p{i}", 0, last, (1,), "stop", -1.0, -1.0, 9, moves=made))
        grades.append(Grade(f"p{i}", 0, "correct" if last == "right" else "wrong", last, ""))
        for (rung, step), answer in sorted(path.items()):
            verdict = ("correct" if answer == "right" else "wrong") if graded else None
            states.append(ChainState(f"p{i}", 0, rung, step, 1, verdict, answer))
    return ArmResult("power", "power", "base", "", completions, grades, states=tuple(states))


def report(chains: ArmResult) -> Report:
    problems = {f"p{i}": Problem(f"p{i}", "q", "right") for i in range(len(chains.completions))}
    return Report("t", [chains], problems, str, "power", "power")


def alike(n: int, n_moved: int, n_won: int = 0, n_steps: int = 4) -> Report:
    """n chains of one rung; n_moved of them change their text on it, n_won their answer to the right one at its end."""
    paths = [
        {(0, step): "right" if step == n_steps and i < n_won else "wrong" for step in range(n_steps + 1)}
        for i in range(n)
    ]
    moves = [[[CHANGED if i < n_moved else SAME] * n_steps] for i in range(n)]
    return report(arm(paths, moves))


def test_rungs_and_steps_by_hand() -> None:
    """Three chains on two rungs of two steps; the third ended on the first rung."""
    paths = [
        {(0, 2): "a", (1, 0): "a", (1, 1): "right", (1, 2): "right"},
        {(0, 2): "b", (1, 0): "b", (1, 1): "b", (1, 2): "c"},
        {(0, 0): "c", (0, 1): "right", (0, 2): "right"},
    ]
    moves = [[[SAME, LOST], [CHANGED, SAME]], [[LOST, LOST], [LOST, CHANGED]], [[CHANGED, LOST]]]
    found = studied_convergence(report(arm(paths, moves)))
    assert found is not None and (found.n_chains, found.n_steps) == (3, 2)
    first, second = found.rungs
    assert (first.n_chains, second.n_chains) == (3, 2)
    assert (first.acceptance.value, first.moved.value) == pytest.approx(((1 / 2 + 0 + 1 / 2) / 3, (0 + 0 + 1 / 2) / 3))
    assert (second.acceptance.value, second.moved.value) == (0.75, 0.5)
    assert (first.chains_moved.value, second.chains_moved.value) == (pytest.approx(1 / 3), 1.0)
    assert [place.steps for place in found.ends] == [2, 4] and [place.steps for place in found.last] == [2, 3, 4]
    assert [place.accuracy for place in found.ends] == [st.binomial_interval(1, 3), st.binomial_interval(2, 3)]
    assert [place.accuracy for place in found.last] == [
        st.binomial_interval(1, 3),
        st.binomial_interval(2, 3),
        st.binomial_interval(2, 3),
    ]
    assert [place.answers_changed for place in found.ends] == [None, st.binomial_interval(2, 3)]
    assert [place.answers_changed for place in found.last] == [
        None,
        st.binomial_interval(1, 3),
        st.binomial_interval(1, 3),
    ]
    assert found.change is not None and found.change.value == 0.0, "from one step to two"
    assert [row[0] for row in rung_table(found)] == ["1", "2"] and [row[0] for row in step_table(found)] == list("012")


def test_many_chains_that_moved_and_changed_nothing_that_counts_are_settled() -> None:
    [found] = convergences(alike(400, n_moved=400))
    assert found.change is not None and found.change.low >= -MARGIN and found.change.high <= MARGIN
    [_, said] = convergence_sentences(found)
    assert "Settled within ±2 points" in said and "converged" not in said.lower()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (alike(400, n_moved=40), "too few"),
        (alike(400, n_moved=0), "too few"),
        (alike(400, n_moved=210), "too few"),
        (alike(60, n_moved=60), "reaches beyond ±2 points"),
        (alike(400, n_moved=400, n_won=40), "reaches beyond ±2 points"),
        (alike(60, n_moved=6), "reaches beyond ±2 points; 10.0 %"),
    ],
)
def test_stuck_chains_few_problems_and_changes_are_not_shown_to_have_converged(given: Report, reason: str) -> None:
    said = " ".join(convergence_lines(given))
    assert "Not shown to have converged: " in said and reason in said.split("Not shown to have converged")[1]
    assert "Settled" not in said and said.count("converged") == 1


def test_the_sentences_say_how_much_moved_and_what_the_last_step_changed() -> None:
    said = convergence_lines(alike(40, n_moved=4, n_won=2))
    assert said[0].startswith("With N = 4 steps a rung 10.0 % (3.3 to 22.4) of 40 chains of power changed their text")
    assert "Accuracy after 0, 1, 2, 3, 4 steps of the last rung: 0.0, 0.0, 0.0, 0.0, 5.0 %" in said[1]
    assert "its last step 5.0 % (0.8 to 15.6)" in said[1]


def test_states_that_a_judge_would_grade_are_not_graded_and_it_is_said() -> None:
    ungraded = arm([{(0, 0): "a", (0, 1): "b"}], [[[CHANGED]]], graded=False)
    found = studied_convergence(report(ungraded))
    assert found is not None and found.change is None and found.ends[0].accuracy is None
    assert found.last[1].answers_changed == st.binomial_interval(1, 1)
    assert "not shown to have converged" in convergence_sentences(found)[-1]


def test_an_arm_without_chains_says_nothing(tmp_path: Path) -> None:
    plain = arm([{(0, 0): "a"}], [[[]]])
    given = report(ArmResult("power", "power", "base", "", plain.completions, plain.grades))
    assert convergences(given) == [] and convergence_lines(given) == []
    write_report(given, tmp_path)
    assert not (tmp_path / "convergence.csv").exists()
    assert "Do more steps" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_page_files_and_metrics_hold_the_same_numbers(tmp_path: Path) -> None:
    given = alike(40, n_moved=4, n_won=2)
    metrics = write_report(given, tmp_path)
    [found] = convergences(given)
    assert metrics["power/last_rung_chains_moved"] == 0.1
    assert {name: x for name, x in convergence_metrics(found).items() if x is not None}.items() <= metrics.items()
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for line in convergence_lines(given):
        assert line in page and line in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert page.count('id="convergence') >= 2 and (tmp_path / "convergence.png").stat().st_size > 10_000
    lines = (tmp_path / "convergence.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(convergence_records([found])) == 1 + 1 + 5
