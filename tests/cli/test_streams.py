"""A command whose standard input, output or error is closed, as some starters of daemons do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from shell import COMMAND, SECONDS, environment

from jidocode import SessionHandle
from jidocode.cli.main import COMMANDS
from jidocode.testing import eventually

CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")
WORDS: dict[str, tuple[Sequence[str], int]] = {
    "acp": (["--model", "m"], 0),
    "chat": (["--model", "m"], 1),
    "demo": ([], 0),
    "doctor": ([], 0),
    "events": ([], 0),
    "logs": ([], 0),
    "mcp": ([], 0),
    "run": (["shop", "--", "sh", "-c", "echo hello; exit 7"], 7),
    "serve": (["--name", "other", "--idle-timeout", "0.1"], 0),
    "sessions": (["list"], 0),
    "top": ([], 1),
    "tree": ([], 0),
}
"""Of each command: with which words, and how it ends if it has nothing to read, or no reader."""


def run_redirected(
    words: Sequence[str], redirections: str, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Have a shell run a command of jidocode's with *redirections*, in *folder*."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirections}', "sh", *COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
        env=env,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_a_closed_stream_for_an_empty_one(
    command: str, served: str, opened: SessionHandle, tmp_path: Path
) -> None:
    """It works, or ends with a sentence: that it has no prompt, or no terminal."""
    del opened
    words, status = WORDS[command]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for closed in CLOSED:
        own = environment(JIDOCODE_SYSTEM=served, TERM="xterm")
        done = run_redirected([command, *words], closed, elsewhere, own)
        assert (closed, done.returncode) == (closed, status), done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        if status == 1:
            assert done.stderr.count("\n") == ("2" not in closed)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("words", [["acp", "--model", "m"], ["mcp"]], ids=["acp", "mcp"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0>client", "Error: the standard input cannot be read\n"),
        ("1</dev/null", "Error: the standard output cannot be written to\n"),
    ],
)
def test_a_client_cannot_be_at_a_stream_of_the_other_direction(
    words: Sequence[str], line: str, said: str, project: Path
) -> None:
    """It is said before anything is started."""
    done = run_redirected(words, line, project, environment())
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.usefixtures("home")
def test_nothing_else_gets_the_number_of_a_closed_stream(name: str) -> None:
    """In no process of a system: what one prints would come out there."""
    with subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, "serve", "--name", name],
        env=environment(),
    ) as process:
        try:
            own = psutil.Process(process.pid)
            eventually(lambda: len(own.children(recursive=True)) > 2, timeout=SECONDS)
            assert {_file(process.pid, number) for number in range(3)} == {os.devnull}
            for child in own.children(recursive=True):
                for number in range(3):
                    assert _file(child.pid, number).startswith((os.devnull, "pipe:"))
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


def _file(pid: int, descriptor: int) -> str:
    return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
