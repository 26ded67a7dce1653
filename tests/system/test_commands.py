"""Commands of a session, with real programs: what they get, how they end, and what is left."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from jidocode import (
    ActorExitedError,
    BoundaryError,
    CommandFailedError,
    CommandHandle,
    CommandLimitError,
    CommandOutput,
    CommandRunningError,
    CommandStartError,
    FullNetwork,
    InvalidRequestError,
    NoCommandError,
    NoNetwork,
    OutputCutError,
    Ports,
    ProgramNotFoundError,
    SessionHandle,
    SessionSystem,
)
from jidocode.otp.seconds import INFINITY
from jidocode.session.commands.scratch import PREFIX
from jidocode.testing import eventually, is_alive, kill
from jidocode.testing.leftovers import processes_below


@pytest.fixture(autouse=True)
def scratch_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch folders are made; nothing is left of them."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def scratches(place: Path) -> list[Path]:
    return list(place.glob(f"{PREFIX}*"))


def size_of(output: CommandOutput) -> int:
    return sum(map(len, output))


def pid_in(handle: CommandHandle, number: int = 1) -> list[int]:
    """Return the pids that a command has printed, once there are *number*."""
    eventually(lambda: len(handle.read().text.split()) >= number, "pids")
    words = handle.read().text.split()
    return [int(word) for word in words]


# ----- what it gives and gets ---------------------------------------------------


def test_a_line_and_a_program_give_results(session: SessionHandle) -> None:
    result = session.run("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    assert result.signal is None
    assert not result.ok
    result = session.run(["printf", "%s|", "a b", "$HOME"])
    assert result.ok
    assert result.stdout == "a b|$HOME|"
    assert session.run("kill -9 $$").signal == signal.SIGKILL
    merged = session.run("echo 1; echo 2 >&2; echo 3", merge=True)
    assert merged.stdout == "1\n2\n3\n"
    assert merged.stderr == ""


def test_input_and_a_program_that_does_not_read_it(session: SessionHandle) -> None:
    assert session.run("cat", stdin="grüße").stdout == "grüße"
    assert session.run("cat").stdout == ""
    data = os.urandom(3_000_000)
    assert session.run("cat", stdin=data, output_limit=4_000_000).raw_stdout.data == data
    assert session.run("exec <&-; sleep 0.1; echo on", stdin=data).stdout == "on\n"


def test_what_cannot_start_is_a_typed_error(session: SessionHandle, project: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match="no-such-program") as caught:
        session.run(["no-such-program"])
    assert isinstance(caught.value, FileNotFoundError)
    assert pickle.loads(pickle.dumps(caught.value)).program == "no-such-program"
    assert session.run("no-such-program").exit_code == 127
    (project / "data").write_text("no program")
    with pytest.raises(CommandStartError, match="Permission denied"):
        session.commands.start(["./data"])
    assert session.commands.list()[-1].exit_code == 127  # of those two nothing is known
    with pytest.raises(CommandFailedError) as failed:
        session.run("echo why >&2; exit 4", check=True)
    assert failed.value.result.stderr == "why\n"
    assert str(failed.value).startswith("a line for the shell ended with 4")
    with pytest.raises(CommandFailedError, match="'false' ended with 1"):
        session.run(["false"], check=True)


def test_wrong_arguments_start_nothing(session: SessionHandle, tmp_path: Path) -> None:
    bad: list[dict[str, object]] = [
        {"command": []},
        {"command": [""]},
        {"command": ["a\0b"]},
        {"command": [1]},
        {"command": 1},
        {"command": b"true"},
        {"command": Path("/bin/true")},
        {"command": "x" * 200_000},
        {"command": ["true", *["x" * 100_000] * 20]},
        {"command": "true", "env": {"A=B": "1"}},
        {"command": "true", "env": {"A": "\0"}},
        {"command": "true", "env": {"A": 1}},
        {"command": "true", "env": [("A", "1")]},
        {"command": "true", "timeout": 0},
        {"command": "true", "timeout": "soon"},
        {"command": "true", "output_limit": 3},
        {"command": "true", "output_limit": 2**40},
        {"command": "true", "tty": (0, 80)},
        {"command": "true", "stdin": b"x" * (2**24 + 1)},
        {"command": "true", "save_output": "relative"},
        {"command": "true", "save_output": 1},
        {"command": "true", "save_output": "/nowhere/\ud800"},
    ]
    for arguments in bad:
        with pytest.raises(InvalidRequestError):  # and nothing has died of it
            session.run(**arguments)  # type: ignore[arg-type]
    for cwd in ("..", 1, None):
        with pytest.raises(BoundaryError):
            session.run("true", cwd=cwd)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        session.run("true", cwd="nowhere")
    with pytest.raises(NotADirectoryError):
        session.run("true", cwd="README.md")
    with pytest.raises(InvalidRequestError, match="outside"):
        session.run("true", save_output=tmp_path / "shop" / "log")
    assert session.commands.list() == []
    assert session.run("pwd", cwd="src").stdout.endswith("/shop/src\n")


def test_nothing_of_the_system_reaches_a_command(
    session: SessionHandle, scratch_place: Path
) -> None:
    assert scratches(scratch_place) == []  # nothing has run yet
    variables = dict(
        line.split("=", 1) for line in session.run("env", env={"MINE": "1"}).stdout.splitlines()
    )
    (scratch,) = scratches(scratch_place)
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert variables["MINE"] == "1"
    assert variables["HOME"] == f"{scratch}/home"
    assert not [name for name in variables if name.startswith(("PYTHON", "JIDOCODE", "LD_"))]
    listing = session.run("ls /proc/self/fd; ps -o pgid=,sid=,pid= -p $$").stdout.split()
    assert listing[:4] == ["0", "1", "2", "3"]  # the last one is that of the listing
    assert len(set(listing[4:])) == 1  # at the head of a group and of a session
    masks = session.run("grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status").stdout.split()
    # Numbers 32 and 33 are the C library's own, which no program can set.
    blocked, ignored = (int(mask, 16) & ~(0b11 << 31) for mask in masks[1::2][:2])
    assert (blocked, ignored) == (0, 0)
    session.stop()
    assert scratches(scratch_place) == []


def test_long_output_keeps_its_head_and_its_tail(session: SessionHandle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = session.run(
        "echo first; yes | head -c 200000000; echo last", output_limit=10_000, save_output=log
    )
    assert result.overflowed
    assert result.raw_stdout.size == 200_000_011
    assert len(result.raw_stdout.data) == 10_000
    assert result.stdout.startswith("first\ny\n")
    assert result.stdout.endswith("y\nlast\n")
    assert "bytes cut out" in result.stdout
    assert result.saved == log.stat().st_size == 200_000_011
    assert log.stat().st_mode & 0o777 == 0o600
    status = Path(f"/proc/{session.monitor('commands').ref.os_pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    assert peak < 100_000  # kB
    with pytest.raises(FileExistsError):
        session.run("true", save_output=log)


def test_a_terminal(session: SessionHandle) -> None:
    handle = session.commands.start("tty; stty size; read line; stty size; cat", tty=(30, 90))
    eventually(lambda: "30 90" in handle.read().text, "its size")
    handle.resize(40, 100)
    handle.write("go\n")
    eventually(lambda: "40 100" in handle.read().text, "its new size")
    handle.write("echo\n")
    handle.close_stdin()
    result = handle.wait(10)
    assert result.ok
    assert result.stdout.startswith("/dev/pts/")
    assert "echo\r\n" in result.stdout
    interrupted = session.commands.start(["sleep", "60"], tty=True)  # a shell may miss it
    interrupted.write("\x03")
    assert interrupted.wait(10).signal == signal.SIGINT


# ----- handles --------------------------------------------------------------------


@pytest.mark.parametrize("tty", [False, True])
def test_a_command_waits_for_who_reads_its_output(session: SessionHandle, *, tty: bool) -> None:
    """All of it comes, though it is written much faster, by any number, at a terminal, too."""
    size = 3_000_000
    handle = session.commands.start(f"yes | tr -d '\\n' | head -c {size}", tty=tty)
    with ThreadPoolExecutor(2) as pool:
        slow, fast = handle.output(), session.commands.get(handle.id).output()
        first = next(slow)
        counts = list(pool.map(size_of, [slow, fast]))
    assert counts == [size - len(first), size]
    assert handle.wait().raw_stdout.size == size


def test_a_command_is_not_held_up_by_who_has_closed_its_output(session: SessionHandle) -> None:
    """It ends before anybody's 10 seconds are over, and again is fine, also when it has gone."""
    handle = session.commands.start("yes | head -c 3000000")
    with handle.output() as output:
        assert next(output)
    output.hold()  # nobody reads there any more
    assert handle.wait(8).raw_stdout.size == 3_000_000
    assert list(output) == []
    last = handle.output()
    assert next(last)
    session.stop()
    last.close()
    last.close()


