"""Loading: one path for all."""

from pathlib import Path

import pytest
import torch

from reasoning_lab.model_pair.loaded import load_model, resolve_device
from reasoning_lab.model_pair.pair import ModelSource

QUESTION = "Lily has 40 cards. She sells 5. How many cards now?\n"


def test_the_embedded_pair_loads_through_the_path_of_any_local_folder(copy: Path) -> None:
    shipped, local = (
        load_model(ModelSource("package:embedded/base"), "float32", "cpu"),
        load_model(ModelSource(str(copy)), "float32", "cpu"),
    )
    ids = shipped.encode(QUESTION)
    assert ids == local.encode(QUESTION)
    assert torch.equal(shipped.policy.next_logits(ids), local.policy.next_logits(ids))
    assert next(shipped.policy.model.parameters()).dtype == torch.float32  # pyright: ignore


def test_devices() -> None:
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="runtime.device=cuda: torch sees no CUDA device here"):
            resolve_device("cuda")
