"""Signal handlers of the app's that call and close a system, wherever its main thread is."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil
import pytest
from servers import Abyss, Alarm, dive, worker

from jidocode import (
    ActorRef,
    AsyncSessionSystem,
    CallError,
    CallTimeoutError,
    Change,
    Decision,
    Deny,
    HostError,
    SessionHandle,
    SessionSystem,
    ToolRequest,
)
from jidocode._host.client.calls import PendingCall
from jidocode.session.agent.handle import TurnHandle, TurnProgress
from jidocode.session.agent.messages import TurnResult
from jidocode.session.agent.model import TextDelta
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.manager.client import ManagerClient
from jidocode.system.logged import read_log
from jidocode.testing import eventually

SEED = int(os.environ.get("JIDOCODE_SEED", "16"))
ROUNDS = 40
CLOSES = 6
SOON = 4.0
"""Seconds that nothing takes which does not wait for its own thread."""


@contextmanager
def handler(do: Callable[[], object], number: signal.Signals = signal.SIGUSR1) -> Generator[None]:
    before = signal.signal(number, lambda _number, _frame: do() and None)
    try:
        yield
    finally:
        signal.signal(number, before)


class Interrupter:
    """Has a signal come when this thread has called, or left, so many functions in a block.

    So every moment can be had, those between a lock that is taken and its release among them.
    """

    def __init__(self, after: int) -> None:
        self.left = after

    def __enter__(self) -> None:
        sys.setprofile(self._count)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _frame: FrameType, _event: str, _what: object) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGUSR1)


class Cutter(Interrupter):
    """Does so where a handler may raise: Python calls none between a block and its `__exit__`."""

    def _count(self, frame: FrameType, event: str, what: object) -> None:
        if event != "c_call":
            super()._count(frame, event, what)


def steps(do: Callable[[], object]) -> int:
    """Return how many functions are called or left by something."""
    interrupter = Interrupter(0)
    with interrupter:
        do()
    return -interrupter.left


@pytest.mark.timeout(120)
def test_a_handler_that_interrupts_a_loop_is_answered_or_told_that_it_cannot_wait(
    project: Path, tmp_path: Path
) -> None:
    """At once, wherever the loop is; and what it has interrupted goes on."""
    took: list[float] = []
    told: list[CallError | HostError] = []

    async def main() -> None:
        async with AsyncSessionSystem(state_dir=tmp_path / "state") as system:
            session = await system.create_session(project)
            waits = ManagerClient(system._system.way_to("manager", session.id))

            def call() -> None:
                started = time.monotonic()
                try:
                    waits.project_root()
                except (CallError, HostError) as error:
                    told.append(error)
                took.append(time.monotonic() - started)

            async def calls(interrupter: Interrupter) -> None:
                works = [session.manager.project_root() for _ in range(3)]
                with interrupter:
                    assert await asyncio.gather(*works) == 3 * [str(project)]

            await calls(Interrupter(0))
            counter = Interrupter(0)
            await calls(counter)
            with handler(call):
                for after in range(1, -counter.left, 2 if -counter.left < 400 else 5):
                    started = time.monotonic()
                    await calls(Interrupter(after))
                    took.append(time.monotonic() - started)

    asyncio.run(main())
    assert max(took) < SOON
    assert {type(error) for error in told} == {HostError}
    assert len(told) < len(took) / 2


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["call", "list", "stream"])
def test_a_handler_may_call_what_its_thread_is_calling(
    system: SessionSystem, session: SessionHandle, what: str
) -> None:
    """It is answered at once, and so is what it has interrupted."""
    took: list[float] = []

    def call() -> None:
        started = time.monotonic()
        session.manager.project_root()
        system.list_sessions()
        took.append(time.monotonic() - started)

    do = doings(system, session)[what]
    do()
    with handler(call):
        most = steps(do)
        for after in sorted(random.Random(SEED).sample(range(1, most), min(ROUNDS, most - 1))):  # noqa: S311 - to be had again
            started = time.monotonic()
            with Interrupter(after):
                do()
            took.append(time.monotonic() - started)
        assert len(took) >= ROUNDS
        assert max(took) < SOON, f"{took}, seed {SEED}"


def doings(system: SessionSystem, session: SessionHandle) -> dict[str, Callable[[], object]]:
    """Return what the main thread may be in."""

    def stream() -> None:
        with system.events() as events, session.state.subscribe(from_seq=1) as changes:
            events.get(0.0)
            changes.get(0.0)

    return {
        "call": lambda: session.manager.project_root(),  # noqa: PLW0108 - looked up at each call
        "list": system.list_sessions,
        "stream": stream,
    }


@pytest.mark.timeout(180)
def test_a_handler_may_close_the_system_wherever_its_thread_is(project: Path) -> None:
    """It returns when nothing is left; what it has interrupted ends, and all other calls."""
    rng = random.Random(SEED)  # noqa: S311 - to be had again
    for number in range(CLOSES):
        system = SessionSystem(durability="memory")
        session = system.create_session(project)
        host, took = psutil.Process(system.host_pid), list[float]()

        def close() -> None:
            started = time.monotonic()
            system.close()  # noqa: B023 - called in this round
            took.append(time.monotonic() - started)  # noqa: B023 - idem

        def call() -> None:
            try:
                while True:
                    session.manager.project_root()  # noqa: B023 - idem
            except Exception:  # noqa: BLE001 - the system is closed
                return

        with handler(close):
            do = list(doings(system, session).values())[number % 3]
            after = rng.randrange(1, steps(do))
            others = [threading.Thread(target=call) for _ in range(2)]
            for other in others:
                other.start()
            try:
                with Interrupter(after):
                    do()
            except (HostError, LookupError, CallError):
                pass  # it has been closed under it
            if not took:  # it took fewer steps than the last time, so nothing came in between
                close()
            for other in others:
                other.join()
        system.close()
        assert len(took) == 1, f"after {after} steps, seed {SEED}"
        assert took[0] < 4 * SOON
        assert not host.is_running()


class BoomError(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("error", [BoomError, TimeoutError, KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("moment", ["pickled", "read"])
def test_what_a_handler_raises_amid_a_call_is_what_the_call_raises(
    system: SessionSystem, project: Path, moment: str, error: type[BaseException]
) -> None:
    """Unchanged, in the middle of a request or of an answer; the next call works."""
    session = system.create_session(project, children=[worker("own")])
    came = error("by a handler")

    def give_up() -> None:
        raise came

    with handler(give_up), pytest.raises(error) as raised:
        session.call("own", ("echo", Alarm(os.getpid(), moment)))

    assert raised.value is came
    assert session.call("own", ("echo", 1)) == 1


@pytest.mark.parametrize("value", [lambda: None, Abyss(200)])
def test_what_a_request_raises_itself_is_told_by_an_error_of_the_call(
    system: SessionSystem, project: Path, value: object
) -> None:
    """Also where there are handlers, and if a stack that is less full had let it through."""
    session = system.create_session(project, children=[worker("own")])

    with handler(lambda: None), pytest.raises(CallError, match="request cannot be pickled"):
        dive(250, lambda: session.call("own", ("echo", value)))


def give_up() -> None:
    raise KeyboardInterrupt


@contextmanager
def signal_amid_a_wait() -> Generator[None]:
    """Have a signal come that does not end what the main thread waits for, once it does so.

    As one that comes right before it waits: here another thread takes it.
    """

    def send() -> None:
        assert eventually(lambda: all(_sleeps() for _ in range(20)))
        signal.raise_signal(signal.SIGUSR1)

    sender = threading.Thread(target=send)
    with handler(give_up):
        sender.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                yield
        finally:
            sender.join()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("wait", ["call", "changes", "events", "monitor", "policy", "turn"])
def test_a_signal_that_does_not_end_the_wait_of_the_main_thread_is_heard(
    system: SessionSystem, project: Path, wait: str
) -> None:
    session = system.create_session(project, children=[worker("own")])
    turn = TurnProgress("turn", lambda: None)
    changes, events = session.state.subscribe(from_seq=1), system.events()
    answer = threading.Event()

    def hang(_request: ToolRequest) -> Decision:
        answer.wait()
        return Deny()

    tools = session.tools.under(hang)
    waits: dict[str, Callable[[], object]] = {
        "call": lambda: session.call("own", "wait", timeout=1000),
        "changes": lambda: [changes.get(1000) for _ in range(100)],
        "events": lambda: [events.get(1000) for _ in range(100)],
        "monitor": lambda: session.monitor("own").wait(1000),
        "policy": lambda: tools.call("write_file", {"path": "a", "content": ""}),
        "turn": lambda: TurnHandle(turn).result(1000),
    }
    with changes, events, signal_amid_a_wait():
        waits[wait]()
    answer.set()


def interruptions(do: Callable[[], object]) -> Generator[int]:
    """Do it again and again, and have Ctrl-C cut it off wherever it can; yield after each time."""
    with handler(give_up):
        after = 1
        while True:
            cutter = Cutter(after)
            try:
                with cutter:
                    do()
            except KeyboardInterrupt:
                yield after
            if cutter.left > 0:
                return
            after += 1


def test_ctrl_c_while_a_turn_is_read_leaves_it_to_others() -> None:
    """Whoever drives it goes on, and whoever else reads."""

    def begun() -> TurnHandle:
        progress = TurnProgress("turn", lambda: None)
        progress.put(TextDelta("a"))
        return TurnHandle(progress)

    def read() -> None:
        next(turn)
        with suppress(CallTimeoutError):
            turn.result(0.001)

    def drive() -> None:
        turn._progress.put(TextDelta("b"))
        turn._progress.end(TurnResult(outcome=TurnOutcome.END))
        list(turn)

    turn = begun()
    for after in interruptions(read):
        driver = threading.Thread(target=drive, daemon=True)
        driver.start()
        driver.join(SOON)
        assert not driver.is_alive(), f"after {after} steps"
        turn = begun()


def test_ctrl_c_while_changes_are_read_leaves_them_to_others(session: SessionHandle) -> None:
    changes = session.state.subscribe(from_seq=1)
    for after in interruptions(lambda: changes.get(0.0)):
        session.state.append_message("user", "said")
        found = list[Change | None]()
        reader = threading.Thread(target=lambda: found.append(changes.get(SOON)))  # noqa: B023 - called in this round
        reader.start()
        reader.join()
        assert found != [None], f"after {after} steps"


def test_ctrl_c_when_an_answer_comes_leaves_it_to_others() -> None:
    for _ in range(20):
        pending = PendingCall(1, ActorRef("worker", 1, 1), "own")
        other = threading.Thread(target=pending.wait, args=[1000], daemon=True)

        def settle() -> None:
            assert eventually(_sleeps)
            other.start()  # noqa: B023 - called in this round
            assert eventually(lambda: all(_sleeps() for _ in range(3)))
            pending.settle(b"", failed=False)  # noqa: B023 - idem
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

        settler = threading.Thread(target=settle)
        with handler(give_up), suppress(KeyboardInterrupt):
            settler.start()
            pending.wait(1000)
            settler.join()
        other.join(SOON)
        assert not other.is_alive()


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_end_the_wait_for_a_start_is_heard(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 1000\n")
    python.chmod(0o700)
    with signal_amid_a_wait():
        SessionSystem(durability="memory", python=str(python), start_timeout=1000)
    gc.collect()

    assert not psutil.Process().children()


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_end_the_wait_for_the_log_is_heard() -> None:
    name = f"signals-{os.getpid()}"
    with SessionSystem(durability="memory", name=name):
        log = read_log(name, last=0, follow=True)
        with signal_amid_a_wait():
            list(log)


def _sleeps() -> bool:
    """Return whether the main thread does nothing for a moment."""
    path = f"/proc/self/task/{os.getpid()}/stat"
    before = Path(path).read_text()
    time.sleep(0.005)
    return before.rpartition(")")[2].split()[0] == "S" and Path(path).read_text() == before


@pytest.mark.parametrize("moment", [0.02, 0.05, 0.1])
def test_what_a_handler_raises_amid_a_start_is_what_the_start_raises(moment: float) -> None:
    """Also a TimeoutError, which is an OSError as those of the kernel are; nothing is left."""

    def give_up() -> None:
        raise TimeoutError("by a handler")

    timer = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGUSR1))
    with handler(give_up):
        timer.start()
        with pytest.raises(TimeoutError, match="by a handler"):
            SessionSystem(durability="memory")
        timer.join()
    gc.collect()

    assert not psutil.Process().children()


START = """
import gc, os, signal, time
from jidocode import SessionSystem

