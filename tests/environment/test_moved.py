"""A project that was moved, renamed or copied, and journals that are found without a system."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import jidocode
from jidocode import (
    InvalidSessionError,
    JournalError,
    SessionConfig,
    SessionExistsError,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.session.record import new_session_id


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the journals are."""
    return tmp_path / "state"


@pytest.fixture
def session_id(project: Path, state_dir: Path) -> str:
    """A session that was stopped, with one message."""
    with SessionSystem(state_dir=state_dir) as system:
        session = system.create_session(project, name="till", config=SessionConfig(model="m"))
        session.state.append_message("user", "hello")
        return session.id


def _copy_and_delete(old: Path, new: Path) -> None:
    shutil.copytree(old, new)
    shutil.rmtree(old)


MOVES: dict[str, Callable[[Path, Path], object]] = {
    "renamed": Path.rename,
    "copied": shutil.copytree,
    "copied, and the old one is gone": _copy_and_delete,
}


@pytest.mark.parametrize("how", MOVES)
def test_a_session_goes_on_where_its_project_is_now(
    project: Path, state_dir: Path, session_id: str, tmp_path: Path, how: str
) -> None:
    """With all that was said; also in every later system, and after a crash."""
    moved = tmp_path / "moved"
    MOVES[how](project, moved)
    with SessionSystem(state_dir=state_dir) as system:
        session = system.resume_session(session_id, project_path=moved)

        assert session.manager.project_root() == str(moved)
        assert [message.content for message in session.state.messages()] == ["hello"]
        assert (session.session.name, session.session.config.model) == ("till", "m")
        assert session.state.session() == session.session
        session.state.append_message("user", "from here")
    with SessionSystem(state_dir=state_dir) as system:
        again = system.resume_session(session_id)
        assert again.manager.project_root() == str(moved)
        assert [each.content for each in again.state.messages()] == ["hello", "from here"]


def test_a_session_whose_project_has_moved_says_so(
    project: Path, state_dir: Path, session_id: str, tmp_path: Path
) -> None:
    """Unless it is told where the project is now."""
    project.rename(tmp_path / "moved")
    with SessionSystem(state_dir=state_dir) as system:
        with pytest.raises(InvalidSessionError) as gone:
            system.resume_session(session_id)
        project.mkdir()
        with pytest.raises(InvalidSessionError) as other:
            system.resume_session(session_id)

    assert gone.value.codes == ("path_not_found",)
    assert other.value.codes == ("project_path_changed",)


def test_a_project_cannot_be_moved_to_where_none_can_be(
    project: Path, state_dir: Path, session_id: str, tmp_path: Path
) -> None:
    """Nothing has changed then."""
    with SessionSystem(state_dir=state_dir) as system:
        with pytest.raises(InvalidSessionError):
            system.resume_session(session_id, project_path=tmp_path / "nowhere")
        with pytest.raises(JournalError):
            system.resume_session(session_id, project_path=tmp_path)  # the journals are in it
        with pytest.raises(SessionNotFoundError):
            system.resume_session(new_session_id(), project_path=tmp_path)
        session = system.resume_session(session_id)
        with pytest.raises(SessionExistsError):
            system.resume_session(session_id, project_path=project)

        assert session.manager.project_root() == str(project)
        assert session.session.project_path == str(project)


def test_the_sessions_of_one_project_can_be_listed(
    project: Path, state_dir: Path, session_id: str, tmp_path: Path
) -> None:
    """By any path that leads to it, and by the one where it was."""
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "link").symlink_to(project)
    with SessionSystem(state_dir=state_dir) as system:
        system.create_session(other).stop()
        for path in (project, str(project), project / ".", tmp_path / "link"):
            assert [each.session_id for each in system.list_resumable(project=path)] == [session_id]
        assert len(system.list_resumable()) == 2
        assert system.list_resumable(project=tmp_path) == []
        moved = project.rename(tmp_path / "moved")
        for path in (project, moved):
            assert [each.session_id for each in system.list_resumable(project=path)] == [session_id]


def test_journals_are_listed_without_a_system(
    project: Path, state_dir: Path, session_id: str
) -> None:
    """Those of open sessions too, with who has them open."""
    before = psutil.Process().children(recursive=True)
    (found,) = jidocode.list_resumable(state_dir)

    assert psutil.Process().children(recursive=True) == before
    assert (found.session_id, found.locked_by) == (session_id, None)
    assert found.session is not None
    assert found.session.project_path == str(project)
    assert jidocode.list_resumable(state_dir, project=project) == [found]
    assert jidocode.list_resumable(state_dir / "nowhere") == []
    with SessionSystem(state_dir=state_dir) as system:
        session = system.resume_session(session_id)
        (opened,) = jidocode.list_resumable(state_dir)

        assert opened.locked_by == system.get_process(session.id, "session").os_pid
        assert system.list_resumable() == []
