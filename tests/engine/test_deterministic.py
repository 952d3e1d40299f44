"""Fits run in torch's deterministic forms, and nothing else does."""

import pytest
import torch

from reasoning_lab.engine.deterministic import same_bytes_each_time
from reasoning_lab.engine.token import cumulative


def test_it_holds_within_and_is_put_back_even_after_an_error() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ZeroDivisionError), same_bytes_each_time():
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_was_asked_for_before_is_put_back() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        with same_bytes_each_time():
            pass
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_rows_running_sums_are_the_same_alone_and_in_company() -> None:
    law = torch.rand(3, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = cumulative(law)
    assert all(torch.equal(cumulative(law[row : row + 1])[0], together[row]) for row in range(3))
