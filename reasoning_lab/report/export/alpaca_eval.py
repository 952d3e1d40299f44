"""Win rates of AlpacaEval 2.0 by the alpaca_eval package (extra `alpaca`), in the package's own files.

`annotations` are the package's: instruction, output_1 and generator_1 (the reference's), output_2 and generator_2
(ours), dataset, annotator, preference (1: the reference's is better, 2: ours, null: none was read), index (the
instruction's number in the released order). The length-controlled win rate is its `length_controlled_v1` (Dubois et al.
2024, arXiv:2404.04475): a logistic model of the preference with terms for the model, the tanh of the standardised
difference of lengths and the instruction's difficulty, read off at equal lengths. That ours equal the published rates
is not checked.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasoning_lab.report.words import finite

TABLE = "df_gamed.csv"
"""The package's table: annotations of gamed baselines and the difficulty of each instruction."""


def check_alpaca_eval(lc_tables: str | None) -> None:
    """ValueError if the package or a local table is missing; to be called before anything is drawn or asked."""
    from importlib.util import find_spec

    if find_spec("alpaca_eval") is None:
        raise ValueError("win rates of AlpacaEval need the extra `alpaca`: run `pip install -e '.[alpaca]'`.")
    _table(lc_tables)


def write_alpaca_eval(
    annotations: Sequence[Mapping[str, Any]], lc_tables: str | None, out_dir: Path
) -> dict[str, float | None]:
    """Write model_outputs.json, annotations.json and leaderboard.csv of one model; return its row.

    Arguments: `lc_tables` is the folder of df_gamed.csv, None takes the hub's. The row is the package's: win_rate,
    standard_error, length_controlled_winrate, lc_standard_error [%], n_wins, n_wins_base, n_draws, n_total,
    discrete_win_rate, avg_length [characters].
    """
    import pandas as pd

    rows = [dict(each) for each in annotations]
    if not any(row["preference"] is not None for row in rows):
        raise ValueError("no preference was read, so there is no win rate; see the judge's usage for what failed.")
    frame = pd.DataFrame(rows).set_index("index")
    frame.index.name = None
    metrics = _metrics(frame, _table(lc_tables))
    metrics["avg_length"] = float(frame["output_2"].str.len().mean())
    out_dir.mkdir(parents=True, exist_ok=True)
    outputs = [
        {"dataset": row["dataset"], "instruction": row["instruction"], "output": row["output_2"],
         "generator": row["generator_2"]} for row in rows
    ]  # fmt: skip
    _write_json(out_dir / "model_outputs.json", outputs)
    _write_json(out_dir / "annotations.json", rows)
    name = str(rows[0]["generator_2"])
    pd.DataFrame([metrics | {"mode": "community"}], index=[name]).to_csv(out_dir / "leaderboard.csv")
    return metrics


def _metrics(frame: Any, table: Path) -> dict[str, float | None]:
    import warnings

    from alpaca_eval.metrics import glm_winrate  # pyright: ignore[reportMissingImports]
    from sklearn import config_context

    # The package sets a global option of scikit-learn and names a penalty in the old way.
    with config_context(), warnings.catch_warnings(), _reading(glm_winrate, table):
        warnings.simplefilter("ignore", FutureWarning)
        rates = glm_winrate.get_length_controlled_winrate(
            frame, save_weights_dir=None, is_add_glm_preference_inplace=False, is_warn_extreme_changes=False
        )
    return {name: finite(float(value)) for name, value in rates.items()}


@contextmanager
def _reading(module: Any, table: Path) -> Iterator[None]:
    """The package's module reads its table here; it knows no other place than the hub."""
    download = module.hf_hub_download
    module.hf_hub_download = lambda **_: str(table)
    try:
        yield
    finally:
        module.hf_hub_download = download


def _table(lc_tables: str | None) -> Path:
    if lc_tables is not None:
        table = Path(lc_tables).expanduser() / TABLE
        if not table.is_file():
            raise ValueError(
                f"benchmark.lc_tables={lc_tables}: has no {TABLE}; put the file of the data set tatsu-lab/alpaca_eval "
                "there, or set null for the hub."
            )
        return table
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download("tatsu-lab/alpaca_eval", TABLE, repo_type="dataset"))
    except Exception as error:  # the library raises a dozen kinds
        raise ValueError(
            f"benchmark.lc_tables=None: the hub does not give {TABLE} ({type(error).__name__}), which the "
            "length-controlled win rate needs; set benchmark.lc_tables to a folder that holds it."
        ) from error


def _write_json(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
