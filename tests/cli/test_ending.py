"""How a command ends before its time: by a signal, or because nobody reads what it prints."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from model_servers import Step, event, said, serving
from shell import COMMAND, SECONDS, environment

from jidocode import SessionHandle, SessionSystem
from jidocode.testing import eventually

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def running(*words: str, said: bytes = b"") -> Generator[subprocess.Popen[bytes]]:
    """Give `jidocode` with these *words*, and *said* to read; none is left after the block."""
    with subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        try:
            if said:
                process.stdin.write(said)
                process.stdin.close()
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes], number: int) -> tuple[int, bytes]:
    """Send the signal *number*; return the status, and what is said about it."""
    assert process.stderr is not None
    # Python calls no handler of a signal that comes as it is about to wait, until it has waited.
    waiting = psutil.Process(process.pid)
    eventually(lambda: waiting.status() == psutil.STATUS_SLEEPING, timeout=SECONDS)
    process.send_signal(number)
    return process.wait(SECONDS), process.stderr.read()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chat", "--model", "m"], b"hi"),
        (["acp", "--model", "m"], b""),
        (["mcp"], b""),
        (["serve"], b""),
        (["doctor"], b""),
    ],
    ids=["chat", "acp", "mcp", "serve", "doctor"],
)
def test_a_signal_while_it_starts_is_its_status(
    tmp_path: Path, words: Sequence[str], said: bytes, number: int
) -> None:
    """And no text, whatever the command; here it reads its settings."""
    settings = tmp_path / "settings"
    os.mkfifo(settings)
    with running(*words, "--config", str(settings), said=said) as process:
        writing = eventually(lambda: _read_by_now(settings), timeout=SECONDS)
        try:
            assert ended(process, number) == (128 + number, b"")
        finally:
            os.close(writing)


def _read_by_now(pipe: Path) -> int | None:
    """Return the end of *pipe* that is written to, once somebody reads the other one."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["events", "logs"])
def test_a_signal_ends_what_is_followed(served: str, command: str, number: int) -> None:
    """By the same rule; that its system has ended is another status."""
    with running(command, "--follow", "--system", served) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert ended(process, number) == (128 + number, b"")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_demo(project: Path, number: int) -> None:
    """And the system that it has started."""
    with running("demo", str(project)) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert ended(process, number) == (128 + number, b"")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_cancels_a_prompt(project: Path, number: int) -> None:
    """A program is told what came of it by then."""
    answer = [*said()[:1], event(content="half"), Step.STALL]
    with serving([answer, answer]) as server:
        words = ["chat", str(project), "--model", "m", "--base-url", server.url]
        with running(*words, said=b"hi") as process:
            assert process.stdout is not None
            assert process.stdout.read(4) == b"half"
            assert ended(process, number) == (128 + number, b"")
            assert process.stdout.read() == b""
        with running(*words, "--json", said=b"hi") as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert json.loads(line)["text"] == "half"
            assert ended(process, number) == (128 + number, b"")
            last = json.loads(process.stdout.read().splitlines()[-1])
            assert (last["event"], last["outcome"]) == ("TurnResult", "cancelled")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("second", SIGNALS)
def test_more_signals_leave_nothing_half_done(project: Path, second: int) -> None:
    """What is to be done and said is; one that ends all at once comes when that is over."""
    with serving([[*said()[:1], event(content="half"), Step.STALL]]) as server:
        words = ["chat", str(project), "--model", "m", "--base-url", server.url, "--json"]
        with running(*words, said=b"hi") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["text"] == "half"
            others = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGHUP)
            while process.poll() is None:
                process.send_signal(second)
            assert process.returncode in (128 + signal.SIGHUP, 128 + second, -second)
            last = json.loads(process.stdout.read().splitlines()[-1])
            assert (last["event"], last["outcome"]) == ("TurnResult", "cancelled")
            assert process.stderr.read() == b""
            assert not [each for each in others if each.is_running()]


HELLO: dict[str, object] = {
    "mcp": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
    "acp": {"protocolVersion": 1},
}


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "status"),
    [(["mcp"], 0), (["acp", "--model", "m"], 0), (["demo"], 128 + signal.SIGTERM)],
    ids=["mcp", "acp", "demo"],
)
def test_signals_do_not_disturb_the_end_of_a_system(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], status: int
) -> None:
    """However many come: one that ends all at once has come when nothing was left but Python."""
    monkeypatch.chdir(project)
    with running(*words) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if hello := HELLO.get(words[0]):
            asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
        assert process.stdout.readline()
        others = psutil.Process(process.pid).children(recursive=True)
        while process.poll() is None:
            process.terminate()
        assert process.returncode in (status, -signal.SIGTERM)
        assert not [each for each in others if each.is_running()]


def shell(line: str, *words: str) -> tuple[int, str]:
    """Return the status of a shell's *line*, whose "$@" is `jidocode`; and what is on stderr."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", *COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(),
    )
    return done.returncode, done.stderr


CLOSED = 128 + signal.SIGPIPE


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("words", [["--help"], ["chat", "--help"], ["sessions", "list"]])
def test_a_pipe_that_nobody_reads_is_its_status(words: Sequence[str]) -> None:
    """As of a program that SIGPIPE ends, which has no text either."""
    assert shell('"$@" | exec true', *words) == (CLOSED, "")


def test_a_program_ends_with_the_pipe_that_nobody_reads(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """It would write on for nobody."""
    del attached
    words = ["run", "--system", served, opened.id, "--", "sh", "-c", "yes"]
    assert shell('"$@" | head -n 1', *words) == (CLOSED, "")
    assert [info.running for info in opened.commands.list()] == [False]
    words = ["events", "--follow", "--system", served]
    assert shell('"$@" | exec true', *words) == (CLOSED, "")


def test_the_time_of_a_program_is_limited_from_outside(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """By `timeout`, which has a status of its own for that."""
    del attached
    words = ["run", "--system", served, opened.id, "--", "sleep", "1000"]
    assert shell('timeout 5 "$@"', *words) == (124, "")
    assert [info.running for info in opened.commands.list()] in ([], [False])
