"""HumanEval: 164 functions to write from their signature and docstring, graded by running their tests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, final

from reasoning_lab.benchmark.base import Finish, RowBenchmark
from reasoning_lab.benchmark.grading.programs import canonical_program, cut, extract_program
from reasoning_lab.benchmark.rows import text_field
from reasoning_lab.benchmark.sandbox.execution import Submission
from reasoning_lab.benchmark.sandbox.levels import Limits
from reasoning_lab.benchmark.sandbox.probes import CheckedSandbox, open_sandbox
from reasoning_lab.checks import is_count, require, require_count, require_one_of
from reasoning_lab.records import Grade, Problem, Verdict

CodePromptStyle = Literal["karan2025", "plain"]

_VERDICTS: dict[str, Verdict] = {
    "passed": "correct", "timeout": "timeout", "the tests ended": "ungradable", "the test made no call": "ungradable",
}  # fmt: skip
"""Of the outcomes of `execution.py`; all others are wrong."""


class Gold(NamedTuple):
    """What a problem's `gold` holds: the canonical solution, the tests, and the call that runs them."""

    solution: str
    test: str
    entry_point: str


@final
@dataclass(frozen=True, kw_only=True)
class HumanEval(RowBenchmark):
    """The 164 hand-written problems of Chen et al. 2021; in Karan & Du 2025 (§5.1, Table 1).

    A problem's `question` is the prompt: imports, perhaps helpers, signature and docstring. Its `gold` is a Python
    source, the way the data set is meant to be put together: the canonical body, the tests, and `check(name)`.

    Model code runs only in a sandbox (`sandbox/`), its tests in another one (`execution.py`).
    """

    version: ClassVar[int] = 2
    citation: ClassVar[str] = "Chen et al. 2021, Evaluating Large Language Models Trained on Code, arXiv:2107.03374"
    licence: ClassVar[str] = "MIT"
    runs_programs: ClassVar[bool] = True

    prompt_style: CodePromptStyle
    """plain: the function's stub alone, as Karan & Du ask the Qwen models; karan2025: their words around it, as they
    ask Phi-3.5."""
    cpu_limit_s: int
    """CPU time of a program [s]."""
    wall_limit_s: float
    """Time of a program [s] on an idle machine; on a busy one it is stretched."""
    memory_limit_mib: int
    """Address space of a program [MiB]."""
    allow_unsandboxed: bool
    """Run model code with limits alone where there is no sandbox."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(CodePromptStyle, "prompt_style", self.prompt_style)
        require_count(self, "cpu_limit_s")
        wall, memory, allow = self.wall_limit_s, self.memory_limit_mib, self.allow_unsandboxed
        fits = isinstance(wall, float) and self.cpu_limit_s <= wall <= 3600.0
        bound = f"a float from cpu_limit_s={self.cpu_limit_s} to 3600 [s]"
        require(fits, "wall_limit_s", wall, bound, "a program that waits spends no CPU time")
        enough = "Python itself takes some of it"
        require(is_count(memory, 128), "memory_limit_mib", memory, "a whole number of at least 128 [MiB]", enough)
        require(isinstance(allow, bool), "allow_unsandboxed", allow, "true or false", "false keeps the sandbox")

    @property
    def grading(self) -> str:
        """The class, its version, the limits, and whether a program may do without a sandbox: each can change a
        verdict."""
        limits = f"{self.cpu_limit_s} s CPU, {self.wall_limit_s!r} s, {self.memory_limit_mib} MiB"
        return f"{super().grading}, {limits}" + (", unsandboxed allowed" if self.allow_unsandboxed else "")

    def problem(self, row: Mapping[str, object], index: int, where: str) -> Problem:
        """Fields task_id, prompt, entry_point, canonical_solution and test; `index` is not used."""
        del index
        prompt, solution, test = (text_field(row, name, where) for name in ("prompt", "canonical_solution", "test"))
        entry_point = text_field(row, "entry_point", where)
        if not entry_point.isidentifier() or not re.search(rf"^def[ \t]+{entry_point}[ \t]*\(", prompt, re.MULTILINE):
            raise ValueError(f"{where}: entry_point={entry_point[:50]!r}, must be a function that the prompt begins.")
        if not re.search(r"^def[ \t]+check[ \t]*\(", test, re.MULTILINE):
            raise ValueError(f"{where}: test has no line that begins with 'def check('.")
        gold = Gold(solution.rstrip() + "\n", test.strip() + "\n", entry_point)
        if cut(gold.solution) != gold.solution or not gold.solution.lstrip("\n").startswith((" ", "\t")):
            raise ValueError(f"{where}: canonical_solution must be the body of one function, indented.")
        return Problem(id=text_field(row, "task_id", where), question=prompt, gold=_joined(gold))

    def prompt(self, problem: Problem) -> str:
        """The stub, in the words of `prompt_style`.

        Karan & Du's words (power_samp_he.py, commit 720a8e9) hold the prompt's first docstring; here it is that of the
        function asked for, which differs where a helper comes first (4 of the 164).
        """
        if self.prompt_style == "plain":
            return problem.question
        signature, description = _signature(problem.question, _split(problem.gold).entry_point)
        return (
            f"Write a Python function `{signature}` to solve the following problem:\n{description}\n{problem.question}"
        )

    def answer(self, text: str) -> str | None:
        """The program that the text holds (`programs.py`), whatever its function is called."""
        program = extract_program(text)
        return program.code if program else None

    def canonical(self, answer: str) -> str:
        """The program without comments and layout; two programs that compute the same differ."""
        return canonical_program(answer)

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Pull the program out (`programs.py`), run it against the tests in the sandbox; `finish` does not matter.

        The reason reads "rule, outcome, level": which rule found it, how it fared, and how strong the sandbox
        was. No code is `ungradable`: counted as wrong, and shown. ValueError where there is no sandbox and
        `allow_unsandboxed` is false; SandboxError if it fails.
        """
        del finish
        gold = _split(problem.gold)
        program = extract_program(text, gold.entry_point)
        if program is None:
            reason = "no code" if text.strip() else "empty text"
            return Grade(problem.id, chain, "ungradable", None, reason)
        # A program of its own is run after the prompt, whose imports and helpers it may leave out.
        sources = (problem.question + program.code,) if program.is_body else (problem.question, program.code)
        sandbox = self.sandbox()
        outcome = sandbox.execute(Submission(sources, gold.entry_point, problem.question, gold.test)).reason
        return Grade(
            problem.id,
            chain,
            _VERDICTS.get(outcome, "wrong"),
            program.code,
            f"{program.rule}, {outcome}, {sandbox.level}",
            program.rule,
        )

    def sandbox(self) -> CheckedSandbox:
        """The sandbox, tried out at the first call; ValueError where there is none and `allow_unsandboxed` is false."""
        limits = Limits(self.cpu_limit_s, self.wall_limit_s, self.memory_limit_mib)
        return open_sandbox(limits, self.allow_unsandboxed)

    def check_grading(self) -> None:
        """ValueError without a strong sandbox, unless `allow_unsandboxed`."""
        self.sandbox()

    def gold_text(self, problem: Problem) -> str:
        """The canonical solution."""
        return _split(problem.gold).solution


def _joined(gold: Gold) -> str:
    return f"{gold.solution}\n\n{gold.test}\n\ncheck({gold.entry_point})\n"


def _split(gold: str) -> Gold:
    solution = cut(gold)
    test, _, call = gold[len(solution) :].rpartition("\ncheck(")
    return Gold(solution.rstrip() + "\n", test.strip() + "\n", call.removesuffix(")\n"))


def _signature(prompt: str, entry_point: str) -> tuple[str, str]:
    """What stands between `def` and the colon, and the docstring, its lines stripped."""
    start = re.search(rf"^def[ \t]+(?={entry_point}[ \t]*\()", prompt, re.MULTILINE)
    rest = prompt[start.end() :] if start else prompt
    signature = re.match(r"(.*?):[ \t]*\n", rest, re.DOTALL)
    docstring = re.search(r"(\"\"\"|''')(.*?)\1", rest, re.DOTALL)
    description = docstring.group(2) if docstring else ""
    return (signature.group(1) if signature else entry_point), "\n".join(map(str.strip, description.split("\n")))
