"""`ToolCalls`: what is done, in which order, when a model or an editor asks for a tool.

How each step is waited for, `Toolbox` says for threads and `AsyncToolbox` for coroutines.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from jidocode.base import log
from jidocode.base.contained import ContainedError, contained
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stopped
from jidocode.base.text import describe, quote
from jidocode.errors import (
    ActorExitedError,
    CallError,
    InvalidRequestError,
    InvalidToolError,
    JidocodeError,
    PolicyDeniedError,
    ToolCallRunningError,
)
from jidocode.session.conversation import checks
from jidocode.session.conversation.changes import (
    INTERRUPTED_CALL,
    ToolCall,
    ToolResult,
    new_record_id,
)
from jidocode.session.tools.arguments import as_mapping, as_object, no_such, take_arguments
from jidocode.session.tools.bounding import bounded
from jidocode.session.tools.makers import is_making, making
from jidocode.session.tools.policy import (
    Allow,
    AsyncPolicy,
    Decision,
    Deny,
    ToolRequest,
    matches,
)
from jidocode.session.tools.steps import Decide, InSteps, Run, Steps, UndecidedError, use
from jidocode.session.tools.tool import Tool, ToolContext, ToolKind

T = TypeVar("T")

_INTERRUPTED = "the call was interrupted: it may be done in part"
_NOT_MADE = "the call was interrupted before it was made"

_REMEMBERED = "allowed_tools"
"""The key in the settings of a State under which stands what is always allowed."""
_REMEMBERING = threading.Lock()
# What is there is read, and written with one more: two that do so at once would lose one. A
# session can have many toolboxes, and all of them are in its app.


class ToolCalls:
    """Calls of the tools of one session.

    Attributes:
        tools: By their names, those of every session first; its MCP servers are asked for theirs.
        patience: Seconds that a policy has to decide.
    """

    def __init__(
        self,
        session_id: str,
        tools: Iterable[Tool],
        policy: AsyncPolicy,
        *,
        patience: float,
        asks_servers: bool = True,
    ) -> None:
        """Make calls of *tools*, and unless told otherwise of what MCP servers have beside them."""
        self._session_id = session_id
        self._policy = policy
        self._asks_servers = asks_servers
        self.patience = patience
        self.tools = {tool.name: tool for tool in tools}

    def under(self, policy: AsyncPolicy) -> ToolCalls:
        """Return those of the same tools under another policy."""
        return ToolCalls(
            self._session_id,
            self.tools.values(),
            policy,
            patience=self.patience,
            asks_servers=self._asks_servers,
        )

    def listed(self) -> Steps[list[Tool]]:
        """Return all tools, those of the session's MCP servers last."""
        from jidocode.session.mcp.tools import tools_of  # noqa: PLC0415 - few sessions have any

        tools = dict(self.tools)
        if not self._asks_servers:
            return list(tools.values())
        for offered in (yield from use(lambda session: session.mcp._offered())):  # noqa: SLF001 - for these alone
            if offered.error is not None:
                log.warning("a session lacks tools: {}", offered.error)
            for tool in tools_of(offered):
                tools.setdefault(tool.name, tool)
        return list(tools.values())

    def _find(self, name: str) -> Steps[Tool]:
        """Return the tool *name*.

        Raises:
            InvalidRequestError: There is none.
            McpServerError: It is one of a server that has failed.
        """
        tool, known = self.tools.get(name), list(self.tools)
        if tool is None:
            tool, names = yield from self._find_of_server(name)
            known += names
        if tool is None:
            raise InvalidRequestError(no_such("tool", name, known))
        return tool

    def _find_of_server(self, name: str) -> Steps[tuple[Tool | None, list[str]]]:
        """Return the tool *name* of an MCP server, if there is one, and what that server has."""
        from jidocode.session.mcp.tools import prefix_of, tools_of  # noqa: PLC0415 - as above

        prefix = prefix_of(name)
        if prefix is None or not self._asks_servers:
            return None, []
        for offered in (yield from use(lambda session: session.mcp._offered(prefix))):  # noqa: SLF001 - for these alone
            if offered.error is not None:
                raise offered.error
            names = [tool.name for tool in offered.tools]
            return next(iter(tools_of(offered, name)), None), names
        return None, []

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str,
        *,
        call_id: str | None = None,
        message_id: str | None = None,
        owner: ActorRef | None = None,
    ) -> Steps[ToolResult]:
        """Make a call; see `Toolbox.call`.

        If it is interrupted, what has been written down of it gets a result all the same.
        """
        if call_id is not None and (known := (yield from _begun(call_id))) is not None:
            return (yield from self._known(known))
        with making() as maker:
            return (yield from self._make(name, arguments, call_id, message_id, owner, maker=maker))

    def _known(self, known: ToolCall) -> Steps[ToolResult]:
        """Return the result of a call that was begun before; it is not made again.

        Raises:
            ToolCallRunningError: There is none, for it is being made.
        """
        if known.result is not None:
            return known.result
        maker = yield from _twice(lambda session: session.state.tool_call_maker(known.id))
        if maker is not None and is_making(maker):
            raise ToolCallRunningError(known.id)
        return (yield from self._settle(known, INTERRUPTED_CALL, is_error=True))

    def _make(  # noqa: PLR0913 - all that is known of a call
        self,
        name: str,
        arguments: Mapping[str, Any] | str,
        call_id: str | None,
        message_id: str | None,
        owner: ActorRef | None,
        *,
        maker: str,
    ) -> Steps[ToolResult]:
        call_id = new_record_id() if call_id is None else call_id
        wrong = ""
        try:
            said = checks.json_mapping("the arguments", as_object(arguments))
        except InvalidRequestError as error:
            said, wrong = {}, error.message
        call = yield from self._begin(call_id, name, said, message_id, owner, maker=maker)
        if call.result is not None:  # the State died over it, and says that it was interrupted
            return call.result
        if wrong:
            return (yield from self._settle(call, wrong, is_error=True))
        interrupted = _NOT_MADE
        try:
            tool, arguments = yield from self._prepared(call_id, name, said)
            interrupted = _INTERRUPTED
            content, is_error = (yield from _run(tool, arguments)), False
        except GeneratorExit:  # nobody can wait any more
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model is told
            content, is_error = _told(error), True
        except BaseException:
            with contextlib.suppress(JidocodeError):  # it is the interruption that is raised
                yield from self._settle(call, interrupted, is_error=True)
            raise
        return (yield from self._settle(call, content, is_error=is_error))

    def _prepared(
        self, call_id: str, name: str, said: Mapping[str, Any]
    ) -> Steps[tuple[Tool, Any]]:
        """Return the tool to call, and with what; raise if it is not there, or not allowed."""
        tool = yield from self._find(name)
        arguments = take_arguments(tool.arguments, said)
        if not tool.kind.is_harmless:
            arguments = yield from self._allowed(call_id, tool, arguments)
        return tool, arguments

    # Who allows it

    def _allowed(self, call_id: str, tool: Tool, arguments: Any) -> Steps[Any]:
        """Return the arguments to make the call with.

        Raises:
            PolicyDeniedError: It is not allowed.
        """
        with contained():
            subject, protected = tool.subject(arguments), False
        if tool.kind is ToolKind.EDIT:
            subject, protected = yield from _edited(subject)
        settings = yield from _twice(lambda session: session.state.settings())
        known = _patterns(settings, tool.name)
        request = ToolRequest(
            session_id=self._session_id,
            tool=tool.name,
            kind=tool.kind,
            subject=subject,
            arguments=as_mapping(arguments),
            protected=protected,
            call_id=call_id,
            remembered=subject in known
            or (not protected and any(matches(each, tool.kind, subject) for each in known)),
        )
        decision = yield from self._ask(request)
        match decision:
            case Allow():
                if decision.arguments is not None:
                    arguments = take_arguments(tool.arguments, decision.arguments)
                if (always := decision.always) is not None:
                    yield from use(
                        lambda session: _remember(session, tool.name, always), whole=True
                    )
                return arguments
            case Deny():
                raise PolicyDeniedError(tool.name, decision.reason)

    def _ask(self, request: ToolRequest) -> Steps[Decision]:
        try:
            decision: object = yield Decide(self._policy, request)
        except UndecidedError:
            return Deny(f"nobody answered within {self.patience:g} s")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no consent
            log.warning("the policy failed over {}: {}", request.tool, describe(error))
            return Deny("the policy failed")
        if not isinstance(decision, Decision):
            log.warning("the policy decided {}, not Allow or Deny", quote(decision))
            return Deny("the policy failed")
        return decision

    # What is written down

    def _begin(  # noqa: PLR0913 - all that is written down of a call
        self,
        call_id: str,
        name: str,
        said: Mapping[str, Any],
        message_id: str | None,
        owner: ActorRef | None,
        *,
        maker: str,
    ) -> Steps[ToolCall]:
        def write(session: ToolContext) -> ToolCall:
            return session.state.add_tool_call(
                name, said, call_id=call_id, message_id=message_id, owner=owner, maker=maker
            )

        def take_back(session: ToolContext) -> None:
            if session.state.tool_call_maker(call_id) == maker:
                session.state.add_tool_result(call_id, _NOT_MADE, is_error=True)

        try:
            return (yield from _twice(write))
        except (GeneratorExit, Exception):
            raise
        except BaseException:  # it may be written down all the same
            with contextlib.suppress(JidocodeError):  # or it is not
                yield from use(take_back, whole=True)
            raise

    def _settle(self, call: ToolCall, content: str, *, is_error: bool) -> Steps[ToolResult]:
        kept = bounded(content)

        def write(session: ToolContext) -> ToolCall:
            return session.state.add_tool_result(call.id, kept, is_error=is_error)

        try:
            settled = yield from _twice(write)
        except InvalidRequestError:  # a State that died meanwhile says that it was interrupted
            known = yield from _begun(call.id)
            if known is None or known.result is None:
                raise
            settled = known
        except (GeneratorExit, Exception):
            raise
        except BaseException:  # a second time it is the first
            with contextlib.suppress(JidocodeError):
                yield from use(write)
            raise
        return cast("ToolResult", settled.result)


