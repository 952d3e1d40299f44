"""The house's one-way streets, read off the sources."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "reasoning_lab"
FREE = {"records", "rng", "policy", "draw"}
"""Modules that every room may import; they import nothing of the house but each other."""
ALLOWED = {
    "records": set(),
    "rng": set(),
    "policy": {"rng"},
    "draw": set(),
    "engine": FREE,
    "corpus": {"rng"},
    "statistics": {"records"},
    "sampler": FREE,
    "benchmark": FREE | {"corpus"},
    "model_pair": FREE | {"engine"},
    "judge": FREE | {"engine", "model_pair"},
    "taxonomy": FREE | {"engine", "model_pair", "judge", "statistics"},
    "steering": FREE | {"engine", "model_pair", "taxonomy"},
    "training": FREE | {"engine", "corpus"},
    "report": FREE | {"statistics"},
    "recipes": {"records"},
    "artifacts": {"recipes"},
    "experiment": {"benchmark", "judge", "model_pair", "sampler", "taxonomy", "steering", "training"},
    "drawing": FREE | {"engine", "artifacts", "model_pair", "sampler"},
    "tracking": {"records"},
    "config": {"experiment"},
    "lineage": {"benchmark", "experiment", "model_pair", "recipes", "records", "sampler", "steering"},
    "draws": {"benchmark", "experiment", "lineage", "model_pair", "recipes", "records", "sampler", "steering"},
    "lab": {"artifacts", "draws", "drawing", "experiment", "model_pair", "tracking"},
    "judgements": {"benchmark", "draws", "experiment", "judge", "lab", "recipes", "records"},
    "results": {
        "artifacts",
        "benchmark",
        "draws",
        "drawing",
        "experiment",
        "judge",
        "judgements",
        "lab",
        "lineage",
        "model_pair",
        "recipes",
        "records",
        "sampler",
        "steering",
        "taxonomy",
    },
    "plan": {"artifacts", "draws", "experiment", "lab", "lineage", "model_pair", "results", "tracking", "workers"},
    "reporting": {
        "draws",
        "experiment",
        "lab",
        "model_pair",
        "records",
        "report",
        "results",
        "steering",
        "taxonomy",
    },
    "hybrid_reporting": {
        "draws",
        "experiment",
        "lab",
        "lineage",
        "plan",
        "records",
        "report",
        "reporting",
        "results",
        "statistics",
        "steering",
        "taxonomy",
    },
    "preferences": {"benchmark", "draws", "experiment", "judge", "judgements", "lab", "report", "results"},
    "lm_eval_model": {
        "artifacts",
        "config",
        "drawing",
        "engine",
        "experiment",
        "lab",
        "model_pair",
        "policy",
        "recipes",
        "records",
        "rng",
        "steering",
    },
    "stages": None,
    "sweep": {"stages"},
    "workers": set(),
    "main": None,
}
"""What a room imports of the house; None: anything but main."""
OUTSIDE = {"hydra", "omegaconf", "wandb", "submitit"}
"""Libraries that only the top of the house knows."""


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "reasoning_lab":
                found |= {f"reasoning_lab.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in ALLOWED, f"{own} is a new room: say in ALLOWED what it may import"
    allowed = ALLOWED[own]
    for module in imports(file):
        if module.startswith("reasoning_lab.") and room(module) != own:
            assert room(module) != "main", f"{file.name} imports the entry"
            assert allowed is None or room(module) in allowed, f"{own} must not import {module}"
        if module.split(".")[0] in OUTSIDE:
            assert own in {"main", "config", "tracking", "stages"}, f"{own} must not know {module}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.relative_to(PACKAGE).parts[0] == "sampler"], ids=lambda f: f.name
)
def test_samplers_do_not_know_torch(file: Path) -> None:
    assert not {module.split(".")[0] for module in imports(file)} & {"torch", "transformers"}


def test_the_numeric_core_needs_torch_and_transformers_alone() -> None:
    """On a bare GPU machine Hydra, datasets, W&B, submitit and pydantic are not installed."""
    import subprocess

    core = ("engine", "draw", "policy", "rng", "records", "drawing", "model_pair.pair", "model_pair.huggingface",
            "model_pair.toy", "sampler.power", "sampler.best_of_n")  # fmt: skip
    lines = [f"import reasoning_lab.{name}" for name in core]
    blocked = ["hydra", "omegaconf", "datasets", "wandb", "submitit", "pydantic", "math_verify", "rich", "matplotlib"]
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in blocked) + "\n".join(lines)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
