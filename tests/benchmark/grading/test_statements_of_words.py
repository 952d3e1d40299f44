"""Answers told by calculations and words: which number a sentence states, and what the words make of it."""

import pytest

from reasoning_lab.benchmark.grading.choices import chosen
from reasoning_lab.benchmark.grading.equality import shared_pool
from reasoning_lab.benchmark.grading.extraction import extract_answer


def accepts(gold: str, text: str) -> bool:
    answer = extract_answer(text)
    return answer is not None and shared_pool().verify(gold, answer.text).verdict == "correct"


@pytest.mark.parametrize(
    ("gold", "other", "text"),
    [
        ("13", "30", "Altogether she ran 6+7=13 laps in the 30 minutes"),
        ("11", "6", "He will be 5 + 6 = 11 years old 6 years from now."),
        ("8", "20", "She can buy 8 pens with $20."),
        ("12", "100", "Multiply by 100 to write it as a percentage: 6 pages / 50 pages * 100% = 12%"),
        ("3", "36", "There are 36 of them so that's 36/12 = 3 dozen eggs"),
        ("84", "12", "They sold 12x7=84 tickets."),
        ("1400", "700", "For two months they need 700x2= 1400."),
        ("7", "2", "So (3 x 2) + 1 = 7 tiles are laid."),
        ("6500", "406500", "It costs $406 500 - $400 000 = $6500 more than that."),
        ("4", "12", "Each gets 12g / 3 = 4g"),
        ("16", "20", "It takes $320 / $20/day = 16 days"),
        ("6", "9", "That leaves €9 - €3 = €6"),
        ("5", "8", "She had 3+5=8 apples, ate 3 and has 5."),
        ("3", "2.5", "It takes 50/20 = 2.5, so 3 buses."),
        ("40", "15", "He needs to save 55 - 15 = 40 dollars to make 55."),
        ("24", "8", "They sell 8 * 3 = $<<8*3=24>>24 worth of eggs in 8 days."),
        ("10.5", "10", "It costs 10 dollars and 50 cents."),
    ],
)
def test_a_result_outranks_the_circumstances(gold: str, other: str, text: str) -> None:
    assert accepts(gold, text)
    assert not accepts(other, text)


@pytest.mark.parametrize("text", ["so 2x = 14.", "so 7m = 14", "It is 8+6=14 or 15."])
def test_an_equation_or_a_choice_is_no_result(text: str) -> None:
    assert not accepts("14", text)


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        (r"\sqrt{7}", r"\boxed{\sqrt{7} \approx 2.646}"),
        (r"\frac{1}{6}", r"\boxed{\frac16 = 0.1666\ldots}"),
        (r"\frac{1}{6}", "The answer is 1/6 (about 0.17)."),
        (r"\frac{1}{6}", "The answer is 1/6, or about 16.7%."),
        ("0.7", "The answer is $.7$."),
        ("0.7", r"The answer is \[ .7 \]"),
        ("60", r"\boxed{{60^\circ}}"),
        ("30", r"\boxed{\frac{60^\circ}{2}}"),
        ("43_7", r"\boxed{N = 43_7}"),
        ("43_7", r"\boxed{43₇}"),
        ("3^{-12}", r"\boxed{3⁻¹²}"),
        (r"\sqrt[3]{7}", "The answer is ∛7."),
        (r"\sqrt[3]{7}", "The answer is the cube root of 7."),
        (r"\frac{3}{7}", "The answer is 3 over 7."),
        ("21", "The answer is 3 times 7."),
        (r"\binom{9}{4}", "The answer is 9 choose 4."),
        ("9:4", "The ratio is 9 : 4"),
        (r"\ln 6", "The integral is ln 6."),
        ("6", "The answer is |−6|."),
        ("6", "The answer is 6!"),
        (r"(-\infty,-2)\cup(2,\infty)", "The solution is (−∞, −2) ∪ (2, ∞)."),
        ("6", "So it is 6<|im_end|>"),
        ("6", "-> 6"),
    ],
)
def test_what_is_stated_is_read(gold: str, text: str) -> None:
    assert accepts(gold, text)


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{\sqrt{5} \approx 7}", r"\boxed{7₈}", r"\boxed{7⁻⁵}", "The answer is 7¹⁰.", "The answer is ∛7.",
        "The answer is the reciprocal of 7.", "The answer is the square of 7.", "The answer is 3 over 7.",
        "The answer is 2 to the power of 7.", "The answer is 9 choose 7.", "The answer is 2 plus 7.",
        "It takes 3 hours 7 minutes.", "It is 7 degrees below zero.", "So it is ≥ 7.", "The answer is 7 tens.",
        "The answer is different from 7.", "The answer is 3, or maybe 7.", "Is it 7?", r"\boxed{7\text{k}}",
        "The answer is 7!.", "The ratio is 2 : 7", "It is cos 7°.", "7 is not the answer", "The answer is $.7$.",
        r"\boxed{}", "It is 7/1 of a percent.",
    ],
)  # fmt: skip
def test_a_number_out_of_an_expression_is_no_answer(text: str) -> None:
    assert not accepts("7", text)