def more(number, frame):
    if frame.f_code.co_name != "<module>":  # where nothing is tried
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, more)
before = set(os.listdir("/proc/self/fd"))
tried = []
def attempt(number, until):
    if number not in tried:
        tried.append(number)
        signal.setitimer(signal.ITIMER_REAL, 0.02 + 0.04 * number, 0.006)
        SessionSystem(durability="memory")
    while time.monotonic() < until:
        time.sleep(0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)

for number in range(10):
    until = time.monotonic() + 0.3 + 0.04 * number
    while signal.getitimer(signal.ITIMER_REAL)[0] or number not in tried:
        try:
            attempt(number, until)
        except BaseException:
            pass
gc.collect()
left = [f"/proc/self/fd/{each}" for each in set(os.listdir("/proc/self/fd")) - before]
print(sorted(os.readlink(each) for each in left if os.path.exists(each)))
try:
    os.waitpid(-1, os.WNOHANG)
    print("a child is left")
except ChildProcessError:
    print("no child")
"""


@pytest.mark.timeout(120)
def test_an_impatient_ctrl_c_during_a_start_leaves_nothing() -> None:
    """One after the other, also while what has started is ended again."""
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=False, timeout=100
    )

    assert done.stdout.splitlines()[-2:] == ["[]", "no child"], done.stdout + done.stderr[-2000:]
