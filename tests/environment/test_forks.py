"""Forks of the app: what they may not wait for, and what they may not keep alive."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest
from apps import probe, run_app
from odd import Forker
from servers import worker

from jidocode import Session, SessionHandle, SessionSystem
from jidocode._host.client.monitor import Monitor
from jidocode.otp import Announced, ChildSpec, Start
from jidocode.session.record import new_session_id
from jidocode.system.events import EventStream
from jidocode.testing import PATIENCE, is_alive

MAX_SECONDS = 20
"""After which a fork counts as one that hangs; far less than anything waits here."""


class Held(NamedTuple):
    """What an app holds when it forks."""

    system: SessionSystem
    session: SessionHandle
    events: EventStream
    iterator: Iterator[object]
    monitor: Monitor
    subscription: Iterator[object]


@pytest.fixture
def held(system: SessionSystem, project: Path) -> Held:
    """A session, and one of everything that waits for news of it."""
    session = system.create_session(project, children=[worker("worker")])
    events = system.events()
    message = session.state.append_message("user", "hello")
    subscription = session.state.subscribe(from_seq=1)
    assert message is not None
    next(subscription)
    monitor = session.monitor("worker")
    return Held(system, session, events, iter(events), monitor, subscription)


def in_fork(do: Callable[[], object]) -> str:
    """Do something in a fork of this process; return the error, or what it came to, as text."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork of a process with threads is what is tried
        pid = os.fork()
    if not pid:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout has its own use for it
            signal.alarm(MAX_SECONDS)
            os.close(reading)
            try:
                said = f"returned {do()!r}"
            except BaseException as error:  # noqa: BLE001 - it is told
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said or ("hangs" if status == -signal.SIGALRM else f"ended with {status}")


RAISES: dict[str, Callable[[Held], object]] = {
    "next(events)": lambda held: next(held.iterator),
    "iter(events)": lambda held: list(islice(held.events, 100)),
    "events.get()": lambda held: [held.events.get() for _ in range(100)],
    "events.get(timeout)": lambda held: held.events.get(60),
    "monitor.wait()": lambda held: held.monitor.wait(),
    "monitor.wait(timeout)": lambda held: held.monitor.wait(60),
    "next(subscription)": lambda held: [next(held.subscription) for _ in range(100)],
    "subscribe()": lambda held: next(held.session.state.subscribe(from_seq=1)),
    "state.events(wait)": lambda held: held.session.state.events(after_seq=0, wait=60),
    "system.events()": lambda held: held.system.events().get(60),
    "system.monitor()": lambda held: held.session.monitor("worker").wait(60),
    "call": lambda held: held.session.call("worker", "pid"),
    "cast": lambda held: held.session.cast("worker", "hello"),
    "create_session": lambda held: held.system.create_session("."),
    "stop": lambda held: held.session.stop(),
    "list_sessions": lambda held: held.system.list_sessions(),
    "list_resumable": lambda held: held.system.list_resumable(),
    "export_session": lambda held: next(held.system.export_session(held.session.id)),
    "fork_session": lambda held: held.system.fork_session(held.session.id),
    "delete_session": lambda held: held.system.delete_session(held.session.id),
    "resume_session": lambda held: held.system.resume_session(new_session_id()),
    "find_session": lambda held: held.system.find_session(path="/nowhere"),
    "health": lambda held: held.session.health_check(),
    "system_health": lambda held: held.system.system_health(),
    "tree": lambda held: held.system.tree(),
    "statistics": lambda held: held.system.statistics(),
    "in a fork of it": lambda held: _raise(in_fork(held.events.get)),
}


def _raise(said: str) -> None:
    raise LookupError(said)


def test_a_fork_is_told_that_it_is_one(held: Held) -> None:
    """At once, by the error that says what to do; the system goes on."""
    for what, ask in RAISES.items():
        said = in_fork(partial(ask, held))

        assert re.match("(LookupError: )?HostError: .*fork", said), what
        assert held.session.call("worker", ("echo", 1)) == 1


@pytest.mark.parametrize("update", ["handle", "system"])
def test_a_fork_made_amid_an_update_is_told_too(held: Held, update: str) -> None:
    """It does not wait for a turn that another thread had."""
    begun, ends = threading.Event(), threading.Event()

    def change(record: Session) -> Session:
        begun.set()
        ends.wait()
        return record

    def rename() -> object:
        if update == "handle":
            return held.session.rename("other")
        return held.system.update_session(held.session.id, lambda record: record.rename("other"))

    thread = threading.Thread(target=held.system.update_session, args=(held.session.id, change))
    thread.start()
    begun.wait()
    try:
        said = in_fork(rename)
    finally:
        ends.set()
        thread.join()

    assert said.startswith("HostError")


