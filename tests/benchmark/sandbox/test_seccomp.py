"""The filter of system calls, by an interpreter of its own and by the kernel's tables."""

import os
import re
import struct
from pathlib import Path

import pytest

from reasoning_lab.benchmark.sandbox.seccomp import seccomp_filter


def decide(machine: str, architecture: int, number: int) -> int:
    """What the kernel would say: the filter's instructions, one by one."""
    program = seccomp_filter(machine)
    assert program is not None
    steps = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:
            loaded = {0: number, 4: architecture}[value]
        elif code == 0x06:
            return value
        else:
            at += if_true if (loaded == value if code == 0x15 else loaded >= value) else if_false


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_refuses_what_it_lists_and_foreign_calls(machine: str, architecture: int) -> None:
    refused = {n for n in range(600) if decide(machine, architecture, n) != 0x7FFF0000}
    listed = {
        "x86_64": {41, 53, 56, 57, 58, 101, 272, 29, 319, 435},
        "aarch64": {198, 199, 220, 117, 97, 194, 279, 435},
    }
    assert listed[machine] <= refused and len(refused) < 60
    everyday = {"x86_64": {0, 1, 2, 3, 9, 12, 59, 117, 231, 257, 318}, "aarch64": {56, 57, 63, 64, 94, 147, 222, 278}}
    assert not everyday[machine] & refused
    assert decide(machine, 0x40000003, 1) == decide(machine, architecture, 0x40000001) == 0x00050001


def test_the_filters_numbers_are_the_kernels() -> None:
    from reasoning_lab.benchmark.sandbox.seccomp import _REFUSED

    headers = {0: "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", 1: "/usr/include/asm-generic/unistd.h"}
    if not all(map(os.path.exists, headers.values())):
        pytest.skip("the kernel's headers are not installed")
    for column, header in headers.items():
        pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
        numbers = {name: int(number) for name, number in pairs}
        for name, ours in _REFUSED.items():
            assert name not in numbers or numbers[name] == ours[column], name
        assert len(numbers.keys() & _REFUSED) > 40


def test_no_filter_for_a_machine_whose_calls_are_not_known() -> None:
    assert seccomp_filter("riscv64") is None
