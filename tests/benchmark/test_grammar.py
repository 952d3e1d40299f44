"""The grammar of the embedded pair: its split, its arithmetic, its sentences and its tokens."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import islice, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reasoning_lab
from reasoning_lab.benchmark.grammar import (
    CATEGORIES,
    HIGHEST,
    LOWEST,
    RULES,
    Grammar,
    Style,
    WordProblem,
    apply,
    categories,
    draw_problem,
    draw_style,
    final_answer,
    grammar_vocabulary,
    heldout_problems,
    n_sentences,
    response,
    sentence_category,
    training_documents,
    training_problems,
)

EMBEDDED = Path(reasoning_lab.__file__).parent / "model_pair" / "embedded"
GRAMMAR = Grammar()


def responses(style: Style | None, n: int, grammar: Grammar = GRAMMAR) -> list[tuple[WordProblem, str]]:
    rng = random.Random(f"responses {style}")
    return [(p, response(rng, grammar, p, style)) for p in islice(training_problems(5), n)]


# --- the split ------------------------------------------------------------------------------------------------


def test_training_never_meets_a_heldout_problem() -> None:
    problems = heldout_problems(500)
    heldout = {problem.key for problem in problems}
    assert all(problem.heldout for problem in problems)
    for problem in islice(training_problems(0), 10_000):
        assert not problem.heldout
        assert problem.key not in heldout


def test_every_problem_of_two_small_operations_is_on_exactly_one_side() -> None:
    operations = [(symbol, operand) for symbol in "+-" for operand in range(2, 10)]
    keys = [(start, ops) for start in range(20, 40) for ops in product(operations, repeat=2)]
    heldout = {key for key in keys if WordProblem(*key, "Lily", "cards", ("finds", "finds")).heldout}
    sampled = {p.key for p in islice(training_problems(1), 10_000) if p.length == 2}
    assert 0.09 < len(heldout) / len(keys) < 0.11
    assert sampled & set(keys)
    assert not sampled & heldout


def test_the_words_do_not_move_a_problem_across_the_split() -> None:
    problem = heldout_problems(1)[0]
    assert WordProblem(problem.start, problem.ops, "Max", "pens", problem.verbs).heldout


def test_heldout_problems_are_distinct_balanced_and_a_prefix_of_a_larger_call() -> None:
    problems = heldout_problems(300)
    assert len({problem.key for problem in problems}) == 300
    assert Counter(problem.length for problem in problems) == dict.fromkeys(range(2, 7), 60)
    assert heldout_problems(100) == problems[:100]
    assert heldout_problems(50, seed=1) != problems[:50]
    assert 0.18 < sum(problem.long_tail for problem in problems) / 300 < 0.32


def test_streams_repeat_with_their_seed() -> None:
    assert list(islice(training_documents(3), 200)) == list(islice(training_documents(3), 200))
    assert list(islice(training_documents(3), 200)) != list(islice(training_documents(4), 200))


# --- problems -------------------------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=10_000))
def test_running_values_have_two_digits_and_halvings_are_even(seed: int) -> None:
    problem = draw_problem(random.Random(seed), GRAMMAR)
    before = (problem.start, *problem.values)
    assert all(LOWEST <= value <= HIGHEST for value in before)
    for value, (symbol, operand) in zip(before, problem.ops, strict=False):
        assert symbol != "/" or value % 2 == 0
        assert apply(value, (symbol, operand)) == eval(f"{value} {symbol.replace('/', '//')} {operand}")
    assert problem.answer == problem.values[-1]


def test_the_text_tells_the_operations_in_order() -> None:
    problem = WordProblem(
        40, (("-", 5), ("*", 2), ("/", 2), ("+", 11)), "Lily", "cards", ("sells", "doubles", "halves", "wins")
    )
    assert problem.text == (
        "Lily has 40 cards. She sells 5. She doubles them. She halves them. She wins 11. How many cards now?\n"
    )
    assert problem.answer == 46
    assert problem.long_tail
    assert WordProblem(40, (("-", 9),), "Tom", "pens", ("sells",)).text.startswith("Tom has 40 pens. He sells 9.")


# --- responses ------------------------------------------------------------------------------------------------


def sentences(text: str, category: str) -> list[str]:
    return [text[start:end].strip() for start, end, found in categories(text) if found == category]


def is_true(step: str) -> bool:
    left, right = re.search(r"(\d+ [-+*/] \d+) = (\d+)", step).groups()
    return eval(left.replace("/", "//")) == int(right)


def test_the_verified_style_is_always_right() -> None:
    for problem, text in responses("V", 500):
        assert final_answer(text) == problem.answer
        assert n_sentences(text, "check") == n_sentences(text, "rule") == n_sentences(text, "compute") == problem.length
        assert sentences(text, "rule") == [RULES[symbol] for symbol, _ in problem.ops]


@pytest.mark.parametrize("style", ["S", "V"])
def test_checks_are_always_true_and_a_slip_before_one_is_withdrawn(style: Style) -> None:
    seen = Counter()
    for _, text in responses(style, 1500):
        spans = [(text[start:end].strip(), category) for start, end, category in categories(text)]
        for (computed, kind), (check, follows), (after, then) in zip(spans, spans[1:], spans[2:], strict=False):
            if follows != "check":
                continue
            assert kind == "compute"
            assert is_true(check)
            assert check.removeprefix("Check: ").split("=")[0] == computed.split("=")[0]
            slipped = computed != check.removeprefix("Check: ")
            assert (then == "backtrack") == slipped
            assert not slipped or after == f"Wait, not {computed.split('= ')[1]}"
            seen[slipped] += 1
    assert 0.09 < seen[True] / seen.total() < 0.17


def test_a_stepwise_response_without_slips_and_stops_is_right() -> None:
    careful = Grammar(slip_stepwise=0.0, slip_checked=0.0, bail_out=0.0)
    assert all(final_answer(text) == problem.answer for problem, text in responses("S", 1000, careful))


def test_stepwise_slips_occur_at_their_rate_and_carry_over() -> None:
    steps = [step for _, text in responses("S", 2000) for step in sentences(text, "compute")]
    assert 0.08 < sum(not is_true(step) for step in steps) / len(steps) < 0.12
    never_ending = Grammar(bail_out=0.0)
    for _, text in responses("S", 1000, never_ending):
        last = [step for kind in ("compute", "check") for step in sentences(text, kind)]
        assert any(step.endswith(f"= {final_answer(text)}.") for step in last)


def test_style_shares_follow_the_grammar() -> None:
    rng = random.Random(0)
    counts = Counter(draw_style(rng, GRAMMAR) for _ in range(20_000))
    assert counts["D"] / 20_000 == pytest.approx(0.36, abs=0.015)
    assert counts["V"] / 20_000 == pytest.approx(0.64 * 0.47, abs=0.015)


def test_direct_answers_are_guesses_in_range() -> None:
    pairs = responses("D", 2000)
    assert all(LOWEST <= final_answer(text) <= HIGHEST for _, text in pairs)
    right = sum(final_answer(text) == problem.answer for problem, text in pairs) / len(pairs)
    assert 0.25 < right < 0.36


# --- reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["D", "S", "V"])
def test_categories_partition_a_response_and_leave_nothing_over(style: Style) -> None:
    for _, text in responses(style, 500):
        spans = categories(text)
        assert [start for start, _, _ in spans] == [0, *(end for _, end, _ in spans[:-1])]
        assert spans[-1][1] == len(text)
        assert "other" not in {category for _, _, category in spans}


@given(st.lists(st.sampled_from(sorted(grammar_vocabulary())), max_size=40).map("".join))
def test_categories_partition_any_text(text: str) -> None:
    spans = categories(text)
    assert "".join(text[start:end] for start, end, _ in spans) == text
    assert {category for _, _, category in spans} <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("sentence", "category"),
    [
        ("Let us go step by step.", "plan"),
        (" Lily starts with 40.", "setup"),
        (" We subtract.", "rule"),
        (" 40 - 5 = 36.", "compute"),
        (" Check: 40 - 5 = 35.", "check"),
        (" Wait, not 36.", "backtrack"),
        ("The answer is 35.", "conclude"),
        (" The answer is.", "other"),
        (" 40 - 5 = 35", "other"),
        ("\nThe answer is 35.", "other"),
    ],
)
def test_sentence_categories(sentence: str, category: str) -> None:
    assert sentence_category(sentence) == category


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 26.", 26),
        ("The answer is 12. The answer is 26.", 26),
        ("The answer is 26. We add.", None),
        ("The answer is 26", None),
        ("", None),
    ],
)
def test_the_final_answer_is_in_the_last_sentence(text: str, answer: int | None) -> None:
    assert final_answer(text) == answer


# --- tokens ---------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_fixed() -> None:
    ids = grammar_vocabulary()
    assert len(ids) == 91
    assert (ids["<pad>"], ids["<eos>"], ids["<unk>"], ids["\n"], ids["Tom"]) == (0, 1, 2, 3, 90)
    assert list(ids)[3:] == sorted(list(ids)[3:])


@pytest.mark.parametrize("model", ["base", "grpo", "thinking"])
def test_decoding_inverts_encoding_for_the_shipped_tokenizers(model: str) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED / model)
    assert tokenizer.get_vocab() == grammar_vocabulary()
    for document in islice(training_documents(11), 1000):
        ids = tokenizer(document)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == document


def test_a_sentence_begins_on_a_token_boundary() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED / "base")
    for _, text in responses("V", 100):
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        starts = {start for start, _ in offsets}
        assert all(start in starts for start, _, _ in categories(text))