def test_output_that_was_cut_out_is_not_passed_over(session: SessionHandle) -> None:
    """Who begins late is told, and reads on behind it."""
    handle = session.commands.start("yes | tr -d '\\n' | head -c 3000000")
    kept = handle.wait().raw_stdout
    output, found = handle.output(), list[bytes]()
    with pytest.raises(OutputCutError, match=f"{kept.cut} bytes of stdout") as refused:
        found.extend(output)
    assert (refused.value.cut, refused.value.stream) == (kept.cut, "stdout")
    assert b"".join(found) == kept.head
    assert sum(map(len, output)) == len(kept.tail)
    output.hold()


def test_output_is_read_as_it_comes_by_any_number(session: SessionHandle) -> None:
    handle = session.commands.start("for i in 1 2 3; do read x; echo $i$x; done", stdin="a\n")
    assert handle.read(wait=10).text == "1a\n"
    other = session.commands.get(handle.id)
    assert other.read(1, size=1).text == "a"
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(each.read, 3, wait=10) for each in (handle, other)]
        handle.write("b\n")
        assert [each.result().text for each in waiting] == ["2b\n", "2b\n"]
    assert not handle.read(6).data
    other.write("c\n")
    assert b"".join(handle.output()) == b"1a\n2b\n3c\n"
    assert handle.wait().ok
    with pytest.raises(BrokenPipeError, match="any more"):
        handle.write("d")
    with pytest.raises(BrokenPipeError, match="started without stdin"):
        session.commands.start("sleep 60").write("d")
    assert session.commands.list()[0].id == handle.id
    with pytest.raises(NoCommandError, match="not known any more"):
        session.commands.get("nobody")


