"""The whole tree as data: what runs under what, from the root down to a session's children.

Root                            one_for_one
├── ProcessRegistry             names and sessions
├── AllSessionsSupervisor       dynamic, one temporary child per session
│   └── SessionSupervisor       one_for_all unless told otherwise
│       ├── Manager             the project's files
│       ├── State               the conversation
│       ├── Commands            programs; started when one is to run first, temporary
│       ├── Agent               a language model; started when it is prompted first, temporary
│       ├── McpClient           one per MCP server; started when its tools are wanted first
│       └── ...                 the app's own children
└── ...                         the app's own trees beside the sessions
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

from attrs import evolve

from jidocode.base.text import quote
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.supervision.dynamic_supervisor import DynamicFlags, DynamicSupervisor
from jidocode.otp.supervision.root import Root
from jidocode.otp.supervision.specs import DEFAULT_INIT_TIMEOUT, ChildSpec, Start
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.admission.messages import SESSIONS
from jidocode.session.admission.registry import ProcessRegistry
from jidocode.session.conversation.limits import MAX_STORED_SIZE
from jidocode.session.journal.place import OPENING_SPEED
from jidocode.session.manager.server import Manager
from jidocode.session.record import Session
from jidocode.session.starting import AGENT, COMMANDS, MCP, mcp_id
from jidocode.session.state.server import State
from jidocode.session.supervisor import SessionSupervisor
from jidocode.session.upkeep import Upkeep

STATE_INIT_TIMEOUT = DEFAULT_INIT_TIMEOUT + 2 * MAX_STORED_SIZE / OPENING_SPEED
"""Seconds that a State may take to start: a journal is compacted when half of it is dead."""


class AllSessionsSupervisor(DynamicSupervisor):
    """Supervises the supervisors of all sessions: they come and go, and share no fate."""

    kind: ClassVar[str] = "sessions"

    def init(self) -> DynamicFlags:
        """Return the flags: the registry says how many children (called by the host, first)."""
        return DynamicFlags()


def system_root(
    rules: AdmissionRules, heartbeat: float | None, children: Iterable[object] = ()
) -> Start:
    """Return how the root is started over registry, supervisor of sessions, and *children*.

    Raises:
        InvalidChildSpecError: The children break a rule, or cannot be pickled.
    """
    registry = ProcessRegistry.child_spec(rules, name=REGISTRY, heartbeat=heartbeat)
    sessions = AllSessionsSupervisor.child_spec(name=SESSIONS, heartbeat=heartbeat)
    return Root.start_with(children, [registry, sessions])


def session_children(
    session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
) -> tuple[ChildSpec, ...]:
    """Return what *session* consists of, in start order; *own* are the app's children."""
    return (
        Manager.child_spec(
            session,
            upkeep.journal_dir,
            upkeep.hard_links,
            upkeep.commands.sandbox,
            upkeep.protection,
            upkeep.snapshots,
            name=("manager", session.id),
            heartbeat=upkeep.heartbeat,
        ),
        State.child_spec(
            session,
            upkeep.journal_dir,
            upkeep.durability,
            upkeep.system,
            upkeep.idle_timeout,
            tuple(mcp_id(server.prefix) for server in upkeep.mcp_servers),
            name=("state", session.id),
            heartbeat=upkeep.heartbeat,
            init_timeout=STATE_INIT_TIMEOUT,
        ),
        *own,
    )


class SessionChildren(Protocol):
    """Says what a session consists of, as `session_children` does."""

    def __call__(
        self, session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
    ) -> Sequence[ChildSpec]:
        """Return the children in start order, `manager` and `state` among them."""
        ...


def build_children(
    build: SessionChildren, session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
) -> tuple[ChildSpec, ...]:
    """Return what *build* makes of *session*, each child with its name.

    Raises:
        InvalidChildSpecError: One is no `ChildSpec`, or Manager or State is missing.
    """
    if not isinstance(own, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise InvalidChildSpecError(f"children must be a list of ChildSpec, got {quote(own)}")
    children = tuple(with_name(spec, session.id) for spec in build(session, own, upkeep=upkeep))
    missing = {"manager", "state"} - {spec.id for spec in children}
    if missing:
        raise InvalidChildSpecError(
            f"a session needs a child called {' and '.join(sorted(missing))}"
        )
    return children


def with_name(spec: Any, session_id: str) -> ChildSpec:
    """Return *spec* with the name under which its session's handle finds it.

    Raises:
        InvalidChildSpecError: It is no `ChildSpec`, or means to run under another name.
    """
    if not isinstance(spec, ChildSpec):
        raise InvalidChildSpecError(f"a child must be a ChildSpec, got {quote(spec)}")
    name = (spec.id, session_id)
    if spec.id == SessionSupervisor.kind:
        raise InvalidChildSpecError("the id 'session' is that of the session's supervisor")
    if spec.id == COMMANDS:
        raise InvalidChildSpecError("the id 'commands' is that of what runs the session's commands")
    if spec.id == AGENT:
        raise InvalidChildSpecError("the id 'agent' is that of the session's agent")
    if spec.id.startswith(MCP):
        raise InvalidChildSpecError(f"the ids that begin with {MCP} are those of MCP servers")
    if spec.name not in (None, name):
        raise InvalidChildSpecError(
            f"a session's child is registered under its id and its session's, "
            f"so name must be None, got {quote(spec.name)}"
        )
    return evolve(spec, name=name)
