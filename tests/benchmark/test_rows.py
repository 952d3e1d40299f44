"""Rows: whatever a file holds is read, or refused by a ValueError that says where."""

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.base import RowBenchmark, subset
from reasoning_lab.benchmark.rows import Row, local_rows, rows, text_field
from reasoning_lab.records import Problem
from tests.benchmark.test_contract import GOLDEN, NAMES, WRONG_TYPE, build, settings_of

ROWS = [{"question": "a\u2028b", "answer": "#### 1"}, {"question": "é", "answer": "#### 2"}]
ROW_BENCHMARKS = [name for name in NAMES if issubclass(settings_of(name)[0], RowBenchmark)]


def write(path: Path) -> Path:
    """ROWS in the format of the name."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".jsonl":
        path.write_bytes(lines.encode())
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ROWS[0])
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    found = list(local_rows(write(tmp_path / name)))
    assert [row.data for row in found] == ROWS
    assert [row.number for row in found] == [0, 1]
    assert all(row.where.startswith(f"{tmp_path / name}:") for row in found)


def test_blank_lines_and_a_byte_order_mark_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "1"}\r\n\n  \n{"a": "2"}')
    assert list(local_rows(path)) == [Row(0, f"{path}:1", {"a": "1"}), Row(1, f"{path}:4", {"a": "2"})]


BAD_LINES = {
    "open brace": b"{",
    "a list": b"[1]",
    "a text": b'"a"',
    "null": b"null",
    "no UTF-8": b"\xff\xfe",
    "too deep": b"[" * 100_000,
    "two objects": b'{"a": 1} {"a": 2}',
    "too many digits": b"9" * 5000,
    "a zero byte": b"\0",
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "1"}\n' + BAD_LINES[what] + b"\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: "):
        list(local_rows(path))


BROKEN_FILES = {
    "gzip by its name alone": ("a.jsonl.gz", b"plain"),
    "gzip cut short": ("a.jsonl.gz", gzip.compress(b'{"a": "1"}\n' * 1000, mtime=0)[:40]),
    "parquet by its first bytes alone": ("a.parquet", b"PAR1 no"),
    "a cell too many": ("a.csv", b"a,b\n1,2,3\n"),
    "a cell too few": ("a.csv", b"a,b\n1\n"),
    "an open quote": ("a.csv", b'a,b\n"1,2\n'),
    "no UTF-8": ("a.csv", b"a,b\n\xff,2\n"),
}


@pytest.mark.parametrize("what", BROKEN_FILES)
def test_a_broken_file_is_named(tmp_path: Path, what: str) -> None:
    name, content = BROKEN_FILES[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        list(local_rows(tmp_path / name))


def test_a_missing_file_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file; set benchmark\.path"):
        rows(str(tmp_path / "none.jsonl"), "a/b", None, "main", "test")
    with pytest.raises(ValueError, match=r"must end in one of \.jsonl, "):
        rows(str(write(tmp_path / "a.jsonl").rename(tmp_path / "a.txt")), "a/b", None, "main", "test")
    with pytest.raises(ValueError, match="no such file"):
        rows(str(tmp_path), "a/b", None, "main", "test")


def test_an_unreachable_hub_says_to_set_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*args: object, **kwargs: object) -> None:
        raise ConnectionError(f"no route {args} {kwargs}\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ValueError, match=r"^benchmark\.hub_id=a/b: .*no route.*set benchmark\.path") as caught:
        rows(None, "a/b", None, "main", "test")
    assert "and more" not in str(caught.value)


def test_rows_of_the_hub_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[object] = []

    def load(*args: object, **kwargs: object) -> list[dict[str, str]]:
        asked.append((args, kwargs))
        return ROWS

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = list(rows(None, "a/b", "main", "abc", "test"))
    assert found == [Row(index, f"a/b/test:{index}", data) for index, data in enumerate(ROWS)]
    assert asked == [(("a/b", "main"), {"revision": "abc", "split": "test"})]


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def golden_rows(name: str) -> list[dict[str, Any]]:
    """The made-up rows of a benchmark."""
    return [json.loads(line) for line in (GOLDEN / "rows" / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ROW_BENCHMARKS)
@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_row_is_a_problem_or_a_value_error_that_says_where(name: str, data: st.DataObject) -> None:
    benchmark = build(name)
    assert isinstance(benchmark, RowBenchmark)
    good = golden_rows(name)[-1]
    known = st.sampled_from(sorted(good))
    row = data.draw(
        st.dictionaries(known | st.text(max_size=8), ANY_VALUE, max_size=8)
        | st.dictionaries(known, ANY_VALUE, min_size=1, max_size=2).map(lambda change: good | change)
        | known.map(lambda lost: {field: value for field, value in good.items() if field != lost})
    )
    try:
        problem = benchmark.problem(row, 7, "file:8")
    except ValueError as error:
        assert str(error).startswith("file:8: ")
    else:
        assert problem.question and problem.gold and problem.id
        assert type(problem).from_json(json.loads(problem.dumps().encode())) == problem


@pytest.mark.parametrize("name", ROW_BENCHMARKS)
@pytest.mark.parametrize("bad", ["x" * 1_000_000, "a\0b", "\ud800", "", None, 3.5, [], {}])
def test_a_broken_value_in_any_field_is_named_or_of_no_matter(name: str, bad: object) -> None:
    benchmark = build(name)
    assert isinstance(benchmark, RowBenchmark)
    good = golden_rows(name)[-1]
    refused = set()
    for field in good:
        try:
            benchmark.problem(good | {field: bad}, 0, "file:1")
        except ValueError as error:
            assert str(error).startswith("file:1: ") and len(str(error)) < 500
            refused.add(field)
    assert refused, "no field matters"


JUNK = [b"{", b"[1]", b"\xff\xfe", b'{"nothing": "here"}', b"{}", b"null", b'"\\ud800"']


@pytest.mark.parametrize("name", ROW_BENCHMARKS)
def test_bad_rows_are_left_out_and_named_where_the_user_says_so(name: str, tmp_path: Path) -> None:
    lines = (GOLDEN / "rows" / f"{name}.jsonl").read_bytes().splitlines()
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join([*JUNK[:4], lines[0], *JUNK[4:], *lines[1:]]) + b"\n")
    with pytest.raises(ValueError, match=r"mixed\.jsonl:1: "):
        build(name, path=str(path)).load()
    assert build(name, path=str(path)).skipped() == ()
    benchmark = build(name, path=str(path), on_bad_row="skip")
    wanted = [(problem.question, problem.gold) for problem in build(name).load()]
    found = [(problem.question, problem.gold) for problem in benchmark.load()]
    # The order of options is keyed by the id, which may count the rows.
    assert sorted(map(len, (question for question, _ in found))) == sorted(
        map(len, (question for question, _ in wanted))
    )
    numbers = [1, 2, 3, 4, 6, 7, 8]
    assert [message.split(": ")[0] for message in benchmark.skipped()] == [f"{path}:{number}" for number in numbers]
    assert build(name).skipped() == () == build(name, on_bad_row="skip").skipped()


def test_an_id_met_twice_is_skipped_too(tmp_path: Path) -> None:
    row = json.dumps(golden_rows("math500")[0])
    path = tmp_path / "twice.jsonl"
    path.write_text(f"{row}\n{row}\n")
    benchmark = build("math500", path=str(path), on_bad_row="skip")
    assert len(benchmark.load()) == 1
    assert [message.split(": ")[0] for message in benchmark.skipped()] == [f"{path}:2"]


def test_a_file_of_bad_rows_alone_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{}\n{}\n")
    with pytest.raises(ValueError, match=r"bad\.jsonl: no problem is in it"):
        build("math500", path=str(path), on_bad_row="skip").load()


def test_bad_rows_of_a_table_are_left_out_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,2\n1,2,3\n\xff,2\n5\n"x"y,1\n7,8\n"open,1\n')
    bad: list[str] = []
    found = list(local_rows(path, bad.append))
    assert [(row.number, row.data) for row in found] == [(0, {"a": "1", "b": "2"}), (5, {"a": "7", "b": "8"})]
    assert [message.split(": ")[0] for message in bad] == [f"{path}:{line}" for line in (3, 4, 5, 6, 8)]
    with pytest.raises(ValueError, match=r"a\.csv:3: "):
        list(local_rows(path))


@given(content=st.binary(max_size=300))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz", ".parquet"])
def test_any_bytes_are_rows_or_a_value_error_that_names_the_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    bad: list[str] = []
    try:
        found = list(local_rows(path, bad.append))
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(row.data, dict) for row in found)
    assert all(message.startswith(f"{path}:") for message in bad)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "of type NoneType"), (3, "of type int"), (" \n", "is empty"), ("\0", "NUL"), ("\ud800", "surrogate"),
     ("x" * 1_000_000, "1,000,000 characters")],
)  # fmt: skip
def test_a_field_that_is_no_text_is_named(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=f"^f:1: answer .*{said}"):
        text_field({"answer": value}, "answer", "f:1")
    with pytest.raises(ValueError, match=r"^f:1: no field 'problem'; the row has 'answer'"):
        text_field({"answer": value}, "problem", "f:1")


@pytest.mark.parametrize("name", ROW_BENCHMARKS)
def test_too_few_problems_and_ids_met_twice_are_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^benchmark\.n_problems=1000000: must be at most \d+, the number of problems"
    ):
        build(name, n_problems=1_000_000).load()
    path = tmp_path / "twice.jsonl"
    path.write_text((json.dumps(golden_rows(name)[-1]) + "\n") * 2)
    benchmark = build(name, path=str(path))
    try:
        assert len(benchmark.load()) == 2, "ids that count the rows differ"
    except ValueError as error:
        assert re.search(r"twice\.jsonl:2: problem id .* met before", str(error))


@pytest.mark.parametrize("name", ROW_BENCHMARKS)
@pytest.mark.parametrize(
    ("field", "value"),
    [("path", ""), ("split", " "), ("hub_id", ""), ("subset_seed", -1), ("on_bad_row", "ask")],
)
def test_a_bad_field_is_named(name: str, field: str, value: object) -> None:
    with pytest.raises(WRONG_TYPE, match=field):
        build(name, **{field: value})


def test_a_subset_depends_on_ids_and_seed_alone() -> None:
    problems = [Problem(str(n), "q", "g") for n in range(50)]
    assert subset(problems, 10, 0) == subset(problems[::-1], 10, 0) == subset(problems, 20, 0)[:10]
    assert subset(problems, 10, 0) != subset(problems, 10, 1)
    assert sorted(subset(problems, 50, 3), key=problems.index) == problems
