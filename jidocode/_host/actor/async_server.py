"""`AsyncGenServer`: a process whose callbacks are coroutines.

It lives in the process of a plain `GenServer`, `_Carrier`, which hands every message to one
event loop in a thread of its own. So the rules of servers stay where they are: who is told
what when it ends, and when `terminate` runs, is decided by `ServerLoop`.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from msgspec import Struct

from jidocode._host import forks
from jidocode.base.exits import Crashed, ExitReason
from jidocode.base.refs import ActorRef, Name, Target, Via
from jidocode.base.text import quote
from jidocode.errors import CallError, HandlerError
from jidocode.otp.server.commands import CALL_TIMEOUT, ServerCommands
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import crash_reason
from jidocode.otp.server.messages import Caller, Response, Timeout
from jidocode.otp.server.results import (
    UNSET,
    CallResult,
    InitResult,
    NoReply,
    Refuse,
    Reply,
    Result,
    Stop,
)

P = ParamSpec("P")
R = TypeVar("R")

_MAX_WAITERS = 10_000
"""How many coroutines may wait in threads; there are as many threads as wait at once."""


class AsyncGenServer(ServerCommands):
    """A process whose callbacks are coroutines (no such thing in OTP).

    Write it as a `GenServer`, with `async def`. All callbacks run on one event loop in the
    process: messages begin to be handled in the order in which they came, one after the
    other, and several are in progress while their coroutines wait. What is asked of a server
    (`reply`, `cast`, `announce`, ...) is asked in the same way; `call` and `whereis` are awaited.

    `init` is done before any message is handled. When the server ends, by `Stop`, an
    exception or its supervisor, what is in progress is cancelled and awaited, and then
    `terminate` runs, alone. An exception in one callback is the end of all.

    A heartbeat is answered in the loop, beside the callbacks that wait: a loop that is blocked,
    as by `time.sleep`, looks dead.
    """

    _carrier: _Carrier

    async def init(self, *args: Any, **kwargs: Any) -> InitResult:
        """Set up the state; as `GenServer.init`."""

    async def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* (called once per call)."""
        del caller
        return Refuse(CallError(f"{self.kind} does not know {quote(request)} as a call"))

    async def handle_cast(self, request: Any) -> Result:
        """Act on *request*; nobody waits (called once per cast)."""
        self._carrier.ignore(request)
        return None

    async def handle_info(self, message: Any) -> Result:
        """Act on any other *message*: `Timeout`, `Down`, `Response`, your own."""
        self._carrier.ignore(message)
        return None

    async def handle_continue(self, then: Any) -> Result:
        """Go on with what a callback left in `then=`, beside what is in progress."""
        raise NotImplementedError(f"{type(self).__name__} returned then={quote(then)}")

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up; as `GenServer.terminate`."""

    async def call(
        self,
        target: Target,
        request: object,
        *,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - the callee's time, too: it is told of as in `GenServer.call`
    ) -> Any:
        """Send *request* to the `handle_call` of *target*, and return its answer.

        Other callbacks go on meanwhile. Raises as `GenServer.call`.
        """
        return await self._carrier.ask(target, request, timeout)

    async def whereis(self, target: Name | Via) -> ActorRef | None:
        """Return the process that has a name or a key now; as `GenServer.whereis`."""
        return await self.ask(GenServer.whereis, target)

    async def ask(
        self,
        function: Callable[Concatenate[GenServer, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a *function* that waits, with this process as its first argument, and return.

            await self.ask(registry.register, ("registry", "jobs"), "the key")

        It runs in a thread: other callbacks go on meanwhile. Raises what it raises.
        """
        job = partial(function, self._carrier, *args, **kwargs)
        return cast("R", await self._carrier.have_done(job))

    async def send_part(
        self,
        caller: Caller,
        part: object,
        *,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - the reader's time, too: it is told of as in `GenServer.send_part`
    ) -> bool:
        """Send *caller* a part of its answer; as `GenServer.send_part`.

        Other callbacks go on while it waits for a reader that is slow.
        """
        return await self.ask(GenServer.send_part, caller, part, timeout=timeout)

    def as_gen_server(self) -> GenServer:
        """Return the server that carries this one (called by the host, first)."""
        return _Carrier.of(self)


