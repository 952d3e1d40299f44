"""Answers token by token, packed for the page."""

from reasoning_lab.report import HybridReport
from reasoning_lab.report.views.tokens import reading_data, seen_answers


def unpacked(data: dict, answer: dict) -> tuple[str, list[int]]:
    runs = answer["c"]
    return "".join(data["texts"][t] for t in answer["t"]), [
        c for c, n in zip(runs[::2], runs[1::2], strict=True) for _ in range(n)
    ]


def test_packed_tokens_join_to_the_text_and_keep_the_annotation(given: HybridReport) -> None:
    data = reading_data(given, given.report.problem_ids)
    assert [p["id"] for p in data["problems"]] == [f"p{i}" for i in range(40)], "natural order"
    for name in ("base", "hybrid", "random_vectors"):
        seen = seen_answers(given, name)
        for problem in data["problems"]:
            answer, (completion, note) = (
                problem["answers"][name],
                (seen[problem["id"]].completion, seen[problem["id"]].annotation),
            )
            text, categories = unpacked(data, answer)
            assert text == completion.text and completion.chain == 0
            assert note is not None and tuple(categories) == note.categories
            assert answer["s"] == [i for i, s in enumerate(note.steered) if s]
            assert answer["k"] == [c for c, s in zip(note.coefficients, note.steered, strict=True) if s]
            wanted = dict(zip(answer["b"][::2], answer["b"][1::2], strict=True))
            for i, chosen in enumerate(note.base_choices):
                assert (i in wanted) == (chosen != completion.ids[i])
                assert i not in wanted or data["texts"][wanted[i]] == given.choice_texts[chosen]
