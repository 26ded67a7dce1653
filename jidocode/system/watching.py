"""Looking at a system again and again: what `jidocode top` shows.

A system may have thousands of processes, and a terminal has a few dozen lines. So what there is
is read off what this process hears of the tree anyway, and only what is to be seen is asked.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import frozen

from jidocode._host.deadline import Deadline
from jidocode._host.wire import Pulse
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import CallError, CallTimeoutError, JidocodeError
from jidocode.otp.supervision.management import ChildInfo, WhichChildren
from jidocode.session.commands.result import CommandInfo
from jidocode.session.conversation.blocks import Usage
from jidocode.session.record import is_session_id
from jidocode.session.starting import COMMANDS
from jidocode.system.health import HealthStatus, branch
from jidocode.system.overview import (
    STATE,
    ProcessOverview,
    counting_commands,
    counting_usage,
    cpu_time,
)
from jidocode.system.probe import status_of
from jidocode.system.steps import AskAll, PingAll, Plan
from jidocode.system.system import SessionSystem

LOOK_SECONDS = 1.0
"""How long a process may take to answer; one that hangs is shown as such."""
MAX_CHILDREN = 200
"""A supervisor that has more is not asked for them: it would say everything of all at once."""
_RATE_SECONDS = 0.9
Key = tuple[ActorRef, str]
"""What a place in the tree has for good: the supervisor, and the id under it."""


class Line(NamedTuple):
    """A process of the tree, as it is known without asking it.

    Attributes:
        drawn: The lines that are drawn before it.
        id: Its id under its supervisor.
        ref: Its process, None if it has none.
        supervisor: Its supervisor; the root's is itself.
        session_id: The session that it belongs to, or supervises.
        info: What its supervisor has said of it, if it was asked.
    """

    drawn: str
    id: str
    ref: ActorRef | None
    supervisor: ActorRef
    session_id: str | None
    info: ChildInfo | None

    @property
    def key(self) -> Key:
        """What stays the same when it is restarted."""
        return self.supervisor, self.id

    @property
    def is_session(self) -> bool:
        """Whether it is the supervisor of a session."""
        return self.session_id == self.id


@frozen(eq=False, repr=False, kw_only=True)
class Look(Record):
    """A process that was asked how it is.

    Attributes:
        process: The answer.
        cpu: What share of a processor it takes; None before the second look.
        call_rate: Calls that it is sent in a second; likewise.
    """

    process: ProcessOverview
    cpu: float | None
    call_rate: float | None


class _Count(NamedTuple):
    at: float
    cpu_time: float | None
    calls: int | None
    cpu: float | None = None
    call_rate: float | None = None


Places = Mapping[ActorRef, tuple[ActorRef, Name | None]]
Infos = Mapping[ActorRef, Sequence[ChildInfo]]


def outline(places: Places, infos: Infos) -> list[Line]:
    """Return the tree: each process of *places*, which gives its supervisor and its name.

    *infos* is what supervisors have said of their children: those are in that order then, and
    those that have no process are among them.
    """
    below: dict[ActorRef, list[tuple[ActorRef, Name | None]]] = {}
    lines: list[Line] = []
    root: ActorRef | None = None
    for ref, (supervisor, name) in places.items():
        if ref == supervisor:
            root = ref
        else:
            below.setdefault(supervisor, []).append((ref, name))
    if root is None:
        return []

    def add(supervisor: ActorRef, before: str, session_id: str | None) -> None:
        children = _children(below.get(supervisor, ()), infos.get(supervisor, ()))
        for number, (child_id, ref, info, is_session) in enumerate(children, 1):
            first, rest = branch(is_last=number == len(children))
            inside = child_id if is_session else session_id
            lines.append(Line(before + first, child_id, ref, supervisor, inside, info))
            if ref is not None and ref in below:
                add(ref, before + rest, inside)

    lines.append(Line("", "jidocode", root, root, None, None))
    add(root, "", None)
    return lines


def _children(
    known: Sequence[tuple[ActorRef, Name | None]], infos: Sequence[ChildInfo]
) -> list[tuple[str, ActorRef | None, ChildInfo | None, bool]]:
    """Return id, process, what is said of it, and whether it supervises a session, of children."""
    found: dict[str, tuple[str, ActorRef | None, ChildInfo | None, bool]] = {
        info.id: (info.id, None, info, False) for info in infos
    }
    said = {info.id: info for info in infos}
    for ref, name in known:
        is_session = False
        if name is None:  # only its supervisor knows its id
            child_id = next((info.id for info in infos if info.ref == ref), str(ref))
        else:
            kind, name_id = name
            is_session = kind == "session" and is_session_id(name_id)
            child_id = kind if is_session_id(name_id) and not is_session else name_id
        found[child_id] = child_id, ref, said.get(child_id), is_session
    return list(found.values())


class Watch:
    """Looks at a system; for one thread.

    Attributes:
        commands: The commands of the sessions that were looked at last, by session.
    """

    def __init__(self, system: SessionSystem) -> None:
        self.commands: dict[str, list[CommandInfo]] = {}
        self._system = system
        self._running = system._running  # noqa: SLF001 - both are of this room
        self._infos: dict[ActorRef, Sequence[ChildInfo]] = {}
        self._counts: dict[ActorRef, _Count] = {}

    def lines(self) -> list[Line]:
        """Return the tree as it is known; asks nobody.

        Raises:
            HostError: The system is gone.
        """
        self._running.client.check()
        places = self._running.client.directory.places()
        self._infos = {ref: infos for ref, infos in self._infos.items() if ref in places}
        return outline(places, self._infos)

    def look(self, lines: Sequence[Line]) -> dict[Key, Look]:
        """Ask the processes of *lines* how they are, all at once, and return what is known then.

        Raises:
            HostError: The system is gone.
        """
        return self._running.carry_out(self._looking(lines))

    def _looking(self, lines: Sequence[Line]) -> Plan[dict[Key, Look]]:
        deadline = Deadline.after(LOOK_SECONDS)
        places = self._running.client.directory.places()
        sizes: dict[ActorRef, int] = {}
        for supervisor, _ in places.values():
            sizes[supervisor] = sizes.get(supervisor, 0) + 1
        supervisors = {line.supervisor for line in lines} | {
            line.ref for line in lines if line.ref is not None and line.ref in sizes
        }
        asked = [ref for ref in supervisors if ref in places and sizes[ref] <= MAX_CHILDREN]
        answers: list[Any] = yield AskAll(asked, WhichChildren(), deadline.half)
        for ref, answer in zip(asked, answers, strict=True):
            if not isinstance(answer, CallError):
                self._infos[ref] = answer
        infos = {(ref, info.id): info for ref in asked for info in self._infos.get(ref, ())}

        refs = [line.ref for line in lines if line.ref is not None]
        pulses: list[Pulse | CallError] = yield PingAll(refs, deadline.half)
        pulse_of = dict(zip(refs, pulses, strict=True))
        self._counts = {ref: self._count(ref, answer) for ref, answer in pulse_of.items()}

        sessions = {line.session_id for line in lines if line.session_id is not None}
        runners = _in_sessions(places, COMMANDS, sessions)
        told = yield from counting_commands([*runners.values()], deadline.left)
        self.commands = {each: told[ref] for each, ref in runners.items() if ref in told}
        shown = {line.id for line in lines if line.is_session}
        usages = yield from counting_usage(_in_sessions(places, STATE, shown), deadline.left)
        names = yield from self._names(sorted(shown))
        return {
            line.key: self._look(line, infos.get(line.key, line.info), pulse_of, names, usages)
            for line in lines
        }

    def _names(self, session_ids: Sequence[str]) -> Plan[dict[str, str]]:
        names: dict[str, str] = {}
        for session_id in session_ids:
            try:
                record = yield from self._running.sessions.record(session_id)
            except CallTimeoutError:
                break  # the registry hangs; the others would only wait as well
            except JidocodeError:  # it has ended meanwhile, or the registry is being restarted
                continue
            names[session_id] = record.name
        return names

    def _look(
        self,
        line: Line,
        info: ChildInfo | None,
        pulses: Mapping[ActorRef, Pulse | CallError],
        names: Mapping[str, str],
        usages: Mapping[str, Usage],
    ) -> Look:
        ref = line.ref
        answer = pulses.get(ref) if ref is not None else None
        pulse = None if isinstance(answer, CallError) else answer
        count = self._counts.get(ref) if ref is not None else None
        commands = self.commands.get(line.session_id or "") if line.is_session else None
        return Look(
            process=ProcessOverview(
                id=line.id,
                kind=ref.kind if ref else None,
                pid=ref.os_pid if ref else None,
                status=_status(answer, info),
                restarts=info.restarts if info else 0,
                uptime=pulse.uptime if pulse else None,
                cpu_time=count.cpu_time if count else None,
                memory=pulse.memory if pulse else None,
                calls=pulse.calls if pulse else None,
                commands=None if commands is None else sum(each.running for each in commands),
                usage=usages.get(line.id) if line.is_session else None,
                last_exit=info.last_exit if info else None,
                session_id=line.session_id,
                session_name=names.get(line.id),
            ),
            cpu=count.cpu if count else None,
            call_rate=count.call_rate if count else None,
        )

    def _count(self, ref: ActorRef, answer: Pulse | CallError) -> _Count:
        calls = None if isinstance(answer, CallError) else answer.calls
        now, before = time.monotonic(), self._counts.get(ref)
        new = _Count(now, cpu_time(ref), calls)
        if before is None:
            return new
        seconds = now - before.at
        if seconds < _RATE_SECONDS:  # too short for the kernel's hundredths of a second
            return before
        return new._replace(
            cpu=_rate(before.cpu_time, new.cpu_time, seconds),
            call_rate=_rate(before.calls, calls, seconds),
        )


def _in_sessions(places: Places, kind: str, session_ids: Collection[str]) -> dict[str, ActorRef]:
    """Return the process of that *kind* of each of the sessions that has one."""
    named = ((ref, name) for ref, (_, name) in places.items() if name is not None)
    return {name[1]: ref for ref, name in named if name[0] == kind and name[1] in session_ids}


def _rate(before: float | None, now: float | None, seconds: float) -> float | None:
    return None if before is None or now is None else max(0.0, now - before) / seconds


def _status(answer: Pulse | CallError | None, info: ChildInfo | None) -> str:
    if answer is not None:
        return status_of(answer).value
    return info.status.value if info else HealthStatus.DEAD.value
