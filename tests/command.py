"""Runs the command line as a user does, in a process and a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ("benchmark.n_problems=2", "benchmark.max_new_tokens=32", "runtime.rows=4", "stage=grades", "sampler.n_steps=1")
"""Overrides of a run of a second or two, after the imports."""


def environment(home: Path, **extra: str) -> dict[str, str]:
    """The caller's, without W&B's settings and keys, and with a home without netrc."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "HYDRA_"))}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return kept | {"HOME": str(home), "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"} | extra


def lab(folder: Path, *arguments: str, code: str | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    """`reasoning-lab ARGUMENTS` in `folder`; `code` runs first in the same process."""
    entry = ["-m", "reasoning_lab.main"]
    if code is not None:
        entry = ["-c", f"{code}\nfrom reasoning_lab.main import main\nmain()"]
    command, env = [sys.executable, *entry, *arguments], environment(folder, **extra)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
