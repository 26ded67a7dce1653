"""`jidocode run` and `events`, in a served system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from shell import COMMAND, SECONDS, data, environment, following, jidocode

from jidocode import CommandHandle, CommandOutput, OutputChunk, SessionHandle, SessionSystem
from jidocode.cli.run import _copy_errors, _Ending
from jidocode.session.commands.reading import Place
from jidocode.session.commands.result import StreamName
from jidocode.testing import eventually


@pytest.fixture
def run(served: str, opened: SessionHandle) -> tuple[str, ...]:
    """What is before the program's words."""
    return (*COMMAND, "run", "--system", served, opened.id, "--")


def done(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment()
    )


def test_a_program_runs_in_the_session(
    run: tuple[str, ...], served: str, opened: SessionHandle, project: Path
) -> None:
    """Its output and its status are those of the command, and its options its own."""
    ended = done(*run, "sh", "-c", "pwd; echo careful >&2; cat; exit 7")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, f"{project}\n", "careful\n")

    ended = done(*COMMAND, "run", "--system", served, "shop", "sh", "-c", "kill -9 $$")
    assert ended.returncode == 128 + signal.SIGKILL
    assert len(opened.commands.list()) == 2


def test_what_cannot_run_is_a_sentence(run: tuple[str, ...], served: str) -> None:
    """With a status that says whether it is the program: no program, no session, no system."""
    for program, status in (("no-such-program", 127), ("/etc/passwd", 126)):
        ended = done(*run, program)
        assert (ended.returncode, ended.stderr.count("\n")) == (status, 1)
    assert jidocode("run", "--system", served, "nobody", "true", status=125).count("\n") == 1
    assert jidocode("run", "--system", "nobody", "shop", "true", status=125).count("\n") == 1
    assert "PROGRAM" in jidocode("run", "--system", served, "nobody", "--", status=2)


def test_all_of_the_output_comes_through(run: tuple[str, ...]) -> None:
    """However fast it is written, and however slowly it is read."""
    program = ("sh", "-c", "yes | head -c 3000000; yes | head -c 2000000 >&2")
    ended = done(*run, *program)
    assert [len(ended.stdout), len(ended.stderr)] == [3_000_000, 2_000_000]
    ended = done("sh", "-c", '"$@" 2>&1 >/dev/null | (sleep 1; wc -c)', "sh", *run, *program)
    assert ended.stdout.strip() == "2000000"


def test_nobody_waits_for_errors_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program goes on at once, though it writes more of them than is kept."""
    chunk = OutputChunk(offset=0, data=b"careful", next_offset=7, ended=False)
    left = list[Place]()

    class Handle:
        def output(self, stream: StreamName) -> CommandOutput:
            return CommandOutput(lambda _place, _wait: chunk, left.append, stream)

    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as errors:
        monkeypatch.setattr(sys, "stderr", errors)
        _copy_errors(cast("CommandHandle", Handle()), [])
        monkeypatch.undo()
    assert [place.stream for place in left] == ["stderr"]


def test_closed_streams_are_no_harm(run: tuple[str, ...], opened: SessionHandle) -> None:
    """Nobody hears the program then, and no connection is taken for one."""
    ended = done("sh", "-c", '"$@" >&- 2>&- <&-; exit $?', "sh", *run, "sh", "-c", "echo; exit 7")
    assert (ended.returncode, ended.stderr) == (7, "")
    ended = done("sh", "-c", '"$@" >&-', "sh", *run, "echo", "hello")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [info.exit_code for info in opened.commands.list()] == [7, 0]


@pytest.mark.parametrize(
    ("number", "status"),
    [(each, 128 + each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
)
def test_a_signal_ends_the_program(
    run: tuple[str, ...], opened: SessionHandle, number: signal.Signals, status: int
) -> None:
    """All of it, and then who has started it."""
    with subprocess.Popen(
        [*run, "sh", "-c", "echo up; sleep 1000 & wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"up\n"
        assert [info.running for info in opened.commands.list()] == [True]
        process.send_signal(number)
        assert process.wait(SECONDS) == status
        assert process.stderr.read() == b""
    assert [info.running for info in opened.commands.list()] == [False]


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP, signal.SIGTERM]])
def test_a_signal_ends_a_program_that_is_being_started(
    run: tuple[str, ...], attached: SessionSystem, opened: SessionHandle, numbers: list[int]
) -> None:
    """Also if it comes before anybody knows that the program runs; a second one is no harm."""
    with subprocess.Popen([*run, "sleep", "1000"], env=environment()) as process:
        eventually(lambda: attached.whereis(("commands", opened.id)) is not None, timeout=SECONDS)
        for number in numbers:
            process.send_signal(number)
        assert process.wait(SECONDS) in [128 + number for number in numbers]
    assert [info.running for info in opened.commands.list()] in ([], [False])


def test_the_first_signal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is kept while the program starts, the second ends that, and nothing what comes then."""
    taken: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", taken.__setitem__)
    before = signal.getsignal(signal.SIGHUP)

    ending = _Ending()
    ending.hold()
    taken[signal.SIGHUP](signal.SIGHUP, None)
    with pytest.raises(SystemExit, match=str(128 + signal.SIGHUP)):
        ending.release()
    taken[signal.SIGINT](signal.SIGINT, None)

    ending = _Ending()
    ending.hold()
    taken[signal.SIGINT](signal.SIGINT, None)
    with pytest.raises(SystemExit, match=str(128 + signal.SIGINT)):
        taken[signal.SIGTERM](signal.SIGTERM, None)
    taken[signal.SIGTERM](signal.SIGTERM, None)

    _Ending().release()
    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        taken[signal.SIGTERM](signal.SIGTERM, None)

    assert set(taken) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert signal.getsignal(signal.SIGHUP) is before


