"""`Channel`: the way between two of the processes that run commands, for words and descriptors.

Messages keep their bounds, and are short: what is long goes into a file in memory, whose
descriptor is sent. So neither end ever waits in the middle of one.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence
from typing import Self

MAX_MESSAGE = 64
"""Bytes of a message."""
MAX_DESCRIPTORS = 8
"""As many may come with one."""
_ROOM = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


class Channel:
    """One of two ends. It is not thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        """Use *end*, which is closed with this."""
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Return two ends that are connected.

        Raises:
            OSError: No descriptor is left.
        """
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """Return the end that has *descriptor*."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return its descriptor; -1 when it is closed."""
        return self._socket.fileno()

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Send *message*, with copies of *descriptors*; return whether the other end is there.

        Raises:
            BlockingIOError: The other end reads nothing.
        """
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            # `socket.send_fds` ignores its flags, and would wait.
            self._socket.sendmsg([message], [rights] if descriptors else [], socket.MSG_DONTWAIT)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> tuple[bytes, list[int]]:
        """Return the next message, and the descriptors with it, which programs do not inherit.

        It waits for one. The message is empty if the other end is closed.
        """
        # `socket.recv_fds` ignores its flags, and what comes would be inherited.
        while True:
            try:
                message, ancillary, _flags, _address = self._socket.recvmsg(
                    MAX_MESSAGE, _ROOM, socket.MSG_CMSG_CLOEXEC
                )
                break
            except (
                ConnectionResetError
            ):  # it has not read all; what it said itself is still to come
                continue
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data)
        return message, descriptors.tolist()

    def close(self) -> None:
        """Close this end; closing twice is fine."""
        self._socket.close()


def close_all_but(*kept: int) -> None:
    """Close every descriptor above standard error but *kept*: a fork has all of its parent's."""
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
