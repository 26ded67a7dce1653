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
parent dies, for the host is a subreaper (see `processes`). So a death is told when all
that is gone, too.

But the host never waits for it: `reap` does what can be done at once, and is called again.
And what a child has started may resist, chains of processes that fork and exit above all.
It is killed on, but a death is told after `TELL_SECONDS` all the same, and one that
comes meanwhile at once: nobody else's recovery shall wait for it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from jidocode._host import processes
from jidocode._host.actor.warm_up import StandbyOrder
from jidocode._host.transport.address import Address
from jidocode.base import log, orphans

STANDBYS = {False: 2, True: 1}
"""How many stand by, by whether they are to supervise: as many as a session begins with."""
MAX_PIPED_ORDER = 1 << 15
"""Bytes of an order for a standby: they fit into its pipe, so writing them never waits."""


TELL_SECONDS = 0.2
"""How long a death is kept back for what the dead one has started itself."""
SHORT_PAUSE = 0.001
PAUSE = 0.02
"""Seconds between two rounds against those who resist; the short one until a death is told."""
MAX_REAPED = 1_000
"""How many are reaped at once, before other work is done."""


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

    @property
    def is_buried(self) -> bool:
        """Whether all that are below are dead."""
        return all(entry.process.status is not None for entry in self.descendants())


class _Standby(Struct, frozen=True):
    """How a standby is given its order, and whether it is ready to supervise."""

    order_pipe: int
    supervises: bool


class ProcessTable:
    """The processes of one system; for the single-threaded host.

    Attributes:
        next_look: When to `reap` again (monotonic seconds), though no death is heard of;
            None when no orphan is left.
    """

    def __init__(
        self,
        fork: Callable[[int, bytes | StandbyOrder], processes.ChildProcess],
        release: Callable[[processes.ChildProcess], object],
    ) -> None:
        """Fork by *fork*, which takes the new process's number and its order.

        *release* takes each process whose end is noted; it closes its descriptors.
        """
        self._fork = fork
        self._release = release
        self._ended: set[int] = set()
        self._untold: list[ProcessEntry] = []
        self._orphaned_at = 0.0  # since when there may be orphans
        self.next_look: float | None = None
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

    def end_stopped_standbys(self) -> bool:
        """Kill those that stand by and are stopped; return whether there was any."""
        stopped = [entry for entry in self._standbys if entry.process.is_stopped()]
        for entry in stopped:
            self._end_standby(entry)
        return bool(stopped)

    def reap(self) -> list[ProcessEntry]:
        """Reap the dead, and kill all below them and what they have left behind; without waiting.

        Returns:
            Those of the dead whose deaths somebody has to hear of now: the root, and those whose
            supervisors live. Their statuses are known.
        """
        has_reaped, now = self._reap_dead(), time.monotonic()
        if has_reaped and self.next_look is None:
            self._orphaned_at = self.next_look = now
        if self.next_look is not None and now >= self.next_look:
            self._kill_orphans()
        resists = self.next_look is not None and self._is_recent(now)
        told = [each for each in self._untold if each.is_buried and not resists]
        self._untold = [each for each in self._untold if each not in told]
        for entry in told:
            if entry.parent is not None:
                entry.parent.children.pop(entry.incarnation, None)
        return [each for each in told if each.parent is None or each.parent.process.status is None]

    def _kill_orphans(self) -> None:
        if orphans.kill_orphans(self._by_pid):
            self.next_look = None
            return
        now = time.monotonic()
        self.next_look = now + (SHORT_PAUSE if self._is_recent(now) else PAUSE)

    def _is_recent(self, now: float) -> bool:
        """Whether a death is still kept back for the orphans that there are."""
        return now < self._orphaned_at + TELL_SECONDS

    def note_end(self, pid: int) -> None:
        """Note that the process *pid* is dead, to be looked at when the dead are reaped."""
        self._ended.add(pid)

    def _reap_dead(self) -> bool:
        """Reap what is dead, ours or adopted; return whether anything was.

        Signals do not queue: one SIGCHLD may stand for many deaths.
        """
        count = 0
        while count < MAX_REAPED and (pid := orphans.next_dead()) is not None:
            count += 1
            entry = self._by_pid.get(pid)
            if entry is not None:
                entry.process.kill()  # its group; while it is not reaped, its number is its own
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if entry is not None:
                self._set_dead(entry, status)
        # Those who are dead and cannot be reaped: whoever traces them has to let go first.
        traced = [entry for pid in self._ended if (entry := self._by_pid.get(pid)) is not None]
        self._ended.clear()
        for entry in traced:
            entry.process.kill()
            self._set_dead(entry, entry.process.unreaped_status())
        return count > 0 or bool(traced)

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
            if entry.process.is_stopped():  # it would neither begin nor fail
                self._end_standby(entry)
                continue
            try:
                with os.fdopen(self._standbys.pop(entry).order_pipe, "wb", buffering=0) as pipe:
                    pipe.write(order)
            except BrokenPipeError:  # it has died while it waited, and will be reaped
                continue
            return entry
        return None

    def _end_standby(self, entry: ProcessEntry) -> None:
        """Kill a standby, and have it get no order from now on."""
        os.close(self._standbys.pop(entry).order_pipe)
        entry.process.kill()

    def _set_dead(self, entry: ProcessEntry, status: int) -> None:
        entry.process.status = status
        self._forget(entry)
        for other in entry.descendants():
            other.process.kill()
        self._untold.append(entry)

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
        self._release(entry.process)
