"""The nursery: where the processes of a system are made, and where they are buried.

All of them are children of the host, and the nursery knows whose they are in
the tree. A fork costs its parent a copy of each page that it touches next; the
host has nothing else to do, and a supervisor has: it answers. It is also what
makes standbys cheap, for a few of them serve the whole system. A standby is a
process that waits and is nobody yet; told what to run, it starts at once.

When a process dies, all below it is killed before anybody hears of that death.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from jidocode._host.actor.rehearsal import Standby
from jidocode._host.daemon import processes
from jidocode._host.transport.address import Address
from jidocode.base import log

STANDBYS = {False: 2, True: 1}
"""How many stand by, by whether they are to supervise: as many as a session begins with."""
MAX_TOLD = 1 << 15
"""Bytes that a standby can be told: they fit into its pipe, so telling it never waits."""

Fork = Callable[[int, bytes | Standby], processes.ChildProcess]
"""Forks a process with its number and its order, or one that stands by."""


class Ward(Struct, eq=False):
    """A process of the system.

    Attributes:
        process: The process.
        number: Its own.
        parent: Its supervisor; None for the root and for a standby.
        incarnation: Which start of its supervisor it is.
        address: Where it listens, once it has said so.
        below: Its children, by incarnation.
    """

    process: processes.ChildProcess
    number: int
    parent: Ward | None = None
    incarnation: int = 0
    address: Address | None = None
    below: dict[int, Ward] = field(default_factory=dict[int, "Ward"])

    def descendants(self) -> Iterator[Ward]:
        """Yield all that is below, nearest first."""
        for ward in self.below.values():
            yield ward
            yield from ward.descendants()


class _Waiting(Struct, frozen=True):
    """How a standby is told, and whether it is ready to supervise."""

    go: int
    supervises: bool


class Nursery:
    """The processes of one system; for the single-threaded host."""

    def __init__(self, fork: Fork) -> None:
        """Make processes by *fork*."""
        self._fork = fork
        self._numbers = itertools.count(1)
        self._wards: dict[int, Ward] = {}  # by pid
        self._by_number: dict[int, Ward] = {}  # until they have said where they listen
        self._by_address: dict[Address, Ward] = {}
        self._standbys: dict[Ward, _Waiting] = {}

    def find(self, address: Address) -> Ward | None:
        """Return the process that listens at *address*, unless it is buried."""
        return self._by_address.get(address)

    def connected(self, number: int, address: Address) -> Ward | None:
        """Take in that the process with that *number* listens at *address*; return it."""
        ward = self._by_number.pop(number, None)
        if ward is not None and ward.process.status is None:
            ward.address = address
            self._by_address[address] = ward
        return ward

    def start(
        self, order: bytes, parent: Ward | None = None, incarnation: int = 0, *, supervises: bool
    ) -> Ward:
        """Start a process with *order* below *parent*: a standby if there is one.

        Raises:
            OSError: The kernel refuses.
        """
        ward = self._told(order, supervises=supervises) or self._add(order)
        ward.parent, ward.incarnation = parent, incarnation
        if parent is not None:
            parent.below[incarnation] = ward
        return ward

    @property
    def has_standbys(self) -> bool:
        """Whether any process stands by."""
        return bool(self._standbys)

    def stand_by(self) -> bool:
        """Have one more process stand by, unless there are enough; return whether it was forked.

        Raises:
            OSError: The kernel refuses.
        """
        have = [waiting.supervises for waiting in self._standbys.values()]
        missing = [kind for kind, count in STANDBYS.items() if have.count(kind) < count]
        if not missing:
            return False
        turn, go = os.pipe()
        try:
            ward = self._add(Standby(turn, missing[0]))
        except OSError:
            os.close(go)
            raise
        finally:
            os.close(turn)
        self._standbys[ward] = _Waiting(go, missing[0])
        return True

    def bury(self) -> list[Ward]:
        """Reap the dead, and kill and reap all below them and what they have left behind.

        Returns:
            Those of them whose parents live, or that have none. Their statuses are known.
        """
        dead = [ward for pid, status in _reaped() if (ward := self._exited(pid, status))]
        below = [other for ward in dead for other in ward.descendants()]
        for ward in below:
            ward.process.kill()
        for ward in below:
            ward.process.wait()
            self._forget(ward)
        if dead:
            processes.bury_orphans(self._wards)
        for ward in dead:
            if ward.parent is not None:
                ward.parent.below.pop(ward.incarnation, None)
        return [ward for ward in dead if ward.parent is None or ward.parent.process.status is None]

    def _add(self, order: bytes | Standby) -> Ward:
        number = next(self._numbers)
        ward = Ward(self._fork(number, order), number)
        self._wards[ward.process.pid] = ward
        self._by_number[number] = ward
        return ward

    def _told(self, order: bytes, *, supervises: bool) -> Ward | None:
        """Have a standby run *order*, one that is ready for it if there is one."""
        while self._standbys and len(order) <= MAX_TOLD:
            standbys = self._standbys.items()
            ready = (ward for ward, waiting in standbys if waiting.supervises is supervises)
            ward = next(ready, None) or next(iter(self._standbys))
            go = self._standbys.pop(ward).go
            try:
                with os.fdopen(go, "wb", buffering=0) as pipe:
                    pipe.write(order)
            except BrokenPipeError:  # it has died while it waited
                continue
            return ward
        return None

    def _exited(self, pid: int, status: int) -> Ward | None:
        ward = self._wards.get(pid)
        if ward is not None:
            ward.process.status = os.waitstatus_to_exitcode(status)
            self._forget(ward)
        return ward

    def _forget(self, ward: Ward) -> None:
        if self._wards.pop(ward.process.pid, None) is None:
            return
        self._by_number.pop(ward.number, None)
        if ward.address is not None:
            self._by_address.pop(ward.address, None)
        waiting = self._standbys.pop(ward, None)
        if waiting is not None:
            os.close(waiting.go)
        trace = ward.process.trace()
        if trace:
            log.error("a fatal signal ended a process\n{}", trace, pid=ward.process.pid)
        ward.process.close()


def _reaped() -> Iterator[tuple[int, int]]:
    """Reap what is dead, and yield pids and statuses."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
