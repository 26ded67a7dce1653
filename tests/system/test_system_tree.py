"""The tree that `SessionSystem()` starts: the two blockers of the review."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from servers import WithoutRegistry, WithoutSessions

from jidocode import NoProcessError, RegistryNotRunningError, SessionSystem
from jidocode.otp import ChildSpec, Start
from jidocode.session.record import new_session_id


class UnregisteredSystem(SessionSystem):
    """A system whose tree lacks the registry."""

    def _root(self, children: Sequence[ChildSpec]) -> Start:
        del children
        return Start(WithoutRegistry)


class SessionlessSystem(SessionSystem):
    """A system whose tree lacks the supervisor of sessions."""

    def _root(self, children: Sequence[ChildSpec]) -> Start:
        del children
        return Start(WithoutSessions)


def test_starting_a_system_starts_the_registry_and_the_supervisor_of_sessions(
    system: SessionSystem,
) -> None:
    """B1 and B2: nobody has to start them by hand."""
    children = [(node.id, node.status.value) for node in system.tree().children]

    assert children == [("registry", "running"), ("sessions", "running")]


def test_a_session_can_be_opened_in_a_fresh_system(system: SessionSystem, project: Path) -> None:
    """B1 and B2: the production path needs no set-up."""
    session = system.create_session(project)

    assert system.session_running(session.id)


def test_a_system_without_a_registry_says_so_and_never_not_found(project: Path) -> None:
    """B1: fails as soon as the registry is missing from the tree."""
    with UnregisteredSystem() as system:
        with pytest.raises(RegistryNotRunningError):
            system.create_session(project)
        with pytest.raises(RegistryNotRunningError):
            system.session_running(new_session_id())
        with pytest.raises(RegistryNotRunningError):
            system.get_manager(new_session_id())


def test_a_system_without_a_supervisor_of_sessions_says_so(project: Path) -> None:
    """B2: fails as soon as the supervisor of sessions is missing from the tree."""
    with SessionlessSystem(call_timeout=2.0) as system:
        with pytest.raises(NoProcessError, match="supervisor of sessions"):
            system.create_session(project)

        assert system.list_sessions() == []
