"""A cap holds at every moment, whatever is reserved and settled by whom."""

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.judge.client.budget import Budget

tries = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)).map(lambda p: (max(p), min(p))), max_size=30)


@settings(deadline=None)
@given(tries, st.integers(0, 300), st.integers(1, 8))
def test_spent_and_reserved_never_pass_the_cap(costs: list[tuple[int, int]], cap: int, threads: int) -> None:
    budget, lock, out, worst = Budget(float(cap)), threading.Lock(), [0], [0]
    done: list[int] = []

    def spend(most: int, cost: int) -> None:
        if not budget.reserve(float(most)):
            return
        with lock:
            out[0] += most
            worst[0] = max(worst[0], out[0] + sum(done))
        with lock:
            out[0] -= most
            done.append(cost)
        budget.settle(float(most), float(cost))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda pair: spend(*pair), costs))
    assert worst[0] <= cap
    assert budget.spent == sum(done) <= cap


@settings(deadline=None)
@given(tries, st.integers(0, 300))
def test_alone_it_takes_all_that_fits(costs: list[tuple[int, int]], cap: int) -> None:
    budget, spent = Budget(float(cap)), 0
    for most, cost in costs:
        fits = spent + most <= cap
        assert budget.reserve(float(most)) == fits
        if fits:
            budget.settle(float(most), float(cost))
            spent += cost
    assert budget.spent == spent
