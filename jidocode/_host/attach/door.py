"""Lets other processes of the user into a system, and tells them what happens in it.

It lives in the reader thread of the app that has started the system: there every piece of news
comes in one order, and what is known of the tree is changed by nobody else. So who comes in gets
all that is known, and after that each piece of news, and misses nothing in between.

A visitor has two connections: the UNIX socket by which he came, over which nothing is said any
more once he is in, and whose end tells either side that the other is gone, however that
came; and a link of the transport, for the news. He asks the processes of the system himself. One
who does not read his news has to go, before they fill the memory of the app.

One who comes for the log has the socket alone: he asks for lines, and gets those that one packet
holds. So nothing is kept for him, and if he is slow he misses what `tail` has not kept.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn, Protocol

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.attach.place import Claim, peer_of
from jidocode._host.attach.proof import (
    MAX_PACKET,
    REFUSED,
    WELCOME,
    ProofError,
    SystemSide,
    Visitor,
    misfit,
)
from jidocode._host.client.directory import Directory
from jidocode._host.forks import close_in_forks
from jidocode._host.tail import Tail, tell
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import Kind
from jidocode._host.transport.messenger import Messenger
from jidocode._host.transport.poller import READ
from jidocode._host.transport.window import Parcel
from jidocode.base import log
from jidocode.base.text import quote
from jidocode.errors import HostError
from jidocode.otp.supervision.events import ChildStarting, SupervisorEvent

PATIENCE_SECONDS = 5.0
"""How long somebody may take to prove who he is."""
MAX_STRANGERS = 64
"""For one more, one has to go; see `Door._has_room_for`."""
_PAUSE_SECONDS = 0.1
_ACCEPTS_PER_TURN = 16
_QUIET_SECONDS = 1.0
"""How long nothing is logged of those who are turned away, after one was."""
NEWS = (ChildStarting, SupervisorEvent, wire.News, wire.RootReady, wire.RootExited)
"""What visitors are told, as it came."""
ADDRESS = struct.Struct("!HQ")
"""How a visitor says where he listens."""
LOG = struct.Struct("!cQI?")
"""How a visitor asks for the log: a letter, after which line, how many at most, the last ones, and
whether to wait for one."""
ASKS_LOG = b"L"


class Welcome(Struct, frozen=True):
    """What a visitor is given in a file, with a descriptor of each process that may end.

    Attributes:
        key: The key of the system.
        admin: Where the host listens.
        pid: The host's process id.
        about: Whatever else whoever has started the system wants him to know, pickled.
    """

    key: bytes
    admin: LoopbackAddress
    pid: int
    about: bytes


class _Host(Protocol):
    """What the door needs of the host of its system."""

    ends: list[int]

    @property
    def log_tail(self) -> Tail:
        """The last of the log."""
        ...


class _Connection:
    """Somebody at the door, or inside.

    Attributes:
        sock: The socket.
        pid: The process that has connected.
        side: Our side of the proof.
        step: What to do with the next packet.
        address: Where he hears news; None before he has said so, and if he came for the log.
        until: When he has to have proven who he is (monotonic seconds).
    """

    __slots__ = ("address", "pid", "side", "sock", "step", "until")

    def __init__(self, sock: socket.socket, secret: bytes, pid: int) -> None:
        self.sock = sock
        self.pid = pid
        self.until = time.monotonic() + PATIENCE_SECONDS
        self.side = SystemSide(secret)
        self.step: Callable[[_Connection, bytes], None]
        self.address: LoopbackAddress | None = None


class Door:
    """The way into one system; for the reader thread alone, but for its making.

    Attributes:
        idle_since: Since when nobody is inside (monotonic seconds); None if somebody is.
    """

    def __init__(
        self,
        claim: Claim,
        messenger: Messenger,
        directory: Directory,
        welcome: Welcome,
        host: _Host,
    ) -> None:
        """Let in by the name of *claim*; everybody is given the ends of *host*."""
        self._claim = claim
        self._messenger = messenger
        self._directory = directory
        self._welcome = _in_memory(wire.pack(welcome))
        self._ends = list(host.ends)
        self._log = host.log_tail
        self._await_log: dict[int, tuple[_Connection, int, int]] = {}
        self._is_told = False  # whether those who wait for the log are about to get it
        self._inside: dict[int, _Connection] = {}
        self._strangers: dict[int, _Connection] = {}
        self._is_timed = False  # whether a timer runs for the first of them
        self._is_closed = False
        self._turned_away = 0
        self._next_word = 0.0
        self.idle_since: float | None = time.monotonic()
        try:
            self._listener = claim.listen()
        except BaseException:
            os.close(self._welcome)
            raise
        close_in_forks(self, Door._descriptors)

    def _descriptors(self) -> list[int]:
        connections = [*self._inside.values(), *self._strangers.values()]
        own = [self._listener.fileno(), self._welcome]
        return [*own, *(each.sock.fileno() for each in connections)]

    @property
    def visitors(self) -> int:
        """How many processes are inside."""
        return len(self._inside)

    def open(self) -> None:
        """Begin to let in."""
        if not self._is_closed:
            with suppress(HostError):  # closed meanwhile
                self._messenger.poller.register(self._listener.fileno(), READ, self._on_knock)

    def tell(self, message: object) -> None:
        """Tell everybody inside *message*, if it is news."""
        if self._inside and isinstance(message, NEWS):
            self._send(list(self._inside.values()), message)

    def say_goodbye(self) -> None:
        """Tell everybody that the system is being closed."""
        self._send(list(self._inside.values()), wire.SystemCloses())

    def close(self) -> None:
        """Let nobody in any more, and go; twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        self._log.listener = None
        self._messenger.poller.unregister(self._listener.fileno())
        self._listener.close()
        welcome, self._welcome = self._welcome, -1
        os.close(welcome)
        for connection in [*self._inside.values(), *self._strangers.values()]:
            self._forget(connection)
        self._claim.release()

    # At the door

    def _on_knock(self, _events: int) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}:
                    return
                # It stays readable: look again when a descriptor may be free.
                self._messenger.poller.unregister(self._listener.fileno())
                self._messenger.call_at(time.monotonic() + _PAUSE_SECONDS, self.open)
                return
            self._receive_stranger(sock)

    def _receive_stranger(self, sock: socket.socket) -> None:
        pid, uid = peer_of(sock)
        if uid != os.geteuid():
            sock.close()
            return
        if len(self._strangers) >= MAX_STRANGERS and not self._has_room_for(pid):
            sock.close()
            return
        sock.settimeout(0)
        connection = _Connection(sock, self._claim.secret, pid)
        connection.step = self._challenge
        fd = sock.fileno()
        try:
            self._messenger.poller.register(fd, READ, partial(self._on_packet, connection))
        except OSError:
            sock.close()
            return
        self._strangers[fd] = connection
        self._time_first()

    def _has_room_for(self, pid: int) -> bool:
        """Put somebody out for a stranger of process *pid*; False if that one is to go himself.

        It is one of the process that has most at the door, so a single process, however many
        connections it makes, keeps nobody out but itself. Which one is left to chance: if it were
        the one that is there longest, a flood by many processes would put out everybody before he
        has proven anything. Whoever attaches tries again.
        """
        counts = Counter(each.pid for each in self._strangers.values())
        counts[pid] += 1
        most = max(counts.values())
        those = [each for each in self._strangers.values() if counts[each.pid] == most]
        chosen = random.randrange(len(those) + (counts[pid] == most))  # noqa: S311 - no secret
        if chosen == len(those):
            return False
        self._forget(those[chosen])
        return True

    def _time_first(self) -> None:
        if self._strangers and not self._is_timed:  # one timer, however many come and go
            self._is_timed = True
            first = next(iter(self._strangers.values()))
            self._messenger.call_at(first.until, self._lose_patience)

    def _lose_patience(self) -> None:
        self._is_timed = False
        now = time.monotonic()
        for each in list(self._strangers.values()):
            if each.until > now:
                break
            self._forget(each)
        self._time_first()

    def _on_packet(self, connection: _Connection, _events: int) -> None:
        try:
            packet = connection.sock.recv(MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._forget(connection)
            return
        try:
            connection.step(connection, packet)
        except (ProofError, OSError, ValueError, struct.error) as error:
            self._turn_away(connection, error)

    def _turn_away(self, connection: _Connection, why: Exception) -> None:
        self._forget(connection)
        self._turned_away += 1
        now = time.monotonic()
        if now < self._next_word:  # whoever comes again and again fills no disk
            return
        self._next_word = now + _QUIET_SECONDS
        log.warning(
            "process {} is not let into system {}: {} (turned away so far: {})",
            connection.pid,
            self._claim.name,
            quote(str(why)),
            self._turned_away,
        )

    def _challenge(self, connection: _Connection, packet: bytes) -> None:
        connection.sock.send(connection.side.challenge(packet))
        connection.step = self._admit

    def _admit(self, connection: _Connection, packet: bytes) -> None:
        problem = misfit(connection.side.admit(packet), Visitor.here())
        if problem:
            connection.sock.send(REFUSED + problem.encode())
            raise ProofError(problem)
        socket.send_fds(connection.sock, [WELCOME], [self._welcome, *self._ends])
        # From here on he is put out neither for others nor for being slow: he may have much to
        # import before he can say where he listens.
        fd = connection.sock.fileno()
        self._inside[fd] = self._strangers.pop(fd)
        self.idle_since = None
        connection.step = self._let_in

    def _let_in(self, connection: _Connection, packet: bytes) -> None:
        if len(packet) == LOG.size:
            connection.step = self._show_log
            self._show_log(connection, packet)
        else:
            connection.address = LoopbackAddress(*ADDRESS.unpack(packet))
            connection.step = _expect_nothing
            self._send([connection], wire.Snapshot(self._directory.snapshot()))

    # Inside

    def _show_log(self, connection: _Connection, packet: bytes) -> None:
        letter, after, last, waits = LOG.unpack(packet)
        if letter != ASKS_LOG:
            raise ProofError("it has asked for something that there is not")
        if waits:
            # Heard from now on: what comes between this and the look is heard, and seen.
            self._await_log[connection.sock.fileno()] = connection, after, last
            self._log.listener = self._on_line
            self._answer_waiting()
        else:
            self._send_log(connection, after, last)

    def _send_log(self, connection: _Connection, after: int, last: int) -> None:
        count = self._log.count  # before the look, so that nothing is taken for seen
        found = self._log.after(after, last)
        if found:  # and as many as are wanted come before it
            count = found[-1].number
        connection.sock.send(tell(found, count, MAX_PACKET))

    def _on_line(self) -> None:
        """Have those who wait for the log get it, once for all lines that come at once."""
        if not self._is_told:
            self._is_told = True
            with suppress(HostError):  # closed meanwhile
                self._messenger.after(0.0, self._answer_waiting)

    def _answer_waiting(self) -> None:
        self._is_told = False  # before the look: a line that comes during it has it look again
        for fd, (connection, after, last) in list(self._await_log.items()):
            if self._log.count > after:
                del self._await_log[fd]
                try:
                    self._send_log(connection, after, last)
                except OSError:  # it asks, and does not read
                    self._forget(connection)
        if not self._await_log:
            self._log.listener = None

    def _send(self, connections: Sequence[_Connection], message: object) -> None:
        body = wire.encode(message)
        for each in connections:
            if each.address is not None:
                gone = partial(self._on_undelivered, each)
                self._messenger.post(each.address, Parcel(Kind.MESSAGE, body, gone))

    def _on_undelivered(self, connection: _Connection, outcome: object) -> None:
        if connection.sock.fileno() >= 0:
            log.debug("process {} hears no news any more: {}", connection.pid, outcome)
            self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        fd = connection.sock.fileno()
        if self._inside.pop(fd, None) is not None and not self._inside:
            self.idle_since = time.monotonic()
        self._strangers.pop(fd, None)
        self._await_log.pop(fd, None)
        self._messenger.poller.close_socket(connection.sock)
        if connection.address is not None:
            self._messenger.hang_up(connection.address)


def _in_memory(content: bytes) -> int:
    """Return the descriptor of a file that has *content*, of any length: a packet has a bound."""
    descriptor = os.memfd_create("jidocode-welcome")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor


def _expect_nothing(_connection: _Connection, _packet: bytes) -> NoReturn:
    raise ProofError("it has said more than it should")
