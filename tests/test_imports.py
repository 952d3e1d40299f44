"""The house's one-way streets, read off the sources."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "reasoning_lab"
FREE = {"records", "checks", "disk"}
"""Modules that every room may import; they import nothing of the house but each other."""
GROUPS = {"benchmark", "cue", "judge", "model_pair", "sampler", "steering", "taxonomy", "training"}
ALLOWED = {
    "records": set(),
    "checks": set(),
    "disk": set(),
    "statistics": {"records"},
    "engine": FREE,
    "sampler": FREE | {"engine"},
    "benchmark": FREE | {"engine"},
    "model_pair": FREE | {"engine"},
    "cue": FREE | {"engine", "benchmark", "sampler"},
    "judge": FREE | {"engine", "model_pair"},
    "taxonomy": FREE | {"engine", "model_pair", "judge", "statistics"},
    "steering": FREE | {"engine", "model_pair", "sampler", "taxonomy"},
    "training": FREE | {"engine", "benchmark"},
    "experiment": FREE | GROUPS | {"engine"},
    "artifacts": FREE | GROUPS | {"engine", "experiment", "statistics"},
    "checkup": FREE | GROUPS | {"artifacts", "engine", "experiment"},
    "report": FREE | GROUPS | {"artifacts", "experiment", "statistics"},
    "bench": FREE | {"engine", "model_pair", "sampler"},
    "lm_eval_model": FREE | GROUPS | {"artifacts", "engine", "experiment", "launch"},
    "stages": None,
    "launch": FREE | GROUPS | {"artifacts", "experiment", "report", "stages"},
    "main": None,
}
"""What a room imports of the house; None: anything but main."""
ENTRIES = {"main"}
"""What every command is called."""
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


def test_the_package_has_eight_modules_at_most_at_its_top() -> None:
    assert len([file for file in PACKAGE.glob("*.py") if file.name != "__init__.py"]) <= 8


def test_the_house_has_eleven_floors_at_most_and_no_circle() -> None:
    below: dict[str, set[str]] = {}
    for file in FILES:
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        rooms = {room(module) for module in imports(file) if module.startswith("reasoning_lab.")}
        # What every room may import is the ground that the house stands on.
        below.setdefault(own, set()).update(rooms - FREE - {own})
    floors = {name: floor_of(name, below, ()) for name in below}
    assert max(floors.values()) <= 11, floors


def floor_of(name: str, below: dict[str, set[str]], path: tuple[str, ...]) -> int:
    assert name not in path, f"a circle: {' → '.join((*path, name))}"
    return 1 + max((floor_of(other, below, (*path, name)) for other in below.get(name, ())), default=0)


def test_no_two_public_classes_or_functions_share_a_name() -> None:
    """One word for one thing; methods may override."""
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    doubled = {name: files for name, files in places.items() if len(files) > 1 and name not in ENTRIES}
    assert not doubled, doubled


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
            assert own in {"main", "launch"}, f"{own} must not know {module}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.relative_to(PACKAGE).parts[0] == "sampler"], ids=lambda f: f.name
)
def test_samplers_do_not_know_torch(file: Path) -> None:
    assert not {module.split(".")[0] for module in imports(file)} & {"torch", "transformers"}


def test_the_numeric_core_needs_torch_and_transformers_alone() -> None:
    """On a bare GPU machine Hydra, datasets, W&B, submitit and pydantic are not installed."""
    import subprocess

    core = ("engine.scheduler", "engine.token", "engine.policy", "engine.rng", "engine.transformers", "records",
            "artifacts.sampling", "model_pair.loaded", "model_pair.toy", "sampler.power", "sampler.best_of_n",
    )  # fmt: skip
    lines = [f"import reasoning_lab.{name}" for name in core]
    blocked = ["hydra", "omegaconf", "datasets", "wandb", "submitit", "pydantic", "rich", "matplotlib"]
    code = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in blocked) + "\n".join(lines)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
