"""A sweep's folder as cells leave it: rows, status files, configs and answers, all made up."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_lab.statistics import accuracy_interval, paired_difference

ARMS = {"base": 0.4, "low_temperature": 0.5, "power": 0.6}
"""Arms with their chance of a right answer, before a cell's own."""
CONFIG = {
    "title": "", "seed": 0, "baseline": "base", "model_pair": {"name": "embedded"},
    "benchmark": {"_target_": "reasoning_lab.benchmark.arithmetic.Arithmetic"},
}  # fmt: skip


def write_cells(folder: Path, axes: Mapping[str, Sequence[Any]], n_problems: int = 60) -> list[Path]:
    """A finished cell for every combination: three arms, their answers, a page."""
    folder.mkdir(parents=True)
    cells = []
    for number, values in enumerate(itertools.product(*axes.values())):
        overrides = dict(zip(axes, values, strict=True))
        cells.append(folder / str(number))
        _write_cell(cells[-1], overrides, number, n_problems)
    command = "reasoning-lab -m sweep=power_grid 'sampler.alpha=<b>1</b>'"
    listed = [[f"{key}={value}" for key, value in zip(axes, values, strict=True)]
              for values in itertools.product(*axes.values())]  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps({"command": command, "cells": listed}))
    return cells


def _write_cell(cell: Path, overrides: Mapping[str, Any], number: int, n_problems: int) -> None:
    seed, rng = int(overrides.get("seed", 0)), np.random.default_rng([number, 7])
    right = {
        arm: {f"p{i}": [bool(rng.random() < chance + 0.02 * number * (arm == "power"))] for i in range(n_problems)}
        for arm, chance in ARMS.items()
    }
    metrics: dict[str, float] = {}
    for arm in ("power", *ARMS):
        stem = "" if arm == "power" and not metrics else f"{arm}/"
        value, low, high = accuracy_interval(right[arm])
        metrics |= {f"{stem}accuracy": value, f"{stem}accuracy_low": low, f"{stem}accuracy_high": high}
        metrics[f"{stem}decode_tokens"] = 100.0 * (1 + number)
    for what, arm in (("base", "base"), ("rival", "low_temperature")):
        paired = paired_difference(right["power"], right[arm])
        value, low, high = paired.difference
        metrics |= {f"difference_to_{what}": value, f"difference_to_{what}_low": low}
        metrics |= {f"difference_to_{what}_high": high, f"difference_to_{what}_p": paired.p_value}
    (cell / "report" / "answers").mkdir(parents=True)
    (cell / "report" / "index.html").write_text("<!doctype html>")
    for arm, results in right.items():
        lines = (
            json.dumps({"problem": problem, "verdict": "correct" if one[0] else "wrong"})
            for problem, one in results.items()
        )
        (cell / "report" / "answers" / f"{arm}.jsonl").write_text("".join(line + "\n" for line in lines))
    row = {
        "status": "completed", "overrides": overrides, "metrics": metrics, "config": CONFIG | {"seed": seed},
        "command": "reasoning-lab", "git": {"commit": "0123456789abcdef", "dirty": False},
    }  # fmt: skip
    (cell / "row.json").write_text(json.dumps(row))
    (cell / "status.json").write_text(json.dumps({"status": "completed", "metrics": metrics}))


def unfinish(cell: Path, **status: Any) -> None:
    """Take a cell's results away, and say where it stands."""
    for name in ("row.json", "status.json", "report/index.html"):
        (cell / name).unlink()
    if status:
        (cell / "status.json").write_text(json.dumps(status))
