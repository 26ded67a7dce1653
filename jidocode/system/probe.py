"""Asks the live tree how it is: supervisors for their children, and these for themselves.

The registry is not asked, so this works while it is down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jidocode._host.deadline import Deadline
from jidocode._host.wire import Pulse
from jidocode.base.refs import ActorRef
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    NoProcessError,
    SessionNotFoundError,
)
from jidocode.otp.supervision.management import ChildInfo, ChildStatus, WhichChildren
from jidocode.otp.supervision.specs import ChildType
from jidocode.session.record import validate_session_id
from jidocode.system.health import (
    ChildHealth,
    Health,
    HealthStatus,
    SystemHealth,
    TreeNode,
    overall_status,
)
from jidocode.system.router import Router
from jidocode.system.steps import Ask, AskAll, PingAll, Plan


class Probe:
    """Looks at the processes of a system, within its call timeout."""

    def __init__(self, router: Router, sessions: str | None) -> None:
        """Ask by *router*; *sessions* is the root's child that supervises sessions, if one does."""
        self._router = router
        self._sessions = sessions

    def session(self, session_id: str) -> Plan[Health]:
        """Return the health of a session; see `SessionSystem.health_check`."""
        validate_session_id(session_id)
        deadline = self._router.deadline()
        supervisor = yield from self._router.find(("session", session_id), deadline)
        _, sessions = yield from self._look((), {session_id: supervisor}, deadline)
        if not sessions:
            raise SessionNotFoundError(session_id)
        return sessions[0]

    def system(self) -> Plan[SystemHealth]:
        """Return the health of everything; see `Application.system_health`."""
        deadline = self._router.deadline()
        root = yield from self._router.root(deadline)
        below = yield from self._infos(root, deadline.half)
        home = next((info.ref for info in below if info.id == self._sessions), None)
        own: list[ChildInfo] = []
        sessions: dict[str, ActorRef] = {}
        while below:
            own += below
            supervisors = [
                info.ref for info in below if info.type is ChildType.SUPERVISOR and info.ref
            ]
            answers: list[Any] = yield AskAll(supervisors, WhichChildren(), deadline.half)
            below = ()
            for ref, answer in zip(supervisors, answers, strict=True):
                if isinstance(answer, CallError):
                    continue  # its own health says why
                if ref == home:
                    sessions = {child.id: child.ref for child in answer if child.ref is not None}
                else:
                    below += answer
        processes, health = yield from self._look(own, sessions, deadline)
        statuses = {child.status for child in processes} | {each.status for each in health}
        healthy = statuses <= {HealthStatus.HEALTHY}
        return SystemHealth(
            status=HealthStatus.HEALTHY if healthy else HealthStatus.DEGRADED,
            processes=processes,
            sessions=health,
        )

    def tree(self) -> Plan[TreeNode]:
        """Return the live tree; see `Application.tree`."""
        ref = yield from self._router.root(self._router.deadline())
        root = ChildInfo("jidocode", ref, ChildStatus.RUNNING, ChildType.SUPERVISOR, 0)
        return (yield from self._node(root))

    def _infos(self, supervisor: ActorRef, deadline: Deadline) -> Plan[tuple[ChildInfo, ...]]:
        infos: tuple[ChildInfo, ...] = yield Ask(
            supervisor, WhichChildren(), deadline, str(supervisor)
        )
        return infos

    def _node(self, info: ChildInfo) -> Plan[TreeNode]:
        children: list[TreeNode] = []
        if info.type is ChildType.SUPERVISOR and info.ref is not None:
            below = yield from self._infos(info.ref, self._router.deadline())
            for child in below:
                with suppress(ActorExitedError, NoProcessError):  # it ended meanwhile
                    node = yield from self._node(child)
                    children.append(node)
        return TreeNode(
            id=info.id,
            ref=info.ref,
            status=info.status,
            restarts=info.restarts,
            children=tuple(children),
        )

    def _look(
        self,
        processes: Sequence[ChildInfo],
        supervisors: Mapping[str, ActorRef],
        deadline: Deadline,
    ) -> Plan[tuple[tuple[ChildHealth, ...], tuple[Health, ...]]]:
        """Return the health of *processes* and of the sessions that do not end meanwhile."""
        # The supervisors get half of the time, so that the children can be asked in any case.
        refs = list(supervisors.values())
        answers: list[Any] = yield AskAll(refs, WhichChildren(), deadline.half)
        infos = [() if isinstance(each, CallError) else each for each in answers]
        health, *children = yield from self._pulses([processes, *infos], deadline)
        sessions = tuple(
            _session_health(session_id, answer, below)
            for session_id, answer, below in zip(supervisors, answers, children, strict=True)
            if not isinstance(answer, (ActorExitedError, NoProcessError))
        )
        return health, sessions

    def _pulses(
        self, groups: Sequence[Sequence[ChildInfo]], deadline: Deadline
    ) -> Plan[list[tuple[ChildHealth, ...]]]:
        """Return the health of all children of each group, all of them asked at once."""
        refs = [info.ref for infos in groups for info in infos if info.ref is not None]
        pulses: list[Pulse | CallError] = yield PingAll(refs, deadline)
        answers = dict(zip(refs, pulses, strict=True))
        return [
            tuple(_child_health(info, answers[info.ref] if info.ref else None) for info in infos)
            for infos in groups
        ]


def _session_health(session_id: str, answer: object, children: tuple[ChildHealth, ...]) -> Health:
    silent = isinstance(answer, CallError)
    status = HealthStatus.UNRESPONSIVE if silent else overall_status(children)
    return Health(session_id=session_id, status=status, children=children)


def _child_health(info: ChildInfo, answer: Pulse | CallError | None) -> ChildHealth:
    pulse = answer if isinstance(answer, Pulse) else None
    return ChildHealth(
        id=info.id,
        status=_status(info, answer),
        ref=info.ref,
        restarts=info.restarts,
        last_exit=info.last_exit,
        uptime=pulse.uptime if pulse else None,
        memory=pulse.memory if pulse else None,
        calls=pulse.calls if pulse else None,
        problem=pulse.problem if pulse else None,
    )


def _status(info: ChildInfo, answer: Pulse | CallError | None) -> HealthStatus:
    if answer is not None:
        return status_of(answer)
    if info.status in (ChildStatus.STARTING, ChildStatus.RESTARTING):
        return HealthStatus.RESTARTING
    return HealthStatus.DEAD


def status_of(answer: Pulse | CallError) -> HealthStatus:
    """Return how a process is that was asked and has given *answer*."""
    match answer:
        case Pulse():
            return HealthStatus.DEGRADED if answer.problem else HealthStatus.HEALTHY
        case CallTimeoutError():
            return HealthStatus.UNRESPONSIVE
        case CallError():  # it died, so it is being replaced
            return HealthStatus.RESTARTING
