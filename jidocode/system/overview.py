"""The live tree with all that is known of each process: what `jidocode tree` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from attrs import evolve, frozen

from jidocode._host.deadline import Deadline
from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.errors import CallError, RegistryNotRunningError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.session.commands.operations import list_commands
from jidocode.session.conversation.blocks import NOTHING_USED, Usage
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.requests import request
from jidocode.session.starting import COMMANDS
from jidocode.system.health import ChildHealth, Health, HealthStatus, TreeNode, branch
from jidocode.system.steps import AskAll, Plan
from jidocode.system.system import SessionSystem

_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME = 11, 12  # fields behind the name, see proc_pid_stat(5)
_NAME_BYTES = 15
STATE = "state"
"""The kind, and the id, of what keeps the conversation of a session."""


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
        cpu_time: Seconds that it has spent on a processor; None if it has no process here.
        memory: Bytes of memory of its own; None if it did not answer, or cannot tell.
        calls: How many calls it has been sent; None if it did not answer, or is not asked.
        commands: How many commands run in it; None if it runs none.
        usage: Of the supervisor of a session, what models took in it; of the root, what they took
            in all open sessions. None if nobody has told, and of all others.
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
    cpu_time: float | None = None
    memory: int | None = None
    calls: int | None = None
    commands: int | None = None
    usage: Usage | None = None
    last_exit: ExitReason | None = None
    session_id: str | None = None
    session_name: str | None = None
    children: tuple[ProcessOverview, ...] = ()

    def lines(self) -> Iterator[tuple[str, ProcessOverview]]:
        """Yield it and all that is below it, each with the lines that are drawn before it."""
        yield "", self
        for child in self.children:
            first, rest = branch(is_last=child is self.children[-1])
            for number, (drawn, below) in enumerate(child.lines()):
                yield (rest if number else first) + drawn, below


def overview(system: SessionSystem) -> ProcessOverview:
    """Return the tree of *system*, all processes of it asked how they are.

    One that hangs is waited for once, for `Settings.call_timeout` seconds, and asked for nothing
    more; without a registry that answers, sessions have no names.

    Raises:
        CallError: A supervisor did not answer.
        HostError: The whole system is gone.
    """
    tree, health = system.tree(), system.system_health()
    asked = {child.ref: child for child in health.processes if child.ref is not None}
    for each in health.sessions:
        asked |= {child.ref: child for child in each.children if child.ref is not None}
    hung = {ref for ref, child in asked.items() if child.status is HealthStatus.UNRESPONSIVE}
    names: dict[str, str] = {}
    if not any(ref.kind == REGISTRY[1] for ref in hung):
        with suppress(CallError, RegistryNotRunningError):  # it hangs, or is restarted, by now
            names = {record.id: record.name for record in system.list_sessions()}
    sessions = {each.session_id: each for each in health.sessions}
    running = system._running  # noqa: SLF001 - both are of this room
    commands = running.carry_out(
        counting_commands(
            [ref for ref in asked if ref.kind == COMMANDS and ref not in hung],
            running.settings.call_timeout,
        )
    )
    states = [
        (each.session_id, child.ref)
        for each in health.sessions
        for child in each.children
        if child.ref is not None and child.ref.kind == STATE and child.ref not in hung
    ]
    usages = running.carry_out(counting_usage(dict(states), running.settings.call_timeout))
    root = _process(tree, _Known(asked, sessions, names, commands, usages), None)
    return evolve(root, usage=sum(usages.values(), NOTHING_USED))


def counting_commands(refs: list[ActorRef], seconds: float) -> Plan[dict[ActorRef, list[Any]]]:
    """Return the commands that each of *refs*, which run those of a session, tells of in time."""
    answers: list[Any] = yield AskAll(refs, request(list_commands), Deadline.after(seconds))
    return {
        ref: answer
        for ref, answer in zip(refs, answers, strict=True)
        if not isinstance(answer, Exception)
    }


def counting_usage(states: Mapping[str, ActorRef], seconds: float) -> Plan[dict[str, Usage]]:
    """Return what models took in each session of *states* whose State tells in time."""
    answers: list[Any] = yield AskAll(
        list(states.values()), request(Conversation.statistics), Deadline.after(seconds)
    )
    return {
        session_id: answer.usage
        for session_id, answer in zip(states, answers, strict=True)
        if not isinstance(answer, Exception)
    }


def cpu_time(ref: ActorRef) -> float | None:
    """Return the seconds that *ref* has spent on a processor; None if it cannot be seen here."""
    try:
        with open(f"/proc/{ref.os_pid}/stat", "rb") as file:  # noqa: PTH123 - quicker
            _, _, rest = file.read().partition(b"(")
    except OSError:
        return None
    name, _, fields = rest.rpartition(b") ")
    # It names itself so; in another namespace of processes, or later, the id may be a stranger's.
    if name != f"jido:{ref.kind}".encode("ascii", "replace")[:_NAME_BYTES]:
        return None
    times = fields.split()
    return (int(times[_USER_TIME]) + int(times[_SYSTEM_TIME])) / _TICKS


@frozen
class _Known:
    asked: Mapping[ActorRef, ChildHealth]
    sessions: Mapping[str, Health]
    names: Mapping[str, str]
    commands: Mapping[ActorRef, list[Any]]
    usages: Mapping[str, Usage]


def _process(node: TreeNode, known: _Known, session_id: str | None) -> ProcessOverview:
    session = known.sessions.get(node.id) if session_id is None else None
    if session is not None:
        session_id = node.id
    ref, pulse = node.ref, known.asked.get(node.ref) if node.ref else None
    commands = known.commands.get(ref) if ref else None
    status = pulse.status.value if pulse else node.status.value
    return ProcessOverview(
        id=node.id,
        kind=ref.kind if ref else None,
        pid=ref.os_pid if ref else None,
        status=session.status.value if session else status,
        restarts=node.restarts,
        uptime=pulse.uptime if pulse else None,
        cpu_time=cpu_time(ref) if ref else None,
        memory=pulse.memory if pulse else None,
        calls=pulse.calls if pulse else None,
        commands=None if commands is None else sum(each.running for each in commands),
        usage=known.usages.get(node.id) if session else None,
        last_exit=pulse.last_exit if pulse else None,
        session_id=session_id,
        session_name=known.names.get(node.id) if session else None,
        children=tuple(_process(child, known, session_id) for child in node.children),
    )
