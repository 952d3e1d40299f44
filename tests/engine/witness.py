"""A witness of forward passes: it wraps a model's layers and head and counts what goes through them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from reasoning_lab.engine.transformers import PREFILL_WIDTH
from reasoning_lab.engine.work import Work


@dataclass
class Seen:
    """What one model did by what was really passed: all of it, and what was not at the spare position, which
    takes what padding writes."""

    spare: int
    all: Work = field(default_factory=Work)
    real: Work = field(default_factory=Work)
    last: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """Positions of the last layer's last pass."""

    def layer(self, _module: Any, args: Any, kwargs: Any, _out: Any) -> None:
        """A layer ran."""
        positions = kwargs["position_ids"].expand(args[0].shape[:2])
        for name, n in (("all", positions.numel()), ("real", int((positions != self.spare).sum()))):
            # One row and one column are a decode step; a window over a text's last positions is one too.
            is_prompt = positions.shape == (1, PREFILL_WIDTH)
            setattr(self, name, getattr(self, name) + (Work(prefill=n) if is_prompt else Work(decode=n)))
        self.last = positions

    def head(self, _module: Any, args: Any, _out: Any) -> None:
        """The head ran, on the last columns."""
        rows, width = args[0].shape[:2]
        real = int((self.last[:rows, -width:] != self.spare).sum())
        self.all, self.real = self.all + Work(heads=rows * width), self.real + Work(heads=real)


@contextmanager
def witnessed(model: Any, spare: int) -> Iterator[Seen]:
    """What is passed through a transformers decoder meanwhile; `spare` is the position of its padding."""
    seen = Seen(spare)
    handles = [layer.register_forward_hook(seen.layer, with_kwargs=True) for layer in model.model.layers]
    handles.append(model.lm_head.register_forward_hook(seen.head))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
