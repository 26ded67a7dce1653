"""`jidocode top`, in a real terminal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import COMMAND, SECONDS, environment, jidocode

from jidocode import SessionHandle, SessionSystem
from jidocode.testing import eventually, wait_for_restart

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(TMUX is None, reason="tmux is not installed")


class Terminal:
    """A terminal in a tmux server of its own, in which a program runs."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._socket = folder / "tmux"
        shell = '"$@"; echo "status $?"; exec sleep 1000'
        words = ["env", "-u", "COLUMNS", "-u", "LINES", "sh", "-c", shell, "sh", *command]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "140", "-y", "40", *words)

    def tmux(self, *words: str) -> str:
        """Return what tmux says."""
        return subprocess.run(
            [str(TMUX), "-S", str(self._socket), *words],
            capture_output=True,
            check=True,
            text=True,
            timeout=SECONDS,
            env=environment(TERM="xterm-256color"),
        ).stdout

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux has for them."""
        self.tmux("send-keys", *keys)

    @property
    def text(self) -> str:
        """What is to be seen."""
        return self.tmux("capture-pane", "-p")

    def await_text(self, *texts: str) -> str:
        """Return what is to be seen once *texts* are."""
        deadline = time.monotonic() + SECONDS
        while not all(each in (text := self.text) for each in texts):
            assert time.monotonic() < deadline, f"{texts} are not to be seen:\n{text}"
            time.sleep(0.1)
        return text


@pytest.fixture
def terminal(served: str, tmp_path: Path) -> Iterator[Terminal]:
    """`jidocode top` of the served system."""
    terminal = Terminal(tmp_path, *COMMAND, "top", "--system", served)
    yield terminal
    terminal.tmux("kill-server")


def test_it_shows_what_happens(
    terminal: Terminal, attached: SessionSystem, opened: SessionHandle
) -> None:
    """Processes, and what becomes of them."""
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


def test_it_ends_with_the_system(tmp_path: Path) -> None:
    """And says so, with the terminal as it was."""
    name = f"ending-{os.getpid()}"
    with SessionSystem(name=name):
        terminal = Terminal(tmp_path, *COMMAND, "top", "--system", name)
        terminal.await_text("registry")
    try:
        seen = terminal.await_text("status 1")
        assert "Error: " in seen
        assert "Traceback" not in seen
    finally:
        terminal.tmux("kill-server")


def test_it_needs_a_terminal() -> None:
    """And says what does not."""
    assert "jidocode tree" in jidocode("top", status=1)
