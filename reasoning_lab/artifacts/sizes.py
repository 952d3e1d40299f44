"""Sizes: what a model's arithmetic is counted by, kept so that a report needs no model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.files import read_records, write_records
from reasoning_lab.artifacts.key import IDENTITY
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.size import load_size
from reasoning_lab.records import ModelSize

FILE = "size.jsonl"


@dataclass(frozen=True)
class Size(Artifact[ModelSize]):
    """Layers and parameters of one model."""

    kind: ClassVar[str] = "sizes"
    version: ClassVar[int] = 1
    model: Annotated[ModelSource, IDENTITY]

    @property
    def slug(self) -> str:
        """The last part of the model's place."""
        return Path(self.model.path.split(":")[-1]).name.lower()

    def build(self, context: Context, folder: Path) -> None:
        """Count; no weights are read."""
        write_records(folder / FILE, [load_size(self.model)])

    def read(self, folder: Path) -> ModelSize:
        """The size."""
        [size] = read_records(folder / FILE, ModelSize)
        return size
