"""Completions token by token, as the page's script reads them: packed, and within a budget of bytes.

A packed answer has `t` (tokens as places in a list of texts), `c` (categories as [category, run length, ...]), `s`
(places of the steered tokens) with `k` (their coefficients), `b` and `h` (place and text of the base's and the thinking
model's choice, where it is not the token), `d` (places at which the two differ), `a` (the answer read off), and `cut`
(tokens that were left out).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from reasoning_lab.records import Annotation, Completion
from reasoning_lab.report.data import HybridReport
from reasoning_lab.report.views.embedded import JsonObject, embedded_bytes, first_answers, problem_facts, shortened
from reasoning_lab.report.words import finite, visible

LONGEST_TOKENS = 3_000
"""Tokens of an answer that the page shows."""
MODELS_BYTES = 2_000_000
ARMS_BYTES = 2_200_000
"""Budgets: first of base, hybrid and thinking, then of all other arms; with the rest the page stays below 5 MB."""


@dataclass
class Texts:
    """Distinct texts as the page shows them, in the order of their first use."""

    places: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    """Raw text -> place, for making texts visible costs more than all the rest."""
    size: int = 0
    """Bytes that they take in the page."""

    def place(self, text: str) -> int:
        """Where the text, made visible, stands in the list."""
        if text not in self.known:
            shown = visible(text)
            if shown not in self.places:
                self.places[shown] = len(self.places)
                self.size += embedded_bytes(shown) + 1
            self.known[text] = self.places[shown]
        return self.known[text]


@dataclass(frozen=True)
class Seen:
    """A completion with the texts of its tokens; without annotation where none fits."""

    completion: Completion
    tokens: tuple[str, ...]
    annotation: Annotation | None


def seen_answers(given: HybridReport, name: str) -> dict[str, Seen]:
    """Problem id -> the arm's first answer, token by token.

    Where tokens do not join to the completion's text or the annotation has another length, the text is shown whole and
    unmarked: marks in wrong places would be worse than none.
    """
    arm, first = given.report.arm(name), first_answers(given.report.arm(name))
    notes = {(note.problem, note.chain): note for note in given.annotations.get(name, [])}
    texts = dict(zip(((c.problem, c.chain) for c in arm.completions), given.token_texts.get(name, []), strict=False))
    return {
        problem: _seen(completion, texts.get((problem, completion.chain)), notes.get((problem, completion.chain)))
        for problem, (completion, _) in first.items()
    }


def _seen(completion: Completion, tokens: tuple[str, ...] | None, note: Annotation | None) -> Seen:
    if tokens is None or "".join(tokens) != completion.text:
        return Seen(completion, (completion.text,), None)
    fits = note is not None and len(note.categories) == len(tokens) == len(completion.ids)
    return Seen(completion, tokens, note if fits else None)


def unmarked(given: HybridReport) -> list[str]:
    """Which arms' first answers stand on the page without marks, a line each."""
    lines = []
    for arm in given.report.arms:
        plain = sum(seen.annotation is None for seen in seen_answers(given, arm.name).values())
        if plain:
            lines.append(f"{arm.label}: {plain} answers have no annotation that fits their tokens; shown unmarked.")
    return lines


def packed(seen: Seen, choices: dict[int, str], texts: Texts, answer: str) -> JsonObject:
    """The answer as the script reads it (see the module)."""
    tokens = seen.tokens[:LONGEST_TOKENS]
    places = [texts.place(token if seen.annotation else shortened(token)) for token in tokens]
    cut = len(seen.tokens) - len(tokens)
    marks = _marks(seen.annotation, seen.completion.ids, len(tokens), choices, texts) if seen.annotation else {}
    return {"t": places, "a": visible(answer)} | ({"cut": cut} if cut else {}) | marks


def _marks(note: Annotation, ids: tuple[int, ...], n: int, choices: dict[int, str], texts: Texts) -> JsonObject:
    """What the annotation says of the first n tokens."""

    def other(chosen: tuple[int, ...]) -> list[int]:
        return [x for i in range(n) if chosen[i] != ids[i]
                for x in (i, texts.place(choices.get(chosen[i], f"#{chosen[i]}")))]  # fmt: skip

    steered = [i for i in range(n) if note.steered[i]]
    return {
        "c": [x for category, run in groupby(note.categories[:n]) for x in (category, len(list(run)))],
        "s": steered,
        "k": [finite(float(f"{note.coefficients[i]:.3g}")) for i in steered],
        "d": [i for i in range(n) if note.base_choices[i] != note.thinking_choices[i]],
        "b": other(note.base_choices),
        "h": other(note.thinking_choices),
    }


def reading_data(given: HybridReport, ids: list[str]) -> JsonObject:
    """`texts`, `problems` (as many as the first budget allows, base, hybrid and thinking of each) and, in them, the
    other arms' answers for as many problems as the second budget allows. None is picked by hand: problems come in the
    order of their ids."""
    texts, models = Texts(), given.report.leading
    problems = _problems(given, ids, models, texts)
    others = [arm.name for arm in given.report.arms if arm.name not in models]
    _add_arms(given, ids, others, texts, problems)
    return {"texts": list(texts.places), "problems": problems}


def _answers(
    given: HybridReport, names: list[str], ids: list[str], texts: Texts
) -> Iterator[tuple[dict[str, JsonObject], int]]:
    """Arm -> packed answer for each problem, with the bytes that all up to this one need; made one by one, for texts
    of problems that no longer fit must not be embedded."""
    graded = {name: first_answers(given.report.arm(name)) for name in names}
    seen = {name: seen_answers(given, name) for name in names}
    used, start = 0, texts.size
    for i in ids:
        answers = {name: packed(seen[name][i], given.choice_texts, texts, graded[name][i][1].answer or "")
                   for name in names}  # fmt: skip
        used += embedded_bytes(answers)
        yield answers, used + texts.size - start


def _problems(given: HybridReport, ids: list[str], models: list[str], texts: Texts) -> list[JsonObject]:
    problems, about = [], 0
    for i, (answers, used) in zip(ids, _answers(given, models, ids, texts), strict=True):
        facts = problem_facts(given.report.problems[i])
        about += embedded_bytes(facts)
        if problems and used + about > MODELS_BYTES:
            break
        problems.append(facts | {"answers": answers})
    return problems


def _add_arms(given: HybridReport, ids: list[str], others: list[str], texts: Texts, problems: list[JsonObject]) -> None:
    for problem, (answers, used) in zip(problems, _answers(given, others, ids[: len(problems)], texts), strict=True):
        if used > ARMS_BYTES:
            break
        problem["answers"] |= answers