def test_events_begin_with_what_runs(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """And end with that, unless they are followed."""
    state = attached.get_state(opened.id)
    lines = [
        json.loads(line) for line in jidocode("events", "--system", served, "--json").splitlines()
    ]

    assert {
        "event": "Running",
        "session_id": opened.id,
        "child_id": "state",
        "os_pid": state.os_pid,
    } in lines
    assert f"state  pid {state.os_pid}" in jidocode(
        "events", "--system", served, "--session", "shop"
    )


def test_what_has_no_process_does_not_run(served: str, opened: SessionHandle) -> None:
    """A stopped child is in the tree, and not among what runs."""
    opened.terminate_child("manager")
    command = ("events", "--system", served, "--session", opened.id)
    running = [json.loads(line)["child_id"] for line in jidocode(*command, "--json").splitlines()]

    assert running == [opened.id, "state"]
    assert "manager" not in jidocode(*command)


def test_events_say_which_session(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """By how its id begins; the root of the tree is called as in `tree`."""
    lines = jidocode("events", "--system", served).splitlines()
    root = jidocode("tree", "--system", served).splitlines()[1].split()[0]

    assert [line.split()[1] for line in lines[:3]] == [root, "registry", "sessions"]
    state = attached.get_state(opened.id).os_pid
    assert f"{opened.id[:8]}  state  pid {state}" in "\n".join(lines)
    command = [*COMMAND, "events", "-f", "--system", served]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().rstrip() for _ in lines] == lines
        os.kill(state, signal.SIGKILL)
        said = next(line for line in process.stdout if "ChildExited" in line)
        process.kill()
    assert f"{opened.id[:8]}  state" in said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("command", ["events", "logs"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, 1), (signal.SIGTERM, 0)])
def test_following_says_how_the_system_has_ended(
    name: str, tmp_path: Path, command: str, number: signal.Signals, status: int
) -> None:
    """And it is an error if nobody has ended it in order."""
    place = tmp_path / "said"
    with (
        place.open("w") as out,
        subprocess.Popen(
            [*COMMAND, "serve", "--name", name], stdout=out, stderr=out, env=environment()
        ) as system,
    ):
        try:
            eventually(lambda: "is ready" in place.read_text(), timeout=SECONDS)
            with subprocess.Popen(
                [*COMMAND, command, "-f", "--system", name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            ) as process:
                assert process.stdout is not None
                assert any("sessions" in line for line in process.stdout)
                system.send_signal(number)
                _, errors = process.communicate(timeout=SECONDS)
        finally:
            system.kill()
    assert process.returncode == status
    assert (
        errors
        == {
            1: f"Error: system {name} has died: the host process is gone\n",
            0: f"system {name} has ended: it was closed\n",
        }[status]
    )


@pytest.fixture
def followed(served: str, opened: SessionHandle) -> Iterator[subprocess.Popen[str]]:
    """`jidocode events --follow`, of one session, that has said what runs."""
    with following("events", "--system", served, "--session", opened.id) as process:
        assert process.stdout is not None
        for _ in ("session", "manager", "state"):
            assert json.loads(process.stdout.readline())["event"] == "Running"
        yield process


def test_events_are_followed_until_the_session_ends(
    followed: subprocess.Popen[str], attached: SessionSystem, opened: SessionHandle
) -> None:
    """Each as a line, as it happens."""
    assert followed.stdout is not None
    victim = attached.get_state(opened.id)
    os.kill(victim.os_pid, signal.SIGKILL)
    said = list[dict[str, Any]]()
    for line in followed.stdout:
        said.append(json.loads(line))
        if (said[-1].get("child_id"), said[-1]["event"]) == ("state", "ChildStarted"):
            break
    exited = next(each for each in said if each["event"] == "ChildExited")

    assert (exited["child_id"], exited["session_id"]) == ("state", opened.id)
    assert exited["reason"] == "killed by signal 9"
    assert said[-1]["recovered_after"] > 0
    attached.stop_session(opened.id)
    assert '"ChildExited"' in followed.stdout.read()
    assert followed.wait(SECONDS) == 0


def test_a_session_is_created(served: str, attached: SessionSystem, project: Path) -> None:
    """In the system, where it stays."""
    record = data("sessions", "create", str(project), "--name", "till", "--system", served)

    assert attached.get_session(record["id"]).session.name == "till"
    attached.stop_session(record["id"])
