"""`SessionChild`: a child that works with its session, whatever of it is killed meanwhile."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from actors import group
from conversations import FORMATS
from peers import peer
from session_children import Clerk
from valid_history import problems

from jidocode import (
    BoundaryError,
    CommandFailedError,
    CommandLimits,
    InvalidChildSpecError,
    NoProcessError,
    PromptAdded,
    ReasoningBlock,
    SessionHandle,
    SessionSystem,
    StartFailedError,
    Strategy,
    TextBlock,
    ToolUseBlock,
)
from jidocode.base.refs import ActorRef
from jidocode.otp import ChildSpec, Flags, Start
from jidocode.testing import FakeChild, eventually, kill

FLAGS = Flags(strategy=Strategy.ONE_FOR_ONE, max_restarts=1_000)


@pytest.fixture
def session(system: SessionSystem, project: Path) -> SessionHandle:
    """A session with two clerks; each child is restarted alone."""
    (project / "notes").write_text("kept")
    clerks = [ChildSpec(id=child, start=Start(Clerk)) for child in ("clerk", "other")]
    return system.create_session(project, strategy=FLAGS, children=clerks)


def test_it_asks_manager_and_state_as_the_app_does(session: SessionHandle) -> None:
    """With the same clients, answers and errors."""
    seq, text = session.call("clerk", ("record", "hello", "notes"))

    assert (seq, text.text) == (session.state.messages()[0].seq, "kept")
    assert session.call("clerk", "id") == session.id
    with pytest.raises(BoundaryError):
        session.call("clerk", ("do", "ask_manager", "../outside"))


def test_it_finds_calls_and_casts_to_its_siblings(
    system: SessionSystem, session: SessionHandle
) -> None:
    """By their ids."""
    other = system.get_process(session.id, "other")

    assert session.call("clerk", ("session", "whereis", "other")) == other
    assert session.call("clerk", ("session", "whereis", "nobody")) is None
    assert session.call("clerk", ("session", "call", "other", ("echo", 7))) == 7
    session.call("clerk", ("session", "cast", "other", "news"))
    assert session.call("other", "seen") == ["news"]
    with pytest.raises(NoProcessError, match=f"no process for nobody {session.id}"):
        session.call("clerk", ("do", "call", ("nobody", session.id), 1))


def test_what_it_began_is_ended_when_it_is_killed(
    system: SessionSystem, session: SessionHandle
) -> None:
    """With all that came. State is not restarted, and what others have begun goes on."""
    state = system.get_process(session.id, "state")
    others = session.state.begin_stream()
    began = session.call("clerk", ("do", "begin_turn"))
    os.kill(system.get_process(session.id, "clerk").os_pid, signal.SIGKILL)
    eventually(lambda: [each.id for each in session.state.streams()] == [others.id])
    eventually(lambda: session.state.tool_calls()[0].result is not None)
    last = next(each for each in session.state.messages() if each.id == began)

    assert (last.status, last.content) == ("interrupted", "said")
    assert last.blocks == (
        ReasoningBlock("thought"),
        ToolUseBlock("c2", "run", {}),
        TextBlock("said"),
    )
    assert system.get_process(session.id, "state") == state
    for history_format in FORMATS:
        assert problems(session.state.history(history_format), history_format) == []


def test_its_clients_stay_good_while_all_others_are_killed(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Nothing that was answered is lost, and nothing is there twice."""
    acknowledged: list[int] = []
    for turn in range(10):
        for child in ("manager", "state"):
            os.kill(system.get_process(session.id, child).os_pid, signal.SIGKILL)
        seq, file = session.call("clerk", ("record", f"turn {turn}", "notes"), timeout=20.0)
        acknowledged.append(seq)
        assert file.text == "kept"

    assert [message.seq for message in session.state.messages()] == acknowledged


def test_it_follows_the_changes_of_its_session(session: SessionHandle) -> None:
    """A thread ends its waiting."""
    seq, _ = session.call("clerk", ("record", "hello", "notes"))
    change = session.call("clerk", ("next change", seq, 5.0))

    assert change.seq == seq
    assert not isinstance(change, PromptAdded)
    assert session.call("clerk", ("next change", seq + 1, 0.01)) is None
    assert session.call("clerk", ("close in a thread", seq + 1), timeout=20.0) is None


