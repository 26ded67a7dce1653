"""A real terminal, in which a program runs."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from shell import SECONDS, environment

TMUX = shutil.which("tmux")


class Terminal:
    """A terminal in a tmux server of its own, in which a program runs."""

    def __init__(self, folder: Path, *command: str, size: tuple[int, int] = (140, 40)) -> None:
        self._socket = folder / "tmux"
        shell = 'trap : INT; "$@"; ended=$?; stty -a; echo "status $ended"; exec sleep 1000'
        words = ["env", "-u", "COLUMNS", "-u", "LINES", "sh", "-c", shell, "sh", *command]
        across, down = map(str, size)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", across, "-y", down, *words)

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
