"""The system calls that no model's program needs, refused by the kernel: a seccomp filter as bytes.

It closes what namespaces and limits leave open: memory that no address-space limit counts (System V shared memory,
memfd), sockets (some families have no namespace, vsock for one; the buffers of a pair are the kernel's memory),
keyrings, namespaces of one's own, tracing, and any second process or thread. A refused call fails with EPERM, so that
the program sees an ordinary error.
"""

import platform
import struct
import sys

_EPERM = 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | _EPERM
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH of linux/audit.h, and the column of `_REFUSED`."""

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # A second process or thread.
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435),
    # Networks, those without a namespace too.
    "socket": (41, 198), "socketpair": (53, 199),
    # Memory outside the address space.
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    # Other processes.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    # Namespaces and mounts.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    # The kernel's own stores and machines.
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "personality": (135, 92), "syslog": (103, 116),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
}  # fmt: skip
"""Name: number on x86_64, on aarch64 (None: has no such call), from the kernel's tables."""

_X32 = 0x40000000
"""Numbers from here on are x86_64's second set of calls (x32), refused as a whole."""


def seccomp_filter(machine: str = platform.machine()) -> bytes | None:
    """The filter as an array of struct sock_filter (linux/filter.h); None where the machine's calls are not known."""
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        return None
    architecture, column = _ARCHITECTURES[machine]
    numbers = sorted(number for pair in _REFUSED.values() if (number := pair[column]) is not None)
    return b"".join(
        [
            _step(_LOAD, _AT_ARCHITECTURE),
            _step(_JUMP_EQUAL, architecture, if_true=1),
            _step(_RETURN, _REFUSE),
            _step(_LOAD, _AT_NUMBER),
            _step(_JUMP_AT_LEAST, _X32, if_true=len(numbers) + 1),
            *(_step(_JUMP_EQUAL, number, if_true=len(numbers) - i) for i, number in enumerate(numbers)),
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _REFUSE),
        ]
    )


def _step(code: int, value: int, if_true: int = 0) -> bytes:
    """One instruction; `if_true` is how many to skip when a comparison holds."""
    return struct.pack("=HBBI", code, if_true, 0, value)