def test_a_wait_that_is_over_and_a_cancel_by_another_client(session: SessionHandle) -> None:
    handle = session.commands.start("trap '' TERM; echo $$; sleep 60 & wait; sleep 60")
    (pid,) = pid_in(handle)
    assert handle.info().running
    assert handle.info().pid == pid
    with pytest.raises(CommandRunningError):
        handle.wait(0.05)
    began = time.monotonic()
    result = session.commands.get(handle.id).cancel()
    assert 1.5 < time.monotonic() - began < 50  # of sixty
    assert result.cancelled
    assert result.signal == signal.SIGKILL
    assert handle.wait() == result
    assert not handle.info().running


def test_a_signal_and_an_input_that_is_closed(session: SessionHandle) -> None:
    handle = session.commands.start(
        "trap 'echo caught; exit 5' USR1; echo $$; while :; do sleep 0.01; done"
    )
    pid_in(handle)
    handle.signal(signal.SIGUSR1)
    assert handle.wait(10).exit_code == 5
    with pytest.raises(InvalidRequestError):
        handle.signal(4711)
    reader = session.commands.start("cat", stdin="all")
    reader.close_stdin()
    assert reader.wait(10).stdout == "all"


def test_a_run_that_nobody_waits_for_any_more_is_cancelled(session: SessionHandle) -> None:
    """Because of a Ctrl-C, or whatever else a signal handler raises."""
    session.run("true")

    def interrupt() -> None:
        eventually(lambda: session.commands.list()[-1].running, "the command")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            session.run("sleep 60")
        interrupter.join()
    finally:
        signal.signal(signal.SIGINT, before)
    ended = session.commands.list()[-1]
    assert ended.signal == signal.SIGTERM
    assert not ended.running


