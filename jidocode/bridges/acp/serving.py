"""The connection to an editor, from its first message to the end of all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from acp import AGENT_METHODS, CLIENT_METHODS, RequestError, schema
from acp.agent.router import build_agent_router
from acp.connection import Connection
from acp.router import MessageRouter
from acp.utils import normalize_result, notify_model, request_model
from pydantic import TypeAdapter, ValidationError

from jidocode.base import log
from jidocode.base.end_signals import told_to_end
from jidocode.base.text import describe, line
from jidocode.bridges.acp.agent import EditorAgent
from jidocode.bridges.acp.servers import EditorServer
from jidocode.bridges.acp.updates import Update
from jidocode.bridges.acp.wire import StdioTransport
from jidocode.bridges.ending import until_lost
from jidocode.bridges.pipes import Pipes
from jidocode.errors import (
    InvalidMcpServerError,
    InvalidRequestError,
    InvalidSessionError,
    JidocodeError,
    SessionNotFoundError,
)

if TYPE_CHECKING:
    from jidocode.system.asynchronous.system import AsyncSessionSystem

_END_SECONDS = 0.2
"""In which prompts under way are ended when the editor is gone."""
_CLOSE_SECONDS = 0.4
"""In which the system is to end then, if it is ours."""
_INVALID_PARAMS, _INTERNAL, _NOT_FOUND = -32602, -32603, -32002
_SERVERS: TypeAdapter[object] = TypeAdapter(list[EditorServer])


def run(system: AsyncSessionSystem, others: Sequence[str], pipes: Pipes) -> None:
    """Start, or attach to, *system*, and serve the editor at *pipes* until it is gone.

    Or until this process is told to end, by SIGTERM, SIGINT or SIGHUP.

    Args:
        system: Where the sessions are.
        others: Models that a person can choose, beside the system's own.
        pipes: Where the editor is.

    Raises:
        HostExitedError: The system has ended.
        Exception: Whatever starts the system raises.
    """
    asyncio.run(_run(system, others, pipes))


async def _run(system: AsyncSessionSystem, others: Sequence[str], pipes: Pipes) -> None:
    async with system:
        spec = system._system.tooling.model  # noqa: SLF001 - it is known to no one else
        own: object = None if spec is None else spec.options.get("model")
        models = [*([own] if isinstance(own, str) else []), *others]
        with told_to_end() as told:
            try:
                await _serve(system, list(dict.fromkeys(models)), pipes, told)
            finally:
                # A second after the editor nothing is to be left, and all that was said is written
                # down: what does not end in order by then is killed.
                await asyncio.to_thread(system._system.client.close, _CLOSE_SECONDS)  # noqa: SLF001 - idem


async def _serve(
    system: AsyncSessionSystem, models: Sequence[str], pipes: Pipes, told: int
) -> None:
    connection = EditorConnection(system, models, pipes)
    talking = asyncio.create_task(connection.talk())
    lost = asyncio.create_task(until_lost(system._system.client))  # noqa: SLF001 - it asks nothing without a call
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(told)
        talking.cancel()

    loop.add_reader(told, end)
    try:
        await asyncio.wait({talking, lost}, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            lost.result()
        if not talking.cancelled():
            talking.result()
    finally:
        loop.remove_reader(told)
        lost.cancel()
        talking.cancel()
        await connection.end()


class EditorConnection:
    """The way to an editor, and back: an `Editor`."""

    def __init__(self, system: AsyncSessionSystem, models: Sequence[str], pipes: Pipes) -> None:
        self._agent = EditorAgent(system, models, self)
        self._router = _routes(self._agent)
        self._connection = Connection(
            self._handle, cast("Any", StdioTransport(pipes)), listening=False
        )

    async def talk(self) -> None:
        """Do what the editor asks until it is gone."""
        await self._connection.main_loop()

    async def end(self) -> None:
        """End what is under way."""
        turns = [asyncio.create_task(turn.cancel()) for turn in self._agent.sessions.turns()]
        if turns:
            await asyncio.wait(turns, timeout=_END_SECONDS)
        try:
            await self._connection.close()
        except Exception as error:  # noqa: BLE001 - of a request that nobody waits for any more
            log.debug("a request ended with the connection: {}", describe(error))

    async def show(self, session_id: str, update: Update) -> None:
        """Show something; nothing if nobody is there any more."""
        said = schema.SessionNotification(session_id=session_id, update=update)
        try:
            await notify_model(self._connection, CLIENT_METHODS["session_update"], said)
        except ConnectionError:
            log.debug("the editor is gone")

    async def ask(
        self, session_id: str, call: schema.ToolCallUpdate, options: list[schema.PermissionOption]
    ) -> schema.RequestPermissionResponse:
        """Ask whoever sits there."""
        asked = schema.RequestPermissionRequest(
            session_id=session_id, tool_call=call, options=options
        )
        return await request_model(
            self._connection,
            CLIENT_METHODS["session_request_permission"],
            asked,
            schema.RequestPermissionResponse,
        )

    async def _handle(self, method: str, params: Any, is_notification: bool) -> Any:  # noqa: FBT001 - the SDK calls it
        """Do what a message asks, and raise what the SDK answers.

        The SDK's own answers to other errors may be none that can be sent.
        """
        try:
            return await self._router(method, _checked(params), is_notification)
        except RequestError as error:
            if not is_notification:
                raise
            log.debug("a notification is not heeded: {}", describe(error))  # such as `$/...`
            return None
        except ValidationError as error:
            raise RequestError(_INVALID_PARAMS, _wrong(error)) from None
        except JidocodeError as error:
            raise RequestError(_code_of(error), error.message) from error
        except Exception as error:
            log.error("{} failed: {}", line(method), describe(error))
            raise RequestError(
                _INTERNAL, f"{line(method)} failed: {line(describe(error))}"
            ) from error


def _routes(agent: EditorAgent) -> MessageRouter:
    router = build_agent_router(cast("Any", agent), use_unstable_protocol=True)
    router.route_request(  # which the SDK has no route for
        AGENT_METHODS["session_delete"],
        schema.DeleteSessionRequest,
        agent,
        "delete_session",
        adapt_result=normalize_result,
    )
    return router


def _checked(params: Any) -> Any:
    """Return *params* without what the SDK would take for arguments of ours.

    Raises:
        ValidationError: There is a server for MCP that is none; the SDK would leave it out.
    """
    if not isinstance(params, dict):
        return {} if params is None else params
    given = cast("Mapping[str, Any]", params)
    if given.get("mcpServers"):
        _SERVERS.validate_python(given["mcpServers"])
    return {key: value for key, value in given.items() if key != "_meta"}


def _wrong(error: ValidationError) -> str:
    """Return what is wrong with params, without any of what stands in them."""
    places = {".".join(map(str, each["loc"])) or "params": each["msg"] for each in error.errors()}
    return line("; ".join(f"{place}: {problem}" for place, problem in places.items()))


def _code_of(error: JidocodeError) -> int:
    match error:
        case SessionNotFoundError():
            return _NOT_FOUND
        case InvalidRequestError() | InvalidSessionError() | InvalidMcpServerError():
            return _INVALID_PARAMS
        case _:
            return _INTERNAL