@pytest.mark.parametrize("what", ["events.get()", "monitor.wait()", "next(subscription)"])
def test_a_fork_of_another_thread_is_told_too(held: Held, what: str) -> None:
    """While others wait for the same."""
    waiting = [
        threading.Thread(target=held.events.get, args=(60,)),
        threading.Thread(target=held.monitor.wait, args=(60,)),
    ]
    for thread in waiting:
        thread.start()
    said = in_fork(lambda: RAISES[what](held))
    held.system.close()
    for thread in waiting:
        thread.join()

    assert said.startswith("HostError")


def _forget(held: Held) -> None:
    """Have all of it collected in this process."""
    held.system._running.__del__()
    del held
    gc.collect()


QUIET: dict[str, Callable[[Held], object]] = {
    "close": lambda held: held.system.close(),
    "with": lambda held: held.system.__exit__(None, None, None),
    "del": _forget,
    "events.close": lambda held: held.events.close(),
    "monitor.cancel": lambda held: held.monitor.cancel(),
    "repr": lambda held: repr((held.system, held.session, held.monitor)) and None,
}


def test_a_fork_may_let_go_of_everything(held: Held) -> None:
    """Which ends nothing that is not its own."""
    while held.events.get(0) is not None:
        pass
    for what, let_go in QUIET.items():
        said = in_fork(partial(let_go, held))

        assert said == "returned None", what
        assert held.session.call("worker", ("echo", 1)) == 1
        held.session.call("worker", ("announce", what))
        event = held.events.get(PATIENCE)
        assert event is not None
        assert event.fact == Announced(what)


