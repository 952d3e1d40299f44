"""Reading replies: the forms that were asked for are read, everything else is None, nothing raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.judge.base import Title
from reasoning_lab.judge.replies import answer_part, parse_belongs, parse_rating, parse_title

verdicts = st.lists(st.booleans(), min_size=1, max_size=60)
chatter = st.text(st.characters(exclude_characters="{}[]0123456789", exclude_categories=["Cs"]), max_size=40)


def entry(number: object, belongs: object) -> dict[str, object]:
    return {"sentence_id": number, "explanation": 'says "so" {here}', "belongs_to_category": belongs}


def reply(*entries: object) -> str:
    return json.dumps({"classifications": list(entries)})


# -- membership --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(verdicts, chatter, chatter, st.randoms())
def test_a_full_answer_is_read_in_any_order_and_within_any_words(
    given_: list[bool], before: str, after: str, rng
) -> None:
    entries = [entry(number, belongs) for number, belongs in enumerate(given_, 1)]
    rng.shuffle(entries)
    text = f"{before}\n```json\n{json.dumps({'classifications': entries}, indent=rng.choice([None, 2]))}\n```{after}"
    assert parse_belongs(text, len(given_)) == given_


@settings(deadline=None)
@given(st.text(), st.integers(0, 60))
def test_no_text_raises_and_each_sentence_has_one_answer(text: str, n: int) -> None:
    found = parse_belongs(text, n)
    assert len(found) == n
    assert "classifications" in text or found == [None] * n


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
fields = st.fixed_dictionaries({"sentence_id": json_values, "belongs_to_category": json_values})


@settings(deadline=None)
@given(st.lists(fields | json_values, max_size=6), st.integers(1, 6))
def test_only_a_plain_yes_or_no_counts(entries: list[object], n: int) -> None:
    words = {True: {"true", "yes"}, False: {"false", "no"}}
    for number, found in enumerate(parse_belongs(json.dumps({"classifications": entries}), n), 1):
        if found is not None:
            said = [
                e["belongs_to_category"] for e in entries if isinstance(e, dict) and _is(e.get("sentence_id"), number)
            ]
            assert said and all(s is found or str(s).strip().lower() in words[found] for s in said)


def _is(value: object, number: int) -> bool:
    return not isinstance(value, bool) and str(value).strip().lstrip("0") == str(number)


@settings(deadline=None)
@given(verdicts, st.data())
def test_a_torn_answer_has_no_answers(given_: list[bool], data: st.DataObject) -> None:
    text = reply(*(entry(number, belongs) for number, belongs in enumerate(given_, 1)))
    cut = data.draw(st.integers(0, len(text) - 1))
    assert parse_belongs(text[:cut], len(given_)) == [None] * len(given_)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (reply(entry(1, True), entry(2, False)), [True, False]),
        (reply(entry("1", "Yes"), entry("2", "no ")), [True, False]),
        (reply(entry(1, "maybe"), entry(2, None)), [None, None]),
        (reply(entry(1, 1), entry(2, 0)), [None, None]),
        (reply(entry(2, True)), [None, True]),
        (reply(entry(1, True), entry(1, True), entry(2, True), entry(2, False)), [True, None]),
        (reply(entry(1, True), entry(1, "maybe")), [None, None]),
        (reply(entry(True, True), entry(2.0, True), entry(0, True), entry(3, True)), [None, None]),
        ("yes, yes", [None, None]),
        ("The answer contains the word yes: {}", [None, None]),
        (json.dumps([entry(1, True)]), [None, None]),
        ('{"classifications": "none"}', [None, None]),
        ("<think>" + reply(entry(1, True), entry(2, True)) + "</think>" + reply(entry(1, False)), [False, None]),
        ("{" * 10_000, [None, None]),
        ('{"a":' * 10_000, [None, None]),
        ("[" * 100_000, [None, None]),
    ],
)
def test_what_is_read_of_an_answer_on_two_sentences(text: str, expected: list[bool | None]) -> None:
    assert parse_belongs(text, 2) == expected


# -- ratings -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 10), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_last_rating_line_is_read(rating: int, before: str) -> None:
    assert parse_rating(f"{before}\nRating: {rating}") == rating
    assert parse_rating(f"{before}\n**Rating:** {rating}/10\n") == rating


@settings(deadline=None)
@given(st.text())
def test_a_text_without_a_rating_line_is_no_rating(text: str) -> None:
    found = parse_rating(text)
    if "rating" not in text.lower() and not any(c.isdigit() for c in answer_part(text)):
        assert found is None
    assert found is None or 0 <= found <= 10


@settings(deadline=None)
@given(st.integers() | st.floats())
def test_numbers_out_of_range_are_no_rating(number: float) -> None:
    expected = number if isinstance(number, int) and 0 <= number <= 10 else None
    assert parse_rating(f"Rating: {number}") == expected
    assert parse_rating(str(number)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7), (" 10 ", 10), ("7/10", 7), ("8.", 8), ("Rating: 0", 0), ("rating : 3", 3), ("**Rating: 9**", 9),
        ("Rating: 2\nNo, rather\nRating: 5", 5), ("Rating: 5\nRating: unclear", None), ("Rating: 7.5", None),
        ("Rating: -3", None), ("Rating: 11", None), ("Rating: 8 or 9", None), ("Rating: seven", None),
        ("Rating:", None),
        ("", None), ("I would say 7", None), ("7 of 10 sentences fit", None), ("٣", None), ("Rating: ٣", None),
        ("<think>Rating: 9</think>I refuse.", None), ("<think>9</think>4", 4),
    ],
)  # fmt: skip
def test_what_is_read_of_a_rating(text: str, expected: int | None) -> None:
    assert parse_rating(text) == expected


# -- titles ------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(whitelist_categories=["Lu", "Ll", "Zs"]), min_size=1).filter(
    lambda text: text.strip() and not {"title", "description"} & set(text.lower().split())
)


@settings(deadline=None)
@given(words, st.lists(words, min_size=1, max_size=5))
def test_every_line_of_a_description_is_kept(title: str, lines: list[str]) -> None:
    description = "\n".join(lines)
    for text in (
        f"Title: {title}\nDescription: {description}",
        f"**Title:** {title}\n\n**Description:**\n{description}\n",
    ):
        assert parse_title(text) == Title(title.strip(), description.strip())


@settings(deadline=None)
@given(st.text())
def test_no_title_is_made_up(text: str) -> None:
    found = parse_title(text)
    if found is not None:
        assert "title" in text.lower() and "description" in text.lower()
        assert found.title in text and found.description in text
        assert found.title.strip() and found.description.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title: Checking\nDescription: It checks.", Title("Checking", "It checks.")),
        (
            "# Title: Checking\n\n## Description: It\n\nchecks.\n- not this",
            Title("Checking", "It\n\nchecks.\n- not this"),
        ),
        ('title: "Checking"\ndescription: It checks.', Title("Checking", "It checks.")),
        ("Here you are.\nTitle: Checking\nDescription: It checks.", Title("Checking", "It checks.")),
        ("<think>Title: A\nDescription: b</think>\nTitle: C\nDescription: d", Title("C", "d")),
        ("Title: A\nDescription: b\nTitle: C\nDescription: d", None),
        ("Title: Checking", None),
        ("Title:\nDescription: It checks.", None),
        ("Title: Checking\nDescription:  \n", None),
        ("Description: It checks.\nTitle: Checking", None),
        ("Checking: it checks", None),
        ("", None),
    ],
)
def test_what_is_read_of_a_title(text: str, expected: Title | None) -> None:
    assert parse_title(text) == expected
