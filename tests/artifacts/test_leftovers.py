"""What the dead leave: swept as soon as it is certain that nobody works on it, and not before."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from reasoning_lab import disk
from reasoning_lab.artifacts.base import open_store
from reasoning_lab.artifacts.store import Store
from reasoning_lab.disk import is_abandoned, partial_of
from tests.artifacts.test_store import Toy, write

FORK = multiprocessing.get_context("fork")
LONG = 3600


def ignore(_: str) -> None:
    """Nobody listens."""


def _stuck(root: Path, says) -> None:
    """Builds, logs a record, and never ends."""
    store = Store(root)

    def build(folder: Path) -> None:
        write(folder)
        with store.log(Toy(1)) as log:
            log.append({"item": 1})
            log.sync()
            says.put(str(folder))
            time.sleep(LONG)

    store.find_or_build(Toy(1), build)


def stuck(root: Path) -> tuple[multiprocessing.Process, Path]:
    """A process at work on an artifact, and its partial folder."""
    says = FORK.SimpleQueue()
    owner = FORK.Process(target=_stuck, args=(root, says))
    owner.start()
    return owner, Path(says.get())


def test_the_folder_of_a_killed_owner_is_swept_and_its_log_goes_on(tmp_path: Path) -> None:
    owner, partial = stuck(tmp_path)
    assert open_store(tmp_path, ignore) and (partial / "data.txt").is_file(), "its owner lives"
    os.kill(owner.pid, signal.SIGKILL)
    while disk.process_start(owner.pid) is not None:  # Dead, and not yet buried by its parent: this process.
        time.sleep(0.01)
    store = open_store(tmp_path, ignore)
    assert not partial.exists()
    owner.join()
    with store.log(Toy(1)) as log:
        assert log.records == [{"item": 1}]


def test_whoever_waits_for_a_killed_holder_of_the_lock_goes_on_at_once(tmp_path: Path) -> None:
    owner, _ = stuck(tmp_path)
    waiter = FORK.Process(target=lambda: Store(tmp_path).find_or_build(Toy(1), write))
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive(), "it waits"
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    waiter.join(30)
    assert waiter.exitcode == 0
    assert Store(tmp_path).find(Toy(1)) is not None
    assert not list(tmp_path.rglob("*.log")), "the finished artifact needs none"


def test_a_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    mine = partial_of(tmp_path / "toy")
    assert not is_abandoned(mine)
    place, pid, start, word = mine.name.split(".partial-")[1].split("-")
    earlier = mine.with_name(f"toy.partial-{place}-{pid}-{int(start) - 1}-{word}")
    assert is_abandoned(earlier)


@pytest.mark.parametrize("name", ["toy-1.partial-00000000-1-7-0badf00d", "toy-1.partial-0badf00d"])
def test_what_cannot_be_looked_up_stays_until_it_is_old(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another machine; of a version that left no owner's name."""
    elsewhere = tmp_path / "toy" / name
    elsewhere.mkdir(parents=True)
    (elsewhere / "data.txt").write_text("half")
    open_store(tmp_path, ignore)
    assert elsewhere.exists()
    now = time.time()
    monkeypatch.setattr(disk.time, "time", lambda: now + 13 * 86400)
    open_store(tmp_path, ignore)
    assert elsewhere.exists()
    monkeypatch.setattr(disk.time, "time", lambda: now + 15 * 86400)
    open_store(tmp_path, ignore)
    assert not elsewhere.exists()


def test_what_was_set_aside_is_kept_for_a_look_and_then_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Store(tmp_path).find_or_build(Toy(1), write)
    (folder / "data.txt").write_text("other")
    log = Store(tmp_path).log_path(Toy(1))
    log.write_text("of nobody\n")
    store = Store(tmp_path)
    with store.log(Toy(1)):
        assert store.find(Toy(1)) is None
    aside = [path for path in (tmp_path / "toy").iterdir() if ".corrupt-" in path.name]
    assert len(aside) == 2
    open_store(tmp_path, ignore)
    assert all(path.exists() for path in aside)
    now = time.time()
    monkeypatch.setattr(disk.time, "time", lambda: now + 15 * 86400)
    open_store(tmp_path, ignore)
    assert not any(path.exists() for path in aside)
    assert log.exists(), "the log of an unfinished artifact stays, however old"


def test_a_log_beside_a_finished_artifact_goes(tmp_path: Path) -> None:
    """Its builder died between the last two steps."""
    store = Store(tmp_path)
    store.find_or_build(Toy(1), write)
    with store.log(Toy(1)) as log:
        log.append({"item": 1})
    again = Store(tmp_path)
    assert again.find(Toy(1)) is not None and not again.log_path(Toy(1)).exists()


def test_half_a_small_file_of_a_dead_process_is_swept_too(tmp_path: Path) -> None:
    dead = FORK.Process(target=lambda: partial_of(tmp_path / "hashes" / "entry.json").write_text("{"))
    (tmp_path / "hashes").mkdir()
    dead.start()
    dead.join()
    assert len(list((tmp_path / "hashes").iterdir())) == 1
    open_store(tmp_path, ignore)
    assert not list((tmp_path / "hashes").iterdir())
