"""`Toolbox`: makes the calls of tools that a model or an editor asks for, and writes them down."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jidocode.base.contained import contained
from jidocode.base.stepwise import carry_out
from jidocode.base.waiting import acquire
from jidocode.errors import InvalidToolError
from jidocode.session.tools.steps import Decide, Run, Step, UndecidedError, Use
from jidocode.session.tools.tool import is_awaited

if TYPE_CHECKING:
    from jidocode.base.refs import ActorRef
    from jidocode.session.conversation.changes import ToolResult
    from jidocode.session.tools.calls import ToolCalls
    from jidocode.session.tools.policy import Policy
    from jidocode.session.tools.tool import Tool, ToolContext


class Toolbox:
    """The tools of one session, for whoever speaks for a model or an editor.

    Every call is written down in the State before it is made, and its result after it: so
    after any crash it is known what may have been done.
    """

    def __init__(self, context: ToolContext, calls: ToolCalls) -> None:
        """Make *calls* in *context*."""
        self._context = context
        self._calls = calls

    def __iter__(self) -> Iterator[Tool]:
        """Yield the tools: of every session, the app's, those of the session's MCP servers.

        Such servers are started by it, and waited for until each is ready, or has failed.
        """
        return iter(carry_out(self._calls.listed(), self._take))

    def under(self, policy: Policy) -> Toolbox:
        """Return the same tools under another policy."""
        return Toolbox(self._context, self._calls.under(policy))

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str,
        *,
        call_id: str | None = None,
        message_id: str | None = None,
        owner: ActorRef | None = None,
    ) -> ToolResult:
        """Make a call of the tool *name*, and return what came of it.

        What the tool, or the policy, has against it is the result, an error in words
        for the model; nothing was changed then, unless the tool says so.

        Args:
            name: The tool's name.
            arguments: An object, or the JSON of one, as a model says it.
            call_id: A fresh one by default. A call that was begun under it is not made
                again: its result is returned, which is an error that says so if there was none.
            message_id: The message that asks for the call, by a `ToolUseBlock` with *call_id*.
            owner: The process that makes the call. If it dies over it, the State
                gives the call a result that says so.

        Raises:
            ToolCallRunningError: The call *call_id* is being made; it is not made twice.
            InvalidRequestError: *name* is none that a State takes, or no such message asks
                for the call.
            Exception: Whatever State raises if it cannot write the call down, or its result.
        """
        steps = self._calls.call(
            name, arguments, call_id=call_id, message_id=message_id, owner=owner
        )
        return carry_out(steps, self._take)

    def _take(self, step: Step) -> object:
        match step:
            case Use():
                return step.do(self._context)
            case Run():
                if is_awaited(step.tool.run):
                    raise InvalidToolError(f"tool {step.tool.name} can only be awaited")
                with contained():
                    return step.tool.run(self._context, step.arguments)
            case Decide():
                return self._decide(step)

    def _decide(self, step: Decide) -> object:
        """Ask the policy, in a thread of its own: one that hangs must not hold up who calls."""
        if is_awaited(step.policy):
            raise TypeError("this policy can only be awaited")
        decisions: list[object] = []
        failures: list[Exception] = []
        undecided = threading.Lock()
        undecided.acquire()

        def decide() -> None:
            try:
                with contained():
                    decisions.append(step.policy(step.request))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                failures.append(error)
            finally:
                undecided.release()

        threading.Thread(target=decide, name="jidocode-policy", daemon=True).start()
        acquire(undecided, self._calls.patience)
        if failures:
            raise failures[0]
        if not decisions:
            raise UndecidedError
        return decisions[0]