class _Carrier(GenServer):
    """Hands messages to the event loop of an `AsyncGenServer`, and takes its results."""

    # Two threads. The main one runs the process: it receives, and calls the callbacks here,
    # which only begin coroutines. The other one runs the event loop; what comes of a coroutine
    # it sends itself, for that is safe. In `init` and `terminate` the main thread waits for the
    # loop, and cannot take in an answer meanwhile unless it asks itself: so calls that are made
    # then are made by it, one after the other (`_run_whole`).

    _server: AsyncGenServer

    @classmethod
    def of(cls, server: AsyncGenServer) -> GenServer:
        """Return the carrier of *server*."""
        carrier = cls()
        vars(carrier).update(kind=server.kind, _server=server)
        server._carrier = carrier  # noqa: SLF001 - the two halves of one thing
        return carrier

    def init(self, *args: Any, **kwargs: Any) -> InitResult:
        self._server.__dict__.update(
            {name: value for name, value in vars(self).items() if name != "_server"}
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._futures: dict[int, asyncio.Future[Any]] = {}
        self._sending = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] | None = None
        self._waiters = ThreadPoolExecutor(_MAX_WAITERS, "waiter")
        self._is_ending = False
        self._generation = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run_loop, name="asyncio", daemon=True).start()
        result: InitResult = self._run_whole(self._server.init(*args, **kwargs))
        if isinstance(result, NoReply):
            self._loop.call_soon_threadsafe(self._after, result)
            return None
        return result

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        self._begin(lambda: self._server.handle_call(request, caller), caller)
        return NoReply()

    def handle_cast(self, request: Any) -> Result:
        self._begin(lambda: self._server.handle_cast(request))
        return None

    def handle_info(self, message: Any) -> Result:
        if isinstance(message, Response):
            with self._sending:  # its future is there when the token is known
                future = self._futures.pop(message.token, None)
            if future is not None:
                self._loop.call_soon_threadsafe(_settle, future, message)
                return None
        self._begin(lambda: self._server.handle_info(message))
        return None

    def _when_responsive(self, step: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(step)

    def terminate(self, reason: ExitReason) -> None:
        self._is_ending = True
        self._run_whole(self._end(reason))
        self._loop.call_soon_threadsafe(self._loop.stop)

    # In the main thread

    def _begin(
        self, callback: Callable[[], Coroutine[Any, Any, Any]], caller: Caller | None = None
    ) -> None:
        if not self._is_ending:
            self._loop.call_soon_threadsafe(self._start, callback, caller)

    def _run_whole(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run *coroutine* to its end, and make the calls that are asked for meanwhile."""
        jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._jobs = jobs
        done = asyncio.run_coroutine_threadsafe(_contain(coroutine), self._loop)
        done.add_done_callback(lambda _done: jobs.put(None))
        while (job := jobs.get()) is not None:
            job()
        self._jobs = None
        return _result_of(done.result())

    # In the thread of the event loop

    def _run_loop(self) -> None:
        # asyncio lets a SystemExit or KeyboardInterrupt out of a task, and out of its loop: the
        # process would live on, and never answer again. It crashes; the loop goes on until then,
        # for the server cleans up in it.
        while True:
            try:
                self._loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - the first exception ends the process
                self._fail(error, None)
            else:
                return

    def ignore(self, message: object) -> None:
        """Log that nobody handles messages of that type."""
        GenServer.handle_info(self, message)

    async def ask(self, target: Target, request: object, seconds: float) -> Any:
        """Call *target*; see `AsyncGenServer.call`."""
        if self._jobs is not None:
            return await self.have_done(partial(self.call, target, request, timeout=seconds))
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._sending:
            token = self.send_request(target, request, timeout=seconds)
            # It stays there until the answer comes, which is dropped if nobody awaits it any more.
            self._futures[token] = future
        return await future

    async def have_done(self, job: Callable[[], object]) -> object:
        """Have another thread do *job*, in which it may wait: the main one, if that waits here."""
        if self._jobs is None:
            return await self._loop.run_in_executor(self._waiters, job)
        outcome: Future[object] = Future()

        def do() -> None:
            if not outcome.set_running_or_notify_cancel():
                return  # whoever awaited it was cancelled
            try:
                outcome.set_result(job())
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                outcome.set_exception(error)

        self._jobs.put(do)
        return await asyncio.wrap_future(outcome)

    def _start(
        self, callback: Callable[[], Coroutine[Any, Any, Any]], caller: Caller | None
    ) -> None:
        self._generation += 1
        if not self._is_ending:
            task = self._loop.create_task(_contain(callback()))
            self._tasks.add(task)
            task.add_done_callback(lambda task: self._ended(task, caller))

    def _ended(self, task: asyncio.Task[Any], caller: Caller | None) -> None:
        self._tasks.discard(task)
        try:
            result = _result_of(task.result())
        except BaseException as error:  # noqa: BLE001 - the first exception ends the process
            self._leave_if_fork(error)
            if not (self._is_ending and task.cancelled()):
                self._fail(error, caller)
        else:
            self._leave_if_fork()
            self._take(result, caller)

    def _leave_if_fork(self, error: BaseException | None = None) -> None:
        if os.getpid() != self.ref.os_pid:
            forks.end_fork(f"{self.kind} (pid {self.ref.os_pid})", error)

    def _take(self, result: Any, caller: Caller | None) -> None:
        match result:
            case Reply() if caller is not None:
                self.reply(caller, result.value)
                self._after(result)
            case Refuse() if caller is not None:
                self.refuse(caller, result.error)
                self._after(result)
            case NoReply():
                self._after(result)
            case None if caller is None:
                pass
            case Stop():
                if caller is not None and result.reply is not UNSET:
                    self.reply(caller, result.reply)
                self._end_with(result.reason)
            case _:
                self._end_with(Crashed(f"bad return value: a callback returned {quote(result)}"))

    def _after(self, result: Reply | Refuse | NoReply) -> None:
        if result.then is not None:
            self._start(lambda: self._server.handle_continue(result.then), None)
        elif result.timeout is not None and result.timeout < threading.TIMEOUT_MAX:
            self._loop.call_later(result.timeout, self._idle, self._generation)

    def _idle(self, generation: int) -> None:
        if generation == self._generation:
            self._start(lambda: self._server.handle_info(Timeout()), None)

    def _fail(self, error: BaseException, caller: Caller | None) -> None:
        reason = crash_reason(error)
        if caller is not None and isinstance(reason, Crashed):
            self.refuse(caller, HandlerError(self.kind, reason.error, reason.traceback))
        self._end_with(reason)

    def _end_with(self, reason: ExitReason) -> None:
        self._is_ending = True
        self.stop(reason)

    async def _end(self, reason: ExitReason) -> None:
        """Cancel what is in progress, and let the server clean up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.terminate(reason)
        await self._loop.shutdown_asyncgens()


class _Raised(Struct):
    error: BaseException


async def _contain(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await *coroutine*; return what would end the whole event loop instead of raising it."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        return _Raised(error)


def _result_of(outcome: Any) -> Any:
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


def _settle(future: asyncio.Future[Any], response: Response) -> None:
    if future.done():  # whoever awaited it was cancelled
        return
    if response.error is not None:
        future.set_exception(response.error)
    else:
        future.set_result(response.value)
