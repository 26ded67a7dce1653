"""Commands of a session on tier namespaces: what is as it was, what is not, and what is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
from confined import require_tier
from limits import run_unshared

from jidocode import (
    ActorExitedError,
    NoCommandError,
    Ports,
    ProgramNotFoundError,
    SessionHandle,
    SessionSystem,
)
from jidocode.testing import eventually, is_alive
from jidocode.testing.leftovers import processes_below


@pytest.fixture
def session(tmp_path: Path, project: Path) -> Generator[SessionHandle]:
    require_tier("namespaces")
    with SessionSystem(state_dir=tmp_path / "state", sandbox="require:namespaces") as system:
        yield system.create_session(project)


def test_results_are_as_on_the_other_tier(session: SessionHandle, project: Path) -> None:
    result = session.run("cat; echo err >&2; pwd; exit 3", stdin="text\n")
    assert (result.exit_code, result.stdout) == (3, f"text\n{project}\n")
    assert result.stderr == "err\n"
    (project / "folder").mkdir()
    assert session.run(["pwd"], cwd="folder").stdout == f"{project}/folder\n"
    assert session.run("kill -9 $$").signal == signal.SIGKILL
    assert session.run("kill $$").signal == signal.SIGTERM
    with pytest.raises(ProgramNotFoundError):
        session.run(["no-such-program"])
    assert session.run(["env"], env={"ONE": "1"}).stdout.count("ONE=1\n") == 1
    assert session.run("ls /proc/self/fd").stdout.split() == [
        "0",
        "1",
        "2",
        "3",
    ]  # its own, of `ls`


def test_its_pid_is_one_of_ours(session: SessionHandle) -> None:
    """Of its own, it is 2; the first is whoever reaps in there."""
    handle = session.commands.start("echo $$; ps -o pid= -e | wc -l; sleep 60")
    eventually(lambda: len(handle.read().text.split()) == 2, "its output")
    pid = handle.info().pid

    assert handle.read().text.split() == ["2", "4"]  # init, the shell, ps and wc
    assert "sleep 60" in subprocess.check_output(["ps", "-o", "args=", "-p", str(pid)], text=True)
    handle.signal(signal.SIGSTOP)
    eventually(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "its stop")
    assert handle.cancel().signal == signal.SIGTERM
    assert not is_alive(pid)


def test_a_terminal(session: SessionHandle) -> None:
    script = "tty; stty size; read line; stty size; sh -mc 'sleep 0 & fg'; cat"
    handle = session.commands.start(script, tty=(30, 90))
    eventually(lambda: "30 90" in handle.read().text, "its size")
    handle.resize(40, 100)
    handle.write("go\n")
    eventually(lambda: "40 100" in handle.read().text, "its new size")
    handle.close_stdin()
    result = handle.wait(10)
    assert result.ok, result.stdout
    assert result.stdout.startswith("/dev/console\r\n")
    interrupted = session.commands.start(["sleep", "60"], tty=True)
    interrupted.write("\x03")
    assert interrupted.wait(10).signal == signal.SIGINT


TREE = """
trap "" TERM
sleep 61 &
setsid sleep 62 &
( setsid sh -c 'trap "" TERM; sleep 63; sleep 63' & )
sh -c 'kill -STOP $$' &
sleep 0.2
"""


def test_the_whole_tree_ends(session: SessionHandle) -> None:
    """At the deadline, with its main process, and what is left of it writes to the end."""
    handle = session.commands.start(TREE + "sleep 60; sleep 60", timeout=2)
    runner = psutil.Process(handle.info().pid).ppid()
    eventually(lambda: len(processes_below(runner)) >= 7, "the tree")
    tree = [process.pid for process in processes_below(runner)]
    assert handle.wait(10).timed_out
    assert not any(map(is_alive, tree))
    began = time.monotonic()
    assert session.run(TREE).ok
    assert session.run("(sleep 0.05; echo late) & echo done").stdout == "done\nlate\n"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("victim", ["server", "spawner", "runner", "init", "command"])
def test_whoever_is_killed_nothing_is_left_and_the_next_use_works(
    session: SessionHandle, victim: str
) -> None:
    handle = session.commands.start("setsid sleep 60 & (setsid sleep 60 &); echo up; sleep 60")
    eventually(lambda: "up" in handle.read().text, "its start")
    pid = handle.info().pid
    runner = psutil.Process(pid).ppid()
    eventually(lambda: len(processes_below(runner)) >= 5, "all of them")
    tree = [process.pid for process in processes_below(runner)]
    (init,) = {each for each in tree if psutil.Process(each).ppid() == runner} - {pid}
    server = session.monitor("commands").ref.os_pid
    assert server is not None
    pids = {
        "server": server,
        "spawner": psutil.Process(runner).ppid(),
        "runner": runner,
        "init": init,
    }
    os.kill(pids.get(victim, pid), signal.SIGKILL)

    eventually(lambda: not any(map(is_alive, [*tree, runner])), "the end of the command")
    if victim in ("server", "spawner"):
        with pytest.raises((ActorExitedError, NoCommandError)):
            handle.wait(10)
    else:
        assert handle.wait(10).signal == signal.SIGKILL

    def works() -> bool:
        with contextlib.suppress(ActorExitedError):  # of the one that was
            return session.run(["echo", "again"]).stdout == "again\n"
        return False

    eventually(works, "the next use")


def test_a_repository_takes_commits_and_no_orders(session: SessionHandle, project: Path) -> None:
    """As soon as there is one: the command that makes it writes its hooks itself."""
    assert session.run("git init -q && git config user.name x && git config user.email x@y").ok
    before = (project / ".git/config").read_text()

    assert session.run("echo > file; git add . && git commit -qm first && git gc -q").ok
    result = session.run("git config core.hooksPath /tmp; echo x > .git/hooks/post-commit")

    assert result.stderr.count("Device or resource busy") + result.stderr.count("Read-only") == 2
    assert (project / ".git/config").read_text() == before


def test_its_tmp_is_the_sessions_and_its_shared_memory_its_own(session: SessionHandle) -> None:
    pool = "import multiprocessing as m\nwith m.Pool(2) as pool: print(pool.map(abs, [-1, 2]))"

    assert session.run("echo kept > /tmp/jidocode-it; echo gone > /dev/shm/it").ok
    assert (
        session.run("cat /tmp/jidocode-it; cat /dev/shm/it || echo none").stdout == "kept\nnone\n"
    )
    assert session.run(["python3", "-c", pool]).stdout == "[1, 2]\n"
    assert not Path("/tmp/jidocode-it").exists()  # noqa: S108 - a name


def test_what_is_granted_is_there_by_the_name_that_was_given(
    session: SessionHandle, tmp_path: Path
) -> None:
    """A symlink in it leads there, inside too."""
    real = tmp_path / "sdk-2"
    real.mkdir()
    (real / "file").write_text("granted")
    link = tmp_path / "sdk"
    link.symlink_to(real)
    commands = ["cat", str(link / "file")]

    assert session.run(commands, read=[link]).stdout == "granted"
    assert session.run(commands).exit_code == 1
    assert session.run(["cat", str(real / "file")], read=[real]).stdout == "granted"


def test_a_server_on_a_granted_port_is_reached(session: SessionHandle) -> None:
    """It is in our network namespace, and held by Landlock; without a grant it is in its own."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    serve = ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    handle = session.commands.start(serve, network=Ports(listen=[port]))

    def answers() -> bool:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port), timeout=5) as client,
        ):
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.0 200")
        return False

    eventually(answers, "the server")
    handle.cancel()


