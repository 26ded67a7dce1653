"""Functions that run once, each in a supervised process of its own (Elixir: Task.Supervisor).

Put a `TaskSupervisor` into a tree, and hand it work from the app::

    with otp.start(TaskSupervisor.child_spec(name=("tasks", "images"))) as app:
        task = tasks.run(app, ("tasks", "images"), shrink, path)
        print(task.result(timeout=60))
        for size in tasks.stream(app, ("tasks", "images"), measure, paths):
            print(size)

A task that dies is nobody else's affair, and is not started again. The function must be one
that the task's process can import, its arguments and its result must pickle. In it `current`
is the server that runs it, to call others by and to start tasks of its own, and `callers`
says who wanted it.
"""

from __future__ import annotations

import itertools
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar

from msgspec import Struct

from jidocode.base.exits import NORMAL
from jidocode.base.refs import ActorRef, Target
from jidocode.base.text import quote
from jidocode.errors import ChildNotFoundError, InvalidChildSpecError
from jidocode.otp import management
from jidocode.otp.asking import Asks
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller, Timeout
from jidocode.otp.server.results import CallResult, NoReply, Result, Stop
from jidocode.otp.supervision.dynamic_supervisor import DynamicFlags, DynamicSupervisor
from jidocode.otp.supervision.specs import BRUTAL_KILL, ChildSpec, Start, is_count
from jidocode.otp.supervision.strategy import Restart

