"""A step that a graph can hold: nothing in it asks the device for a number."""

import pytest
import torch

from reasoning_lab.engine.transformers import HuggingFacePolicy
from tests.engine.test_scheduler import model


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_step_runs_where_no_number_can_be_read(kind: str, rows: int) -> None:
    """The meta device has shapes and no values: what asks for one is an error there, as it is within a capture."""
    policy = HuggingFacePolicy(model(torch.float32, kind).model.to("meta"))
    with torch.inference_mode(), torch.device("meta"):
        session = policy.open(rows, 64)
        assert session._read_given().shape == (rows, 40)  # pyright: ignore
    with pytest.raises(RuntimeError):  # As it would be.
        session._given.max().item()  # pyright: ignore


def test_a_row_is_what_it_is_beside_longer_rows_in_every_dtype() -> None:
    """The part of the cache that is read grows with the longest row."""
    for dtype in (torch.float32, torch.bfloat16):
        policy = HuggingFacePolicy(model(dtype).model)
        found = []
        for others in (0, 200):
            session = policy.open(4, 240)
            session.prefill(0, [5, 6, 7])
            for row in (1, 2, 3):
                session.prefill(row, [3] * others)
            found.append([session.step([9, 2, 2, 2], [3 + n, *[others] * 3])[0].clone() for n in range(3)])
        for short, long in zip(*found, strict=True):
            assert torch.equal(short, long)
