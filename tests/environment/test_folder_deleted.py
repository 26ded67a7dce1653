"""A project folder that is deleted while its session is open: one error, and health says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jidocode import (
    HealthStatus,
    ProjectGoneError,
    SessionHandle,
    SessionSystem,
)
from jidocode.session.manager.operations import OPERATIONS, SEARCHES
from jidocode.testing import eventually, kill, wait_for_restart

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "project_root": (),
    "confinement": (),
    "write_file": ("a", "text"),
    "write_bytes": ("a", b"bytes"),
    "append_file": ("a", "text"),
    "edit_file": ("a", "old", "new"),
    "move": ("a", "b"),
    "copy": ("a", "b"),
    "list_directory": (),
    "tree": (),
}
"""What an operation is asked with, if not with one path."""

SNAPSHOTS: dict[str, Callable[[SessionHandle], object]] = {
    "take_snapshot": lambda session: session.take_snapshot(),
    "snapshots": lambda session: session.snapshots(),
    "changes_since": lambda session: session.changes_since(),
    "diff": lambda session: session.diff("a"),
    "revert": lambda session: session.revert(),
}


def ask_manager(name: str, session: SessionHandle) -> object:
    answer: object = getattr(session.manager, name)(*ARGUMENTS.get(name, ("a",)))
    return answer


ASKED: dict[str, Callable[[SessionHandle], object]] = {
    **{name: partial(ask_manager, name) for name in [*OPERATIONS.by_name, *SEARCHES.by_name]},
    **SNAPSHOTS,
    "run": lambda session: session.run("true"),
}
"""All that is about the project."""


def check_gone(session: SessionHandle, project: Path, *, replaced: bool = False) -> None:
    """All that is about the project is refused in the same way, and all else goes on."""
    expected = ProjectGoneError(str(project), replaced)
    for name, ask in ASKED.items():
        with pytest.raises(ProjectGoneError) as caught:
            ask(session)
        assert (name, caught.value.args) == (name, expected.args)
    health = session.health_check()
    (manager,) = (child for child in health.children if child.id == "manager")
    assert (health.status, manager.status) == (HealthStatus.DEGRADED, HealthStatus.DEGRADED)
    assert manager.problem == str(expected)
    count = len(session.state.messages())
    session.state.append_message("user", "still here")
    assert len(session.state.messages()) == count + 1


def test_every_operation_says_so_and_the_conversation_goes_on(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    assert session.manager.session() == session.session
    shutil.rmtree(project)

    check_gone(session, project)
    assert session.manager.session() == session.session
    session.rename("another name")
    assert session.manager.session().name == "another name"
    assert system.system_health().status is HealthStatus.DEGRADED
    assert not project.exists()


def test_it_is_so_for_what_is_restarted_too(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """The session does not give up over it."""
    session.run("true")
    shutil.rmtree(project)
    check_gone(session, project)
    kill(system, session, "commands")
    check_gone(session, project)
    for child in ("manager", "state"):
        wait_for_restart(system, session, child, after=kill(system, session, child).ref)
        check_gone(session, project)


def test_another_folder_in_its_place_is_another_folder(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """Nothing is done in it, also after a restart; a session can be begun or resumed there."""
    for _ in range(2):
        shutil.rmtree(project)
        project.mkdir()
        (project / "a").write_text("of another one")
        check_gone(session, project, replaced=True)
        wait_for_restart(system, session, "state", after=kill(system, session, "state").ref)
        check_gone(session, project, replaced=True)
        assert [each.name for each in project.iterdir()] == ["a"]
    session.stop()
    again = system.resume_session(session.id, project_path=project)

    assert again.manager.read_file("a").text == "of another one"
    assert again.state.messages()
    assert again.health_check().status is HealthStatus.HEALTHY


@pytest.mark.parametrize("changes", ["report", "refuse"])
def test_a_command_that_runs_meanwhile_ends_as_ever(
    tmp_path: Path, project: Path, changes: Any
) -> None:
    """With what it has written."""
    with SessionSystem(state_dir=tmp_path / "state", protected_changes=changes) as system:
        session = system.create_session(project)
        (project / ".git" / "hooks").mkdir(parents=True)
        command = session.commands.start("echo begun; read line; echo $line", stdin=b"")
        eventually(lambda: command.read().data, "its output")
        shutil.rmtree(project)
        command.write("ended\n")

        assert command.wait(20).stdout == "begun\nended\n"
        check_gone(session, project)