@pytest.mark.parametrize("what", ["events.get()", "events.close", "close"])
def test_a_fork_made_amid_news_does_not_hang(held: Held, what: str) -> None:
    """Whatever lock another thread holds at that moment."""
    ends = threading.Event()

    def announce() -> None:
        while not ends.is_set():
            held.session.call("worker", ("announce", "news"))

    threads = [threading.Thread(target=announce) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        said = {in_fork(lambda: (RAISES | QUIET)[what](held)) for _ in range(40)}
    finally:
        ends.set()
        for thread in threads:
            thread.join()

    assert {each.partition(":")[0] for each in said} <= {"HostError", "returned None"}


def test_a_fork_ends_as_any_process(project: Path) -> None:
    """With all that an interpreter does at its end, by `sys.exit` and by `multiprocessing`."""
    use = """
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        pid = os.fork()
        if not pid:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        process = multiprocessing.get_context("fork").Process(target=time.monotonic)
        process.start()
        process.join(10)
        assert process.exitcode == 0, process.exitcode
        assert session.call("worker", ("echo", 2)) == 2
    """
    # What is written at its end by the fork: nothing of ours.
    result = probe(project, use=use.replace("sys.exit(7)", "raise_exit(7)"), before=_RAISE_EXIT)

    result.works()
    assert "jidocode" not in result.outcome.stderr


_RAISE_EXIT = """
def raise_exit(status):
    import threading
    threading._shutdown()
    sys.stderr.flush()
    os._exit(status)
"""

# ----- what a fork keeps open -----------------------------------------------------------

KEEP = """
import signal, warnings
warnings.simplefilter("ignore")
def keep():
    if not os.fork():
        signal.pause()
        os._exit(0)
"""


def test_a_fork_does_not_delay_close(project: Path) -> None:
    """Of a system that has to be ended by force: it holds the other end of the lifeline."""
    use = """
        keep()
        os.kill(system.host_pid, signal.SIGSTOP)
    """
    result = probe(project, before=KEEP, use=use, leaves=True, shutdown=0.2)

    assert result.stage == "done", result
    assert result.ending < 5


def test_a_fork_does_not_delay_the_end_of_a_child_that_does_not_end(project: Path) -> None:
    """It is killed with all the others as soon as `shutdown` is over."""
    use = """
        keep()
        session.cast("worker", "loop")
    """
    result = probe(project, before=KEEP, use=use, leaves=True, shutdown=0.2)

    assert result.stage == "done", result
    assert result.ending < 8


def test_a_fork_does_not_delay_the_collection_of_a_system(project: Path) -> None:
    """One that nobody has closed."""
    started = """
        keep()
        begun = time.monotonic()
        del system
        took = time.monotonic() - begun
        system = SessionSystem(**json.loads(sys.argv[2]))
        assert took < 8, took
    """
    result = probe(project, before=KEEP, started=started, leaves=True, durability="memory")

    assert result.stage == "done", result


LONELY = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from jidocode import SessionSystem
system = SessionSystem(state_dir=sys.argv[2])
session = system.create_session(sys.argv[1])
print(system.host_pid, flush=True)
def keep():
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    return pid
{}
"""

ENDS = {
    "is killed": "keep(); os.kill(os.getpid(), 9)",
    "exits": "keep(); os._exit(0)",
    "ends": "keep()",
    "becomes a daemon": (
        "\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\nsignal.pause()"
    ),
    "becomes another program": "keep(); os.execv('/bin/sleep', ['sleep', '1000'])",
    "is killed, and so is the guard": (
        "keep(); import re; guard = int(re.findall(r'PPid:\\s+(\\d+)', "
        "open(f'/proc/{system.host_pid}/status').read())[0]); "
        "os.kill(guard, 9); os.kill(os.getpid(), 9)"
    ),
    "forks while it starts": (
        "import threading; threads = [threading.Thread(target=keep) for _ in range(3)]; "
        "other = None\nfor thread in threads: thread.start()\n"
        "other = SessionSystem(state_dir=sys.argv[2]); os.kill(os.getpid(), 9)"
    ),
    "is stopped": "keep(); system.close(); os.execv('/bin/sleep', ['sleep', '1000'])",
}


@pytest.mark.parametrize("how", ENDS)
def test_nothing_that_a_fork_holds_keeps_the_system(
    project: Path, tmp_path: Path, how: str
) -> None:
    """Of an app that is gone, however it went: the host is gone soon after."""
    code = LONELY.format(ENDS[how])
    watch = f"""
        import os, subprocess, sys, time
        app = subprocess.Popen(
            [sys.executable, "-c", {code!r}, *sys.argv[1:]], stdout=subprocess.PIPE, text=True
        )
        host = int(app.stdout.readline())
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{{host}}") and time.monotonic() < deadline:
            time.sleep(0.01)
        print("lives" if os.path.exists(f"/proc/{{host}}") else "gone")
    """
    outcome = run_app(watch, project, tmp_path / "state", leaves=True)

    assert outcome.stdout == "gone\n", outcome.stderr


def test_a_fork_of_a_child_ends_with_the_child(system: SessionSystem, project: Path) -> None:
    """Whatever it holds."""
    session = system.create_session(
        project, children=[ChildSpec(id="worker", start=worker("x").start)]
    )
    stray = session.call("worker", "stray")
    session.stop()

    assert not Path(f"/proc/{stray}").exists()


WAYS = {"raise": 1, "exit": 7, "exit with a word": 1, "interrupt": 1, "return": 0}


def test_a_fork_that_comes_out_of_a_handler_is_not_heard(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """It ends there, however it left: the call is answered once, and its child is not deaf."""
    log = tmp_path / "log"
    session = system.create_session(project, children=[ChildSpec(id="f", start=Start(Forker, log))])
    forker = system.get_process(session.id, "f")
    ask = partial(session.call, "f")
    for how, status in WAYS.items():
        assert ask(("fork", how)) == status
        assert ask("pid") == forker.os_pid
    assert ask(("multiprocessing", 10)) == 55

    assert system.get_process(session.id, "f") == forker
    assert not log.exists()
    said = (tmp_path / "said").read_text()
    assert said.count("Traceback") == 3
    assert "RuntimeError: in the fork" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_fork_ends_by_the_signals_that_its_child_leaves_to_the_app(
    system: SessionSystem, project: Path, tmp_path: Path, number: int
) -> None:
    """Else a pool of `multiprocessing` could wait for a worker that it has told to end."""
    session = system.create_session(
        project, children=[ChildSpec(id="f", start=Start(Forker, tmp_path / "log"))]
    )

    assert session.call("f", ("end a fork by", number)) == -number


@pytest.mark.parametrize("how", WAYS)
def test_a_fork_that_comes_out_of_init_starts_nothing(
    system: SessionSystem, project: Path, tmp_path: Path, how: str
) -> None:
    """Nor does it keep its child from starting, once."""
    spec = ChildSpec(id="f", start=Start(Forker, tmp_path / "log", how))
    session = system.create_session(project, children=[spec])
    forker = system.get_process(session.id, "f")

    ask = partial(session.call, "f")

    assert ask("pid") == forker.os_pid
    assert is_alive(forker.os_pid)
