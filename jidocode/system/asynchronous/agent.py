"""A session's agent, as coroutines see it: what waits elsewhere is awaited here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, cast

from jidocode._host.deadline import Deadline
from jidocode.errors import CallTimeoutError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.agent.presence import IsBusy, asking_agent
from jidocode.session.agent.turn import DEFAULT_LIMITS
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.asynchronous.waiting import in_thread, wait_for

if TYPE_CHECKING:
    # Imported by a thread, with the first prompt: that would hold up the loop.
    from jidocode.session.agent.handle import TurnHandle
    from jidocode.session.agent.messages import TurnEvent, TurnResult
    from jidocode.session.conversation.blocks import Block
    from jidocode.session.tools.policy import AsyncPolicy, Policy
    from jidocode.system.asynchronous.running import AsyncRunner
    from jidocode.system.running_sessions import RunningSystem


class AsyncTurnHandle:
    """A turn under way: read what happens in it by `async for`, in one task at a time.

    It goes on whether or not anybody reads, as a `TurnHandle`.

    Attributes:
        id: The turn's, and that of the user's message in the State; see `TurnHandle`.
    """

    def __init__(self, turn: TurnHandle) -> None:
        """Read *turn*."""
        self._progress = turn._progress  # noqa: SLF001 - it is the same turn
        self.id = turn.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._progress!r}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnEvent:
        """Return what happens next, as soon as it does; it ends with the turn."""
        found = await wait_for(self._progress.changes, self._progress.look, INFINITY)
        if not found:
            raise StopAsyncIteration
        return found[0]

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._progress.result is not None

    async def result(self, timeout: float | None = None) -> TurnResult:
        """Return how the turn ended; see `TurnHandle.result`.

        Who is cancelled here may ask again.
        """
        seconds = INFINITY if timeout is None else timeout
        require_seconds("timeout", seconds)
        deadline = Deadline.after(seconds)
        result = await wait_for(self._progress.changes, self._progress.look_result, deadline.at)
        if result is None:
            raise CallTimeoutError(f"turn {self.id}", deadline.seconds)
        return result

    async def cancel(self) -> TurnResult:
        """End the turn, and return how it ended; see `TurnHandle.cancel`."""
        self._progress.request_cancel()
        return await self.result()


class AsyncAgentClient:
    """Prompts a session's agent; see `AgentClient`.

    A tool or a policy that is a coroutine function runs in the loop of whoever prompts, in a task
    of its own; one that is a plain function may wait, and has a thread for that.
    """

    def __init__(
        self, session: object, system: RunningSystem, session_id: str, runner: AsyncRunner
    ) -> None:
        """Prompt that of *session*, an `AsyncSessionHandle`, which is in *system*."""
        self._runner = runner
        self._session = session
        self._system = system
        self._session_id = session_id

    async def prompt(  # noqa: PLR0913 - all but the first are keywords
        self,
        content: str | Sequence[Block],
        *,
        max_turns: int | None = DEFAULT_LIMITS.max_turns,
        max_tokens: int | None = None,
        timeout: float | None = None,
        queue: bool = False,
        instructions: str = "",
        agents_file: str | None = "AGENTS.md",
        policy: AsyncPolicy | None = None,
    ) -> AsyncTurnHandle:
        """Say something to the model, and return a handle of the turn; see `AgentClient.prompt`.

        If it is cancelled, so is the turn.
        """
        have_awaited = current_loop().from_threads()

        def begin() -> TurnHandle:
            from jidocode.system.asynchronous.prompting import waiting_client  # noqa: PLC0415 - see above

            client = waiting_client(self._session, self._system, self._session_id, have_awaited)
            return client.prompt(
                content,
                max_turns=max_turns,
                max_tokens=max_tokens,
                timeout=timeout,
                queue=queue,
                instructions=instructions,
                agents_file=agents_file,
                policy=cast("Policy | None", policy),  # as that client asks it, it may be either,
            )

        return AsyncTurnHandle(await in_thread(begin, undo=lambda turn: turn().cancel()))

    async def busy(self) -> bool:
        """Whether a turn is under way, or waits, whoever has prompted; see `AgentClient.busy`."""
        ask = self._system.router.ask
        return await self._runner.carry_out(asking_agent(ask, self._session_id, IsBusy(), None))

    async def cancel(self) -> None:
        """End all turns, whoever has prompted; see `AgentClient.cancel`.

        If it is cancelled, they end all the same.
        """
        await self._runner.carry_out(self._system.cancelling_turns(self._session_id))
