"""What the bench says of what it measured."""

import json

import pytest
import torch
from rich.console import Console

from reasoning_lab.bench.floor import copy_bandwidth, step_floor
from reasoning_lab.bench.measure import Bench, Measured, Round, Saving, measure
from reasoning_lab.bench.table import bench_json, bench_metrics, savings_table, speed_table
from reasoning_lab.model_pair.loaded import load_model, load_plain
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.size import Footprint, load_footprint
from reasoning_lab.sampler.power import Power

SOURCE = ModelSource("package:embedded/base")


def way(rows: int, drawn: int, seconds: float, finished: int = 4, steps: int = 10) -> Measured:
    return Measured("way", rows, 4, finished, drawn, 40, seconds, steps)


def given(*seconds: float) -> Bench:
    rounds = tuple(Round(way(1, 100, each), way(8, 60, 1.0), way(1, 10, 1.0)) for each in seconds)
    savings = (
        Saving("from_cut", False, False, way(8, 90, 1.0)),
        Saving("from_difference", True, True, way(8, 30, 1.0)),
    )
    return Bench(rounds, savings, 1e9, {1: 0.01, 8: 0.02}, 50.0)


def test_ratios_are_of_seconds_per_decode_token_round_by_round() -> None:
    bench = given(50.0, 100.0, 200.0)
    assert bench.ratios(lambda round: round.many) == pytest.approx((60.0, 30.0, 120.0))
    assert bench.ratios(lambda round: round.one) == pytest.approx((10.0, 5.0, 20.0))
    assert bench.share_of_floor(lambda round: round.many) == pytest.approx(0.02 / 0.1)
    assert bench_metrics(bench)["saved"] == 3.0


def test_an_occupancy_without_its_thin_end_is_not_told() -> None:
    assert way(8, 60, 1.0).occupancy == 60 / 80
    assert way(8, 60, 1.0, finished=3).occupancy is None


def test_savings_are_not_compared_where_the_time_ended_first() -> None:
    bench = given(1.0)
    cut = Bench(bench.rounds, (bench.savings[0], Saving("from_cut", True, False, way(8, 9, 1.0, finished=2))),
                1e9, bench.floors, 50.0)  # fmt: skip
    assert "saved" not in bench_metrics(cut)
    console = Console(width=200, record=True)
    console.print(savings_table(cut))
    assert "time over" in console.export_text() and "10.00 ×" not in console.export_text()


def test_the_floor_is_weights_once_and_every_rows_context() -> None:
    assert (
        step_floor(Footprint(1000, 10, layers=1, width=1, heads=1, inner=1, vocab=1), "bfloat16", 4, 25.0, 1e3)
        == 2 * (1000 + 10 * 100) / 1e3
    )
    assert copy_bandwidth(torch.device("cpu")) > 1e7


def test_a_bench_of_the_embedded_base_is_complete_and_kept() -> None:
    model, plain = load_model(SOURCE, "float32", "cpu"), load_plain(SOURCE, "float32", "cpu")
    prompts = [model.encode(f"Lily has {n} cards. She sells 1. How many cards now?\n") for n in (12, 30)]
    found = measure(
        model, plain, Power(48, 4.0, 16, 2), prompts, 2, 128, load_footprint(SOURCE), "float32", 0, print, seconds=2.0
    )
    for round in found.rounds:
        assert all(each.drawn > 0 and each.seconds > 0 for each in (round.published, round.many, round.one))
        assert (round.many.chains, round.many.rows, round.one.rows) == (8, 2, 1)
    told = bench_json(found, {"device": "cpu"})
    assert json.loads(json.dumps(told))["metrics"] == bench_metrics(found)
    console = Console(width=200, record=True)
    console.print(speed_table(found))
    assert "share of decode floor" in console.export_text()
