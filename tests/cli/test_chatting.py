"""`jidocode chat` as a person has it: in a real terminal, through a pipe, with whoever dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from apps import MARK, marked
from model_servers import Step, event, said, serving
from scripted_models import SCRIPTED
from sessions import runs
from shell import COMMAND, SECONDS, environment
from terminals import TMUX, Terminal

from jidocode import SessionHandle, SessionSystem, StreamChunk
from jidocode.testing import eventually

needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


@pytest.fixture
def system(home: Path) -> Iterator[SessionSystem]:
    """A system whose model does what it is told."""
    del home
    name = f"chatting-{os.getpid()}"
    with SessionSystem(name=name, model=SCRIPTED) as system:
        yield system


@pytest.fixture
def session(system: SessionSystem, project: Path) -> SessionHandle:
    """Its session."""
    return system.create_session(project, name="shop")


@pytest.fixture
def chat(session: SessionHandle, tmp_path: Path) -> Iterator[Terminal]:
    """`jidocode chat` in that session, which is ready."""
    terminal = Terminal(tmp_path, *joined(session), size=(100, 50))
    try:
        terminal.await_text("shop", ">")
        yield terminal
    finally:
        terminal.tmux("kill-server")


def joined(session: SessionHandle) -> Sequence[str]:
    return (*COMMAND, "chat", "--system", f"chatting-{os.getpid()}", "--session", session.id)


def paste(terminal: Terminal, text: str) -> None:
    """Paste *text*, whose lines stay together, and press Enter."""
    terminal.tmux("set-buffer", text)
    terminal.tmux("paste-buffer", "-p", "-r")
    terminal.await_text(text.splitlines()[-1])
    terminal.press("Enter")


def call(name: str, **arguments: Any) -> str:
    return f"call {name} {json.dumps(arguments)}"


def is_healthy(session: SessionHandle) -> bool:
    return session.health_check().status.value == "healthy"


def holds(session: SessionHandle, text: str) -> bool:
    """Whether its State has *text* by now, which the screen has a moment before."""
    began = [each.seq for each in session.state.streams()]
    came = session.state.events(after_seq=began[0]) if began else []
    return any(isinstance(each, StreamChunk) and each.text == text for each in came)


def outcomes(session: SessionHandle) -> list[tuple[str, bool]]:
    """Return the calls that were made, and which of them failed."""
    calls = session.state.tool_calls()
    return [(each.name, each.result is None or each.result.is_error) for each in calls]


@needs_tmux
def test_it_streams_asks_and_cancels(chat: Terminal, session: SessionHandle, project: Path) -> None:
    """What is said, thought, allowed, denied, cancelled; and it ends as a terminal program."""
    (project / "total.py").write_text("def total():\n    return None\n")
    edit = call("edit_file", path="total.py", edits=[{"old": "None", "new": "0"}])
    paste(
        chat, f"think I think\nsay It is *good*.\n{edit}\n{call('run_command', command='echo no')}"
    )
    seen = chat.await_text(
        "I think", "It is good.", "● edit_file total.py", "+    return 0", "allow?"
    )
    assert "-    return None" in seen
    assert "None" in (project / "total.py").read_text()
    chat.press("y", "Enter")
    chat.await_text("total.py was edited in 1 place", "● run_command echo no")
    assert "return 0" in (project / "total.py").read_text()
    chat.press("try something else", "Enter")
    chat.await_text("the user says: try something else", "20 tokens in, 4 out, 2 answers")
    assert outcomes(session) == [("edit_file", False), ("run_command", True)]

    paste(chat, call("run_command", command="sleep 1000"))
    chat.await_text("● run_command sleep 1000", "allow?")
    chat.press("a", "Enter")
    eventually(lambda: runs(session), timeout=SECONDS)
    chat.press("C-c")
    chat.await_text("cancelled")
    eventually(lambda: not runs(session), timeout=SECONDS)
    chat.press("C-l")
    paste(chat, call("run_command", command="sleep 1000"))
    chat.await_text("run_command sleep 1000", "Ctrl-C cancels")
    eventually(lambda: runs(session), timeout=SECONDS)
    assert "allow?" not in chat.text
    chat.press("C-c")
    chat.await_text("cancelled")

    paste(chat, "busy\nsay Here.")
    chat.await_text("slow down; it is asked again in 0.", "Here.")

    chat.press("/help", "Enter")
    chat.await_text("Ctrl-C cancels what is going on")
    chat.press("C-c")
    chat.await_text("Ctrl-C again")
    chat.press("C-c")
    seen = chat.await_text("status 0")
    assert "-icanon" not in seen
    assert "-echo " not in seen
    assert is_healthy(session)


@needs_tmux
def test_it_goes_on_whoever_dies(
    chat: Terminal, system: SessionSystem, session: SessionHandle, tmp_path: Path
) -> None:
    """The agent, the State, the Manager: in mid-turn, or before; and the next start goes on."""
    for child in ("agent", "state", "manager"):
        paste(chat, f"say half of {child}\nwait")
        chat.await_text(f"\nhalf of {child}", "Ctrl-C cancels")
        eventually(partial(holds, session, f"half of {child}"), timeout=SECONDS)
        victim = system.whereis((child, session.id))
        assert victim is not None
        os.kill(victim.os_pid, signal.SIGKILL)
        chat.await_text("interrupted: ")
        chat.press("C-l")
        eventually(lambda: is_healthy(session), timeout=SECONDS)
    paste(chat, "say all is well")
    chat.await_text("all is well", "10 tokens in")
    chat.press("C-d")
    chat.await_text("status 0")

    other = tmp_path / "other"
    other.mkdir()
    again = Terminal(other, *joined(session), size=(100, 50))
    try:
        again.await_text("half of manager", "(interrupted)", "> say all is well")
        again.press("Up")
        again.await_text("> say all is well\n")
    finally:
        again.tmux("kill-server")


@needs_tmux
def test_a_terminal_that_is_closed_ends_the_turn(session: SessionHandle, tmp_path: Path) -> None:
    """And the command that it runs; the session of the system goes on."""
    chat = Terminal(tmp_path, *joined(session))
    chat.await_text("shop", ">")
    paste(chat, call("run_command", command="sleep 1000"))
    chat.await_text("allow?")
    chat.press("y", "Enter")
    eventually(lambda: runs(session), timeout=SECONDS)
    chat.tmux("kill-server")
    eventually(lambda: not runs(session), timeout=SECONDS)
    assert is_healthy(session)


@needs_tmux
def test_what_does_not_answer_does_not_hold_it(home: Path, project: Path, tmp_path: Path) -> None:
    """A question that nobody answers is withdrawn; an agent that hangs can be left."""
    del home
    name = f"chatting-{os.getpid()}"
    with SessionSystem(name=name, model=SCRIPTED, policy_timeout=1.0) as system:
        session = system.create_session(project, name="shop")
        chat = Terminal(tmp_path, *joined(session))
        try:
            chat.await_text("shop", ">")
            paste(chat, call("run_command", command="true"))
            chat.await_text("it is not asked any more", "nobody answered", "2 answers")
            paste(chat, "say half\nwait")
            chat.await_text("\nhalf", "Ctrl-C cancels")
            agent = system.whereis(("agent", session.id))
            assert agent is not None
            os.kill(agent.os_pid, signal.SIGSTOP)
            chat.press("C-c")
            chat.await_text("cancelling")
            chat.press("C-c")
            assert "-echo " not in chat.await_text("status 130")
        finally:
            chat.tmux("kill-server")


def piped(said: str, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**env),
    )


def test_a_pipe_is_one_prompt(session: SessionHandle, project: Path) -> None:
    """Plain text comes out of it, nothing is done unasked, and the status says how it ended."""
    script = f"say hello\x1b]0;x\x07\n{call('write_file', path='new', content='x')}"
    done = piped(f"{script}\n", *joined(session))
    assert (done.returncode, done.stdout) == (0, "hello\\x1b]0;x\\x07\n1 done\n")
    assert done.stderr.splitlines() == [
        "write_file new",
        "write_file new: write_file was not allowed: no policy here allows it",
    ]
    assert not (project / "new").exists()

    done = piped(call("writ_file"), *joined(session))
    assert done.stderr == "call: there is no tool 'writ_file'; did you mean write_file?\n"

    done = piped("busy\nsay on", *joined(session))
    assert (done.returncode, done.stdout) == (0, "on\n")
    assert re.fullmatch(r"the model .*slow down; it is asked again in 0\.\d s\n", done.stderr)

    done = piped("break", *joined(session))
    assert (done.returncode, done.stdout) == (1, "")

    done = piped("say half\nbreak", *joined(session))
    assert (done.returncode, done.stdout) == (1, "half\n")
    assert (
        done.stderr == "Error: interrupted: the answer of the model was interrupted: it broke off\n"
    )
    assert piped("", *joined(session)).stderr.startswith("Error: there is no prompt")


def test_json_is_a_line_for_each_delta(session: SessionHandle, project: Path) -> None:
    """The last one says how the turn ended."""
    script = f"think so\nsay hello\n{call('write_file', path='new', content='x')}"
    done = piped(script, *joined(session), "--json", "--policy", "accept-edits")
    lines = [json.loads(each) for each in done.stdout.splitlines()]

    assert {"event": "TextDelta", "session_id": session.id, "text": "hello"} in lines
    assert {each["session_id"] for each in lines} == {session.id}
    assert [each["event"] for each in lines if each["event"].startswith(("Called", "ToolR"))] == [
        *("CalledTool", "ToolResult"),
    ]
    assert lines[-1]["event"] == "TurnResult"
    assert (lines[-1]["outcome"], lines[-1]["usage"]["calls"]) == ("end", 2)
    assert (done.returncode, done.stderr) == (0, "")

    done = piped("busy\nsay on", *joined(session), "--json")
    first = json.loads(done.stdout.splitlines()[0])
    assert (first["event"], "slow down" in first["error"]) == ("ModelRetry", True)

    done = piped("break", *joined(session), "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, done.stderr, last["outcome"]) == (1, "", "interrupted")
    assert "it broke off" in last["error"]
    assert (project / "new").read_text() == "x"


def test_wrong_words_are_a_sentence(home: Path, project: Path) -> None:
    """No model says which settings there are."""
    del home
    empty = {"JIDOCODE_MODEL": "", "OPENAI_BASE_URL": ""}
    done = piped("hi", *COMMAND, "chat", str(project), **empty)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    for word in ("--model", "JIDOCODE_MODEL", "--base-url", "OPENAI_API_KEY"):
        assert word in done.stderr
    for wrong in (
        ["--session", "x", "--new"],
        ["--policy", "ask"],
        ["--system", "nobody", "--model", "x"],
    ):
        assert piped("hi", *COMMAND, "chat", *wrong).returncode == 2
    done = piped("hi", *COMMAND, "chat", "--system", "nobody")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_completion_knows_it(home: Path) -> None:
    """The command, and what it is told."""
    del home
    for words, known in (("jidocode ch", "chat"), ("jidocode chat --mo", "--model")):
        env = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = piped("", *COMMAND, _JIDOCODE_COMPLETE="bash_complete", **env)
        assert f"plain,{known}" in done.stdout.split()


def test_a_system_of_its_own_ends_with_it(home: Path, project: Path) -> None:
    """It asks the model that is named, with its own key, and a kill leaves no process."""
    del home
    with SessionSystem() as earlier:
        earlier.create_session(project, config={"model": "another"})
    answers = [
        said(event(content="It is "), event(content="done.")),
        [*said()[:1], event(content="x"), Step.STALL],
    ]
    with serving(answers) as server:
        env = {"OPENAI_BASE_URL": "", "JIDOCODE_BASE_URL": server.url, "JIDOCODE_API_KEY": "a-key"}
        mark = uuid.uuid4().hex
        env |= {"OPENAI_API_KEY": "another", MARK: mark}
        command = [*COMMAND, "chat", str(project), "--model", "small"]
        done = piped("well?", *command, **env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "It is done.\n", "")
        asked = server.asked[0]
        assert (asked.body["model"], asked.headers["authorization"]) == ("small", "Bearer a-key")
        assert marked(mark) == []

        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(**env)
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"again")
            process.stdin.close()
            assert process.stdout.read(1) == b"x"
            assert len(marked(mark)) > 1
            process.kill()
        eventually(lambda: not marked(mark), timeout=SECONDS)
        assert [message["role"] for message in server.asked[1].body["messages"]] == [
            *("system", "user", "assistant", "user"),
        ]
