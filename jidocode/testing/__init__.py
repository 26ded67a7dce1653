"""A pytest plugin for apps that use jidocode: a system, ways to hurt it, and what needs no process.

Loaded by pytest itself wherever jidocode is installed. For tests with real
processes there are the fixture `session_system`, `kill`, `pause` and functions
that wait for what follows; for tests without any, `FakeChild` runs one
`GenServer` in the test's own process, and `FakeClock` is its time.

Nothing here sleeps for a fixed time. What waits takes its *timeout* in seconds
and raises AssertionError when it is over.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jidocode._host import wire
from jidocode.base.exits import NORMAL, SHUTDOWN, ExitReason
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    NoProcessError,
    StartFailedError,
)
from jidocode.otp.server.loop import ServerLoop, crash_reason
from jidocode.otp.server.machine import (
    CallReceived,
    CastReceived,
    Continue,
    ContinueReceived,
    Effect,
    Event,
    Exit,
    IdleTimerFired,
    InfoReceived,
    InitDone,
    InitFailed,
    InitIgnored,
    SendAfter,
    SendCast,
    SendError,
    SendInfo,
    SendReply,
    SendRequest,
    SetIdleTimer,
    StopReceived,
)
from jidocode.otp.server.messages import Caller, Down, Response
from jidocode.otp.supervision.management import ChildStatus
from jidocode.otp.supervision.specs import Start
from jidocode.system.handle import SessionHandle
from jidocode.system.system import SessionSystem

try:
    import pytest
except ImportError as error:
    raise ImportError("jidocode.testing needs pytest: pip install pytest") from error

__all__ = [
    "PATIENCE",
    "FakeCall",
    "FakeChild",
    "FakeClock",
    "eventually",
    "is_alive",
    "kill",
    "nothing_left",
    "pause",
    "session_system",
    "wait_for_exit",
    "wait_for_restart",
]

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which what was waited for counts as not happening."""

_POLL = 0.001
_NANO = 1_000_000_000


# ----- waiting ------------------------------------------------------------------


