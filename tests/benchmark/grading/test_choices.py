"""Reading letters: the table of cases, the order of the rules, and that the article is no answer."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.grading.choices import LETTERS, Choice, chosen
from tests.benchmark.test_contract import GOLDEN

CASES = json.loads((GOLDEN / "grading" / "choices.json").read_text())
OPTIONS = ("mitochondrion", "ribosome", "nucleus", "Golgi apparatus")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:50])
def test_the_table_of_letters_holds(case: dict[str, Any]) -> None:
    found = chosen(case["text"], case["options"], complete=case["finish"] == "stop")
    assert (found.text if found else None) == case["answer"], found


def test_every_case_names_its_source_and_none_is_there_twice() -> None:
    assert all(case["source"] for case in CASES)
    keys = [(case["text"], case["finish"], *case["options"]) for case in CASES]
    assert len(set(keys)) == len(keys) >= 60


def test_rules_are_tried_in_their_order() -> None:
    parts = [
        "A: as said.\nNot (D).",
        "It is (C), or rather option B",
        "ribosome",
        "\n\nC\n",
        "The answer is D.",
        "\\boxed{A}",
    ]
    wanted = [
        Choice("A", "first letter"), Choice("B", "last mention"), Choice("B", "option line"),
        Choice("C", "letter line"), Choice("D", "answer is"), Choice("A", "boxed"),
    ]  # fmt: skip
    assert chosen(parts[0], OPTIONS) == wanted[0]
    assert chosen(parts[1], OPTIONS) == wanted[1]
    assert chosen(f"{parts[1]}\n{parts[2]}", OPTIONS) == wanted[2]
    assert chosen(f"{parts[3]}{parts[2]}", OPTIONS) == wanted[3]
    assert chosen(f"{parts[4]}{parts[3]}{parts[2]}", OPTIONS) == wanted[4]
    assert chosen(f"{parts[5]} {parts[4]}{parts[3]}", OPTIONS) == wanted[5]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Thus D", "D"),
        ("Thus, it is D.", "D"),
        ("So the most likely one is B", None),
        ("It is most likely B", "B"),
        ("The answer is most likely (C).", "C"),
        ("<answer>B</answer>", "B"),
        ("<answer> (C) </answer> as said", "C"),
        ("by elimination, (D)", "D"),
        ("By elimination, D.", "D"),
        ("It isn't A. It's D", "D"),
        ("Not A, not B, so C", "C"),
        ("That leaves D.", "D"),
        ("So it's B, because it makes proteins.", "B"),
        ("Therefore, D is correct.", "D"),
        ("<think>The answer is A. \\boxed{A}</think>Thus B.", "B"),
        ("<think>The answer is A.</think>", None),
        ("The answer would be A.", None),
        ("If the cell were dead, it would be A", None),
        ("If the cell is dead, then A.", None),
        ("If it is alive, the answer is (B).", None),
        ("The answer is (A) if it is alive", None),
        ("It could be (A).", None),
        ("It would be (A), but the membrane is missing, so (C).", "C"),
        ("It is (A) or (D)", "A, D"),
        ("\\boxed{A} or \\boxed{B}", "A, B"),
        ("So A is larger than B.", None),
        ("Therefore, B and C are equal.", None),
        ("So I think that it is fine.", None),
        ("Thus, a cell.", None),
        ("Thus vitamin A.", None),
        ("It's a B-cell", None),
        ("It's not D", None),
    ],
)
def test_conclusions_are_answers_and_conditions_are_not(text: str, answer: str | None) -> None:
    found = chosen(text, ("",) * 4)
    assert (found.text if found else None) == answer, found


def test_a_conclusion_of_a_text_that_was_cut_is_none() -> None:
    assert chosen("Thus D", OPTIONS, complete=False) is None


PROSE = st.lists(
    st.sampled_from(
        [
            "a",
            "A",
            "I",
            "cell",
            "is",
            "the",
            "An",
            "idea",
            "of",
            "balanced",
            "I",
            "think",
            "a",
            "vitamin",
            "so,",
            "then",
        ]
    ),
    max_size=30,
).map(lambda words: " ".join([*words, "here."]))


@given(PROSE)
@settings(deadline=None)
def test_articles_and_pronouns_are_never_letters(prose: str) -> None:
    assert chosen(prose, ("",) * 10) is None


@given(PROSE, st.sampled_from(LETTERS))
@settings(deadline=None)
def test_nothing_said_around_it_changes_a_boxed_letter(prose: str, letter: str) -> None:
    assert chosen(f"{prose}\n\\boxed{{{letter}}} {prose}", ("",) * 10) == Choice(letter, "boxed")
    assert chosen(f"{prose}\nThe answer is ({letter}). {prose}", ("",) * 10) == Choice(letter, "answer is")


@given(st.text(alphabet="ABIJabi ()[].:,\\{}*\nboxedanswer is", max_size=200), st.integers(2, 10), st.booleans())
@settings(deadline=None)
def test_any_text_has_letters_of_the_options_or_none(text: str, n: int, complete: bool) -> None:
    found = chosen(text, tuple(str(index) for index in range(n)), complete)
    assert found is None or set(found.text) <= set(LETTERS[:n]) | set(", ")


@given(st.integers(2, 10), st.data())
@settings(deadline=None)
def test_a_letter_that_no_option_has_is_none(n: int, data: st.DataObject) -> None:
    letter = data.draw(st.sampled_from(LETTERS[n:] + "KXZ"))
    for text in (f"\\boxed{{{letter}}}", f"The answer is ({letter}).", f"{letter}", f"option {letter}"):
        assert chosen(text, ("",) * n) is None
