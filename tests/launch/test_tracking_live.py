"""A run's work as points: what is told, over which axis, how often."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.launch.tracking.live import Live, _Clock, _Curve, watched
from reasoning_lab.launch.tracking.log import MOST_ROWS, Tracker
from reasoning_lab.stages import STAGES
from tests.artifacts.test_telling import SMALL
from tests.launch.tracked import events
from tests.runs import run_of
from tests.test_stages import experiment


def points(folder: Path) -> list[dict[str, Any]]:
    return [event["values"] for event in events(folder) if event["kind"] == "log"]


def axes(folder: Path) -> dict[str, str]:
    return {name: axis for event in events(folder) if event["kind"] == "define" for name, axis in event["axes"].items()}


def test_a_metric_lies_over_what_it_was_told_with(tmp_path: Path) -> None:
    with Tracker(tmp_path) as tracker:
        heard = Live(tracker, "report", seconds=0.0)
        heard.on_values("power", {"graded": 4.0, "accuracy": 0.5})
        heard.on_values("power", {"answers": 9.0, "acceptance": 0.25})
        heard.on_values("grpo", {"step": 1.0, "reward": 0.125})
        heard.on_values("other", {"temperature": 3.0})
        heard.on_progress("power", 12, 9, 100)
        heard.close()
    assert axes(tmp_path) == {
        "accuracy/power": "graded/power", "acceptance/power": "answers/power", "reward/grpo": "step/grpo",
        "temperature/other": "seconds", "progress/power": "seconds",
    }  # fmt: skip
    first, *_, last = points(tmp_path)
    assert (first["accuracy/power"], first["graded/power"], first["stage"]) == (0.5, 4, "report")
    assert (last["progress/power"], last["at_work"]) == (0.75, "power 9/12")
    defined = [event["kind"] for event in events(tmp_path)]
    assert defined.index("define") < defined.index("log"), "an axis is known before its first point"


def test_there_is_a_point_every_few_seconds_at_most_and_the_last_is_never_lost(tmp_path: Path) -> None:
    with Tracker(tmp_path) as tracker:
        heard = Live(tracker, "report", seconds=3600.0)
        for n in range(1, 101):
            heard.on_values("power", {"graded": float(n), "accuracy": n / 200})
        assert points(tmp_path) == []
        heard.close()
    (point,) = points(tmp_path)
    assert (point["graded/power"], point["accuracy/power"]) == (100, 0.5)


def test_a_curve_goes_forward_alone(tmp_path: Path) -> None:
    """Grading begins at the first answer again, when the drawing has told of most of them."""
    with Tracker(tmp_path) as tracker:
        heard = Live(tracker, "report", seconds=0.0)
        for graded, accuracy in ((6.0, 0.5), (1.0, 1.0), (5.0, 0.4), (6.0, 0.5), (8.0, 0.25)):
            heard.on_values("power", {"graded": graded, "accuracy": accuracy})
        heard.close()
    assert [(p["graded/power"], p["accuracy/power"]) for p in points(tmp_path)] == [(6, 0.5), (6, 0.5), (8, 0.25)]


def test_the_rest_is_estimated_by_the_last_points_pace() -> None:
    clock = _Clock()
    clock.note(100, 40)  # Of an earlier attempt: there at the first point.
    assert clock.tick(10.0) is None, "one point has no pace"
    clock.note(100, 50)
    assert clock.tick(30.0) == pytest.approx(50 * 20 / 10)
    for n in range(12):
        clock.note(100, 50 + 4 * n)
        left = clock.tick(40.0 + n)
    assert left == pytest.approx((100 - 94) / 4), "what was slow long ago is forgotten"


def test_a_trainings_curve_becomes_a_table_thinned_evenly(tmp_path: Path) -> None:
    curve = _Curve("step")
    for step in range(1, 1734):
        curve.add({"step": float(step), "loss": 1 / step})
    columns, rows = curve.table()
    assert columns == ["step", "loss"]
    assert MOST_ROWS / 4 < len(rows) <= MOST_ROWS
    steps = [row[0] for row in rows]
    assert (steps[0], steps[-1]) == (1, 1733)
    assert len({b - a for a, b in pairwise(steps[:-1])}) == 1  # type: ignore[operator]

    with Tracker(tmp_path) as tracker:
        heard = Live(tracker, "thinking", seconds=3600.0)
        for step in (1, 2, 3):
            heard.on_values("grpo", {"step": float(step), "reward": step / 4})
        heard.close()
    (table,) = (event for event in events(tmp_path) if event["kind"] == "table")
    assert (table["name"], table["rows"]) == ("curve/grpo", [[1, 0.25], [2, 0.5], [3, 0.75]])


def test_a_full_disk_costs_points_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with Tracker(tmp_path) as tracker:
        heard = Live(tracker, "report", seconds=0.0)
        with monkeypatch.context() as patched:
            for name in ("log", "define", "table", "artifact"):
                patched.setattr(tracker, name, full)
            heard.on_values("grpo", {"step": 1.0, "reward": 1.0})
            heard.on_progress("power", 2, 1, 10)
            heard.close()


def test_a_watched_run_ends_at_the_tables_accuracy_and_names_what_it_made(tmp_path: Path) -> None:
    small = experiment(*SMALL)
    for is_first in (True, False):
        run = run_of(small, tmp_path, "first" if is_first else "again")
        with Tracker(run.folder) as tracker, watched(run.context, tracker, "grades"):
            metrics = STAGES["grades"](run)
        told = points(run.folder)
        made = [event for event in events(run.folder) if event["kind"] == "artifact"]
        if is_first:
            assert told[-1]["accuracy/main"] == metrics["accuracy/main"]
            assert told[-1]["graded/main"] == len(run.arms.problems.problems)
        wanted = {draw.grades.key for row in run.arms.rows.values() for draw in row.draws}
        assert {each["key"] for each in made if each["type"] == "grades"} == wanted
        assert {each["is_new"] for each in made} == {is_first}
        assert all(
            json.loads((Path(each["path"]) / "manifest.json").read_text())["key"] == each["key"] for each in made
        )
        if is_first:
            time.sleep(1.1)  # A manifest's time has whole seconds.
    assert run.context.listeners == []
