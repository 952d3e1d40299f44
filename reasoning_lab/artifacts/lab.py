"""What a run works with beside its experiment: store, console, models loaded so far; and the files of the results."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reasoning_lab.artifacts.draws import Draw
from reasoning_lab.artifacts.store import Store
from reasoning_lab.experiment import Experiment

if TYPE_CHECKING:
    from rich.console import Console

    from reasoning_lab.launch.tracking import Tracker
    from reasoning_lab.model_pair.loaded import LoadedModel
    from reasoning_lab.model_pair.pair import Role
    from reasoning_lab.model_pair.reader import Reader


T = TypeVar("T")


@dataclass
class Lab:
    """What a run works with beside its experiment."""

    store: Store
    tracker: "Tracker"
    console: "Console"
    folder: Path
    """The run's own folder."""
    models: dict[Any, "LoadedModel"] = field(default_factory=dict)
    """Models loaded so far."""
    on_progress: Callable[[str, int, int, int], None] = lambda *_: None
    """Hears of a draw's label, its answers in all and done, and its tokens so far."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What was read so far, by name: large artifacts that several stages of one run look at."""

    def once(self, name: str, read: Callable[[], T]) -> T:
        """What `read` finds, read once in this run; not to be changed."""
        if name not in self.kept:
            self.kept[name] = read()
        return self.kept[name]

    def heard(self, label: str, items: Sequence[T]) -> Iterator[T]:
        """The items, each reported as it is taken."""
        for done, item in enumerate(items, start=1):
            yield item
            self.on_progress(label, len(items), done, 0)


def shape_of(experiment: Experiment) -> Any:
    """Physical shape of every pass."""
    from reasoning_lab.artifacts.sampling import Shape

    return Shape(experiment.runtime.rows, experiment.runtime.max_prompt_tokens)


def model_of(experiment: Experiment, role: "Role", lab: Lab) -> "LoadedModel":
    """A role's model, loaded once."""
    from reasoning_lab.model_pair.loaded import load_model, resolve_device

    source = experiment.model_pair.source(role)
    at = (source, experiment.model_pair.dtype, experiment.runtime.device)
    if at not in lab.models:
        import torch

        if experiment.runtime.threads:
            torch.set_num_threads(experiment.runtime.threads)
        lab.models[at] = load_model(source, experiment.model_pair.dtype, resolve_device(experiment.runtime.device))
    return lab.models[at]


def trainable(experiment: Experiment, device: str) -> tuple[Any, Any]:
    """The base model and its tokenizer as a trainer wants them: whole, in float32, padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM

    from reasoning_lab.model_pair.reader import load_reader, where_of

    source = experiment.model_pair.source("base")
    place, options = where_of(source)
    tokenizer = load_reader(source).tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options)
    return model.to(device), tokenizer


def encoded(draw: Draw, model: "LoadedModel | Reader") -> dict[str, tuple[int, ...]]:
    """Prompt ids by problem."""
    return {problem.id: model.encode(draw.benchmark.prompt(problem)) for problem in draw.problems}


def write_lines(file: Path, lines: Sequence[str]) -> None:
    """One line each."""
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_lines(file: Path) -> Iterator[Any]:
    """The JSON of each line."""
    with file.open(encoding="utf-8") as opened:
        for line in opened:
            yield json.loads(line)
