"""A session's MCP servers, as its app and its tools see them: one client waits, one is awaited."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    McpServerError,
    NoProcessError,
    SessionError,
)
from jidocode.session.conversation.changes import new_record_id
from jidocode.session.mcp.asking import CALL, CANCEL, LIST
from jidocode.session.mcp.messages import (
    ANSWER_TIME,
    CallTool,
    CancelCall,
    McpServerTools,
    Offered,
    Returned,
)
from jidocode.session.requests import AsyncClient, Client, Question, Request, Script, ask, scripted


class _Methods:
    """What both clients ask."""

    @scripted
    def servers(self) -> Script[list[McpServerTools]]:
        """Return what each server offers now, or why it offers nothing.

        It starts those that do not run, and waits until each is ready or has failed.
        """
        offered: list[Offered] = yield from ask(Question(Request[list[Offered]](LIST, (None,))))
        return [
            McpServerTools(each.server, tuple(tool.name for tool in each.tools), each.error)
            for each in offered
        ]

    @scripted
    def _offered(self, prefix: str | None = None) -> Script[list[Offered]]:
        """Return what each server offers, or that with *prefix* alone; for `ToolCalls`."""
        offered: list[Offered] = yield from ask(Question(Request[list[Offered]](LIST, (prefix,))))
        return offered

    @scripted
    def _call(
        self, offered: Offered, prefix: str, tool: str, arguments: Mapping[str, Any]
    ) -> Script[Returned]:
        """Make a call of the server's *tool*, and cancel it if nobody waits any more.

        Raises:
            McpServerError: The server has failed, or does not answer in time.
        """
        call = CallTool(new_record_id(), tool, arguments, os.getpid())
        question: Question[Returned] = Question(
            Request(CALL, (prefix, call)), offered.timeout + ANSWER_TIME
        )
        try:
            return (yield from ask(question))
        except (GeneratorExit, SessionError):  # nobody can ask any more; or it is an answer
            raise
        except (ActorExitedError, NoProcessError) as error:
            problem = "its process has ended, and the call may be done"
            raise McpServerError(offered.server, problem) from error
        except BaseException as error:
            with suppress(SessionError, CallError):
                cancel = Request[None](CANCEL, (prefix, CancelCall(call.call_id)))
                yield from ask(Question(cancel, ANSWER_TIME))
            if isinstance(error, CallTimeoutError):
                problem = "its process does not answer"
                raise McpServerError(offered.server, problem) from error
            raise


class McpServersClient(_Methods, Client):
    """The MCP servers of a session, which its tools use.

    Each has a process of its own, which is called `mcp:` and the beginning of its tools' names
    among the session's children. It is started when the tools are wanted first, and ends with
    the server; then the next use starts it again.
    """


class AsyncMcpServersClient(_Methods, AsyncClient):
    """The MCP servers of a session: the methods of `McpServersClient`, to be awaited."""
