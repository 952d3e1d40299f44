"""Base and thinking model on two devices: what one has of the other's was brought there, and nothing else changes."""

from typing import Any

import pytest
import torch

from reasoning_lab.engine.scheduler import run
from reasoning_lab.engine.transformers import HuggingFacePolicy
from tests.second_device import SECOND, TwoDevices, to_second
from tests.steering.hybrid.test_policy import CAPACITY, CHOICES, LAWS, asked
from tests.steering.hybrid.test_work import sampler_of
from tests.steering.pairs import Pair, random_pair

RULES = LAWS | CHOICES


def drawn(pair: Pair, rule: Any) -> list[Any]:
    sampler = sampler_of(rule)
    tasks = [(i, sampler.sample(prompt)) for i, prompt in enumerate(asked(pair, [0, 2, 4, 5]))]
    samples = run(pair.hybrid(rule), tasks, 3, CAPACITY)
    return sorted((name, sample.chain.tokens, sample.chain.log_p) for name, sample in samples)


@pytest.mark.parametrize("name", RULES)
def test_a_thinking_model_on_another_device_thinks_the_same(name: str) -> None:
    rule, here = RULES[name], random_pair(torch.float32)
    alone = drawn(here, rule)
    model = random_pair(torch.float32).thinking.model
    with TwoDevices() as seen:
        there = here.with_(thinking=HuggingFacePolicy(to_second(model)))
        assert there.thinking.device == SECOND and there.base.device.type == "cpu"
        assert drawn(there, rule) == alone
    assert seen.copies or not (there.hybrid(rule).parts.reads_thinking_law or rule.resolve().category.scored)
