"""What a system can tell of itself: the health of a session, the live tree, counts."""

from __future__ import annotations

import enum

from attrs import field, frozen

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.otp.supervision.management import ChildStatus


class HealthStatus(enum.Enum):
    """How a process or a session is."""

    HEALTHY = "healthy"
    """It answered."""
    DEGRADED = "degraded"
    """A session: some children are well, others are not. A process: it says what is wrong."""
    RESTARTING = "restarting"
    """It is being started again."""
    UNRESPONSIVE = "unresponsive"
    """It runs, and did not answer in time."""
    DEAD = "dead"
    """It ended, or was stopped, and is not coming back by itself."""


@frozen(eq=False, repr=False, kw_only=True)
class ChildHealth(Record):
    """One child of a session.

    Attributes:
        id: Its id under the session's supervisor.
        status: How it is.
        ref: Its process, if it has one.
        restarts: How often it was started again.
        last_exit: Why its last process ended; None if none has.
        uptime: Seconds since its `init`; None if it did not answer.
        memory: Bytes of memory of its own; None if it did not answer, or cannot tell.
        calls: How many calls it has been sent; None if it did not answer.
        problem: Why it cannot do all that it is for, such as a project folder that was
            deleted; None if it can, or did not answer.
    """

    id: str
    status: HealthStatus
    ref: ActorRef | None
    restarts: int
    last_exit: ExitReason | None = None
    uptime: float | None = None
    memory: int | None = None
    calls: int | None = None
    problem: str | None = field(default=None, repr=False)

    def cells(self) -> tuple[str, ...]:
        """Return it as a row of texts; what is not known is an empty one."""
        return (
            self.id,
            str(self.ref.os_pid) if self.ref else "none",
            self.status.value,
            str(self.restarts),
            "" if self.uptime is None else f"{self.uptime:.1f} s",
            "" if self.memory is None else f"{self.memory / 1e6:.1f} MB",
            "" if self.last_exit is None else str(self.last_exit),
            self.problem or "",
        )


@frozen(eq=False, repr=False, kw_only=True)
class Health(Record):
    """A session's health: that of its children, asked all at once.

    Attributes:
        session_id: The session.
        status: Healthy if all children are, else degraded, or what they all are.
        children: In start order.
    """

    session_id: str
    status: HealthStatus
    children: tuple[ChildHealth, ...]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: how the session is, and a line for each child."""
        from jidocode.system.drawing import columns, lines_html  # noqa: PLC0415 - few are notebooks

        heads = ("child", "pid", "status", "restarts", "uptime", "memory", "last exit", "problem")
        texts = columns([heads, *(child.cells() for child in self.children)])
        whole = self.status.value
        statuses = (whole, "", *(child.status.value for child in self.children))
        title = f"session {self.session_id}, {whole}"
        return lines_html(zip(statuses, (title, *texts), strict=True))


def overall_status(children: tuple[ChildHealth, ...]) -> HealthStatus:
    """Return the status of a session whose children are *children*."""
    kinds = {child.status for child in children} - {HealthStatus.DEAD}
    if not kinds:
        return HealthStatus.DEAD
    if len(kinds) == 1 and len(children) == sum(c.status in kinds for c in children):
        return kinds.pop()
    return HealthStatus.DEGRADED


@frozen(eq=False, repr=False, kw_only=True)
class SystemHealth(Record):
    """The health of a whole system, asked from the tree itself, not from the registry.

    Attributes:
        status: Healthy if everything is, else degraded.
        processes: Those that belong to no session: the registry, the supervisor of sessions, and
            the app's own trees.
        sessions: All sessions that run, in the order of their starts.
    """

    status: HealthStatus
    processes: tuple[ChildHealth, ...]
    sessions: tuple[Health, ...]


@frozen(eq=False, repr=False, kw_only=True)
class TreeNode(Record):
    """One process of the live tree, and what is below it; `str()` draws it.

    Attributes:
        id: Its id under its supervisor; that of the root is `jidocode`.
        ref: Its process, if it has one.
        status: How it is, as its supervisor says.
        restarts: How often it was started again.
        children: What it supervises, in start order.
    """

    id: str
    ref: ActorRef | None
    status: ChildStatus
    restarts: int = 0
    children: tuple[TreeNode, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the drawing, with the status of each process as a dot."""
        from jidocode.system.drawing import lines_html  # noqa: PLC0415 - few are notebooks

        return lines_html(zip(self._statuses(), self.lines(), strict=True))

    def _statuses(self) -> list[str]:
        """Return the status of each process, in the order of `lines`."""
        below = (status for child in self.children for status in child._statuses())  # noqa: SLF001 - its own
        return [self.status.value, *below]

    def lines(self) -> list[str]:
        """Return the drawing, a line per process."""
        process = f"pid {self.ref.os_pid}" if self.ref else "no process"
        restarts = f", restarts {self.restarts}" if self.restarts else ""
        kind = f" [{self.ref.kind}]" if self.ref and self.ref.kind != self.id else ""
        lines = [f"{self.id}{kind}  {process}, {self.status.value}{restarts}"]
        for child in self.children:
            first, rest = branch(is_last=child is self.children[-1])
            head, *tail = child.lines()
            lines += [first + head, *(rest + line for line in tail)]
        return lines


def branch(*, is_last: bool) -> tuple[str, str]:
    """Return what is drawn before a child in a tree, and before each line below it."""
    return ("└─ ", "   ") if is_last else ("├─ ", "│  ")


@frozen(eq=False, repr=False, kw_only=True)
class Statistics(Record):
    """A snapshot of a system.

    Attributes:
        sessions: Open sessions.
        max_sessions: How many there may be.
        processes: Supervised processes that run.
        calls: Calls under way from this app.
    """

    sessions: int
    max_sessions: int
    processes: int
    calls: int
