"""`Toolbox`: makes the calls of tools that a model or an editor asks for, and writes them down."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from attrs import asdict

from jidocode.base import log
from jidocode.base.refs import ActorRef
from jidocode.base.text import describe, quote
from jidocode.errors import (
    ActorExitedError,
    CallError,
    InvalidRequestError,
    InvalidToolError,
    JidocodeError,
    PolicyDeniedError,
)
from jidocode.session.conversation import checks
from jidocode.session.conversation.changes import (
    INTERRUPTED_CALL,
    ToolCall,
    ToolResult,
    new_record_id,
)
from jidocode.session.tools.arguments import as_object, take_arguments
from jidocode.session.tools.policy import Allow, Decision, Deny, Policy, ToolRequest, matches
from jidocode.session.tools.tool import Tool, ToolContext, ToolKind

T = TypeVar("T")

MAX_RESULT_LENGTH = 30_000
"""Characters of a result that a model is given; of a longer one, its beginning and its end."""

_REMEMBERED = "allowed_tools"
"""The key in the settings of a State under which stands what is always allowed."""
_REMEMBERING = threading.Lock()
# What is there is read, and written with one more: two that do so at once would lose one. A
# session can have many toolboxes, and all of them are in its app.


class Toolbox:
    """The tools of one session, for whoever speaks for a model or an editor.

    Every call is written down in the State before it is made, and its result after it: so
    after any crash it is known what may have been done.
    """

    def __init__(
        self, context: ToolContext, tools: Iterable[Tool], policy: Policy, *, patience: float
    ) -> None:
        """Make calls of *tools* in *context*; *policy* has *patience* seconds to decide."""
        self._context = context
        self._patience = patience
        self._policy = policy
        self._tools = {tool.name: tool for tool in tools}

    def __iter__(self) -> Iterator[Tool]:
        """Yield the tools, those of every session first."""
        return iter(self._tools.values())

    def under(self, policy: Policy) -> Toolbox:
        """Return the same tools under another policy."""
        return Toolbox(self._context, self, policy, patience=self._patience)

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
            InvalidRequestError: *name* is none that a State takes, or no such message asks
                for the call.
            Exception: Whatever State raises if it cannot write the call down, or its result.
        """
        known = None if call_id is None else self._begun(call_id)
        if known is not None:
            return known.result or self._settle(known, INTERRUPTED_CALL, is_error=True)
        call_id = new_record_id() if call_id is None else call_id

        def begin(said: Mapping[str, Any]) -> ToolCall:
            state = self._context.state
            ids = {"call_id": call_id, "message_id": message_id}
            return _twice(lambda: state.add_tool_call(name, said, **ids, owner=owner))

        try:
            said = checks.json_mapping("the arguments", as_object(arguments))
        except InvalidRequestError as error:
            return self._settle(begin({}), error.message, is_error=True)
        call = begin(said)
        try:
            content, is_error = self._run(name, said), False
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model is told
            content, is_error = _told(error), True
        except BaseException:
            self._settle(call, "the call was interrupted: it may be done in part", is_error=True)
            raise
        return self._settle(call, content, is_error=is_error)

    def _run(self, name: str, said: Mapping[str, Any]) -> str:
        tool = self._tools.get(name)
        if tool is None:
            close = get_close_matches(name, self._tools, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(self._tools)}"
            raise InvalidRequestError(f"there is no tool {quote(name)}; {hint}")
        arguments = take_arguments(tool.arguments, said)
        if not tool.kind.is_harmless:
            arguments = self._allowed(tool, arguments)
        result = cast("object", tool.run(self._context, arguments))
        if not isinstance(result, str):
            raise InvalidToolError(f"tool {name} returned {quote(result)}, which is no text")
        return result

    # Who allows it

    def _allowed(self, tool: Tool, arguments: Any) -> Any:
        """Return the arguments to make the call with.

        Raises:
            PolicyDeniedError: It is not allowed.
        """
        subject, protected = tool.subject(arguments), False
        if tool.kind is ToolKind.EDIT:
            subject, protected = self._edited(subject)
        known = self._remembered().get(tool.name, ())
        if subject in known or (
            not protected and any(matches(each, tool.kind, subject) for each in known)
        ):
            return arguments
        request = ToolRequest(
            session_id=self._context.id,
            tool=tool.name,
            kind=tool.kind,
            subject=subject,
            arguments=asdict(arguments),
            protected=protected,
        )
        decision = self._ask(request)
        match decision:
            case Allow():
                if decision.arguments is not None:
                    arguments = take_arguments(tool.arguments, decision.arguments)
                if decision.always is not None:
                    self._remember(tool.name, decision.always)
                return arguments
            case Deny():
                raise PolicyDeniedError(tool.name, decision.reason)

    def _edited(self, subject: str) -> tuple[str, bool]:
        """Return which file an edit of *subject* is of, and whether others execute that later.

        A policy and its patterns go by names, so it must be the file's own: `secrets/key` is also
        `./secrets/key`, `src/../secrets/key`, and what a symlink leads to.
        """
        manager = self._context.manager
        try:
            protected = _twice(lambda: manager.is_protected(subject))
            return _twice(lambda: manager.true_path(subject)), protected
        except CallError:  # some of which are OSErrors
            raise
        except OSError:  # it is no path of the project, and cannot be written
            return subject, False

    def _remembered(self) -> Mapping[str, Sequence[str]]:
        found = _twice(self._context.state.settings).get(_REMEMBERED, {})
        return cast("Mapping[str, Sequence[str]]", found)

    def _remember(self, name: str, pattern: str) -> None:
        with _REMEMBERING:
            remembered = self._remembered()
            allowed = {**remembered, name: [*remembered.get(name, ()), pattern]}
            self._context.state.update_settings({_REMEMBERED: allowed})

    def _ask(self, request: ToolRequest) -> Decision:
        """Ask the policy, in a thread of its own: one that hangs must not hold up who calls."""
        decisions: list[object] = []

        def decide() -> None:
            try:
                decisions.append(self._policy(request))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is no consent
                log.warning("the policy failed over {}: {}", request.tool, describe(error))
                decisions.append(Deny("the policy failed"))

        thread = threading.Thread(target=decide, name="jidocode-policy", daemon=True)
        thread.start()
        thread.join(min(self._patience, threading.TIMEOUT_MAX))
        if not decisions:
            return Deny(f"nobody answered within {self._patience:g} s")
        if not isinstance(decisions[0], Decision):
            log.warning("the policy decided {}, not Allow or Deny", quote(decisions[0]))
            return Deny("the policy failed")
        return decisions[0]

    # What is written down

    def _begun(self, call_id: str) -> ToolCall | None:
        return _twice(lambda: self._context.state.tool_call(call_id))

    def _settle(self, call: ToolCall, content: str, *, is_error: bool) -> ToolResult:
        state, bounded = self._context.state, _bounded(content)
        try:
            settled = _twice(lambda: state.add_tool_result(call.id, bounded, is_error=is_error))
        except InvalidRequestError:  # a State that died meanwhile says that it was interrupted
            settled = self._begun(call.id) or call
        return cast("ToolResult", settled.result)


def _twice(ask: Callable[[], T]) -> T:
    """Ask a process, and its next life if it dies over that: for what can be asked again."""
    try:
        return ask()
    except ActorExitedError:
        return ask()


def _told(error: Exception) -> str:
    if isinstance(error, (JidocodeError, OSError)):
        with contextlib.suppress(Exception):  # its class may have broken it
            return str(error)
    return describe(error)


def _bounded(content: str) -> str:
    if len(content) <= MAX_RESULT_LENGTH:
        return content
    half = MAX_RESULT_LENGTH // 2
    left_out = len(content) - 2 * half
    return f"{content[:half]}\n[{left_out} characters were left out]\n{content[-half:]}"
