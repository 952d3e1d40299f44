"""Chains as the page replays them."""

from reasoning_lab.records import Completion, Move
from reasoning_lab.report import Report
from reasoning_lab.report.views.chains import ACCEPTED, GIVEN_UP, REDRAWN, REJECTED, replay
from reasoning_lab.sampler.trajectory import states_before


def _replayed(chain: dict) -> list[str]:
    """The page's replay, in Python: the text before each move and the last one."""
    text, texts = chain["state"], []
    for _, _, _, at, new, _, kind, appended in chain["moves"]:
        text = appended[0] if isinstance(appended, list) else text + appended
        texts.append(text)
        kept = text.encode("utf-16-le")[: 2 * at].decode("utf-16-le")
        text = kept + new if kind in (ACCEPTED, REDRAWN) else text
    return [*texts, text]


def test_replay_leads_to_the_final_text(report: Report) -> None:
    for completion in report.arm("power").completions:
        chain = replay(completion, report.decode)
        assert chain is not None
        assert _replayed(chain)[-1] == chain["final"] == completion.text
        before = states_before(completion)
        assert before is not None and _replayed(chain)[:-1] == [report.decode(state) for state in before]


def test_replay_by_hand_with_characters_of_two_units() -> None:
    text = {1: "😀", 2: "b", 3: "c", 4: "é", 5: "z"}
    moves = (
        Move(1, 1, 1, (2,), (3,), 0.5, True),
        Move(1, 2, 0, (1, 3), (4,), None, False),
        Move(2, 1, 2, (4,), (4,), 0.0, True),
        Move(2, 2, 2, (4,), (5,), -3.0, False),
    )
    final = Completion("p", 0, "", (1, 3, 4), "stop", -1.0, -1.0, 9, 4, 2, 1, moves)
    chain = replay(final, lambda ids: "".join(text[i] for i in ids))
    assert chain is not None
    assert chain["state"] == "😀b" and chain["final"] == "😀cé"
    assert [move[3] for move in chain["moves"]] == [2, 0, 3, 3]
    assert [move[6] for move in chain["moves"]] == [ACCEPTED, GIVEN_UP, REDRAWN, REJECTED]
    assert [move[7] for move in chain["moves"]] == ["", "", "é", ""]
    assert _replayed(chain) == ["😀b", "😀c", "😀cé", "😀cé", "😀cé"]


def test_a_chain_that_does_not_lead_to_its_text_is_not_shown() -> None:
    moves = (Move(1, 1, 0, (1,), (2,), 0.0, True),)
    assert replay(Completion("p", 0, "", (3,), "stop", -1.0, -1.0, 1, 1, 1, 1, moves), str) is None
    assert replay(Completion("p", 0, "", (3,), "stop", -1.0, -1.0, 1), str) is None
