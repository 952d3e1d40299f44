"""What travels between a program and its tests: plain data, of exact types."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_lab.benchmark.sandbox.inside import MALFORMED, Opaque, pack, reason_of, unpack

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    | st.characters(categories=["Cs"])
)  # fmt: skip
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
DATA = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.sets(st.integers() | st.text())
        | st.dictionaries(KEYS, inner)
    ),
    max_leaves=10,
)  # fmt: skip


def form(value: object) -> object:
    """Types and values, whatever the order of a set; the sign of zero and nan included."""
    if isinstance(value, (list, tuple)):
        return type(value), [form(item) for item in value]
    if isinstance(value, set):
        return set, sorted(map(repr, value))
    return (dict, [(form(k), form(v)) for k, v in value.items()]) if isinstance(value, dict) else repr(value)


@given(value=DATA)
@settings(max_examples=100, deadline=None)
def test_plain_data_comes_back_with_its_types(value: object) -> None:
    assert form(unpack(pack(value))) == form(value)


class Sly(int):
    """Equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Named(dict):
    """A dict of another name."""


def test_subclasses_come_back_as_their_bases() -> None:
    found = unpack(pack([Sly(7), Named(a=1), frozenset({1}), True]))
    assert [type(item) for item in found] == [int, dict, set, bool]
    assert found[0] != 8


def test_anything_else_comes_back_as_what_no_test_can_hold() -> None:
    found = unpack(pack([object(), range(3), (n for n in ()), (3).__add__, Sly]))
    assert all(type(item) is Opaque for item in found)
    for use in (
        bool,
        lambda item: item == 3,
        lambda item: item != 3,
        lambda item: item in (3, 4),
        lambda item: abs(item - 3),
    ):
        with pytest.raises(TypeError):
            use(found[0])


@given(data=st.binary(max_size=40) | st.text("LTSDsifcbON+-:0123456789ja", max_size=40).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_message_does_more_than_fail(data: bytes) -> None:
    try:
        value = unpack(data)
    except MALFORMED:
        return
    assert type(value) in (type(None), bool, int, float, complex, str, bytes, list, tuple, set, dict, Opaque)


def test_an_exceptions_name_is_told_only_if_it_is_one() -> None:
    assert reason_of("ValueError") == "exception: ValueError"
    assert reason_of("MemoryError") == "memory"
    assert reason_of("SystemExit") == "early exit"
    assert reason_of("x\nnonce passed") == reason_of("é") == reason_of("a" * 61) == "exception"
