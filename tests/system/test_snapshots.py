"""Snapshots of real sessions: across kills and resumption, and gone with their session."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from snapshot_trees import changed, tree_of

from jidocode import CallError, NoSnapshotError, SessionHandle, SessionSystem, SnapshotError
from jidocode.testing import eventually, wait_for_restart

KILLS = 5
MANY = 5
"""Answers that no Manager gives meanwhile which waits for what it does."""


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[SessionSystem]:
    """A system of the test's own, whose sessions do not give up."""
    with SessionSystem(state_dir=tmp_path / "state", max_restarts=1000) as system:
        yield system


def fill(project: Path, text: str, count: int = 200) -> None:
    for number in range(count):
        folder = project / f"{number % 20}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_text(f"{text} {number}")


def killed_during(
    system: SessionSystem, session: SessionHandle, ask: Callable[[], Any], seconds: float
) -> None:
    """Kill the session's Manager *seconds* after *ask* was begun, and await the next one."""
    manager = system.get_manager(session.id)

    def run() -> None:
        with suppress(CallError):
            ask()

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(seconds)
    os.kill(manager.os_pid, signal.SIGKILL)
    thread.join()
    wait_for_restart(system, session, "manager", after=manager)


def took(ask: Callable[[], Any]) -> float:
    before = time.monotonic()
    ask()
    return time.monotonic() - before


def test_a_turn_can_be_looked_at_and_taken_back(session: SessionHandle, project: Path) -> None:
    """What an edit, a command and somebody else have changed."""
    (project / "a").write_text("one\n")
    turn = session.take_snapshot("turn 1")
    session.manager.write_file("a", "two\n")
    assert session.run("echo made > b && mkdir c").exit_code == 0
    (project / "d").write_text("somebody's")
    changes = session.changes_since(turn).changes
    assert [(each.path, each.kind) for each in changes] == [
        ("a", "changed"), ("b", "added"), ("c", "added"), ("d", "added"),
    ]  # fmt: skip
    assert session.diff("a", turn).text == "@@ -1,1 +1,1 @@\n-one\n+two"
    done = session.revert(["a", "b"])
    assert (done.restored, done.removed) == (("a",), ("b",))
    assert (project / "d").exists()
    done = session.revert(to=turn)
    assert done.removed == ("c", "d")
    assert [each.id for each in session.snapshots()] == [turn.id, turn.id + 1, done.before]


def test_a_snapshot_is_whole_or_not_there(
    own_system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """Whenever its Manager is killed; and what was begun is swept away."""
    session = own_system.create_session(project)
    store = tmp_path / "state/snapshots" / session.id
    chance = random.Random(1)  # noqa: S311 - repeatable
    trees: dict[int, Any] = {}
    fill(project, "first")
    before = tree_of(project)
    seconds = took(session.take_snapshot)
    trees[1] = before
    for turn in range(KILLS):
        fill(project, f"turn {turn}")
        tree = tree_of(project)
        killed_during(own_system, session, session.take_snapshot, chance.uniform(0, seconds * 1.5))
        for snapshot in session.snapshots():
            trees.setdefault(snapshot.id, tree)
    assert [each.id for each in session.snapshots()] == sorted(trees)
    session.take_snapshot()
    for number, tree in trees.items():
        found = session.changes_since(number, limit=10_000, seconds=60).changes
        assert {each.path: each.kind for each in found} == changed(tree, tree_of(project))
        assert all(each.revertible for each in found)
    contents = sum(path.is_file() for path in (store / "contents").rglob("*"))
    assert contents <= len(before) * (len(trees) + 1)
    assert session.revert(to=1, seconds=60).failed == ()
    assert tree_of(project) == trees[1]


def test_a_way_back_that_is_cut_off_can_be_gone_again(
    own_system: SessionSystem, project: Path
) -> None:
    """Each file is what it was or what it is to be, and no other is left."""
    session = own_system.create_session(project)
    chance = random.Random(2)  # noqa: S311 - repeatable
    fill(project, "first")
    (project / "type").mkdir()
    (project / "type/in it").write_text("1")
    first, wanted = session.take_snapshot(), tree_of(project)
    seconds = 0.0
    for turn in range(KILLS):
        fill(project, f"turn {turn}", 180)
        (project / "19/199").unlink()
        (project / f"new {turn}").write_text("new")
        (project / "type/in it").unlink()
        (project / "type").rmdir()
        (project / "type").write_text("a file")
        before = tree_of(project)

        def back() -> Any:
            return session.revert(to=first, seconds=60)

        if not turn:
            seconds = took(back)
            assert tree_of(project) == wanted
            continue
        killed_during(own_system, session, back, chance.uniform(0, seconds))
        for path, node in tree_of(project).items():
            assert node in {before.get(path), wanted.get(path)}, path
        assert back().failed == ()
        assert tree_of(project) == wanted


def test_a_crash_in_the_middle_of_a_session_keeps_them(
    own_system: SessionSystem, project: Path
) -> None:
    """So does the end of the session, and of the system; not its deletion."""
    session = own_system.create_session(project)
    (project / "a").write_text("1")
    first = session.take_snapshot("first")
    manager = own_system.get_manager(session.id)
    os.kill(manager.os_pid, signal.SIGKILL)
    assert eventually(lambda: _or_none(session.snapshots)) == [first]
    session.stop()
    session = own_system.resume_session(session.id)
    assert session.snapshots() == [first]
    (project / "a").write_text("2")
    session.revert(to=first)
    assert (project / "a").read_text() == "1"

    place = Path(str(own_system.settings.state_dir), "snapshots", session.id)
    session.stop()
    fork = own_system.fork_session(session.id)
    assert place.is_dir()
    own_system.delete_session(session.id)
    assert not place.exists()
    with pytest.raises(NoSnapshotError):
        own_system.resume_session(fork.id).changes_since()


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except CallError:
        return None


def test_a_session_that_was_moved_keeps_them(
    own_system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """What they say is about paths in the project, wherever that is."""
    session = own_system.create_session(project)
    (project / "a").write_text("1")
    session.take_snapshot()
    session.stop()
    moved = project.rename(tmp_path / "moved")
    (moved / "a").write_text("2")
    session = own_system.resume_session(session.id, project_path=moved)
    assert [each.kind for each in session.changes_since().changes] == ["changed"]
    session.revert()
    assert (moved / "a").read_text() == "1"


def test_in_memory_there_are_none(project: Path, tmp_path: Path) -> None:
    """Which is said, and nothing is written."""
    state = tmp_path / "state"
    with SessionSystem(state_dir=state, durability="memory") as system:
        session = system.create_session(project)
        with pytest.raises(SnapshotError, match="memory"):
            session.take_snapshot()
    assert not state.exists()


def test_others_are_answered_meanwhile(session: SessionHandle, project: Path) -> None:
    """A snapshot is taken beside everything else."""
    fill(project, "x", 1000)
    thread = threading.Thread(target=session.take_snapshot)
    thread.start()
    answers = 0
    while thread.is_alive():
        session.manager.project_root()
        answers += 1
    thread.join()
    assert answers >= MANY
