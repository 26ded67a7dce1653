"""How a system starts and ends, whatever ends it."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from limits import limited, many_descriptors, run_unshared
from servers import Group, worker

from jidocode import (
    CallTimeoutError,
    HostError,
    HostExitedError,
    HostStartError,
    InvalidSettingError,
    NoProcessError,
    SessionHandle,
    SessionSystem,
)
from jidocode.otp import ChildSpec, Flags, Start
from jidocode.system.events import Event, _Unread
from jidocode.testing import eventually


def app(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start an app of its own that runs *code*."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_closing_twice_is_fine() -> None:
    """And calls after it say that the system is closed."""
    system = SessionSystem()
    system.close()
    system.close()

    with pytest.raises(HostExitedError, match="closed"):
        system.list_sessions()


@pytest.mark.parametrize("after", [0.02, 0.1, 0.2, 0.24, 0.26, 0.28, 0.3, 0.32, 0.4])
def test_ctrl_c_while_starting_leaves_nothing(after: float) -> None:
    """At whatever moment it comes, while the exception is still looked at, and without a word."""
    code = """
        import signal, sys
        import psutil
        from jidocode import SessionSystem
        from jidocode.testing import eventually

        signal.signal(signal.SIGALRM, signal.default_int_handler)
        system = None
        try:
            signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
            system = SessionSystem()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt as interrupt:
            if system is None:
                eventually(lambda: not psutil.Process().children(recursive=True))
        if system is not None:
            system.close()
        print("nothing left")
    """
    output, errors = app(code, after).communicate(timeout=60)

    assert output == "nothing left\n"
    assert not errors


@pytest.mark.parametrize(
    "step",
    [
        "daemon.launcher.subprocess.Popen",
        "daemon.launcher.os.pidfd_open",
        "client.client.AppMessenger",
        "logs.Receiver.start",
    ],
)
def test_a_start_that_is_interrupted_undoes_what_it_has_done(
    step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before the exception is out: no process, no file and no descriptor is left."""

    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(f"jidocode._host.{step}", interrupt)

    with pytest.raises(KeyboardInterrupt) as interruption:
        SessionSystem()

    assert psutil.Process().children(recursive=True) == []
    assert list(tmp_path.iterdir()) == []
    del interruption


def test_leaving_the_block_on_an_exception_closes(project: Path) -> None:
    """The exception goes on its way."""
    with pytest.raises(KeyError), SessionSystem() as system:  # noqa: PT012 - the block is the point
        system.create_session(project)
        raise KeyError

    assert psutil.Process().children(recursive=True) == []


def test_a_system_that_is_collected_while_running_warns() -> None:
    """And leaves no process."""
    system = SessionSystem()
    with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031 - collection takes both
        del system
        gc.collect()


@pytest.mark.parametrize("attached", [False, True], ids=["started", "attached"])
def test_a_system_that_has_ended_warns_once_when_it_is_collected(
    name: str, *, attached: bool
) -> None:
    """And lets go of all, in whatever order the collector comes by what it consists of."""
    before, early = open_descriptors(), list[socket.socket]()
    with SessionSystem(name=name) if attached else nullcontext():
        late: list[Any] = [SessionSystem.attach(name) if attached else SessionSystem(name=name)]
        os.kill(late[0].host_pid, signal.SIGKILL)
        reader = late[0]._running.client._reader
        eventually(lambda: not reader.is_alive(), "the end of its reader")
        late.append(late)
        early += [each for each in gc.get_objects() if isinstance(each, socket.socket)]
        gc.collect()  # what is reached first comes first from now on
        early.clear()
        with pytest.warns(ResourceWarning) as warned:  # noqa: PT031 - as above
            del late
            gc.collect()

    assert len(warned) == 1, [str(each.message) for each in warned]
    assert "was not closed" in str(warned[0].message)
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    """Return what this process has open."""
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is wanted


def test_a_system_may_be_collected_by_its_own_reader_thread() -> None:
    """The collector runs in any thread, and an app's cycles reach far."""
    system = SessionSystem()
    host = psutil.Process(system.host_pid)
    registry = system.tree().children[0].ref
    assert registry is not None
    hub, cycle = system._running.hub, [system]
    give = hub._give
    cycle.append(cycle)  # type: ignore[arg-type] # a list in itself is what it takes

    def collect(event: Event | _Unread) -> None:
        gc.collect()
        give(event)

    hub._give = collect  # type: ignore[method-assign] # called in the reader thread
    with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031 - idem
        gc.disable()
        del system, cycle
        os.kill(registry.os_pid, signal.SIGKILL)
        eventually(lambda: not host.is_running(), "the end of the host")
    gc.enable()


