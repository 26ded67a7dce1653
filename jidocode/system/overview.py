"""The live tree with all that is known of each process: what `jidocode tree` and `top` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.system.health import ChildHealth, Health, TreeNode
from jidocode.system.system import SessionSystem


@frozen(eq=False, repr=False, kw_only=True)
class ProcessOverview(Record):
    """A process, and what is below it.

    Attributes:
        id: Its id under its supervisor.
        kind: What it is, in one word; None if it has no process.
        pid: Its process id.
        status: How it is, as `HealthStatus` has it; of what is not asked, as `ChildStatus`.
        restarts: How often it was started again.
        uptime: Seconds since its `init`; None if it did not answer, or is not asked.
        memory: Bytes of memory of its own; None if it did not answer, or cannot tell.
        last_exit: Why its last process ended; None if none has.
        session_id: The session that it belongs to, or supervises.
        session_name: The name of that session, for its supervisor.
        children: What it supervises, in start order.
    """

    id: str
    kind: str | None
    pid: int | None
    status: str
    restarts: int
    uptime: float | None = None
    memory: int | None = None
    last_exit: ExitReason | None = None
    session_id: str | None = None
    session_name: str | None = None
    children: tuple[ProcessOverview, ...] = ()

    def lines(self) -> Iterator[tuple[str, ProcessOverview]]:
        """Yield it and all that is below it, each with the lines that are drawn before it."""
        yield "", self
        for child in self.children:
            first, rest = ("└─ ", "   ") if child is self.children[-1] else ("├─ ", "│  ")
            for number, (drawn, below) in enumerate(child.lines()):
                yield (rest if number else first) + drawn, below


def overview(system: SessionSystem) -> ProcessOverview:
    """Return the tree of *system*, all processes of it asked how they are.

    Raises:
        CallError: A supervisor did not answer.
        HostError: The whole system is gone.
    """
    tree, health = system.tree(), system.system_health()
    names = {record.id: record.name for record in system.list_sessions()}
    asked = {child.ref: child for child in health.processes if child.ref is not None}
    for each in health.sessions:
        asked |= {child.ref: child for child in each.children if child.ref is not None}
    sessions = {each.session_id: each for each in health.sessions}
    return _process(tree, _Known(asked, sessions, names), None)


@frozen
class _Known:
    asked: Mapping[ActorRef, ChildHealth]
    sessions: Mapping[str, Health]
    names: Mapping[str, str]


def _process(node: TreeNode, known: _Known, session_id: str | None) -> ProcessOverview:
    session = known.sessions.get(node.id) if session_id is None else None
    if session is not None:
        session_id = node.id
    ref, pulse = node.ref, known.asked.get(node.ref) if node.ref else None
    status = pulse.status.value if pulse else node.status.value
    return ProcessOverview(
        id=node.id,
        kind=ref.kind if ref else None,
        pid=ref.os_pid if ref else None,
        status=session.status.value if session else status,
        restarts=node.restarts,
        uptime=pulse.uptime if pulse else None,
        memory=pulse.memory if pulse else None,
        last_exit=pulse.last_exit if pulse else None,
        session_id=session_id,
        session_name=known.names.get(node.id) if session else None,
        children=tuple(_process(child, known, session_id) for child in node.children),
    )
