"""Hand a descriptor over a pair of sockets."""

import socket


def attack():
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            one, other = socket.socketpair(socket.AF_UNIX, kind)
            socket.send_fds(one, [b"x"], [0])
            return len(socket.recv_fds(other, 1, 1)[1]) == 1
        except OSError:
            continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
