r"""What benchmarks with a mathematical answer share: prompts, and a grade of the answer that the text states."""

import re
from dataclasses import dataclass
from typing import Literal, final

from reasoning_lab.benchmark.base import Finish, RowBenchmark
from reasoning_lab.benchmark.grading import compat
from reasoning_lab.benchmark.grading.equality import shared_pool
from reasoning_lab.benchmark.grading.extraction import Answer, extract_answer
from reasoning_lab.benchmark.grading.normal_form import canonical_answer, normal_form, states_number
from reasoning_lab.checks import require_one_of
from reasoning_lab.records import Grade, Problem

PromptStyle = Literal["karan2025", "model_card", "plain"]
MathGrader = Literal["math", "reference", "venhoff2025"]

PROMPTS: dict[PromptStyle, str] = {
    "karan2025": (
        "Can you solve the following math problem? {question}"
        " Please reason step by step, and put your final answer within \\boxed{{}}."
    ),
    "model_card": "{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}.",
    "plain": "{question}",
}
r"""Templates of `str.format`.

karan2025: PROMPT and COT of the authors' constants.py (commit 720a8e9). Their string is concatenated and never
formatted, so that their models read ``\boxed{{}}``; here it is rendered, and reads ``\boxed{}``.
model_card: the directive that the cards of DeepSeek-R1, QwQ and Qwen2.5-Math ask for, after the problem.
"""


@dataclass(frozen=True, kw_only=True)
class MathBenchmark(RowBenchmark):
    """Problems with a short expression as gold: the answer is pulled out of the text and compared with it."""

    prompt_style: PromptStyle
    """karan2025: the paper's words around the problem; model_card: the thinking models' directive after it; plain: the
    problem alone."""
    grader: MathGrader = "math"
    """math: the rules below; reference and venhoff2025: Karan & Du's and Venhoff et al.'s own, with their known
    defects (`grading/compat.py`), for comparison."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of(PromptStyle, "prompt_style", self.prompt_style)
        require_one_of(MathGrader, "grader", self.grader)

    @property
    def grading(self) -> str:
        """The class, its version, and the grader where it is not ours."""
        return super().grading + ("" if self.grader == "math" else f" {self.grader}")

    @property
    def asks_judge(self) -> bool:
        """With grader=venhoff2025."""
        return self.grader == "venhoff2025"

    def notes(self) -> tuple[str, ...]:
        """Who graded, where it was no rule of ours."""
        return (compat.VENHOFF2025_NOTE,) if self.asks_judge else ()

    def prompt(self, problem: Problem) -> str:
        """The problem in the words of `prompt_style`."""
        return PROMPTS[self.prompt_style].format(question=problem.question)

    def stated(self, text: str, complete: bool = True) -> Answer | None:
        """The answer by the rules of `extraction.py`, and the rule; `complete`: whether the text ended by itself."""
        return extract_answer(text, complete)

    @final
    def answer(self, text: str) -> str | None:
        """The answer that the text states, in its own notation."""
        answer = self.stated(text)
        return answer.text if answer else None

    def canonical(self, answer: str) -> str:
        """Exact number or normal form (`normal_form.py`): cheap, so that 2x+2 and 2(x+1) are two votes."""
        return canonical_answer(answer)

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Pull the answer out (`extraction.py`), compare it with the gold (`equality.py`).

        The reason reads "rule, means": which rule found the answer and what compared it. In a completion cut off at
        the cap only a marked answer before its end counts. No answer is `ungradable`: counted as wrong, and shown.
        """
        if self.grader == "reference":
            return compat.grade_by_box(problem, text, chain)
        if self.grader == "venhoff2025":
            return compat.grade_by_last_number(problem, text, chain)
        answer = self.stated(text, complete=finish == "stop")
        if answer is None:
            return Grade(problem.id, chain, "ungradable", None, why_none(text, finish))
        verdict, means = shared_pool().verify(problem.gold, answer.text)
        return Grade(problem.id, chain, verdict, answer.text, f"{answer.rule}, {means}", answer.rule)

    def gold_text(self, problem: Problem) -> str:
        """The gold in a box."""
        return f"\\boxed{{{problem.gold}}}"


_AMOUNT = re.compile(
    r"[A-Za-z =:]{0,50}(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?:[A-Za-z ][A-Za-z ./]{0,50})?", re.ASCII
)


def amount_of(answer: Answer | None) -> Answer | None:
    """Of a number in words ("18 dollars", "x = 18") only the number; any other answer as it is."""
    if answer is None or not states_number(answer.text):
        return answer
    amount = _AMOUNT.fullmatch(normal_form(answer.text))
    return answer._replace(text=amount.group(1)) if amount else answer


def why_none(text: str, finish: Finish) -> str:
    """The reason of a grade without an answer."""
    if not text.strip():
        return "empty text"
    return "no answer" if finish == "stop" else "no answer before the cap"
