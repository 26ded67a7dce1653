"""`AsyncApplication`: a supervision tree of an app on asyncio or trio, and its way to that.

It is an `Application` whose waiting is done by coroutines: what is asked of whom is in the
same services, as plans, and `AsyncRunner` awaits their steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from jidocode.base.closing import AsyncClosing
from jidocode.base.exits import NORMAL, ExitReason
from jidocode.base.refs import ActorRef, Name, Target, Via
from jidocode.errors import HostError, HostExitedError
from jidocode.system.application import Application, start
from jidocode.system.asynchronous.running import AsyncRunner
from jidocode.system.asynchronous.streams import (
    AsyncCallHandle,
    AsyncCallStream,
    AsyncEventStream,
    AsyncMonitor,
)
from jidocode.system.asynchronous.waiting import in_thread
from jidocode.system.settings import ApplicationOverrides, ApplicationSettings
from jidocode.system.steps import Plan

if TYPE_CHECKING:
    from typing import Self

    from jidocode.otp.supervision.specs import Child
    from jidocode.system.health import SystemHealth, TreeNode
    from jidocode.system.running import RunningTree

T = TypeVar("T")


class AsyncApplication(AsyncClosing):
    """A supervision tree in processes of its own, for coroutines: what `Application` has, awaited.

        async with AsyncApplication(Counter) as app:
            print(await app.call(("counter", "main"), "how many"))

    It starts at the beginning of the block, and is closed at its end. Nothing holds up the
    loop meanwhile, and no task is added to it. Any task may use it, of any loop and thread.

    Whatever waits raises what its twin of `Application` does, and may be cancelled: then
    nobody waits for the answer any more. What was asked for may be done all the same.
    """

    def __init__(
        self,
        *children: Child,
        settings: ApplicationSettings | None = None,
        **overrides: Unpack[ApplicationOverrides],
    ) -> None:
        """Be ready to start *children*; takes what `otp.start` takes."""
        self._be_ready(partial(start, *children, settings=settings, **overrides))

    def _be_ready(self, open_it: Callable[[], Application]) -> None:
        self._open = open_it
        self._opened: Application | None = None
        self._is_entered = False
        self._is_closed = False
        self._opening = threading.Lock()  # is held by threads of ours only, and never by a loop's

    async def __aenter__(self) -> Self:
        """Start it, or attach to it.

        Raises:
            RuntimeError: That was done before.
            HostExitedError: It was closed meanwhile.
            Exception: Whatever starts it, or attaches to it, raises.
        """
        if self._is_entered:
            raise RuntimeError(f"one {type(self).__name__} is started once: make another one")
        self._is_entered = True
        await in_thread(self._start, undo=lambda outcome: outcome().close())
        self._tree.client.check_missing()
        return self

    def _start(self) -> Application:
        with self._opening:
            if self._is_closed:
                raise HostExitedError("it was closed before it was started")
            opened = self._open()
            self._prepare(opened)
            self._opened = opened  # last: other tasks may use it from now on
        return opened

    def _prepare(self, opened: Application) -> None:
        """Have ready whatever is needed to use *opened*."""
        self._runner = AsyncRunner(opened._running)  # noqa: SLF001 - it is of the same room

    async def aclose(self) -> None:
        """Stop every process, as `Application.close` does; closing twice is fine.

        No process is left when this returns; nor if it is cancelled, which waits for that. One
        that is being started is closed as soon as it has. What this process has attached to
        goes on.
        """
        self._is_closed = True
        if self._is_entered and (self._opened is None or not self._opened._running.client.closed):  # noqa: SLF001 - it is of the same room
            await in_thread(self._close)

    def _close(self) -> None:
        with self._opening:
            opened = self._opened
        if opened is not None:
            opened.close()

    def __repr__(self) -> str:
        state = "<_ not started>" if self._opened is None else repr(self._opened)
        return f"<{type(self).__name__} {state.partition(' ')[2]}"

    @property
    def _tree(self) -> RunningTree:
        tree = self._application._running  # noqa: SLF001 - it is of the same room
        tree.client.check_owner()  # in a fork, also for what needs no process of it
        return tree

    @property
    def settings(self) -> ApplicationSettings:
        """How it behaves."""
        return self._application.settings

    @property
    def _application(self) -> Application:
        if self._opened is None:
            raise HostError(f"the {self!r} has no processes: use it as `async with ... as system`")
        return self._opened

    @property
    def host_pid(self) -> int:
        """The process id of the host process."""
        return self._tree.client.host_pid

    async def _carry_out(self, plan: Plan[T]) -> T:
        return await self._runner.carry_out(plan)

    # Processes

    async def whereis(self, target: Name | Via) -> ActorRef | None:
        """Return what the process registry has under a name, or a `Registry` under a key, now."""
        return await self._carry_out(self._tree.router.look_up(target))

    async def call(self, target: Target, request: object, *, timeout: float | None = None) -> Any:
        """Send *request* to the `handle_call` of *target*, and return its answer."""
        return await self._carry_out(self._tree.router.ask(target, request, timeout))

    async def begin_call(self, target: Target, request: object) -> AsyncCallHandle:
        """Send *request* to the `handle_call` of *target*, and return the call under way."""
        tree = self._tree
        pending = await self._carry_out(tree.router.begin(target, request))
        return AsyncCallHandle(tree.client, pending, tree.router.deadline)

    async def call_stream(
        self,
        target: Target,
        request: object,
        *,
        timeout: float | None = None,
    ) -> AsyncCallStream:
        """Send *request* to *target*, and return the parts of its answer."""
        tree = self._tree
        seconds = tree.router.deadline(timeout).seconds
        pending = await self._carry_out(tree.router.begin_stream(target, request))
        return AsyncCallStream(tree.client, pending, seconds)

    async def cast(self, target: Target, request: object) -> None:
        """Send *request* to the `handle_cast` of *target*, and wait for nothing."""
        await self._carry_out(self._tree.casting(target, request))

    async def send(self, target: Target, message: object) -> None:
        """Send *message* to the `handle_info` of *target*, and wait for nothing."""
        await self._carry_out(self._tree.sending(target, message))

    async def monitor(self, target: Target) -> AsyncMonitor:
        """Return a monitor of *target*, which tells when its process is gone."""
        client = self._tree.client
        return AsyncMonitor(client, client.monitor(await self._find(target)))

    async def stop(
        self,
        target: Target,
        reason: ExitReason = NORMAL,
        *,
        timeout: float | None = None,
    ) -> None:
        """Have *target* end with *reason* in order, and wait until it has."""
        await self._carry_out(self._tree.stopping(target, reason, timeout))

    async def _find(self, target: Target) -> ActorRef:
        router = self._tree.router
        return await self._carry_out(router.find(target, router.deadline()))

    # Looking

    async def system_health(self) -> SystemHealth:
        """Ask every process how it is."""
        return await self._carry_out(self._tree.probe.system())

    async def tree(self) -> TreeNode:
        """Return the live tree, asked from the supervisors themselves; `str()` draws it."""
        return await self._carry_out(self._tree.probe.tree())

    def events(self) -> AsyncEventStream:
        """Return a stream of what happens from now on; see `Application.events`."""
        return AsyncEventStream(self._runner, self._tree.hub.stream(None))
