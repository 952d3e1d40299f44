"""A sweep's folder as its page shows it, at any moment: finished cells from the rows that they left, the others from
their status files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from reasoning_lab.report.collect.provenance import commit_words
from reasoning_lab.report.data import Provenance
from reasoning_lab.report.pages.sweep import write_grid, write_sweep
from reasoning_lab.report.views.grid import LAYER, SCORE, SIZE
from reasoning_lab.report.views.sweep import CellState, Overrides, SweepCell, SweepInfo
from reasoning_lab.report.words import finite
from reasoning_lab.statistics import Outcomes
from reasoning_lab.taxonomy.elbow import elbow

ELBOW_RULE = (
    "the size whose score lies farthest above the chord from the first to the last size (Satopää et al. 2011), ties to "
    "the smaller"
)
PAGES = ("index.html", "taxonomy.html")
"""Of a cell's report, the first that is there is linked."""
OPEN = ("queued", "running")
"""Words of cells that may still finish by themselves."""


class SweepCells(NamedTuple):
    """What a sweep's folder holds."""

    finished: list[SweepCell]
    missing: list[str]
    """Numbers of the cells that did not finish."""
    info: SweepInfo


def collect_sweep(folder: Path) -> SweepCells:
    """The cells in the order of their numbers, also while they run; ValueError where there is no cell."""
    sweep, n = _json(folder / "sweep.json"), 0
    listed = sweep.get("cells", [])
    numbers = {int(path.name) for path in folder.iterdir() if path.name.isdigit()} | set(range(len(listed)))
    if not numbers:
        raise ValueError(f"{folder} has no cell; name a sweep's folder, such as outputs/sweeps/power_grid/TIME.")
    finished, missing, states, configs = [], [], [], []
    commits = dict[str, None]()
    for n in sorted(numbers):
        cell = folder / str(n)
        row, config = _json(cell / "row.json"), _config(cell)
        given = _named(row.get("overrides") or _split(_yaml(cell / ".hydra" / "overrides.yaml") or _listed(listed, n)))
        is_done = row.get("status") == "completed"
        if is_done:
            metrics = row["metrics"]
            finished.append(SweepCell(given, metrics, _correct(cell), str(config.get("baseline") or "")))
            commits[commit_words(row.get("git"))] = None
        else:
            missing.append(str(n))
        words = "completed" if is_done else _words(_json(cell / "status.json"))
        states.append(CellState(str(n), _name(given), words, words.split()[0] in OPEN, _page(folder, cell)))
        configs += [config] if config else []
    commit = "; ".join(filter(None, commits))
    info = SweepInfo(_title(folder, configs), str(sweep.get("command", "")), commit, tuple(states))
    return SweepCells(finished, missing, info)


def write_finished(cells: SweepCells, folder: Path, provenance: Provenance) -> None:
    """The sweep's tables and page, of the cells that have finished and where the others stand; of a grid of taxonomies
    with each layer's elbow."""
    scores: dict[str, dict[int, list[float]]] = {}
    for cell in cells.finished:
        if (score := finite(cell.metrics.get(SCORE))) is not None and {LAYER, SIZE} <= cell.overrides.keys():
            of_layer = scores.setdefault(str(cell.overrides[LAYER]), {})
            of_layer.setdefault(int(cell.overrides[SIZE]), []).append(score)
    if not scores:
        write_sweep(cells.finished, folder, cells.info, provenance)
        return
    curves = {layer: {n: sum(each) / len(each) for n, each in sizes.items()} for layer, sizes in scores.items()}
    elbows = {layer: float(elbow(list(curve), list(curve.values())).size) for layer, curve in curves.items()}
    write_grid(cells.finished, folder, elbows, ELBOW_RULE, cells.info, provenance)


# --- one cell -------------------------------------------------------------------------------------------------------


def _words(status: Mapping[str, Any]) -> str:
    """'queued', 'running 45 %', 'failed: the error'."""
    name, error, share = str(status.get("status") or "queued"), status.get("error"), _share(status.get("progress"))
    if name == "running" and share is not None:
        return f"running {100 * share:.0f} %"
    return f"{name}: {error}" if error else name


def _share(progress: Any) -> float | None:
    """Of the work that is done, given as a share or as done and total."""
    if isinstance(progress, Mapping):
        done, total = progress.get("done"), progress.get("total")
        return done / total if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total else None
    return float(progress) if isinstance(progress, (int, float)) and 0 <= progress <= 1 else None


def _page(folder: Path, cell: Path) -> str:
    """Address of the cell's page as seen from the sweep's, in `report` of its folder."""
    there = (name for name in PAGES if (cell / "report" / name).is_file())
    return next((f"../{cell.relative_to(folder).as_posix()}/report/{name}" for name in there), "")


def _correct(cell: Path) -> dict[str, Outcomes]:
    """By arm, which problems were answered rightly, from the answers that its report offers."""
    found: dict[str, Outcomes] = {}
    for file in sorted((cell / "report" / "answers").glob("*.jsonl")):
        outcomes: dict[str, list[bool]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            outcomes.setdefault(told["problem"], []).append(told["verdict"] == "correct")
        found[file.stem] = outcomes
    return found


def _name(overrides: Overrides) -> str:
    return " ".join(f"{key}={value}" for key, value in overrides.items())


def _named(overrides: Overrides) -> dict[str, Any]:
    """A class by its name, as its key's value: steering.gate=Boundary."""
    found = {}
    for key, value in overrides.items():
        is_class = key.endswith("._target_")
        found[key.removesuffix("._target_")] = str(value).rpartition(".")[2] if is_class else value
    return found


def _split(lines: Any) -> dict[str, str]:
    """Overrides as typed, by key."""
    pairs = (str(line).partition("=") for line in lines or ())
    return {key.lstrip("+"): value for key, _, value in pairs}


def _listed(cells: Any, n: int) -> Any:
    return cells[n] if isinstance(cells, list) and n < len(cells) else ()


# --- the sweep ------------------------------------------------------------------------------------------------------


def _title(folder: Path, configs: list[dict[str, Any]]) -> str:
    """'power_grid · embedded · arithmetic · seed 0': the sweep, what all cells measure, and their seeds."""
    name = folder.resolve().parent.name
    titles = _several([str(config.get("title") or "") for config in configs])
    pairs = _several([str((config.get("model_pair") or {}).get("name") or "") for config in configs])
    targets = [str((config.get("benchmark") or {}).get("_target_") or "") for config in configs]
    benchmarks = _several([target.rpartition(".")[2] for target in targets])
    seeds = _several([str(config.get("seed", "")) for config in configs])
    counted = f"{'seeds' if ', ' in seeds else 'seed'} {seeds}" if seeds else ""
    return " · ".join(filter(None, (name, titles, pairs, benchmarks, counted)))


def _several(values: list[str]) -> str:
    return ", ".join(filter(None, dict.fromkeys(values)))


def _config(cell: Path) -> dict[str, Any]:
    """Resolved, as the row has it or as it was submitted."""
    config = _json(cell / "row.json").get("config") or _yaml(cell / ".hydra" / "config.yaml")
    return config if isinstance(config, dict) else {}


def _json(file: Path) -> dict[str, Any]:
    """Its object; nothing where there is none, or while it is written."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
