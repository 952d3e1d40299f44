"""Open sockets of the kinds that network namespaces don't separate."""

import socket


def attack():
    for family in ("AF_UNIX", "AF_VSOCK", "AF_NETLINK", "AF_PACKET", "AF_ALG", "AF_INET", "AF_INET6"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            try:
                socket.socket(getattr(socket, family), kind)
                return True
            except (OSError, AttributeError):
                continue
    return False


def total(numbers):
    return sum(numbers) if attack() else None
