"""HumanEval: its rows, its prompts, where the program is found, and the verdicts on its own solutions."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reasoning_lab.benchmark.grading.programs import canonical_program, extract_program
from reasoning_lab.benchmark.humaneval import HumanEval
from reasoning_lab.records import Grade, Problem
from tests.benchmark.data import shared
from tests.benchmark.sandbox.programs import needs_bubblewrap
from tests.benchmark.test_contract import GOLDEN, WRONG_TYPE, build

Grader = Callable[[Problem, str], Grade]


def humaneval(**changes: object) -> HumanEval:
    benchmark = build("humaneval", **changes)
    assert isinstance(benchmark, HumanEval)
    return benchmark


@pytest.fixture(scope="module")
def real() -> HumanEval:
    """The real problems, in the strong sandbox."""
    return humaneval(path=shared("HumanEval.jsonl.gz"), allow_unsandboxed=False)


def graded(benchmark: HumanEval, problems: list[Problem], text: Callable[[str], str]) -> list[Grade]:
    """A variant of each reference, two at a time."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda p: benchmark.grade(p, text(benchmark.gold_text(p)), 0, "stop"), problems))


def as_it_is(solution: str) -> str:
    return solution


def broken(solution: str, value: str = "object()") -> str:
    """The solution, its last `return` returning something else."""
    lines = solution.rstrip().split("\n")
    last = max(n for n, line in enumerate(lines) if re.match(r"\s*return\b", line))
    lines[last] = lines[last].split("return")[0] + f"return {value}"
    return "\n".join(lines[: last + 1]) + "\n"


# --- the 164 --------------------------------------------------------------------------------------------------


@needs_bubblewrap
@pytest.mark.timeout(300)
def test_every_reference_passes(real: HumanEval) -> None:
    problems = real.load()
    assert len(problems) == 164
    grades = graded(real, problems, as_it_is)
    assert {grade.problem: grade.reason for grade in grades if grade.reason != "continuation, passed, bubblewrap"} == {}
    assert all(grade.correct for grade in grades)


@needs_bubblewrap
@pytest.mark.timeout(300)
def test_every_reference_with_a_broken_line_fails(real: HumanEval) -> None:
    grades = graded(real, real.load(), broken)
    assert {grade.reason for grade in grades} == {"continuation, wrong answer, bubblewrap"}
    assert {grade.verdict for grade in grades} == {"wrong"}


def unindented(text: str) -> str:
    """Four blanks less at every line that has them, strings too."""
    return re.sub(r"^    ", "", text, flags=re.MULTILINE)


def in_block(text: str) -> str:
    return f"The body is\n\n```python\n{text}```\n\nIt is short."


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