def test_two_systems_in_one_app_do_not_meet(project: Path, tmp_path: Path) -> None:
    """The same project can be open in both, if each has a state directory of its own."""
    with SessionSystem() as one, SessionSystem(state_dir=tmp_path / "two") as two:
        first, second = one.create_session(project), two.create_session(project)
        first.state.append_message("user", "hello")

        assert len(first.state.messages()) == 1
        assert second.state.messages() == []


def test_a_system_can_be_started_in_a_thread_that_ends(project: Path) -> None:
    """It lives on with the app."""
    started: list[SessionSystem] = []
    thread = threading.Thread(target=lambda: started.append(SessionSystem()))
    thread.start()
    thread.join()
    with started[0] as system:
        assert system.create_session(project).health_check().status.value == "healthy"


def test_a_session_that_does_not_stop_in_time_is_named(project: Path) -> None:
    """Not the registry, which passes the request on and is well."""
    with ThreadPoolExecutor(1) as pool, SessionSystem(shutdown=0.3) as system:
        session = system.create_session(project, children=[worker("busy", shutdown=20)])
        begun = project / "begun"
        pool.submit(session.call, "busy", ("shell", f"touch {begun}; exec sleep 3"))
        eventually(begun.exists, "the call that keeps it busy")
        with pytest.raises(CallTimeoutError, match=rf"session {session.id} did .* 0\.3 s"):
            session.stop()


def test_a_refusal_that_looks_like_a_death_is_handled_once(
    system: SessionSystem, project: Path
) -> None:
    """It is an answer, so the request has been handled and is not sent again."""
    session = system.create_session(project, children=[worker("gateway")])
    with pytest.raises(NoProcessError, match="billing"):
        session.call("gateway", ("refuse", NoProcessError("billing")), timeout=1)

    assert session.call("gateway", "handled") == 2


def test_a_monitor_that_nobody_keeps_is_forgotten(session: SessionHandle) -> None:
    """It could tell nobody."""
    monitor = weakref.ref(session.monitor("manager"))
    gc.collect()

    assert monitor() is None


def test_calls_can_be_made_from_64_threads_at_once(system: SessionSystem, project: Path) -> None:
    """Every thread gets its own answers, and none costs a thread or a descriptor."""
    session = system.create_session(project)
    session.state.append_message("user", "the connection is there now")
    threads_before = threading.active_count()
    descriptors_before = psutil.Process().num_fds()
    wrong: list[object] = []
    most: list[int] = []

    def talk(number: int) -> None:
        for turn in range(20):
            text = f"{number}/{turn}"
            if session.state.append_message("user", text).content != text:
                wrong.append(text)
        most.append(threading.active_count())

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert system.statistics().calls == 0
    assert max(most) <= threads_before + 64
    assert psutil.Process().num_fds() == descriptors_before
    assert session.state.statistics().messages == 1 + 64 * 20


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_nothing_outlives_the_app(project: Path, how: str) -> None:
    """Neither after an end without close, nor after kill -9."""
    process = app(
        """
        import sys, warnings
        from jidocode import SessionSystem
        warnings.simplefilter("ignore")
        system = SessionSystem()
        system.create_session(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        """,
        project,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        below = family(process.pid)
        assert len(below) >= 6
        if how == "kill":
            process.kill()
        process.communicate(timeout=20)
    finally:
        process.kill()
    eventually(lambda: not any(map(runs, below)), "the end of everything below")


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_fork_of_the_app_is_told_to_start_its_own(system: SessionSystem) -> None:
    """It must not read the answers of its parent."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            system.list_sessions()
        except HostError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(pid, 0)

    assert "fork" in told
    assert system.list_sessions() == []


def test_an_app_may_have_thousands_of_descriptors(project: Path) -> None:
    """More than `select.select` can count."""
    with many_descriptors(), SessionSystem() as system:
        session = system.create_session(project)

        assert session.manager.project_root() == str(project)


def test_a_host_that_cannot_start_is_one_clear_sentence() -> None:
    """Whether there is no interpreter, or one that fails."""
    with pytest.raises(HostStartError, match="cannot be started"):
        SessionSystem(python="/no/such/python")
    with pytest.raises(HostStartError, match="ended at its start with status 1"):
        SessionSystem(python="/bin/false")


def test_a_host_that_does_not_report_is_given_up(tmp_path: Path) -> None:
    """After the deadline, and without leaving it behind."""
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    with pytest.raises(HostStartError, match="not ready in time"):
        SessionSystem(python=silent, start_timeout=0.2)


class Doomed(SessionSystem):
    """A system whose root is no supervisor."""

    def _root(self, children: Sequence[ChildSpec]) -> Start:
        del children
        return Start(Group, "no flags", ())


def test_a_tree_that_cannot_start_is_one_clear_sentence() -> None:
    """And leaves nothing behind."""
    with pytest.raises(HostStartError, match="the tree could not be started"):
        Doomed()


def test_the_host_listens_on_loopback_only(system: SessionSystem, project: Path) -> None:
    """Every process of the system, and the app's own end."""
    system.create_session(project)
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    addresses = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections(kind="inet")
    }

    assert addresses == {"127.0.0.1"}