def test_many_at_once(session: SessionHandle) -> None:
    """What they share is built by the first; those that are started with it build it, too."""
    handles = [session.commands.start(f"sleep 0.2; echo {number}") for number in range(8)]

    assert [handle.wait(20).stdout for handle in handles] == [f"{number}\n" for number in range(8)]
    assert session.commands.confinement().tier == "namespaces"


REFUSED = """
import sys, time
from pathlib import Path
from jidocode import ConfinementError, SessionSystem

Path("/proc/sys/user/max_user_namespaces").write_text("0")
with SessionSystem(state_dir=sys.argv[1], sandbox="require:namespaces") as system:
    session = system.create_session(sys.argv[2])
    session.commands.list()  # they are there
    def run():
        session.run("true")

    for ask in (run, session.commands.confinement, run):
        began = time.monotonic()
        try:
            ask()
        except ConfinementError as error:
            print(time.monotonic() - began < 3, error)
"""


def test_where_it_is_not_possible_nothing_is_started(tmp_path: Path, project: Path) -> None:
    told = run_unshared(REFUSED, tmp_path / "state", project).splitlines()

    assert len(told) == 3
    for line in told:
        assert line.startswith(
            "True tier namespaces is not possible here: the kernel does not make"
        )
        assert "user.max_user_namespaces is 0" in line
