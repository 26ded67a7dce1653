"""Sessions that nobody uses are stopped, if the app wants that, and no others."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from folders import new_folders
from scripted_models import SCRIPTED

from jidocode import (
    Decision,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    ToolRequest,
    TurnOutcome,
    allow_all,
)
from jidocode.errors import JidocodeError
from jidocode.system.overview import overview
from jidocode.testing import PATIENCE, eventually, kill

SECONDS = 0.5


@pytest.fixture
def project(project: Path) -> Path:
    """A project in which a slow pattern is busy for long."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    text = "".join("".join(chance.choices("ab", k=999)) + "\n" for _ in range(200))
    for number in range(20):
        (project / f"slow{number:02}").write_text(text)
    return project


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SessionSystem]:
    """A system whose sessions are stopped soon."""
    with SessionSystem(state_dir=tmp_path / "state", idle_timeout=SECONDS) as system:
        yield system


def await_end(system: SessionSystem, session: SessionHandle) -> None:
    """Wait until *session* has ended by itself; the registry is asked, and not the session."""
    eventually(lambda: not system.session_running(session.id))


def test_a_session_that_nobody_uses_is_stopped_and_can_be_resumed(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """And its place is free. It ends in order, also after a crash."""
    session.state.append_message("user", "kept")
    await_end(system, session)
    assert system.list_sessions() == []

    again = system.resume_session(session.id)
    assert again.state.messages()[0].content == "kept"
    kill(system, again, "state")
    await_end(system, again)
    assert system.create_session(project).run("echo hello").stdout == "hello\n"


def look_at_files(session: SessionHandle) -> None:
    """Use the Manager alone."""
    begun = time.monotonic()
    while time.monotonic() - begun < 4 * SECONDS:
        session.manager.list_directory()


def run_a_command(session: SessionHandle) -> None:
    """Use the Commands alone, and ask nothing meanwhile."""
    assert session.run(["sleep", str(4 * SECONDS)]).ok


def wait_for_changes(session: SessionHandle) -> None:
    """Use the State alone, and ask nothing meanwhile."""
    last = session.state.events(after_seq=0)[-1].seq
    with session.state.subscribe(from_seq=last + 1) as changes:
        closer = threading.Timer(4 * SECONDS, changes.close)
        closer.start()
        assert changes.get(PATIENCE) is None
        closer.join()


def stream_a_message(session: SessionHandle) -> None:
    """Have a message under way, and ask nothing meanwhile."""
    message = session.state.begin_stream()
    time.sleep(4 * SECONDS)
    session.state.end_stream(message.id)


def search(session: SessionHandle) -> None:
    """Have a search under way, and ask nothing meanwhile."""
    # The engine's automaton has 2 to the power of 200 states then.
    found = session.manager.grep("(?:a|b)*a(?:a|b){200}z", glob="slow*", seconds=4 * SECONDS)
    assert found.truncated == "time"


USES = [look_at_files, run_a_command, wait_for_changes, stream_a_message, search]


def test_a_session_that_is_used_goes_on(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """Whichever of its processes is used; and ends when that is over."""

    def use_it(use: Callable[[SessionHandle], None], folder: Path) -> None:
        session = system.create_session(folder)
        use(session)
        assert session.health_check().status.value == "healthy", use
        await_end(system, session)

    folders = [*new_folders(tmp_path, len(USES) - 1), project]  # to be searched is the last one
    with ThreadPoolExecutor(len(USES)) as pool:
        for each in [pool.submit(use_it, *pair) for pair in zip(USES, folders, strict=True)]:
            each.result()


def test_a_turn_under_way_is_use(tmp_path: Path) -> None:
    """Also one whose model has said nothing yet, or whose policy takes its time; and no longer."""
    seconds = 3 * SECONDS  # its agent has to be started within them

    def think_long(request: ToolRequest) -> Decision:
        time.sleep(2 * seconds)
        return allow_all(request)

    with SessionSystem(
        state_dir=tmp_path / "state",
        idle_timeout=seconds,
        model=SCRIPTED,
        policy=think_long,
        preload=["scripted_models"],
    ) as system:
        sessions = [system.create_session(folder) for folder in new_folders(tmp_path, 2)]
        scripts = ["wait", 'call run_command {"command": "true"}']
        waiting, thinking = [
            session.agent.prompt(script) for session, script in zip(sessions, scripts, strict=True)
        ]
        time.sleep(2 * seconds)
        assert waiting.cancel().outcome is TurnOutcome.CANCELLED
        assert thinking.result().outcome is TurnOutcome.END
        for session in sessions:
            await_end(system, session)


def test_to_look_on_is_no_use(system: SessionSystem, session: SessionHandle) -> None:
    """What `jidocode top` and `tree` ask, again and again, also of what runs commands."""
    assert session.run("true").ok
    begun = time.monotonic()
    with suppress(JidocodeError):  # it has ended meanwhile
        while system.session_running(session.id):
            assert overview(system).usage is not None
            assert time.monotonic() - begun < PATIENCE


def test_a_stream_of_changes_that_is_only_open_is_no_use(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Whoever waits in it, again and again, uses the session; it says so when it has ended."""
    with session.state.subscribe(from_seq=1) as changes:
        begun = time.monotonic()
        while time.monotonic() - begun < 4 * SECONDS:
            changes.get(SECONDS / 10)
        assert system.session_running(session.id)

        await_end(system, session)
        with pytest.raises(SessionNotFoundError):
            changes.get(PATIENCE)