def test_the_key_is_neither_in_arguments_nor_in_the_environment(system: SessionSystem) -> None:
    """Of any process below the app."""
    client = system._running.client
    assert client is not None
    key = client._host.key.hex().encode()
    for process in psutil.Process().children(recursive=True):
        for name in ("cmdline", "environ"):
            assert key not in Path(f"/proc/{process.pid}/{name}").read_bytes()


def test_a_user_folder_cannot_shadow_modules_of_the_host(tmp_path: Path) -> None:
    """The app may be started in a folder with a subprocess.py of its own."""
    for name in ("subprocess.py", "thespian.py", "msgspec.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "main").mkdir()
    script = tmp_path / "main" / "run.py"
    script.write_text(
        "from jidocode import SessionSystem\n"
        "with SessionSystem() as system:\n"
        "    print(len(system.tree().children))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_all_processes_are_left_to_the_app(
    system: SessionSystem, project: Path, number: signal.Signals
) -> None:
    """They are the app's to answer, as it may have last words: systemd sends SIGTERM to all."""
    session = system.create_session(project, children=[worker("own")])
    events = system.events()
    guard = psutil.Process(system.host_pid).parent()
    assert guard is not None
    processes = [guard, *guard.children(recursive=True)]
    for process in processes:
        process.send_signal(number)

    assert session.state.append_message("user", "the last word").content == "the last word"
    assert session.call("own", ("echo", 1)) == 1
    assert all(process.is_running() for process in processes)
    assert events.get(0) is None
    system.close()
    assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_of_a_child_ends_by_the_signals_that_the_child_leaves_alone(
    system: SessionSystem, project: Path, number: signal.Signals
) -> None:
    """It does not inherit that."""
    session = system.create_session(project, children=[worker("own")])
    stray = psutil.Process(session.call("own", "stray"))
    stray.send_signal(number)

    eventually(lambda: stray.status() == psutil.STATUS_ZOMBIE, "its end")


@pytest.mark.parametrize("victims", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_nothing_outlives_any_of_the_guards_and_the_host(
    system: SessionSystem, project: Path, victims: list[int]
) -> None:
    """Whichever two are killed together, and whatever a child has started by itself."""
    session = system.create_session(project, children=[worker("parent")])
    stray = session.call("parent", "stray")
    host = psutil.Process(system.host_pid)
    second, first = host.parents()[:2]
    below = [first, *first.children(recursive=True)]
    assert stray in {process.pid for process in below}
    for victim in victims:  # held first, so that no one of them sees the death of another one
        (first, second, host)[victim].suspend()
    for victim in victims:
        (first, second, host)[victim].kill()

    eventually(lambda: not any(map(runs, below)), "the end of everything")
    with pytest.raises(HostExitedError):
        eventually(lambda: len(system.list_sessions()) > 1, "the news")


@pytest.mark.parametrize("milliseconds", [2, 5, 10, 15, 20, 30])
def test_nothing_outlives_two_guards_that_are_killed_one_after_the_other(
    system: SessionSystem, project: Path, milliseconds: int
) -> None:
    """The upper one in the middle of what follows the death of the lower one."""
    session = system.create_session(project, children=[worker("parent")])
    stray = session.call("parent", "stray")
    lower, upper = psutil.Process(system.host_pid).parents()[:2]
    below = [upper, *upper.children(recursive=True)]
    assert stray in {process.pid for process in below}
    os.kill(lower.pid, signal.SIGKILL)
    time.sleep(milliseconds / 1000)  # the moment is what is tried, and nothing is waited for
    with suppress(ProcessLookupError):
        os.kill(upper.pid, signal.SIGKILL)

    eventually(lambda: not any(map(runs, below)), "the end of everything")


def test_a_close_that_cannot_wait_ends_what_waits(project: Path) -> None:
    """Calls, monitors and streams, at once, and each thread with an error of its own."""
    with ThreadPoolExecutor(4) as pool, SessionSystem(shutdown=0.1, call_timeout=60) as system:
        session = system.create_session(project, children=[worker("idle")])
        monitor, stream = session.monitor("idle"), system.events()
        begun = project / "begun"
        sleep = ("shell", f"touch {begun}; exec sleep 30")
        calls = [pool.submit(session.call, "idle", sleep) for _ in range(2)]
        told, heard = pool.submit(monitor.wait), pool.submit(list, stream)
        eventually(lambda: begun.exists() and system.statistics().calls == 2, "the calls")
        system.close()
        errors = [call.exception(10) for call in calls]
        assert told.result(10) is not None
        heard.result(10)

    assert all(isinstance(error, HostExitedError) for error in errors)
    assert errors[0] is not errors[1]


def test_a_signal_handler_may_close_what_is_being_closed(project: Path) -> None:
    """As a SIGTERM handler does while the main thread leaves its `with`."""
    closed: list[bool] = []
    with ThreadPoolExecutor(1) as pool, SessionSystem(shutdown=30) as system:
        session = system.create_session(project, children=[worker("busy", shutdown=20)])
        begun = project / "begun"
        call = pool.submit(session.call, "busy", ("shell", f"touch {begun}; exec sleep 20"))
        eventually(begun.exists, "the call")  # which its server is at: it would end at once else

        def close(*_: object) -> None:
            system._running.client.close(0.0)
            closed.append(True)

        before = signal.signal(signal.SIGALRM, close)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            system.close()
        finally:
            signal.signal(signal.SIGALRM, before)
        assert isinstance(call.exception(10), HostExitedError)

    assert closed == [True]


def test_a_host_that_is_killed_while_its_tree_starts_is_told_at_once(tmp_path: Path) -> None:
    """Not when the time for starting is over."""
    latch = tmp_path / "latch"

    class Slow(SessionSystem):
        def _root(self, children: Sequence[ChildSpec]) -> Start:
            del children
            return Start(Group, Flags(), [worker("slow", None, f"latch {latch}")])

    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(Slow, start_timeout=60.0)
        host = eventually(
            lambda: [each for each in family(os.getpid()) if each.name() == "jido-host"],
            "the host's start",
        )
        eventually(lambda: len(host[0].children(recursive=True)) >= 2, "the tree's start")
        host[0].kill()

        assert isinstance(starting.exception(20), HostStartError)


@pytest.mark.parametrize("spare", [0, 2, 4, 6])
def test_too_few_descriptors_are_one_clear_sentence(spare: int) -> None:
    """Whatever they are wanted for first; and nothing is left."""
    limit = len(list(Path("/proc/self/fd").iterdir())) + spare
    with limited(resource.RLIMIT_NOFILE, limit), pytest.raises(HostStartError, match="cannot be"):
        SessionSystem()


def test_a_pid_namespace_without_its_own_proc_is_one_clear_sentence() -> None:
    """There, the numbers in /proc are those of other processes."""
    code = """
        from jidocode import HostStartError, SessionSystem
        try:
            SessionSystem(start_timeout=20).close()
        except HostStartError as error:
            print(error)
    """
    told = run_unshared(code, namespaces=("--pid", "--fork", "--kill-child"))

    assert "/proc does not show the processes of this pid namespace" in told


def test_a_system_that_did_not_start_has_a_text() -> None:
    """Tools that show the locals of a traceback ask for it."""
    system = SessionSystem.__new__(SessionSystem)
    with pytest.raises(InvalidSettingError):
        system.__init__(max_sessions=0)  # type: ignore[misc] # as a failed start leaves it

    assert repr(system) == "<SessionSystem not started>"