@pytest.mark.parametrize("said", ["(B), (D)", "(B) or (D)", r"(B) \text{ or } (D)", "(B)/(D)", "(B), or maybe (D)"])
def test_several_letters_are_no_letter(said: str) -> None:
    assert shared_pool().verify(r"\text{(B)}", said).verdict == "wrong"
    assert shared_pool().verify(r"\text{(B)}", "(B) 12").verdict == "correct"


@pytest.mark.parametrize("text", ["The answer is 1", "#### 1", "The answer is 3 +", "The answer is 3 + 4"])
def test_where_a_text_broke_off_no_number_is_read(text: str) -> None:
    assert extract_answer(text, complete=False) is None
    assert extract_answer(text) is not None


def test_a_cut_off_text_keeps_what_was_stated_before() -> None:
    found = [extract_answer(text, complete=False) for text in ("The answer is 7 apples", "The answer is 7. So 1")]
    assert [answer and answer.text for answer in found] == ["7", "7"]


def test_drawings_are_left_out_and_open_ones_are_not() -> None:
    texts = (
        "So it is 7. [asy] draw(8); [/asy] [asy] dot(9); [/asy]",
        "So it is 7. ```print(8)```",
        "So [asy] it is 7.",
    )
    assert [answer and answer.text for answer in map(extract_answer, texts)] == ["7", "7", "7"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Don't pick C.", None), ("You should not choose C.", None), ("The incorrect answer is C.", None),
        ("The least likely answer is C.", None), ("(C) is not the right answer.", None),
        ("The answer is C. Wait, no: it's D.", "D"), ("Let's look at option C.", None),
        ("So A, B, D are out. C remains.", "C"), ("So A, B, D are out.", None), ("C is correct.", "C"),
        ("Although B looks tempting, C is right.", "C"), ("B is correct. C is correct.", None),
        ("B and C is correct.", None), ("C is incorrect.", None), ("Ans: C", "C"), ("My choice: C", "C"),
        ("Conclusion: C", "C"), ("Answer - C", "C"), ("Answer: C (25 °C)", "C"), ("In conclusion, C.", "C"),
        ("By process of elimination, C.", "C"), ("The only remaining option is C.", "C"),
        ("The right answer is C rather than D.", "C"), ("The answer is not A but C.", "C"), ('"C"', "C"), ("[C]", "C"),
        ("C</s>", "C"), ("C<|endoftext|>", "C"), ("I would go with option A.", "A"), ("C, because D fails.", "C"),
    ],
)  # fmt: skip
def test_a_letter_is_chosen_by_what_is_said_of_it(text: str, letter: str | None) -> None:
    choice = chosen(text, ("one", "two", "three", "four"))
    assert (choice.text if choice else None) == letter
