"""The path of a local judge, walked with the embedded base model; it can't judge, and nothing here says that it can."""

from pathlib import Path

import pytest

from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.judge.base import Category, ChatRequest, TitleRequest
from reasoning_lab.judge.local import Local, LocalChat
from reasoning_lab.model_pair.loaded import LoadedModel, load_model
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.sampler.ancestral import Greedy
from reasoning_lab.sampler.base import Prompt

SOURCE = ModelSource("package:embedded/base")
QUESTIONS = [
    "Lily has 40 cards. She sells 5. How many cards now?\n",
    "Tom has 12 pens. He doubles them. How many pens now?\n",
    "Mia has 61 coins. She finds 7. She drops 9. How many coins now?\n",
]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(SOURCE, "float32", "cpu")


def test_replies_are_the_models_greedy_continuations(model: LoadedModel) -> None:
    chat = LocalChat(model, "base", rows=2, max_prompt_tokens=64, max_tokens=40)
    replies = chat.ask([ChatRequest(question) for question in [*QUESTIONS, QUESTIONS[0]]])
    greedy = Greedy(40)
    for question, reply in zip(QUESTIONS, replies, strict=False):
        prompt = Prompt(model.encode(question), model.stop_ids, Key(7, "other"))
        ((_, sample),) = run(model.policy, [("x", greedy.sample(prompt))], 2, 104)
        assert reply.text == model.decode(sample.chain.tokens)
        assert (reply.prompt_tokens, reply.completion_tokens) == (len(prompt.ids), len(sample.chain))
        assert reply.cut == (sample.chain.finish == "cap")
    assert replies[3] == replies[0]
    assert (chat.usage.asked, chat.usage.sent, chat.usage.failed) == (3, 3, 0)


def test_a_question_too_long_is_a_counted_failure(model: LoadedModel) -> None:
    chat = LocalChat(model, "base", rows=1, max_prompt_tokens=19, max_tokens=5)
    long, short = chat.ask([ChatRequest(QUESTIONS[2]), ChatRequest(QUESTIONS[0][:20])])
    assert long.text is None and "longer than judge.max_prompt_tokens=19" in long.failure
    assert short.text is not None and short.cut
    assert (chat.usage.failed, chat.usage.cut) == (1, 1)


def test_the_whole_judge_runs_and_what_can_not_be_read_is_none() -> None:
    judge = Local(SOURCE, "float32", rows=2, max_prompt_tokens=480, max_tokens=8).open(Path("unused"), "cpu")
    category = Category(0, "Checking", "It checks.", ("Check: 1 + 1 = 2.",))
    assert judge.name == "package:embedded/base (run here)"
    assert judge.titles([TitleRequest(0, ("We add.",), (), 0)]) == [None]  # The question is too long for it.
    assert judge.belongs([(category, ["We add.", "Wait."])], [category]) == [[None, None]]
    assert judge.fits([(category, "We add.")], [category]) == [None]
    assert judge.usage().failed == 1 and judge.usage().asked == 3
    estimate = judge.dry()
    estimate.fits([(category, "We add.")], [category])
    assert estimate.usage().prompt_tokens > 50 and judge.usage().asked == 3


def test_bad_fields_are_named() -> None:
    with pytest.raises(ValueError, match="dtype=int8: must be one of float32"):
        Local(SOURCE, "int8", 1, 10, 10)
    assert Local(SOURCE, "float32", 1, 10, 10).limited(7) == Local(SOURCE, "float32", 1, 10, 7)
    with pytest.raises(ValueError, match="rows=0: must be a whole number of at least 1"):
        Local(SOURCE, "float32", 0, 10, 10)
    with pytest.raises(ValueError, match=r"^judge\.max_prompt_tokens=500: must be at most 412, the model's 512"):
        Local(SOURCE, "float32", 1, 500, 100).check()
    with pytest.raises(ValueError, match=r"^judge\.model\.prompt_format=chat: .* has no chat template; set it to raw"):
        Local(ModelSource(SOURCE.path, prompt_format="chat"), "float32", 1, 10, 10).check()


def test_what_determines_an_answer_is_the_identity() -> None:
    one = Local(SOURCE, "float32", 1, 10, 10)
    assert one.identity() == Local(SOURCE, "float32", 8, 10, 10).identity()
    assert one.identity() != Local(SOURCE, "float64", 1, 10, 10).identity()
    assert one.identity() != Local(ModelSource("package:embedded/thinking"), "float32", 1, 10, 10).identity()