def test_no_descriptors_are_a_refusal_and_no_end(session: SessionHandle) -> None:
    """And as soon as there are some, commands run again."""
    session.run("true")
    server = session.monitor("commands").ref.os_pid
    limits = resource.prlimit(server, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{server}/fd").iterdir()))
    for more in range(12):
        resource.prlimit(server, resource.RLIMIT_NOFILE, (used + more, limits[1]))
        with contextlib.suppress(OSError):
            session.run("true")
    resource.prlimit(server, resource.RLIMIT_NOFILE, limits)
    assert session.run("echo on").stdout == "on\n"
    assert session.monitor("commands").ref.os_pid == server
    eventually(lambda: len(list(Path(f"/proc/{server}/fd").iterdir())) <= used, "their end")


def test_too_many_are_refused(tmp_path: Path, project: Path) -> None:
    with SessionSystem(state_dir=tmp_path / "state", max_commands=2) as system:
        session = system.create_session(project)
        running = [session.commands.start("sleep 60") for _ in range(2)]
        with pytest.raises(CommandLimitError, match="all 2"):
            session.run("true")
        running[0].cancel()
        assert session.run("true").ok


def test_those_that_ended_are_forgotten_in_the_end(session: SessionHandle) -> None:
    first = session.run("true").id
    for _ in range(100):
        session.run(["true"])
    assert len(session.commands.list()) == 100
    with pytest.raises(NoCommandError):
        session.commands.get(first)


# ----- how all of it ends -----------------------------------------------------------

TREE = """
trap '' TERM
sleep 61 & echo $!
setsid sleep 62 & echo $!
nohup sleep 63 >/dev/null 2>&1 & echo $!
( setsid sh -c 'trap "" TERM; echo $$; sleep 64; sleep 64' & )
sh -c 'kill -STOP $$' & echo $!
sleep 0.2
"""


def test_the_whole_tree_ends_at_the_deadline(session: SessionHandle) -> None:
    handle = session.commands.start(TREE + "sleep 60", timeout=2)
    pids = pid_in(handle, 5)
    assert all(map(is_alive, pids))
    result = handle.wait(10)
    assert result.timed_out
    assert not result.cancelled
    assert not any(map(is_alive, pids))


def test_a_word_that_comes_too_late_is_not_for_the_next_command(session: SessionHandle) -> None:
    """One runner has both, if the first left nothing; and it may be cancelled as it ends."""
    parents = {session.run("echo $PPID").stdout for _ in range(5)}
    assert len(parents) < 5  # two, if one took so long that another was made ready
    for _ in range(30):
        handle = session.commands.start("true")
        cancelling = threading.Thread(target=handle.cancel)
        cancelling.start()
        handle.wait(10)
        assert session.run("sleep 0.01; echo whole").stdout == "whole\n"
        cancelling.join()


def test_a_runner_that_is_killed_while_it_waits_is_replaced(session: SessionHandle) -> None:
    first = session.run("echo $PPID").stdout
    with contextlib.suppress(ProcessLookupError):  # another one stood by already
        os.kill(int(first), signal.SIGKILL)
    later: list[str] = []

    def another_runs() -> bool:
        # Until it is buried it can be given an order, and nobody knows then what became of that.
        with contextlib.suppress(CommandStartError):
            later.append(session.run("echo $PPID").stdout)
        return bool(later)

    eventually(another_runs, "a command by another runner")
    assert later[0] not in ("", first)


def test_what_outlives_its_main_process_holds_nobody_up(session: SessionHandle) -> None:
    began = time.monotonic()
    result = session.run(TREE)
    assert time.monotonic() - began < 20  # of sixty
    assert result.ok
    pids = [int(word) for word in result.stdout.split()]
    assert len(pids) == 5
    assert not any(map(is_alive, pids))
    late = session.run("(sleep 0.05; echo late) & echo done")
    assert late.stdout == "done\nlate\n"


def test_one_that_is_stopped_can_be_cancelled(session: SessionHandle) -> None:
    handle = session.commands.start("echo $$; kill -STOP $$; sleep 60")
    (pid,) = pid_in(handle)
    assert handle.cancel().signal == signal.SIGTERM  # and not killed when its time was over
    assert not is_alive(pid)


def test_a_storm_of_forks_is_over(session: SessionHandle) -> None:
    chain = "f() { [ $1 -gt 0 ] && { (f $(($1 - 1))) & }; sleep 60; }"
    handle = session.commands.start(f"{chain}; for i in 1 2 3; do f 45 & done; wait")
    eventually(lambda: len(processes_below(handle.info().pid)) > 100, "the storm")
    pids = [process.pid for process in processes_below(handle.info().pid)]
    assert handle.cancel().cancelled
    assert not any(map(is_alive, pids))


def test_a_command_ends_and_no_other(session: SessionHandle) -> None:
    other = session.commands.start("echo $$; setsid sleep 60 & echo $!; wait")
    pids = pid_in(other, 2)
    session.commands.start("sleep 60").cancel()
    assert all(map(is_alive, pids))
    other.cancel()
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize(
    "victims", ["server", "spawner", "runner", "command", "spawner+runner", "server+spawner+runner"]
)
def test_whoever_is_killed_nothing_is_left_and_the_next_use_works(
    session: SessionHandle, victims: str
) -> None:
    handle = session.commands.start("echo $$; setsid sleep 60 & echo $!; wait")
    pids = pid_in(handle, 2)
    server = session.monitor("commands").ref.os_pid
    runner = psutil.Process(pids[0]).ppid()
    pid_of = {
        "server": server,
        "runner": runner,
        "spawner": psutil.Process(runner).ppid(),
        "command": pids[0],
    }
    manager = session.monitor("manager").ref
    for victim in victims.split("+"):
        with contextlib.suppress(ProcessLookupError):  # the others may be gone with the first
            os.kill(pid_of[victim], signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, [*pids, runner])), "the end of the command")
    if victims in ("runner", "command"):
        assert handle.wait(10).signal == signal.SIGKILL
        assert session.monitor("commands").ref.os_pid == server
    else:
        with pytest.raises((ActorExitedError, NoCommandError)):
            handle.wait(10)
    eventually(lambda: not _dies(session), "the end of the one that was")
    assert session.run(["echo", "again"]).stdout == "again\n"
    assert session.monitor("manager").ref == manager


