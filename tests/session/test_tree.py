"""The tree as data: which children there are, in which order, and how each is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from attrs import evolve

from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.supervision.specs import ChildSpec, ChildType, Flags, Start
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.session.admission.admission import AdmissionRules, Place
from jidocode.session.admission.messages import SESSIONS, OpenSession
from jidocode.session.journal.ownership import Home
from jidocode.session.manager.server import Manager
from jidocode.session.record import Session
from jidocode.session.state.server import State
from jidocode.session.supervisor import SessionSupervisor
from jidocode.session.tree import (
    SessionChildren,
    build_children,
    session_children,
    system_root,
)
from jidocode.session.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A record."""
    return Session.new(project_path=tmp_path)


def test_the_registry_starts_before_the_supervisor_of_sessions() -> None:
    """Each is restarted alone."""
    root = system_root(AdmissionRules(max_sessions=10), None)
    flags, children = root.target().init(*root.args)

    assert flags.strategy is Strategy.ONE_FOR_ONE
    assert [child.name for child in children] == [REGISTRY, SESSIONS]
    assert [child.type for child in children] == [ChildType.WORKER, ChildType.SUPERVISOR]


def test_a_session_has_a_manager_and_a_state(session: Session) -> None:
    """Both are permanent workers under names of their own, and start with the record."""
    manager, state = session_children(session, upkeep=Upkeep())

    assert [child.start.target for child in (manager, state)] == [Manager, State]
    assert [child.name for child in (manager, state)] == [
        ("manager", session.id),
        ("state", session.id),
    ]
    for child in (manager, state):
        assert child.start.args[0] == session
        assert (child.restart, child.type) == (Restart.PERMANENT, ChildType.WORKER)


def test_a_session_is_temporary_and_restarts_all_its_children(session: Session) -> None:
    """Its supervisor is known by the session's id, and holds the record."""
    children = session_children(session, upkeep=Upkeep())
    opened = OpenSession(session, frozenset({(1, 2)}), Upkeep())
    spec = SessionSupervisor.child_spec(opened, children)

    assert (spec.id, spec.name, spec.value) == (session.id, ("session", session.id), opened)
    assert spec.start.kwargs == {"resumes": False}
    assert (spec.restart, spec.type) == (Restart.TEMPORARY, ChildType.SUPERVISOR)
    flags, packed, place, path, home = cast(
        "tuple[Flags, bytes, Place, str, Home | None]", spec.start.args
    )
    assert path == session.project_path
    # It would hold the folder until this process ends.
    started = SessionSupervisor().init(flags, packed, place, "/nowhere", home, resumes=False)
    assert started == (Flags(strategy=Strategy.ONE_FOR_ALL), children)


def test_a_session_cannot_be_specified_without_a_record() -> None:
    """Python says which argument is missing."""
    with pytest.raises(TypeError, match="session"):
        SessionSupervisor.child_spec()  # type: ignore[call-arg] # the point of the test


def test_own_children_come_last_and_get_a_name(session: Session) -> None:
    """The handle finds them by it, so another one is refused."""
    own = [
        ChildSpec(id="tests", start=Start(Manager)),
        ChildSpec(id="docs", start=Start(Manager), name=("docs", session.id)),
    ]
    children = build_children(session_children, session, own, upkeep=Upkeep())

    assert [child.id for child in children] == ["manager", "state", "tests", "docs"]
    assert [child.name for child in children[2:]] == [("tests", session.id), ("docs", session.id)]
    for wrong in (
        ChildSpec(id="docs", start=Start(Manager), name=("writer", "one")),
        ChildSpec(id="session", start=Start(Manager)),
    ):
        with pytest.raises(InvalidChildSpecError):
            build_children(session_children, session, [wrong], upkeep=Upkeep())


def only(child_id: str) -> SessionChildren:
    """Return a builder of sessions that have one child of ours."""

    def build(
        session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
    ) -> Sequence[ChildSpec]:
        children = session_children(session, own, upkeep=upkeep)
        return [child for child in children if child.id == child_id]

    return build


@pytest.mark.parametrize(("kept", "missing"), [("manager", "state"), ("state", "manager")])
def test_a_builder_may_not_leave_out_manager_or_state(
    session: Session, kept: str, missing: str
) -> None:
    """Handles could not work without them."""
    with pytest.raises(InvalidChildSpecError, match=f"needs a child called {missing}"):
        build_children(only(kept), session, upkeep=Upkeep())


def test_two_children_of_one_id_are_refused_before_anything_starts(session: Session) -> None:
    """OTP: duplicate_child_name."""
    manager, state = session_children(session, upkeep=Upkeep())
    opened = OpenSession(session, frozenset(), Upkeep())
    with pytest.raises(InvalidChildSpecError, match="two children"):
        SessionSupervisor.child_spec(opened, [manager, evolve(state, id="manager")])
