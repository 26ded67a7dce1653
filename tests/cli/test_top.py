"""`jidocode top`, in a real terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shell import COMMAND, jidocode
from terminals import TMUX, Terminal

from jidocode import Completion, SessionHandle, SessionSystem, Usage
from jidocode.testing import eventually, wait_for_restart

pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


@pytest.fixture
def terminal(served: str, tmp_path: Path) -> Iterator[Terminal]:
    """`jidocode top` of the served system."""
    terminal = Terminal(tmp_path, *COMMAND, "top", "--system", served)
    yield terminal
    terminal.tmux("kill-server")


def test_it_shows_what_happens(
    terminal: Terminal, attached: SessionSystem, opened: SessionHandle
) -> None:
    """Processes, what becomes of them, and what models take."""
    terminal.await_text("q quit")  # it hears what happens from now on
    opened.state.add_usage(Completion(model="large", usage=Usage(input_tokens=12_345, seconds=1.5)))
    terminal.await_text("12.3k", "ModelAnswered", "large", "12345 tokens read, 0 said, 1.5 s")
    victim = attached.get_state(opened.id)
    terminal.await_text("1 sessions", f"shop {opened.id}", str(victim.os_pid), "q quit")
    os.kill(victim.os_pid, signal.SIGKILL)
    wait_for_restart(attached, opened, "state", after=victim)
    after = attached.get_state(opened.id)
    terminal.await_text("ChildExited", "killed by signal 9", str(after.os_pid), "recovered after")
    terminal.press("q")
    terminal.await_text("status 0")


def test_keys_look_closer_and_stop_a_session(
    terminal: Terminal, attached: SessionSystem, opened: SessionHandle
) -> None:
    """After a question, by who only looks until then."""
    handle = opened.commands.start(["sleep", "1000"])
    terminal.await_text("shop", "registry")
    terminal.press("s")
    terminal.await_text("choose a session first")
    for _ in range(4):
        terminal.press("Down")
    terminal.press("Enter")
    seen = terminal.await_text("manager", "sleep 1000", f"pid {handle.info().pid}")
    assert "registry " not in seen
    terminal.press("Escape")
    terminal.await_text("registry")
    terminal.press("s")
    terminal.await_text("stop session")
    terminal.press("n")
    terminal.await_text("q quit")
    assert attached.session_running(opened.id)
    terminal.press("s", "y")
    eventually(lambda: not attached.session_running(opened.id))
    terminal.await_text("0 sessions", "is stopped")


def kill_host(system: SessionSystem) -> None:
    os.kill(system.host_pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "said", "status"),
    [
        (SessionSystem.close, "has ended: it was closed", 0),
        (kill_host, "has died: ", 1),
    ],
)
def test_it_ends_with_the_system(
    name: str, tmp_path: Path, end: Callable[[SessionSystem], None], said: str, status: int
) -> None:
    """And says how that has ended, with the terminal as it was."""
    with SessionSystem(name=name) as system:
        terminal = Terminal(tmp_path, *COMMAND, "top", "--system", name)
        try:
            terminal.await_text("registry")
            end(system)
            seen = terminal.await_text(f"status {status}")
            assert said in seen
            assert "Traceback" not in seen
        finally:
            terminal.tmux("kill-server")


def test_it_needs_a_terminal() -> None:
    """And says what does not."""
    assert "jidocode tree" in jidocode("top", status=1)


def test_a_small_terminal_is_enough(
    served: str, opened: SessionHandle, attached: SessionSystem, tmp_path: Path
) -> None:
    """With the columns and lines there is room for; it follows its size, and ends by Ctrl-C."""
    handle = opened.commands.start(["sleep", "1000"])
    terminal = Terminal(tmp_path, *COMMAND, "top", "--system", served, size=(80, 24))
    try:
        seen = terminal.await_text("shop", "CALLS/S", "RESTARTS", "CMDS", "0%", "q quit")
        assert all(len(each) <= 80 for each in seen.splitlines())
        assert "LAST EXIT" not in seen
        manager = str(attached.get_manager(opened.id).os_pid)
        [shown] = [each for each in seen.splitlines() if manager in each]
        assert shown.split()[:3] == ["├─", "manager", "healthy"]
        terminal.tmux("resize-window", "-x", "130", "-y", "30")
        terminal.await_text("LAST EXIT", "UPTIME")
        terminal.tmux("resize-window", "-x", "40", "-y", "8")
        terminal.await_text("STATUS", "Escape b…")
        terminal.press("End")
        terminal.await_text("commands")
        terminal.press("C-c")
        seen = terminal.await_text("status 0")
        assert "-icanon" not in seen
    finally:
        terminal.tmux("kill-server")
        handle.cancel()


def test_a_signal_leaves_the_terminal_as_it_was(served: str, tmp_path: Path) -> None:
    """And a terminal that cannot be drawn on is a sentence."""
    terminal = Terminal(tmp_path, *COMMAND, "top", "--system", served)
    try:
        terminal.await_text("registry")
        [shell] = terminal.tmux("list-panes", "-F", "#{pane_pid}").split()
        [pid] = Path(f"/proc/{shell}/task/{shell}/children").read_text("ascii").split()
        os.kill(int(pid), signal.SIGTERM)
        seen = terminal.await_text(f"status {128 + signal.SIGTERM}", "icanon")
        assert "-icanon" not in seen
    finally:
        terminal.tmux("kill-server")
    other = tmp_path / "other"
    other.mkdir()
    terminal = Terminal(other, "env", "TERM=dumb", *COMMAND, "top", "--system", served)
    try:
        terminal.await_text("Error: top needs a terminal that TERM names", "status 1")
    finally:
        terminal.tmux("kill-server")