def _dies(session: SessionHandle) -> bool:
    """Whether the next call would meet the end of the process that ran the commands before."""
    try:
        session.commands.list()
    except ActorExitedError:
        return True
    return False


def test_a_call_under_way_learns_of_the_end(system: SessionSystem, session: SessionHandle) -> None:
    session.run("true")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.run, "sleep 60")
        eventually(lambda: any(info.running for info in session.commands.list()), "the command")
        kill(system, session, "commands")
        with pytest.raises(ActorExitedError):
            call.result(10)


def test_with_the_session_and_with_the_system_all_ends(
    system: SessionSystem, tmp_path: Path
) -> None:
    sessions: list[SessionHandle] = []
    for name in "ab":
        (tmp_path / name).mkdir()
        sessions.append(system.create_session(tmp_path / name))
    handles = [
        each.commands.start("echo $$; trap '' TERM; sleep 60; sleep 60") for each in sessions
    ]
    pids = [pid for handle in handles for pid in pid_in(handle)]
    began = time.monotonic()
    sessions[0].stop()
    assert time.monotonic() - began < 20  # of sixty
    assert [is_alive(pid) for pid in pids] == [False, True]
    began = time.monotonic()
    system.close()
    assert time.monotonic() - began < 20  # of sixty
    assert not any(map(is_alive, pids))


