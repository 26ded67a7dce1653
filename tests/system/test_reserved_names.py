"""Names that belong to the library: nobody else's child gets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import Group, worker

from jidocode import NoProcessError, Session, SessionSystem, StartFailedError
from jidocode.base.exits import Crashed
from jidocode.otp import (
    Application,
    ChildSpec,
    ChildType,
    Flags,
    InvalidChildSpecError,
    Name,
    Start,
    management,
    start,
)

HELPERS: Name = ("group", "helpers")


def group(child_id: str, *children: ChildSpec, name: Name | None = None) -> ChildSpec:
    return ChildSpec(
        id=child_id, start=Start(Group, Flags(), children), type=ChildType.SUPERVISOR, name=name
    )


@pytest.mark.parametrize("kind", ["session", "manager", "state"])
def test_a_supervisor_below_a_session_cannot_have_the_sessions_own_names(
    system: SessionSystem, project: Path, kind: str
) -> None:
    """Neither when the session is opened, nor later; the session keeps its processes."""
    session = Session.new(project_path=project)
    thief = worker("thief", name=(kind, session.id))
    with pytest.raises(StartFailedError) as failed:
        system.start_session(session, children=[group("helpers", thief)])

    assert failed.value.path == (session.id, "helpers", "thief")
    assert failed.value.cause == Crashed("its name is reserved")
    handle = system.start_session(session, children=[group("helpers")])
    manager = system.get_manager(session.id)
    handle.terminate_child("manager")
    with pytest.raises(InvalidChildSpecError, match="the name of child thief is reserved"):
        management.start_child(system, ("helpers", session.id), thief)
    with pytest.raises(NoProcessError):
        system.get_manager(session.id)
    assert handle.restart_child("manager") == system.get_manager(session.id) != manager


def test_other_names_with_those_kinds_are_free(system: SessionSystem, project: Path) -> None:
    """They are words like others where no session is meant."""
    session = system.create_session(project, children=[group("helpers")])
    cache = worker("cache", name=("state", "cache"))

    ref = management.start_child(system, ("helpers", session.id), cache)
    assert system.whereis(("state", "cache")) == ref


@pytest.mark.parametrize("name", [("system", "clock"), ("system", "registry"), ("root", "mine")])
def test_the_systems_names_are_refused_at_every_level(name: Name) -> None:
    """Below the root, and below a supervisor."""
    with pytest.raises(InvalidChildSpecError, match="the name of child a is reserved"):
        start(worker("a", name=name))
    with start(group("helpers", name=HELPERS)) as app:
        assert isinstance(app, Application)
        with pytest.raises(InvalidChildSpecError, match="the name of child a is reserved"):
            management.start_child(app, HELPERS, worker("a", name=name))