def eventually(look: Callable[[], T | None], what: str = "it", *, timeout: float = PATIENCE) -> T:
    """Return the first true value that *look* returns; it is called again and again.

    Raises:
        AssertionError: There was none within *timeout* seconds; names *what*.
        Exception: Whatever *look* raises, at once.
    """
    deadline = time.monotonic() + timeout
    while not (value := look()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not happen within {timeout:g} s")
        time.sleep(_POLL)
    return value


def wait_for_restart(
    system: SessionSystem,
    session: SessionHandle,
    kind: str,
    *,
    after: ActorRef,
    timeout: float = PATIENCE,
) -> ActorRef:
    """Return the successor of *after*, once no child of the session is being restarted.

    So all that its strategy takes along is back too, and the session answers.

    Args:
        system: The system.
        session: The session.
        kind: `manager`, `state`, or the id of one of the app's own children.
        after: The process that ended or is about to end.
        timeout: Seconds to wait.

    Raises:
        AssertionError: That did not happen in time.
        SessionNotFoundError: The session gave up, or was stopped.
    """

    def successor() -> ActorRef | None:
        ref = system.get_process(session.id, kind)
        settled = (ChildStatus.RUNNING, ChildStatus.STOPPED)
        if ref == after or any(info.status not in settled for info in session.which_children()):
            return None
        return ref

    return eventually(successor, f"the restart of {after}", timeout=timeout)


def wait_for_exit(system: SessionSystem, ref: ActorRef, *, timeout: float = PATIENCE) -> ExitReason:
    """Return why the process *ref* ended, once it has, and everything below it.

    Get *ref* before the process ends: from `get_process`, `which_children` or `kill`.

    Raises:
        AssertionError: It runs still after *timeout* seconds.
    """
    directory = system._client.directory  # noqa: SLF001 - deaths are told to monitors only

    return eventually(  # type: ignore[return-value] # mypy takes a union for an object
        lambda: directory.death_of(ref), f"the end of {ref}", timeout=timeout
    )


# ----- hurting ------------------------------------------------------------------


def kill(
    system: SessionSystem, session: SessionHandle, kind: str, *, timeout: float = PATIENCE
) -> Down:
    """Kill one process of a session with SIGKILL; return what the system says of its end.

    Args:
        system: The system.
        session: The session.
        kind: `manager`, `state`, `session` for the supervisor, or the id of
            one of the app's own children.
        timeout: Seconds within which the system has to notice.

    Raises:
        AssertionError: It did not notice.
    """
    monitor = system.monitor(session.id, kind)
    os.kill(monitor.ref.os_pid, signal.SIGKILL)
    down = monitor.wait(timeout)
    if down is None:
        raise AssertionError(f"nobody noticed the end of {monitor.ref} within {timeout:g} s")
    return down


@contextmanager
def pause(
    system: SessionSystem, session: SessionHandle, kind: str, *, timeout: float = PATIENCE
) -> Generator[ActorRef, None, None]:
    """Stop one process of a session with SIGSTOP for as long as the block runs.

    It hangs and does not die: calls to it time out, and its heartbeat, if it
    has one, gets it killed. It is resumed however the block ends, unless it
    is dead by then. Arguments as for `kill`.
    """
    ref = system.get_process(session.id, kind)
    process = os.pidfd_open(ref.os_pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        eventually(lambda: _state(ref.os_pid) in "tTZX", f"the stop of {ref}", timeout=timeout)
        yield ref
    finally:
        with suppress(ProcessLookupError):  # it was killed meanwhile, as a hung process is
            signal.pidfd_send_signal(process, signal.SIGCONT)
        os.close(process)


# ----- leaving nothing behind ---------------------------------------------------


class _Process(NamedTuple):
    pid: int
    started: int


class _Stat(NamedTuple):
    name: str
    state: str
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    """Return what the kernel says of a process (proc_pid_stat(5)), None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return _Stat(head.partition("(")[2], fields[0], int(fields[1]), int(fields[19]))


def _state(pid: int) -> str:
    stat = _stat(pid)
    return stat.state if stat else "X"


def is_alive(pid: int) -> bool:
    """Whether a process runs under *pid*; a zombie does not."""
    return _state(pid) not in "ZX"


def _processes_below(root: int) -> dict[_Process, str]:
    """Return all processes below *root*, zombies too, and their names."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    stats = {pid: stat for pid in pids if (stat := _stat(pid))}
    found: dict[_Process, str] = {}
    parents = {root}
    while parents:
        children = {pid: stat for pid, stat in stats.items() if stat.parent in parents}
        found |= {_Process(pid, stat.started): stat.name for pid, stat in children.items()}
        parents = set(children)
    return found


def _left() -> dict[tuple[object, ...], str]:
    """Return every process below this one and every descriptor of it, in words."""
    found: dict[tuple[object, ...], str] = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            target = str(descriptor.readlink())
            found[descriptor.name, target] = f"descriptor {descriptor.name} on {quote(target)}"
    for process, name in _processes_below(os.getpid()).items():
        found[process] = f"process {process.pid} called {quote(name)}"
    return found


@contextmanager
def nothing_left(*, timeout: float = PATIENCE) -> Generator[None, None, None]:
    """Check that the block leaves no process and no descriptor behind that was not there before.

    Looks at everything that this process has, not only at what is jidocode's.
    A block that raises is not checked.

    Raises:
        AssertionError: Something is left after *timeout* seconds; names it.
    """
    before = _left().keys()
    yield
    if not _left().keys() - before:
        return
    gc.collect()  # what is closed by its collection is closed
    try:
        eventually(lambda: not _left().keys() - before, timeout=timeout)
    except AssertionError:
        names = sorted(name for key, name in _left().items() if key not in before)
        raise AssertionError(f"left behind: {', '.join(names)}") from None


@pytest.fixture
def session_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSystem]:
    """A running system with default settings and a state directory of its own.

    It is closed after the test, which fails if then a process of the system
    is left, or any other process or descriptor that the test has opened.
    """
    with nothing_left():
        with SessionSystem(state_dir=tmp_path_factory.mktemp("jidocode")) as system:
            yield system
            below = _processes_below(system.host_pid)
        # Not only what hangs below this process: an orphan has left its place in the tree.
        eventually(lambda: not any(map(_runs, below)), "the end of the system's processes")


def _runs(process: _Process) -> bool:
    stat = _stat(process.pid)
    return stat is not None and stat.started == process.started and stat.state not in "ZX"


# ----- without processes --------------------------------------------------------


class FakeClock:
    """A clock that moves when it is told to; to the nanosecond, so that tenths add up.

    Call it, or read `now`, for the time: it stands in for `time.monotonic`,
    and its time is what machines such as `RestartIntensity` take.
    """

    def __init__(self, now: float = 0.0) -> None:
        """Start at *now* seconds."""
        self._now = round(now * _NANO)
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def __repr__(self) -> str:
        return f"FakeClock({self.now:g})"

    @property
    def now(self) -> float:
        """The time in seconds."""
        return self._now / _NANO

    def call_after(self, delay: float, action: Callable[[], object]) -> None:
        """Call *action* as soon as *delay* seconds have passed."""
        due = self._now + max(0, round(delay * _NANO))
        heapq.heappush(self._timers, (due, next(self._numbers), action))

    def advance(self, seconds: float, *, until: Callable[[], bool] | None = None) -> None:
        """Let *seconds* pass, with every action at its own time, in order.

        Stops as soon as *until* says so, if it is given.

        Raises:
            ValueError: *seconds* is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back, got {seconds!r} seconds")
        end = self._now + round(seconds * _NANO)
        while until is None or not until():
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                return
            self._now, _, action = heapq.heappop(self._timers)
            action()


class FakeCall:
    """A call to a `FakeChild` that is under way."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._outcome: tuple[object, Exception | None] | None = None

    @property
    def done(self) -> bool:
        """Whether there is an answer."""
        return self._outcome is not None

    def result(self) -> Any:
        """Return the answer, or raise the error, that the caller gets.

        Raises:
            AssertionError: There is none yet.
        """
        if self._outcome is None:
            raise AssertionError(f"{self._target} has not answered yet")
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def settle(self, value: object, error: Exception | None = None) -> None:
        """Take in the answer, if it is the first."""
        self._outcome = self._outcome or (value, error)


class FakeChild:
    """One `GenServer` in the test's own process: its callbacks run, and nothing else does.

    The rules are those of a real process, for the same `ServerLoop` drives it:
    the first exception ends it, `then=` goes before any message, timers fire
    in order. What is sent is pickled and unpickled. Its time is a `FakeClock`.
    There is no supervisor: a child that ended stays down.

    Attributes:
        ref: The child's own ref.
        clock: Its time.
        effects: What it wants from other processes, in order: `SendCast`,
            `SendInfo`, `SendRequest`, `StartMonitor` and so on from
            `jidocode.otp.server.gen_server`. Answer with `info(Response(...))` or
            `info(Down(...))`, with the token of the effect.
        exit_reason: Why it ended; None while it runs. `Normal` if `init`
            returned `Ignore`.

    Raises:
        StartFailedError: `init` failed.
    """

    def __init__(self, start: Start, *, clock: FakeClock | None = None) -> None:
        """Run `init` with the arguments of *start*; children may share a *clock*."""
        self.clock = FakeClock() if clock is None else clock
        self.ref = ActorRef(start.target.kind, 1, os.getpid(), next(_addresses))
        self.effects: list[Effect] = []
        self.exit_reason: ExitReason | None = None
        self._started = False
        self._calls: dict[int, FakeCall] = {}
        self._numbers = itertools.count(1)
        self._mailbox: deque[Event] = deque()
        start = Start(start.target, *_copied(start.args), **_copied(dict(start.kwargs)))
        self._loop = ServerLoop.of(start, self.ref)
        self._begin(start)
        self._work()

    def _begin(self, start: Start) -> None:
        self._perform(self._loop.start(start))
        if self.exit_reason is not None and not self._started:
            raise StartFailedError(self.ref.kind, self.exit_reason)

    def __repr__(self) -> str:
        return f"<FakeChild {self.ref.kind}, {self.exit_reason or 'running'}>"

    # What others do to it

    def call(self, request: object, /, *, timeout: float | None = None) -> Any:
        """Send *request* to `handle_call` and return the answer.

        This is a `Channel`, as `ManagerClient` and `StateClient` take one. If
        there is no answer at once, time passes on the clock, and with it what
        the child has put off, for at most *timeout* seconds (5 by default).

        Raises:
            CallTimeoutError: There was none in time.
            NoProcessError: The child has ended before.
            ActorExitedError: It ended over the call.
            HandlerError: The handler raised; the child has ended.
            Exception: Whatever the handler refused with.
        """
        seconds = 5.0 if timeout is None else timeout
        call = self.begin_call(request)
        self.clock.advance(seconds, until=lambda: call.done)
        if not call.done:
            raise CallTimeoutError(self.ref.kind, seconds)
        return call.result()

    def begin_call(self, request: object) -> FakeCall:
        """Send *request* to `handle_call` and let no time pass: for answers that come later."""
        call = FakeCall(self.ref.kind)
        if self.exit_reason is not None:
            call.settle(None, NoProcessError(self.ref.kind))
        number = next(self._numbers)
        self._calls[number] = call
        self._receive(CallReceived(Caller(self.ref.address, number), _sent(request)))
        return call

    def cast(self, request: object) -> None:
        """Send *request* to `handle_cast`; lost if the child has ended."""
        self._receive(CastReceived(_sent(request)))

    def info(self, message: object) -> None:
        """Send *message* to `handle_info`; lost if the child has ended."""
        self._receive(InfoReceived(_copied(message)))

    def stop(self, reason: ExitReason = SHUTDOWN) -> None:
        """Stop it as its supervisor would: `terminate` runs."""
        self._receive(StopReceived(reason))

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on its clock: `send_after` and `timeout=` come true."""
        self.clock.advance(seconds)

    # What it does

    def _receive(self, event: Event) -> None:
        self._mailbox.append(event)
        self._work()

    def _work(self) -> None:
        while self._mailbox and self.exit_reason is None:
            self._perform(self._loop.handle(self._mailbox.popleft()))

    def _perform(self, effects: list[Effect]) -> None:
        to_do = deque(effects)
        while to_do:
            try:
                to_do.extend(self._carry_out(to_do.popleft()))
            except Exception as error:  # noqa: BLE001 - what it sends cannot be pickled: a crash
                to_do = deque(self._failed(crash_reason(error), to_do))

    def _failed(self, reason: ExitReason, to_do: deque[Effect]) -> list[Effect]:
        has_ended = any(isinstance(effect, Exit) for effect in to_do)
        if has_ended or not self._started:
            return [Exit(reason)]
        return self._loop.handle(StopReceived(reason))

    def _carry_out(self, effect: Effect) -> list[Effect]:
        """Carry out *effect*; return what has to be done before the next message."""
        match effect:
            case Continue(then):
                return self._loop.handle(ContinueReceived(then))
            case SendReply(caller, value):
                self._answer(caller, value, None)
            case SendError(caller, error):
                self._answer(caller, None, error)
            case SendCast(ref, request) if ref == self.ref:
                self._mailbox.append(CastReceived(_copied(request)))
            case SendInfo(ref, message) if ref == self.ref:
                self._mailbox.append(InfoReceived(_copied(message)))
            case SendRequest(token, ref, _) if ref == self.ref:
                refusal = CallError(f"{ref.kind} calls itself")
                self._mailbox.append(InfoReceived(Response(token, None, refusal)))
            case SendAfter(delay, message):
                self.clock.call_after(delay, lambda: self._receive(InfoReceived(message)))
            case SetIdleTimer(generation, delay):
                self.clock.call_after(delay, lambda: self._receive(IdleTimerFired(generation)))
            case InitDone():
                self._started = True
            case InitIgnored():
                self._started = True
                self._leave(NORMAL)
            case InitFailed(reason) | Exit(reason):
                self._leave(reason)
            case _:
                self.effects.append(_copied(effect))
        return []

    def _answer(self, caller: Caller, value: object, error: Exception | None) -> None:
        call = self._calls.pop(caller.request_id, None)
        if call is None:
            return  # it has its answer
        number = caller.request_id
        answer = wire.answer(number, value) if error is None else wire.refusal(number, error)
        content = wire.unpack(answer.payload)
        if answer.failed:
            call.settle(None, wire.error_in(content))
        else:
            call.settle(content, None)

    def _leave(self, reason: ExitReason) -> None:
        self.exit_reason = reason
        self._mailbox.clear()
        for call in self._calls.values():
            call.settle(None, ActorExitedError(self.ref.kind, reason))
        self._calls.clear()


_addresses = itertools.count(1)


def _sent(request: object) -> object:
    return wire.unpack(wire.pack_request(request))


def _copied(value: T) -> T:
    """Return *value* as another process would get it."""
    copy: T = pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return copy