def _run(tool: Tool, arguments: Any) -> Steps[str]:
    result: object
    if isinstance(tool.run, InSteps):
        result = yield from tool.run.steps(arguments)
    else:
        result = yield Run(tool, arguments)
    if not isinstance(result, str):
        raise InvalidToolError(f"tool {tool.name} returned {quote(result)}, which is no text")
    return result


def _begun(call_id: str) -> Steps[ToolCall | None]:
    return _twice(lambda session: session.state.tool_call(call_id))


def _edited(subject: str) -> Steps[tuple[str, bool]]:
    """Return which file an edit of *subject* is of, and whether others execute that later.

    A policy and its patterns go by names, so it must be the file's own: `secrets/key` is also
    `./secrets/key`, `src/../secrets/key`, and what a symlink leads to.
    """
    try:
        protected = yield from _twice(lambda session: session.manager.is_protected(subject))
        path = yield from _twice(lambda session: session.manager.true_path(subject))
    except CallError:  # some of which are OSErrors
        raise
    except OSError:  # it is no path of the project, and cannot be written
        return subject, False
    return path, protected


def _remember(session: ToolContext, name: str, pattern: str) -> None:
    with _REMEMBERING:
        settings = session.state.settings()
        known = _patterns(settings, name)
        if pattern not in known:  # one that does not match what it was said of is said again
            allowed = {**_remembered(settings), name: [*known, pattern]}
            session.state.update_settings({_REMEMBERED: allowed})


def _patterns(settings: Mapping[str, Any], name: str) -> list[str]:
    """Return what is always allowed of the tool *name*; nothing else than a list of texts is."""
    patterns = _remembered(settings).get(name)
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        return []
    texts = cast("Sequence[object]", patterns)
    return [each for each in texts if isinstance(each, str)]


def _remembered(settings: Mapping[str, Any]) -> Mapping[str, object]:
    remembered = settings.get(_REMEMBERED)
    return cast("Mapping[str, object]", remembered) if isinstance(remembered, Mapping) else {}


def _twice(ask: Callable[[ToolContext], T]) -> Steps[T]:
    """Ask a process, and its next life if it dies over that: for what can be asked again."""
    try:
        return (yield from use(ask))
    except ActorExitedError:
        return (yield from use(ask))


def _told(error: Exception) -> str:
    if isinstance(error, Stopped):
        return "the call was cancelled"
    if isinstance(error, (JidocodeError, OSError, ContainedError)):
        with contextlib.suppress(Exception):  # its class may have broken it
            return str(error) or describe(error)
    return describe(error)