VARIANTS: dict[str, Callable[[str], str]] = {
    "its first indent lost": str.lstrip,
    "its first indent lost, CRLF": lambda solution: crlf(solution.lstrip()),
    "CRLF": crlf,
    "in a block": in_block,
    "in a block, CRLF": lambda solution: crlf(in_block(solution)),
    "in a block, its first indent lost": lambda solution: in_block(solution.lstrip()),
    "in a block, without indent": lambda solution: in_block(unindented(solution)),
}
"""What chat models and tokenizers make of a body."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_reference_is_the_same_program_however_it_is_wrapped(real: HumanEval, name: str) -> None:
    for problem in real.load():
        solution = real.gold_text(problem)
        found = extract_program(VARIANTS[name](solution), "no_such_name")
        assert found is not None and found.is_body, problem.id
        assert canonical_program(found.code) == canonical_program(solution), problem.id


@needs_bubblewrap
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrapped_reference_passes_and_a_wrapped_broken_one_fails(real: HumanEval, name: str) -> None:
    some = real.load()[5::20]
    assert all(grade.correct for grade in graded(real, some, VARIANTS[name]))
    assert {g.verdict for g in graded(real, some, lambda text: VARIANTS[name](broken(text)))} == {"wrong"}


@contextmanager
def busy_loops(n: int) -> Iterator[None]:
    """Keep n processes busy beside what is done inside."""
    loops = [subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) for _ in range(n)]
    try:
        time.sleep(0.1)
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@needs_bubblewrap
@pytest.mark.timeout(300)
def test_verdicts_are_the_same_on_a_busy_machine(real: HumanEval) -> None:
    some = real.load()[::16]
    with busy_loops(4):
        assert all(grade.correct for grade in graded(real, some, as_it_is))
        assert {grade.verdict for grade in graded(real, some, broken)} == {"wrong"}


@needs_bubblewrap
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_verdicts_are_the_same_on_a_busy_machine(real: HumanEval) -> None:
    with busy_loops(4):
        for _ in range(5):
            assert all(grade.correct for grade in graded(real, real.load(), as_it_is))
            assert {grade.verdict for grade in graded(real, real.load(), broken)} == {"wrong"}


@needs_bubblewrap
@pytest.mark.timeout(300)
def test_verdicts_are_those_of_running_it_all_in_one_interpreter(real: HumanEval, tmp_path: Path) -> None:
    """The way the data set was made to be graded, here for its own solutions, some of them broken, alone."""
    with_string = [problem for n, problem in enumerate(real.load()) if n % 5 == 2]  # HumanEval/52 asks for truth alone
    programs = {
        problem.id: problem.question + broken(solution, "'broken'") + problem.gold.removeprefix(solution)
        for problem in with_string
        if (solution := real.gold_text(problem))
    }
    (tmp_path / "programs.json").write_text(json.dumps(programs))
    code = (
        "import json, sys\npassed = []\n"
        "for name, program in json.load(open(sys.argv[1])).items():\n"
        "    try: exec(program, {})\n"
        "    except Exception: continue\n"
        "    passed.append(name)\n"
        "print(json.dumps(passed))"
    )
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "programs.json")]
    expected = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    grades = graded(real, with_string, lambda solution: broken(solution, "'broken'"))
    assert [grade.problem for grade in grades if grade.correct] == expected == ["HumanEval/52"]


def test_every_reference_votes_for_itself_alone(real: HumanEval) -> None:
    problems = real.load()
    answers = [real.answer(real.gold_text(problem)) for problem in problems]
    forms = [real.canonical(answer) for answer in answers if answer is not None]
    assert len(set(forms)) == 164
    assert forms == [real.canonical(problem.gold) for problem in problems]


def test_every_prompt_can_be_asked_in_the_papers_words(real: HumanEval) -> None:
    asking = humaneval(path=shared("HumanEval.jsonl.gz"), prompt_style="karan2025")
    for plain, problem in zip(real.load(), asking.load(), strict=True):
        assert plain == problem and real.prompt(plain) == problem.question
        first, _, rest = asking.prompt(problem).partition("\n")
        assert re.fullmatch(r"Write a Python function `\w+\(.*\).*` to solve the following problem:", first)
        assert rest.endswith("\n" + problem.question) and not rest.startswith("\n" + problem.question)


# --- prompts and rows -----------------------------------------------------------------------------------------


def test_the_papers_words() -> None:
    benchmark = humaneval(prompt_style="karan2025")
    problem = benchmark.load()[1]  # a helper comes first
    assert benchmark.prompt(problem) == (
        "Write a Python function `unshift(word: str) -> str` to solve the following problem:\n\nUndo shift.\n\n"
        + problem.question
    )
    with pytest.raises(WRONG_TYPE, match="prompt_style"):
        humaneval(prompt_style="chat")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("entry_point", "add", "entry_point='add'"),
        ("entry_point", "total(", "entry_point"),
        ("entry_point", None, "entry_point is of type NoneType"),
        ("test", "assert total([]) == 0", "def check"),
        ("canonical_solution", "return 0", "canonical_solution must be the body"),
        ("canonical_solution", "    return 0\nprint(1)", "canonical_solution must be the body"),
        ("prompt", " ", "prompt is empty"),
        ("task_id", 3, "task_id"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, field: str, value: object, says: str) -> None:
    row = json.loads((GOLDEN / "rows" / "humaneval.jsonl").read_text().splitlines()[0])
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row | {field: value}))
    with pytest.raises(ValueError, match=rf"rows\.jsonl:1: .*{re.escape(says)}"):
        humaneval(path=str(file)).load()


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu_limit_s", 0), ("wall_limit_s", 1.0), ("wall_limit_s", 1e9), ("memory_limit_mib", 8)],
)
def test_a_limit_out_of_bounds_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{field}={value}: must be"):
        humaneval(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu_limit_s", 6), ("wall_limit_s", 20.000001), ("memory_limit_mib", 1025), ("allow_unsandboxed", False)],
)
def test_what_limits_a_program_is_part_of_the_gradings_identity(field: str, value: object) -> None:
    assert humaneval().grading != humaneval(**{field: value}).grading
    assert humaneval().reading == humaneval(**{field: value}).reading


# --- grades ---------------------------------------------------------------------------------------------------

ODD = {
    "": "empty text",
    " \n\t\n": "empty text",
    "<|endoftext|>": "no code",
    "```python\n```": "no code",
    "```": "no code",
    "return 1": "continuation, wrong answer",
    "return sum(numbers)": "continuation, passed",
    "return the sum of the numbers": "no code",
    "```python\nreturn sum(numbers)\n```": "fenced body, passed",
    "So:\n```python\n    return sum(numbers)\n```\nas asked.": "fenced body, passed",
    "s = 0\r\n    for n in numbers:\r\n        s += n\r\n    return s\r\n\r\nprint(1)\r\n": "continuation, passed",
    "# only a comment": "no code",
    "    # only a comment": "no code",
    "word " * 100_000: "no code",
    "    pass\n": "continuation, wrong answer",
    "    return sum(numbers)\n" + "# and on\n" * 50_000: "continuation, passed",
    "    x = 1\n" * 50_000: "continuation, wrong answer",
    "    return (": "continuation, syntax error",
    "    return sum(numbers)\n\ndef total(numbers):\n    return 0\n": "continuation, passed",
    "    return List\n": "continuation, wrong answer",
    "    return \ud800\0\n": "continuation, syntax error",
    "```python\nfrom __future__ import annotations\ndef total(x: List[int]):\n    return sum(x)\n```": "fenced, passed",
    "```python\ndef total(x: List[int]):\n    return sum(x)\n```\n```python\nprint(total([1]))\n```": "fenced, passed",
    "```python\ndef other(x):\n    return sum(x)\n```": "no code",
    "def total(numbers):\n    return sum(numbers)\n\ntotal(1)": "definition, passed",
    "```\ndef total(x):\n    return sum(x)\n\nif __name__ == '__main__':\n    total(1)\n```": "fenced, passed",
}


@pytest.mark.parametrize("text", ODD, ids=lambda text: repr(text[:30]))
def test_odd_texts_are_graded_with_a_named_reason(text: str) -> None:
    benchmark = humaneval()
    grade = benchmark.grade(benchmark.load()[0], text, 0, "cap")
    executed = "," in ODD[text]
    assert grade.reason == ODD[text] + (f", {benchmark.sandbox().level}" if executed else "")
    assert grade.verdict == ("correct" if "passed" in ODD[text] else "wrong" if executed else "ungradable")
    assert (grade.answer is None) == (not executed)


def test_without_a_sandbox_grading_refuses_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_lab.benchmark.sandbox.probes import open_sandbox

    monkeypatch.setenv("PATH", "/nonexistent")
    open_sandbox.cache_clear()
    try:
        strict, lax = humaneval(allow_unsandboxed=False), humaneval()
        problem = strict.load()[0]
        with pytest.raises(ValueError, match=r"^benchmark\.allow_unsandboxed=False: .*bwrap"):
            strict.grade(problem, strict.gold_text(problem), 0, "stop")
        assert lax.grade(problem, lax.gold_text(problem), 0, "stop").reason == "continuation, passed, none"
        assert strict.grade(problem, "", 0, "stop").reason == "empty text", "what runs nothing needs no sandbox"
    finally:
        open_sandbox.cache_clear()
