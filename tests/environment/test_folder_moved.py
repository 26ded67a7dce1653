"""A project folder that is moved while its session is open: the session is of the folder."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from confined import require_tier

from jidocode import (
    BoundaryError,
    HealthStatus,
    ProjectAlreadyOpenError,
    SessionHandle,
    SessionSystem,
)
from jidocode.testing import kill, wait_for_restart


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """Where the project is moved to."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "till"


@pytest.fixture(params=["auto", "require:namespaces"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[SessionSystem]:
    """A system on each tier of confinement."""
    if request.param == "require:namespaces":
        require_tier("namespaces")
    with SessionSystem(state_dir=tmp_path / "state", sandbox=request.param) as system:
        yield system


def restart(system: SessionSystem, session: SessionHandle, child: str) -> None:
    """Kill *child*, and with it all others but `commands`; wait until it is back."""
    wait_for_restart(system, session, child, after=kill(system, session, child).ref)


def check_works_in(session: SessionHandle, folder: Path) -> None:
    """All parts of *session* work in *folder*, and nowhere else."""
    session.manager.write_file("by_manager", "m")
    result = session.run("pwd; echo c > by_command; cat by_manager")
    assert (result.stdout, result.stderr) == (f"{folder}\nm", "")
    assert session.run("pwd", cwd="src").stdout == f"{folder}/src\n"
    assert session.manager.read_file("by_command").text == "c\n"
    assert (folder / "by_command").read_text() == "c\n"
    assert session.manager.project_root() == str(folder)
    assert session.manager.read_file(folder / "by_command").text == "c\n"
    assert session.health_check().status is HealthStatus.HEALTHY
    for name in ("by_manager", "by_command"):
        session.manager.remove(name)


def test_commands_start_where_the_folder_is_now(
    tier: SessionSystem, project: Path, moved: Path
) -> None:
    """At their first use, when they are started again, and when they have run already."""
    session = tier.create_session(project)
    project.rename(moved)
    check_works_in(session, moved)
    moved.rename(project)
    check_works_in(session, project)
    project.rename(moved)
    kill(tier, session, "commands")
    check_works_in(session, moved)


def test_a_link_may_lead_from_the_old_place_to_the_new_one(
    tier: SessionSystem, project: Path, moved: Path, tmp_path: Path
) -> None:
    """So the path that the app gave is right still, and so is that of what a command is granted."""
    granted, elsewhere = tmp_path / "granted", tmp_path / "work" / "granted"
    granted.mkdir()
    (granted / "file").write_text("granted")
    session = tier.create_session(project)
    session.run("true", read=[str(granted)])
    project.rename(moved)
    project.symlink_to(moved)
    assert session.run("pwd; ls src", cwd="src").stdout.startswith(f"{moved}/src\n")
    session.run("true", read=[str(granted)])
    granted.rename(elsewhere)
    granted.symlink_to(elsewhere)
    read = session.run(f"cat {elsewhere}/file", read=[str(granted)])
    assert (read.stdout, read.stderr) == ("granted", "")


def test_what_stands_in_its_place_is_not_touched(
    tier: SessionSystem, project: Path, moved: Path
) -> None:
    """Neither by commands that were prepared for the old place, nor by absolute paths."""
    session = tier.create_session(project)
    session.run("true")
    project.rename(moved)
    project.mkdir()
    (project / "secret").write_text("of another project")

    check_works_in(session, moved)
    script = f"cat {project}/secret || echo closed; echo x > {project}/new"
    assert session.run(script).stdout == "closed\n"
    with pytest.raises(BoundaryError):
        session.manager.read_file(project / "secret")
    kill(tier, session, "commands")
    assert session.run(script).stdout == "closed\n"
    assert [each.name for each in project.iterdir()] == ["secret"]
    tier.create_session(project).stop()  # nobody has that one
    with pytest.raises(ProjectAlreadyOpenError):
        tier.create_session(moved)


def test_each_process_finds_it_when_it_is_restarted(
    system: SessionSystem, project: Path, moved: Path
) -> None:
    """Though all that had it open have died: but for the session's supervisor."""
    session = system.create_session(project)
    message = session.state.append_message("user", "hello")
    snapshot = session.take_snapshot()
    project.rename(moved)
    (moved / "README.md").write_text("changed")
    for child in ("manager", "state"):
        restart(system, session, child)

        check_works_in(session, moved)
        assert session.state.messages() == [message]
        assert session.changes_since(snapshot).changes[0].path == "README.md"
    session.revert()
    assert (moved / "README.md").read_text().startswith("# Shop")


def test_what_commands_change_of_protected_paths_is_seen_there(
    system: SessionSystem, project: Path, moved: Path
) -> None:
    """Before a restart of what watches them, and after it."""
    session = system.create_session(project)
    (project / ".git" / "hooks").mkdir(parents=True)
    assert session.run("echo 1 > .git/hooks/pre-commit").protected_changes == (
        ".git/hooks/pre-commit",
    )
    project.rename(moved)
    assert session.run("echo 2 > .git/hooks/pre-commit").protected_changes == (
        ".git/hooks/pre-commit",
    )
    kill(system, session, "commands")
    assert session.run("echo 3 > .git/hooks/pre-commit").protected_changes == (
        ".git/hooks/pre-commit",
    )


def test_it_is_found_later_by_its_new_path(
    system: SessionSystem, project: Path, moved: Path
) -> None:
    """While it is open, and when it is resumed; by its id, the new path is to be named."""
    session = system.create_session(project)
    session.state.append_message("user", "hello")
    project.rename(moved)
    assert system.find_session(path=moved).id == session.id
    session.stop()
    again = system.open_session(moved)

    assert again.id == session.id
    assert again.session.project_path == str(moved)
    assert [each.content for each in again.state.messages()] == ["hello"]
    check_works_in(again, moved)
