"""Names that belong to the library: nobody else's child gets them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from servers import Group, worker

from jidocode import NoProcessError, Session, SessionSystem, StartFailedError
from jidocode.base.exits import Crashed
from jidocode.otp import (
    ROOT,
    ActorRef,
    Application,
    ChildSpec,
    ChildStatus,
    ChildType,
    Flags,
    InvalidChildSpecError,
    Name,
    Restart,
    Start,
    management,
    start,
)
from jidocode.otp.naming.messages import REGISTRY
from jidocode.testing import eventually, is_alive

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


@pytest.mark.parametrize("restart", Restart)
def test_a_name_that_is_claimed_while_there_is_no_registry_is_refused_by_the_next_one(
    system: SessionSystem, project: Path, restart: Restart
) -> None:
    """Whoever was started under it meanwhile ends; its supervisor and the session do not."""
    session = system.create_session(project, children=[group("helpers")])
    helpers = system.monitor(("helpers", session.id)).ref
    manager = system.get_manager(session.id)
    thief = worker("thief", name=("manager", session.id), restart=restart)
    root, registry = system.monitor(ROOT).ref, system.monitor(REGISTRY).ref
    os.kill(root.os_pid, signal.SIGSTOP)  # it starts no other registry
    try:
        os.kill(registry.os_pid, signal.SIGKILL)
        eventually(lambda: not is_alive(registry.os_pid), "the death of the registry")
        stolen = eventually(lambda: started(system, helpers, thief), "a start without a registry")
        assert system.get_manager(session.id) == manager
    finally:
        os.kill(root.os_pid, signal.SIGCONT)

    eventually(lambda: not is_alive(stolen.os_pid), "the end of the thief")
    assert system.get_manager(session.id) == manager
    assert system.monitor(("helpers", session.id)).ref == helpers
    left = [] if restart is Restart.TEMPORARY else [ChildStatus.STOPPED]
    eventually(
        lambda: [child.status for child in management.which_children(system, helpers)] == left,
        "the end of it",
    )


def started(system: SessionSystem, supervisor: ActorRef, spec: ChildSpec) -> ActorRef | None:
    """Start a child; None as long as its supervisor still takes its name to the registry."""
    try:
        return management.start_child(system, supervisor, spec)
    except InvalidChildSpecError:
        return None


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
