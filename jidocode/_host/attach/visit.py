"""The way into a system that another process has started."""

from __future__ import annotations

import array
import os
import socket
import time
from contextlib import ExitStack, suppress

from jidocode._host import wire
from jidocode._host.attach import place
from jidocode._host.attach.door import ADDRESS, Welcome
from jidocode._host.attach.proof import (
    MAX_PACKET,
    REFUSED,
    WELCOME,
    ProofError,
    Visitor,
    VisitorSide,
)
from jidocode._host.forks import close_in_forks
from jidocode._host.transport.address import LoopbackAddress
from jidocode.base.text import quote
from jidocode.errors import AttachError, SystemNotFoundError

_LOOK_SECONDS = 0.02
_MAX_DESCRIPTORS = 8


class Visit:
    """This process inside a system of another one: a `Host` that it has not started.

    Attributes:
        key: The key of the system.
        ends: Descriptors, one of which is readable when the system is ending: the connection to
            the process that has started it, then its guards and its host.
        admin: Where the host listens.
        pid: The host's process id.
        about: What the process that has started it wants to be known.
    """

    def __init__(self, sock: socket.socket, welcome: Welcome, descriptors: list[int]) -> None:
        self.key, self.admin, self.pid = welcome.key, welcome.admin, welcome.pid
        self.about = welcome.about
        self.ends = [sock.fileno(), *descriptors]
        self._sock = sock
        self._descriptors = descriptors
        self._owner = os.getpid()
        close_in_forks(self, lambda visit: visit.ends)

    def wait_until_ready(self, deadline: float) -> None:
        """Return: it is."""

    def listen_at(self, address: LoopbackAddress) -> None:
        """Have the news come to *address*, all that is known first.

        Raises:
            AttachError: Whoever has started the system is gone.
        """
        try:
            self._sock.send(ADDRESS.pack(address.port, address.nonce))
        except OSError as error:
            raise AttachError("the process that has started the system is gone") from error

    def ask(self, packet: bytes, seconds: float | None) -> bytes:
        """Send *packet*, and return the answer, as one does who came for the log.

        Raises:
            EOFError: The system has ended, or whoever has started it is gone.
            TimeoutError: There is no answer after *seconds*.
        """
        self._sock.settimeout(seconds)
        try:
            self._sock.send(packet)
            answer = self._sock.recv(MAX_PACKET)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if not answer:
            raise EOFError
        return answer

    def close(self) -> None:
        """Leave; the system goes on. Twice is fine."""
        self.ends = []
        self._sock.close()
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)

    def __del__(self) -> None:
        if self._owner == os.getpid():
            self.close()


def visit(name: str, timeout: float) -> Visit:
    """Enter the system called *name*; one that is being started is waited for.

    Raises:
        SystemNotFoundError: No live system of this user is called so.
        AttachError: It does not let this process in; it says why.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = max(_LOOK_SECONDS, deadline - time.monotonic())
        try:
            sock, secret = place.connect(name, left)
        except FileNotFoundError:
            problem = "it is being started"
        except (ConnectionRefusedError, BlockingIOError, TimeoutError) as error:
            problem = f"nobody opens: {error.strerror or 'time is over'}"
        except OSError as error:
            raise AttachError(_failure(name, error.strerror or "")) from error
        else:
            return _enter(name, sock, secret, left)
        if _holder(name) is None:
            raise SystemNotFoundError(name, place.names())
        if time.monotonic() >= deadline:
            raise AttachError(_failure(name, f"{problem}, for {timeout:g} s"))
        time.sleep(_LOOK_SECONDS)


def _holder(name: str) -> int | None:
    try:
        return place.holder(name)
    except OSError as error:  # what is there is no lock
        raise AttachError(_failure(name, error.strerror or "")) from error


def _failure(name: str, problem: str) -> str:
    return f"system {name} cannot be attached to: {problem}"


def _enter(name: str, sock: socket.socket, secret: bytes, seconds: float) -> Visit:
    with ExitStack() as undo:
        undo.callback(sock.close)
        try:
            sock.settimeout(seconds)
            _require_own(sock)
            side = VisitorSide(secret)
            sock.send(side.opening())
            sock.send(side.answer(_receive(sock), Visitor.here()))
            packet, descriptors = _receive_all(sock)
        except ProofError as error:
            raise AttachError(_failure(name, str(error))) from error
        except TimeoutError as error:
            raise AttachError(
                _failure(name, f"it does not answer within {seconds:.3g} s")
            ) from error
        except OSError as error:
            raise AttachError(_failure(name, f"it has hung up: {error.strerror}")) from error
        for descriptor in descriptors:
            undo.callback(os.close, descriptor)
        if packet.startswith(REFUSED):
            raise AttachError(_failure(name, quote(packet[1:].decode(errors="replace"))))
        welcome = wire.unpack(packet[1:]) if packet.startswith(WELCOME) else None
        if not isinstance(welcome, Welcome) or not descriptors:
            raise AttachError(_failure(name, "it has hung up"))
        undo.pop_all()
    return Visit(sock, welcome, descriptors)


def _require_own(sock: socket.socket) -> None:
    _, uid = place.peer_of(sock)
    if uid != os.geteuid():
        raise ProofError("it is another user's")


def _receive(sock: socket.socket) -> bytes:
    packet = sock.recv(MAX_PACKET)
    if not packet:
        raise ProofError("it has hung up")
    return packet


def _receive_all(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return a packet, and the descriptors that came with it, none of which a program inherits."""
    size = socket.CMSG_LEN(_MAX_DESCRIPTORS * array.array("i").itemsize)
    packet, ancillary, _, _ = sock.recvmsg(MAX_PACKET, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            with suppress(ValueError):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return packet, list(descriptors)