APP = """
import sys, time
from jidocode import SessionSystem

with SessionSystem(state_dir=sys.argv[1]) as system:
    session = system.create_session(sys.argv[2])
    handle = session.commands.start("trap '' TERM; echo $$; setsid sleep 60 & echo $!; wait")
    while len(words := handle.read().text.split()) < 2:
        pass
    print(system.host_pid, *words, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("who", ["app", "host"])
def test_nothing_outlives_a_killed_app_or_host(who: str, tmp_path: Path, project: Path) -> None:
    """Not even the commands of which nobody is left who knows them."""
    arguments = [sys.executable, "-c", APP, str(tmp_path / "state"), str(project)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        host, *pids = map(int, app.stdout.readline().split())
        assert all(map(is_alive, pids))
        os.kill(app.pid if who == "app" else host, signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, [host, *pids])), "the end of all")
        app.kill()


def test_many_at_once_in_many_sessions(system: SessionSystem, tmp_path: Path) -> None:
    sessions: list[SessionHandle] = []
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        sessions.append(system.create_session(tmp_path / str(number)))
    with ThreadPoolExecutor(200) as pool:
        calls = [
            pool.submit(session.run, f"sleep 0.2; echo {number}", timeout=INFINITY)
            for number in range(20)
            for session in sessions
        ]
        results = [call.result(60) for call in calls]
    assert all(result.ok for result in results)
    assert sorted({result.stdout for result in results}) == sorted(f"{n}\n" for n in range(20))
    assert all(len(session.commands.list()) == 20 for session in sessions)


def test_a_scratch_folder_whose_owner_was_killed_is_removed_by_the_next(
    system: SessionSystem, session: SessionHandle, scratch_place: Path
) -> None:
    session.run('mkdir "$HOME/locked" && touch "$HOME/locked/file" && chmod 500 "$HOME/locked"')
    (old,) = scratches(scratch_place)
    kill(system, session, "commands")
    eventually(lambda: not _dies(session), "the end of the one that was")
    assert session.run("true").ok
    eventually(lambda: old not in scratches(scratch_place), "the removal")
    assert len(scratches(scratch_place)) == 1
    session.stop()
    assert scratches(scratch_place) == []


def test_nothing_is_left_open(system: SessionSystem, project: Path) -> None:
    session = system.create_session(project)
    session.run("true")
    server = session.monitor("commands").ref.os_pid

    def open_files() -> int:
        return len(list(Path(f"/proc/{server}/fd").iterdir()))

    before = open_files()
    for _ in range(5):
        session.run("echo; exit 1", stdin="x")
        session.run("echo", tty=True)
        with pytest.raises(ProgramNotFoundError):
            session.run(["no-such-program"])
    eventually(lambda: open_files() <= before, "their end")


# ----- what holds them ----------------------------------------------------------------


def test_commands_reach_their_project_and_nothing_else(
    session: SessionHandle, tmp_path: Path
) -> None:
    """Neither other folders, nor the journals, nor the network; not even the app's processes."""
    (tmp_path / "outside").write_text("secret")
    reads = session.run(["cat", str(tmp_path / "outside")])
    assert (reads.exit_code, reads.stdout) == (1, "")
    assert session.run(["sh", "-c", "echo a > made && cat made"]).stdout == "a\n"
    assert session.run("echo $TMPDIR; echo b > $TMPDIR/b && cat $TMPDIR/b").ok
    assert not session.run(["sh", "-c", f"echo c > {tmp_path}/c"]).ok
    assert not session.run(["kill", "-0", str(os.getpid())]).ok
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        for network, allowed in (
            (NoNetwork(), False),
            (Ports(connect=[port]), True),
            (Ports(connect=[port ^ 1]), False),
            (FullNetwork(), True),
        ):
            assert session.run(["python3", "-c", connect], network=network).ok is allowed
    assert sorted(each.name for each in tmp_path.iterdir() if each.name == "c") == []


def test_what_holds_commands_is_found_by_trying(session: SessionHandle) -> None:
    """Right by right."""
    report = session.commands.confinement()
    assert (report.tier, report.missing) == ("kernel", ())
    assert len(report.denials) > 10


def test_none_are_confined_where_that_is_said(project: Path, tmp_path: Path) -> None:
    with SessionSystem(state_dir=tmp_path / "state", sandbox="off") as system:
        session = system.create_session(project)
        assert session.run(["kill", "-0", str(os.getpid())]).ok
        assert session.commands.confinement().tier is None


def test_a_network_is_one_of_three(session: SessionHandle) -> None:
    """Nothing is started otherwise."""
    with pytest.raises(InvalidRequestError, match="network must be"):
        session.run("true", network="all")  # type: ignore[arg-type] # on purpose
