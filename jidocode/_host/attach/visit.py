"""The way into a system that another process has started."""

from __future__ import annotations

import array
import math
import os
import random
import socket
import time
from contextlib import ExitStack, suppress
from functools import partial

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
from jidocode._host.deadline import Deadline
from jidocode._host.descriptors import wait_for_any
from jidocode._host.forks import close_in_forks
from jidocode._host.transport.address import LoopbackAddress
from jidocode.base.text import quote
from jidocode.base.waiting import until
from jidocode.errors import AttachError, SystemNotFoundError

_LOOK_SECONDS = 0.02
_STEP_SECONDS = 10.0
"""How long one try waits for one answer."""
_MAX_DESCRIPTORS = 8


class HungUpError(AttachError):
    """The system has let go of this process before it was in: it is to be tried again.

    It does so while a crowd is at its door, and when it ends.
    """


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
            HungUpError: The system has let go of this process.
        """
        try:
            self._sock.send(ADDRESS.pack(address.port, address.nonce))
        except OSError as error:
            raise HungUpError(f"it has hung up: {error.strerror}") from error

    def ask(self, packet: bytes, seconds: float | None) -> bytes:
        """Send *packet*, and return the answer, as one does who came for the log.

        Raises:
            EOFError: The system has ended, or whoever has started it is gone.
            TimeoutError: There is no answer after *seconds*.
        """
        try:
            self._sock.send(packet)
            _await_packet(self._sock, math.inf if seconds is None else seconds)
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


def visit(name: str, deadline: Deadline) -> Visit:
    """Enter the system called *name*; one that is being started is waited for.

    Whenever it hangs up before this process is in, it is tried again until *deadline*.

    Raises:
        SystemNotFoundError: No live system of this user is called so.
        AttachError: It does not let this process in; it says why.
    """
    while True:
        seconds = min(max(_LOOK_SECONDS, deadline.left), _STEP_SECONDS)
        try:
            return _enter(name, *place.connect(name, seconds), seconds)
        except FileNotFoundError:
            problem = "it is being started"
        except (ConnectionRefusedError, BlockingIOError, InterruptedError) as error:
            problem = f"nobody opens: {error.strerror}"
        except TimeoutError:
            problem = "it does not answer"
        except HungUpError as error:
            problem = str(error)
        except OSError as error:
            raise AttachError(_failure(name, error.strerror or "")) from error
        pause_before_retry(name, deadline, problem)


def pause_before_retry(name: str, deadline: Deadline, problem: str) -> None:
    """Return when to try again to enter the system called *name*, which *problem* has prevented.

    Raises:
        SystemNotFoundError: No live system of this user is called so.
        AttachError: The *deadline* is over; it says what the problem is.
    """
    if _holder(name) is None:
        raise SystemNotFoundError(name, place.names())
    if not deadline.left:
        raise AttachError(_failure(name, f"{problem}, for {deadline.seconds:g} s"))
    # Those who were turned away at once do not come back at once.
    time.sleep(min(deadline.left, _LOOK_SECONDS * random.uniform(0.5, 1.5)))  # noqa: S311 - no secret


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
            _await_packet(sock, seconds)
            sock.send(side.answer(_receive(sock), Visitor.here()))
            _await_packet(sock, seconds)
            packet, descriptors = _receive_all(sock)
        except ProofError as error:
            raise AttachError(_failure(name, str(error))) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise HungUpError(f"it has hung up: {error.strerror}") from error
        for descriptor in descriptors:
            undo.callback(os.close, descriptor)
        if packet.startswith(REFUSED):
            raise AttachError(_failure(name, quote(packet[1:].decode(errors="replace"))))
        if packet != WELCOME or not descriptors:
            raise HungUpError("it has hung up")
        file, *ends = descriptors
        welcome = wire.unpack(os.pread(file, os.fstat(file).st_size, 0))
        if not isinstance(welcome, Welcome) or not ends:
            raise HungUpError("it has hung up")
        undo.pop_all()
    os.close(file)
    return Visit(sock, welcome, ends)


def _require_own(sock: socket.socket) -> None:
    _, uid = place.peer_of(sock)
    if uid != os.geteuid():
        raise ProofError("it is another user's")


def _await_packet(sock: socket.socket, seconds: float) -> None:
    if not until(partial(wait_for_any, [sock.fileno()]), seconds):
        raise TimeoutError


def _receive(sock: socket.socket) -> bytes:
    packet = sock.recv(MAX_PACKET)
    if not packet:
        raise HungUpError("it has hung up")
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
