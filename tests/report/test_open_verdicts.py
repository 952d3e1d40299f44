"""What a report says of verdicts that bounds on log Z left open."""

from reasoning_lab.records import Completion
from reasoning_lab.report.collect.answers import open_verdict_words


def answer(n: int, rescored: int, undecided: int) -> Completion:
    return Completion(
        "p", 0, "", (1,), "stop", -1.0, -1.0, 1, n_proposals=n, n_rescored=rescored, n_undecided=undecided
    )  # fmt: skip


def test_nothing_is_said_where_nothing_was_open() -> None:
    assert open_verdict_words("power", [answer(100, 0, 0)]) == ""


def test_the_sentence_counts_over_all_answers() -> None:
    assert open_verdict_words("power", [answer(1000, 3, 0), answer(500, 1, 2)]) == (
        "Arm power: of 1,500 proposals the bounds on log Z left 6 open; 4 were settled by more logprobs, 2 stayed open "
        "and were decided by the middle of the interval."
    )