def test_it_runs_commands_as_the_app_does(system: SessionSystem, session: SessionHandle) -> None:
    """It may be the first to want one; whatever is killed, the next one runs."""
    assert [child.id for child in session.which_children()][-1] == "other"
    done = session.call("clerk", ("run", "echo $0; cat notes; exit 3"), timeout=20.0)
    assert (done.stdout, done.exit_code) == ("/bin/sh\nkept", 3)
    assert session.run("cat notes").stdout == "kept"
    kill(system, session, "commands")
    assert session.call("other", ("run", "cat notes"), timeout=20.0).ok
    command = session.call("clerk", ("start", "sleep 100"))
    kill(system, session, "clerk")
    handle = session.commands.get(command)
    assert handle.info().running
    assert handle.cancel().cancelled
    with pytest.raises(CommandFailedError):
        session.call("clerk", ("do", "run_command", "exit 1"), timeout=20.0)
    with pytest.raises(BoundaryError):
        session.call("clerk", ("do", "run_command", "true", "/"))


def test_its_commands_are_held_by_the_settings_of_the_system(project: Path, tmp_path: Path) -> None:
    """Whoever starts the process that runs them."""
    clerks = [ChildSpec(id=child, start=Start(Clerk)) for child in ("clerk", "other")]
    limits = CommandLimits(descriptors=77)
    with SessionSystem(state_dir=tmp_path / "state", command_limits=limits) as system:
        session = system.create_session(project, children=clerks)
        shown = f"ulimit -n; ls {tmp_path}/state || echo closed"
        done = session.call("clerk", ("run", shown), timeout=20.0)
        assert done.stdout == "77\nclosed\n"


def test_two_children_that_are_first_at_once_start_one_process(session: SessionHandle) -> None:
    """And a command in a thread of theirs is waited for, too."""
    with ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(session.call, child, ("run", "echo $PPID"), timeout=20.0)
            for child in ("clerk", "other")
        ]
        assert all(each.result().ok for each in asked)
    ids = [child.id for child in session.which_children()]
    assert ids.count("commands") == 1


def test_a_thread_of_it_runs_commands_beside_its_messages(session: SessionHandle) -> None:
    """As it asks Manager and State."""
    with ThreadPoolExecutor() as pool:
        line = "while [ ! -e go ]; do sleep 0.02; done; echo went"
        ran = pool.submit(session.call, "clerk", ("in thread", "run_command", line), timeout=20.0)
        eventually(
            lambda: [each.running for each in session.commands.list()] == [True], "its start"
        )
        assert session.call("clerk", "id") == session.id
        session.manager.write_file("go", "")
        assert ran.result() == "went\n"


def test_outside_a_session_it_does_not_start(session: SessionHandle) -> None:
    """The error says where it does."""
    with pytest.raises(StartFailedError, match="Clerk is a SessionChild, so it runs only in"):
        session.start_child(group_of_clerks())
    with pytest.raises(InvalidChildSpecError, match="runs only in a session"):
        _ = FakeChild(Start(Clerk))
    assert not hasattr(peer("a").start.target, "session")


def group_of_clerks() -> ChildSpec:
    """Return the spec of a supervisor whose child has no name."""
    return group("group", FLAGS, [ChildSpec(id="nameless", start=Start(Clerk))])


def test_a_fake_one_asks_what_the_test_gives(session: SessionHandle) -> None:
    """Its clients are answered by a function."""
    asked: list[Any] = []

    def answer(target: object, request: Any) -> object:
        asked.append((target, request.operation))
        return session.state.append_message("user", "x") if "append" in request.operation else "t"

    clerk = FakeChild(Start(Clerk), name=("clerk", session.id), on_call=answer)
    (_, text) = clerk.call(("record", "hello", "notes"))

    assert text == "t"
    assert asked == [
        (("state", session.id), "append_message"),
        (("manager", session.id), "read_text"),
    ]
    assert isinstance(clerk.ref, ActorRef)
