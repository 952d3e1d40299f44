"""Logs of real runs that were cut short, exchanged and altered: the table is that of the undisturbed run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.artifacts.runlog import RunLog, _line
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.typed import build
from reasoning_lab.stages import STAGES
from tests.artifacts.faults import SMALL
from tests.runs import run_of, staged
from tests.test_stages import artifacts

N_ANSWERS = 2


def arms() -> Experiment:
    """Answers of two plain arms that differ in temperature alone, and their grades."""
    return build(Composer().compose([line for line in SMALL if not line.startswith("hydra.")]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    staged(arms(), root)
    return root


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Of answers and of grades: the logs of all arms, as they were behind the last record, by their names."""
    found: dict[str, dict[str, bytes]] = {"completions": {}, "grades": {}}
    root = tmp_path_factory.mktemp("logged")
    close = RunLog.close

    def copying(self: RunLog) -> None:
        close(self)
        found[self.path.parent.name][self.path.name] = self.path.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "close", copying)
        staged(arms(), root)
    return found


def names(kind: str, logs: dict[str, dict[str, bytes]]) -> list[str]:
    return sorted(logs[kind])


def lines(log: bytes) -> list[bytes]:
    return log.splitlines(keepends=True)


def unknown(log: bytes) -> bytes:
    """A record of a problem that nobody asked for, marked as this log's own."""
    key = json.loads(lines(log)[0][17:])["key"]
    record = json.loads(lines(log)[-1][17:])
    inner = record.get("completion", record)
    return _line({**record, "problem": "7+7"} if inner is record else {"completion": inner | {"problem": "7+7"}}, key)


def unreadable(log: bytes) -> bytes:
    key = json.loads(lines(log)[0][17:])["key"]
    return _line({"problem": 7, "field of another version": []}, key)


HARMS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "as it was": lambda ours, other: ours,
    "another arm's": lambda ours, other: other,
    "another arm's records": lambda ours, other: lines(ours)[0] + b"".join(lines(other)[1:]),
    "both": lambda ours, other: ours + other,
    "every record twice": lambda ours, other: ours + b"".join(lines(ours)[1:]),
    "from behind": lambda ours, other: lines(ours)[0] + b"".join(reversed(lines(ours)[1:])),
    "a record of an unknown problem": lambda ours, other: ours + unknown(ours),
    "a record that cannot be read": lambda ours, other: ours + unreadable(ours),
    "an edited answer": lambda ours, other: ours.replace(b'"problem"', b'"prob1em"'),
    "an edited word": lambda ours, other: ours.replace(b"correct", b"c0rrect").replace(b"stop", b"st0p"),
    "cut": lambda ours, other: ours[: len(ours) // 2],
    "zeros": lambda ours, other: ours[: len(ours) // 2] + bytes(len(ours) // 2),
    "empty": lambda ours, other: b"",
}
"""By name: what lies under a log's name, made of it and of another arm's."""


@pytest.mark.parametrize("harm", HARMS)
def test_no_foreign_record_reaches_the_table(
    harm: str, logs: dict[str, dict[str, bytes]], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, of_kind in logs.items():
        for at, name in enumerate(sorted(of_kind)):
            others = sorted(of_kind)
            file = tmp_path / "artifacts" / kind / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(HARMS[harm](of_kind[name], of_kind[others[at - 1]]))
    appended: list[dict[str, Any]] = []
    append = RunLog.append
    monkeypatch.setattr(RunLog, "append", lambda self, record: appended.append(record) or append(self, record))
    staged(arms(), tmp_path)
    assert {name: artifacts(tmp_path)[name] for name in artifacts(finished)} == artifacts(finished)
    made = [record for record in appended if "state" not in record]
    whole = sum(map(len, logs.values())) * N_ANSWERS
    if harm in ("as it was", "every record twice", "from behind", "both", "a record of an unknown problem",
                "a record that cannot be read"):  # fmt: skip
        assert not made, "what was finished is not made again"
    if harm in ("another arm's", "another arm's records", "empty"):
        assert len(made) == whole, "all is made again"


def test_an_exchange_is_told(logs: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    one, two, *_ = names("completions", logs)
    place = tmp_path / "artifacts" / "completions"
    place.mkdir(parents=True)
    (place / one).write_bytes(logs["completions"][two])
    (place / two).write_bytes(logs["completions"][one] + unknown(logs["completions"][one]))
    notes: list[str] = []
    run = run_of(arms(), tmp_path)
    run.context.store.note = notes.append
    STAGES["grades"](run)
    assert sum("set aside as" in note for note in notes) == 2
    shutil.rmtree(tmp_path / "artifacts")
    place.mkdir(parents=True)
    (place / one).write_bytes(logs["completions"][one] + unknown(logs["completions"][one]))
    run = run_of(arms(), tmp_path)
    run.context.store.note = notes.append
    STAGES["grades"](run)
    assert "records are of nothing that is asked for" in notes[-1] and one in notes[-1]