__all__ = ["Task", "TaskSupervisor", "callers", "current", "run", "start", "stream"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

WANTED_SECONDS = 60.0
"""How long a task waits for whoever wants its result."""


class _GetResult(Struct, frozen=True):
    """Answered with what the function returned, once it has, or refused with what it raised."""


class TaskSupervisor(DynamicSupervisor):
    """Supervises tasks; at most *max_children* at once, if that is given."""

    kind: ClassVar[str] = "tasks"

    def init(self, max_children: int | None = None) -> DynamicFlags:
        """Return the flags (called by the host, first)."""
        return DynamicFlags(max_children=max_children)


class _TaskServer(GenServer):
    """The process of one task."""

    kind: ClassVar[str] = "task"
    running: ClassVar[_TaskServer | None] = None
    """The one of this process."""

    _caller: Caller | None = None

    # One whose result is wanted begins when that is asked for: if it began at once, it could be
    # dead before, and whoever asks then is told that nobody is there, instead of why it died.

    def init(self, work: _Work) -> NoReply:
        _TaskServer.running = self
        self.callers = work.callers
        self._work = work
        return NoReply(timeout=WANTED_SECONDS) if work.is_awaited else NoReply(then="run")

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        if not isinstance(request, _GetResult):
            return super().handle_call(request, caller)
        self._caller = caller
        return NoReply(then="run")

    def handle_continue(self, then: Any) -> Result:
        del then
        work = self._work
        if self._caller is None:
            work.function(*work.args, **work.kwargs)
            return Stop(NORMAL)
        try:
            self.reply(self._caller, work.function(*work.args, **work.kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is awaited
            self.refuse(self._caller, error)
        return Stop(NORMAL)

    def handle_info(self, message: Any) -> Result:
        if isinstance(message, Timeout):  # whoever wanted it is gone
            return Stop(NORMAL)
        return super().handle_info(message)


class _Work(Struct, frozen=True):
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    is_awaited: bool
    callers: tuple[ActorRef, ...]


class Call(Protocol):
    """A call under way."""

    def result(self, timeout: float | None = None) -> Any:
        """Return the answer as soon as it is there."""
        ...

    def cancel(self) -> bool:
        """Want no answer any more."""
        ...


class Begins(Asks, Protocol):
    """Whoever can have a call under way, such as an `Application`."""

    def begin_call(self, target: Target, request: object) -> Call:
        """Send *request* to *target*, and return the call under way."""
        ...


class Task(Generic[R]):
    """A function that runs, as whoever wants its result holds it; `run` makes one.

    Attributes:
        ref: Its process.
    """

    def __init__(self, asks: Begins, supervisor: Target, task_id: str, ref: ActorRef) -> None:
        self.ref = ref
        self._asks = asks
        self._supervisor = supervisor
        self._id = task_id
        self._call = asks.begin_call(ref, _GetResult())

    def __repr__(self) -> str:
        return f"<Task {self.ref}>"

    def result(self, timeout: float | None = None) -> R:
        """Return what the function returned, as soon as it has.

        Args:
            timeout: Seconds to wait, as long as a call by default.

        Raises:
            CallTimeoutError: It has not in time, and goes on: ask again, or `cancel`.
            ActorExitedError: Its process died.
            Exception: Whatever the function raised.
        """
        value: R = self._call.result(timeout)
        return value

    def cancel(self) -> None:
        """Kill it, unless it has ended; `result` raises an error then."""
        self._call.cancel()
        with suppress(ChildNotFoundError):  # it has ended
            management.terminate_child(self._asks, self._supervisor, self._id)


def current() -> GenServer:
    """Return the server that runs the task that asks.

    Raises:
        LookupError: No task does.
    """
    server = _TaskServer.running
    if server is None:
        raise LookupError("no task runs in this process")
    return server


def callers() -> tuple[ActorRef, ...]:
    """Return who wanted the task that asks: who started it, and if that was a task, who that one.

    Nearest first (Elixir: `$callers`). The app has no ref: what it has started has no callers,
    and neither has what is no task.
    """
    server = _TaskServer.running
    return () if server is None else server.callers


def start(
    asks: Asks, supervisor: Target, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> ActorRef:
    """Run *function* in a process of its own, and want nothing back.

    What it raises is a crash of that process, and logged as such.

    Raises:
        InvalidChildSpecError: *function* cannot be imported by another process.
        MaxChildrenError: The supervisor has as many tasks as it may.
        CallError: The arguments cannot be pickled, or what else a call raises.
    """
    work = _Work(function, args, kwargs, is_awaited=False, callers=_callers_of(asks))
    _, ref = _start(asks, supervisor, work)
    return ref


def run(
    asks: Begins, supervisor: Target, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> Task[R]:
    """Run *function* in a process of its own, and return the task; raises as `start`.

    The task keeps its result, for whoever asks it again.
    """
    work = _Work(function, args, kwargs, is_awaited=True, callers=_callers_of(asks))
    task_id, ref = _start(asks, supervisor, work)
    return Task(asks, supervisor, task_id, ref)


def stream(  # noqa: PLR0913 - all but four are keywords
    asks: Begins,
    supervisor: Target,
    function: Callable[[T], R],
    items: Iterable[T],
    /,
    *,
    max_concurrency: int = 4,
    timeout: float | None = None,
) -> Iterator[R]:
    """Run *function* for each of *items*, several at once, and yield the results in their order.

    Items are taken as results are: neither piles up. When the iteration ends early, by an
    error or because nobody goes on with it, the tasks that run are killed.

    Args:
        asks: Who asks.
        supervisor: The task supervisor.
        function: As for `start`.
        items: What to run it for; may be endless.
        max_concurrency: How many tasks may run, or wait to be taken, at once; 1 or more.
        timeout: Seconds to wait for each result, as long as a call by default.

    Raises:
        ValueError: *max_concurrency* is no such number.
        Exception: Whatever `start` raises, and `Task.result` of the first that failed.
    """
    if not is_count(max_concurrency) or not 0 < max_concurrency <= sys.maxsize:
        raise ValueError(f"max_concurrency must be an int > 0, not {quote(max_concurrency)}")
    start_one: Callable[[T], Task[R]] = lambda item: run(asks, supervisor, function, item)  # noqa: E731
    return _results(start_one, iter(items), max_concurrency, timeout)


def _results(
    start_one: Callable[[T], Task[R]], rest: Iterator[T], most: int, timeout: float | None
) -> Iterator[R]:
    waiting = deque[Task[R]]()
    try:
        for item in itertools.islice(rest, most):
            waiting.append(start_one(item))
        while waiting:
            value = waiting[0].result(timeout)
            waiting.popleft().cancel()  # it leaves anyway, and its place is free now
            for item in itertools.islice(rest, 1):
                waiting.append(start_one(item))
            yield value
    finally:
        with ExitStack() as ends:  # each is cancelled, also if another cannot be
            for task in waiting:
                ends.callback(task.cancel)


def _callers_of(asks: Asks) -> tuple[ActorRef, ...]:
    match asks:
        case _TaskServer():
            return (asks.ref, *asks.callers)
        case GenServer():
            return (asks.ref,)
        case _:
            return ()


def _start(asks: Asks, supervisor: Target, work: _Work) -> tuple[str, ActorRef]:
    function = work.function
    name = getattr(function, "__qualname__", "")
    if "<" in name or not name or getattr(function, "__module__", "") == "__main__":
        raise InvalidChildSpecError(
            f"{quote(name or function)} cannot be imported by another process: "
            "a task runs a function at the top of a module that is not __main__"
        )
    task_id = str(uuid.uuid4())
    spec = ChildSpec(
        id=task_id,
        start=Start(_TaskServer, work),
        restart=Restart.TEMPORARY,
        shutdown=BRUTAL_KILL,
    )
    ref = management.start_child(asks, supervisor, spec)
    if ref is None:
        raise AssertionError("a task's init ignores nothing")
    return task_id, ref
