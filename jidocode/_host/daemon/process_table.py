"""Which processes a system has, and whose children they are: forks them, and reaps them.

Every actor's process is a child of the host, whoever its supervisor is. The host
forks (a pre-forking server, as Apache's or Android's zygote) because it is lean: one
thread, nothing but imported modules on its heap, and it does nothing else. A fork costs
its parent a copy of each page that it touches next; a supervisor that forked would
pay that with its own answers, and hand its heap, its sockets and its locks down.
So the kernel's tree of processes is flat, and this table knows the real one.

**Standbys.** A fork, and what a process does first, take milliseconds; whoever opens a
session would wait for them. So a few processes are forked before they are wanted. A
standby has connected and warmed up, and reads its order from a pipe; given one, it
starts at once. The few serve all sessions.

**Reaping.** A supervisor may restart a child as soon as it hears of its end, so by
then nothing of the dead one may run: neither the processes below it in the table,
nor what it had started itself. The latter become the host's children when their
parent dies, for the host is a subreaper (see `processes`). So `reap` kills and awaits
all that before it returns anybody's death.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from jidocode._host import processes
from jidocode._host.actor.warm_up import StandbyOrder
from jidocode._host.transport.address import Address
from jidocode.base import log

STANDBYS = {False: 2, True: 1}
"""How many stand by, by whether they are to supervise: as many as a session begins with."""
MAX_PIPED_ORDER = 1 << 15
"""Bytes of an order for a standby: they fit into its pipe, so writing them never waits."""


class ProcessEntry(Struct, eq=False):
    """An actor's process in the table.

    Attributes:
        process: The process, as the kernel has it.
        number: Its number in the system, by which it is known until it has an address.
        parent: Its supervisor; None for the root and for a standby.
        incarnation: Which start of its supervisor it is.
        address: Where it listens, once it has said so.
        children: Those whose supervisor it is, by incarnation.
    """

    process: processes.ChildProcess
    number: int
    parent: ProcessEntry | None = None
    incarnation: int = 0
    address: Address | None = None
    children: dict[int, ProcessEntry] = field(default_factory=dict[int, "ProcessEntry"])

    def descendants(self) -> Iterator[ProcessEntry]:
        """Yield all that are below, a supervisor before its children."""
        for entry in self.children.values():
            yield entry
            yield from entry.descendants()


class _Standby(Struct, frozen=True):
    """How a standby is given its order, and whether it is ready to supervise."""

    order_pipe: int
    supervises: bool


class ProcessTable:
    """The processes of one system; for the single-threaded host."""

    def __init__(self, fork: Callable[[int, bytes | StandbyOrder], processes.ChildProcess]) -> None:
        """Fork by *fork*, which takes the new process's number and its order."""
        self._fork = fork
        self._numbers = itertools.count(1)
        self._by_pid: dict[int, ProcessEntry] = {}
        self._by_number: dict[int, ProcessEntry] = {}  # until they have said where they listen
        self._by_address: dict[Address, ProcessEntry] = {}
        self._standbys: dict[ProcessEntry, _Standby] = {}

    def find(self, address: Address) -> ProcessEntry | None:
        """Return the process that listens at *address*, unless it is reaped."""
        return self._by_address.get(address)

    def set_address(self, number: int, address: Address) -> ProcessEntry | None:
        """Note that the process with that *number* listens at *address*; return it if it is new."""
        entry = self._by_number.pop(number, None)
        if entry is not None and entry.process.status is None:
            entry.address = address
            self._by_address[address] = entry
        return entry

    def start(
        self,
        order: bytes,
        parent: ProcessEntry | None = None,
        incarnation: int = 0,
        *,
        supervises: bool,
    ) -> ProcessEntry:
        """Start a process with *order* below *parent*: a standby if there is one.

        Raises:
            OSError: The kernel refuses to fork.
        """
        entry = self._use_standby(order, supervises=supervises) or self._add(order)
        entry.parent, entry.incarnation = parent, incarnation
        if parent is not None:
            parent.children[incarnation] = entry
        return entry

    @property
    def has_standbys(self) -> bool:
        """Whether any process stands by."""
        return bool(self._standbys)

    def add_standby(self) -> bool:
        """Fork one more standby, unless there are enough; return whether it was forked.

        Raises:
            OSError: The kernel refuses to fork.
        """
        have = [standby.supervises for standby in self._standbys.values()]
        missing = [kind for kind, count in STANDBYS.items() if have.count(kind) < count]
        if not missing:
            return False
        reading, writing = os.pipe()
        try:
            entry = self._add(StandbyOrder(order_pipe=reading, supervises=missing[0]))
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._standbys[entry] = _Standby(writing, missing[0])
        return True

    def reap(self) -> list[ProcessEntry]:
        """Reap the dead, and kill and reap all below them and what they have left behind.

        Returns:
            Those of the dead whose deaths somebody has to hear of: the root, and those whose
            supervisors live. Their statuses are known.
        """
        dead = [entry for pid, status in _reap_zombies() if (entry := self._set_dead(pid, status))]
        below = [other for entry in dead for other in entry.descendants()]
        for entry in below:
            entry.process.kill()
        for entry in below:  # all are killed first, so that they die together
            entry.process.wait()
            self._forget(entry)
        if dead:
            processes.kill_orphans(self._by_pid)
        for entry in dead:
            if entry.parent is not None:
                entry.parent.children.pop(entry.incarnation, None)
        return [each for each in dead if each.parent is None or each.parent.process.status is None]

    def _add(self, order: bytes | StandbyOrder) -> ProcessEntry:
        number = next(self._numbers)
        entry = ProcessEntry(self._fork(number, order), number)
        self._by_pid[entry.process.pid] = entry
        self._by_number[number] = entry
        return entry

    def _use_standby(self, order: bytes, *, supervises: bool) -> ProcessEntry | None:
        """Give *order* to a standby, one that is ready for it if there is one; return it."""
        while self._standbys and len(order) <= MAX_PIPED_ORDER:
            standbys = self._standbys.items()
            ready = (entry for entry, standby in standbys if standby.supervises is supervises)
            entry = next(ready, None) or next(iter(self._standbys))
            order_pipe = self._standbys.pop(entry).order_pipe
            try:
                with os.fdopen(order_pipe, "wb", buffering=0) as pipe:
                    pipe.write(order)
            except BrokenPipeError:  # it has died while it waited, and will be reaped
                continue
            return entry
        return None

    def _set_dead(self, pid: int, status: int) -> ProcessEntry | None:
        entry = self._by_pid.get(pid)
        if entry is not None:
            entry.process.status = os.waitstatus_to_exitcode(status)
            self._forget(entry)
        return entry

    def _forget(self, entry: ProcessEntry) -> None:
        if self._by_pid.pop(entry.process.pid, None) is None:
            return
        self._by_number.pop(entry.number, None)
        if entry.address is not None:
            self._by_address.pop(entry.address, None)
        standby = self._standbys.pop(entry, None)
        if standby is not None:
            os.close(standby.order_pipe)
        trace = entry.process.trace()
        if trace:
            log.error("a fatal signal ended a process\n{}", trace, pid=entry.process.pid)
        entry.process.close()


def _reap_zombies() -> Iterator[tuple[int, int]]:
    """Reap what is dead, ours or adopted, and yield pids and statuses; without waiting.

    Signals do not queue: one SIGCHLD may stand for many deaths.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status
