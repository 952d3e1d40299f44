"""Win rates of the alpaca_eval package against the formula of Dubois et al. 2024, fitted here on made-up tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("alpaca_eval", reason="the extra alpaca is not installed")

import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit

from reasoning_lab.report.export.alpaca_eval import TABLE, check_alpaca_eval, write_alpaca_eval

N = 400
Rows = list[dict[str, Any]]


def synthetic(folder: Path, seed: int = 0) -> tuple[Rows, pd.DataFrame]:
    """Annotations of a model that is a little worse, longer, and judged by length; and the table of gamed outputs."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1, N) + np.linspace(-1, 1, N)
    reference, ours = rng.integers(200, 1200, N), rng.integers(600, 2400, N)
    delta = np.tanh((reference - ours) / (reference - ours).std(ddof=1))
    p = expit(-0.6 - 2.0 * delta + 0.8 * difficulty)
    rows = [
        {
            "index": i, "instruction": f"do {i}", "dataset": "made_up", "output_1": "r" * int(reference[i]),
            "generator_1": "reference", "output_2": "o" * int(ours[i]), "generator_2": "ours", "annotator": "made_up",
            "preference": 1.0 + float(p[i]),
        }
        for i in range(N)
    ]  # fmt: skip
    gamed = []
    for model, shift in (("concise", 1.2), ("verbose", -1.2)):
        std_delta = rng.normal(shift, 0.7, N)
        preference = expit(-1.5 * np.tanh(std_delta) + 0.3 * difficulty)
        gamed.append(
            pd.DataFrame(
                {"model": model, "preference": preference, "index": range(N), "std_delta_len": std_delta,
                 "instruction_difficulty": difficulty, "not_gamed_baseline": False}
            )
        )  # fmt: skip
    table = pd.concat(gamed, ignore_index=True)
    table.to_csv(folder / TABLE, index=False)
    return rows, table


def fitted(rows: Rows, table: pd.DataFrame) -> float:
    """LC win rate [%]: logit P(ours preferred) = phi tanh(difference of lengths / its deviation) + psi difficulty
    + theta [ours], gamed outputs weighing 0.2 / 2 each; read off at no difference of lengths."""
    difficulty = table.drop_duplicates("index").set_index("index")["instruction_difficulty"]
    own = np.asarray(difficulty.loc[[row["index"] for row in rows]])
    delta = np.array([len(row["output_1"]) - len(row["output_2"]) for row in rows], dtype=float)
    x = np.column_stack([np.tanh(delta / delta.std(ddof=1)), own, np.ones(len(rows))])
    gamed = np.column_stack([np.tanh(table["std_delta_len"]), table["instruction_difficulty"], np.zeros(len(table))])
    design = np.vstack([x, gamed])
    y = np.concatenate([[row["preference"] - 1 for row in rows], table["preference"]])
    weights = np.concatenate([np.ones(len(rows)), np.full(len(table), 0.1)])

    def loss(beta: np.ndarray) -> float:
        z = design @ beta
        return float(weights @ (np.logaddexp(0, z) - y * z))

    beta = minimize(loss, np.zeros(3), method="BFGS").x
    return 100 * float(expit(own * beta[1] + beta[2]).mean())


def test_both_win_rates_are_those_of_the_formula(tmp_path: Path) -> None:
    rows, table = synthetic(tmp_path)
    found = write_alpaca_eval(rows, str(tmp_path), tmp_path / "out")
    raw = 100 * float(np.mean([row["preference"] - 1 for row in rows]))
    expected = fitted(rows, table)
    assert found["win_rate"] == pytest.approx(raw, rel=1e-12)
    assert found["length_controlled_winrate"] == pytest.approx(expected, abs=0.5)
    assert raw - expected > 10, "the correction must show"
    print(f"raw {raw:.3f}, package {found['length_controlled_winrate']:.3f}, independent fit {expected:.3f}")


def test_a_subset_in_another_order_takes_its_own_difficulties(tmp_path: Path) -> None:
    rows, table = synthetic(tmp_path, seed=1)
    part = rows[N // 2 :]
    found = write_alpaca_eval(part, str(tmp_path), tmp_path / "out")
    assert found["length_controlled_winrate"] == pytest.approx(fitted(part, table), abs=0.5)
    assert abs(fitted(part, table) - fitted([row | {"index": n} for n, row in enumerate(part)], table)) > 1.5


def test_files_are_the_packages(tmp_path: Path) -> None:
    rows, _ = synthetic(tmp_path)
    rows[3]["preference"] = None
    found = write_alpaca_eval(rows, str(tmp_path), tmp_path / "out")
    assert found["n_total"] == N - 1
    outputs = json.loads((tmp_path / "out" / "model_outputs.json").read_text())
    assert list(outputs[0]) == ["dataset", "instruction", "output", "generator"] and len(outputs) == N
    assert json.loads((tmp_path / "out" / "annotations.json").read_text()) == rows
    import alpaca_eval  # pyright: ignore[reportMissingImports]

    theirs = Path(str(alpaca_eval.__file__)).parent / "leaderboards/data_AlpacaEval_2"
    header = pd.read_csv(theirs / "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv", index_col=0).columns
    assert set(pd.read_csv(tmp_path / "out" / "leaderboard.csv", index_col=0).columns) == set(header)


def test_missing_tables_and_preferences_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=rf"benchmark.lc_tables={tmp_path}: has no df_gamed.csv"):
        check_alpaca_eval(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no net")))
    with pytest.raises(ValueError, match=r"set benchmark.lc_tables to a folder"):
        check_alpaca_eval(None)
    rows, _ = synthetic(tmp_path)
    with pytest.raises(ValueError, match="no preference was read"):
        write_alpaca_eval([row | {"preference": None} for row in rows], str(tmp_path), tmp_path / "out")
