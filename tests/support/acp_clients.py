"""An editor at the other end of `jidocode acp`: the client of the official package."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from acp import RequestError, spawn_agent_process, text_block
from acp.client.connection import ClientSideConnection
from acp.schema import (
    AllowedOutcome,
    DeniedOutcome,
    PromptResponse,
    RequestPermissionResponse,
)
from shell import SECONDS, environment

from jidocode.testing import eventually

AGENT = (sys.executable, str(Path(__file__).with_name("acp_agent.py")))


class Editor:
    """What an editor shows, and answers.

    Attributes:
        shown: The updates, as they came, each with its session.
        asked: The questions, with the calls that they are about.
        answer: The id of the option that is chosen, None to cancel; "" to say nothing at all.
        mode_while_asked: The mode that is chosen before that, if any.
    """

    def __init__(self, answer: str | None = "allow_once") -> None:
        self.shown: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        self.answer = answer
        self.mode_while_asked: str | None = None
        self.agent: ClientSideConnection
        self.process: Process

    def on_connect(self, conn: Any) -> None:
        self.agent = conn

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        plain = update.model_dump(mode="json", exclude_none=True, by_alias=True)
        self.shown.append((session_id, plain))

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_: Any
    ) -> RequestPermissionResponse:
        plain = tool_call.model_dump(mode="json", exclude_none=True, by_alias=True)
        self.asked.append({**plain, "options": [each.option_id for each in options]})
        if self.mode_while_asked is not None:
            await self.agent.set_session_mode(session_id=session_id, mode_id=self.mode_while_asked)
        if self.answer is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        if not self.answer:
            await _for_ever()
        chosen = AllowedOutcome(outcome="selected", option_id=self.answer)
        return RequestPermissionResponse(outcome=chosen)

    # What a person does

    async def new(self, folder: Path) -> str:
        """Begin a session."""
        return (await self.agent.new_session(cwd=str(folder), mcp_servers=[])).session_id

    async def say(self, session_id: str, *script: str) -> PromptResponse:
        """Prompt the scripted model."""
        return await self.agent.prompt(
            session_id=session_id, prompt=[text_block("\n".join(script))]
        )

    def of(self, session_id: str, kind: str) -> list[dict[str, Any]]:
        """Return what is shown of one kind in one session."""
        return [
            update
            for shown_in, update in self.shown
            if shown_in == session_id and update["sessionUpdate"] == kind
        ]

    def text(self, session_id: str, kind: str = "agent_message_chunk") -> str:
        """Return the text that is shown."""
        return "".join(update["content"]["text"] for update in self.of(session_id, kind))


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def refused(work: Any) -> RequestError:
    """Await a request that is refused; return the error."""
    try:
        await work
    except RequestError as error:
        return error
    raise AssertionError("it was not refused")


async def until(look: Callable[[], Any]) -> Any:
    """Await what *look* finds, in a thread that waits for it."""
    return await asyncio.to_thread(lambda: eventually(look, timeout=SECONDS))


@asynccontextmanager
async def editing(
    *command: str, answer: str | None = "allow_once", **env: str
) -> AsyncGenerator[Editor]:
    """Give an editor with an agent, the scripted one by default, that has said what it can do."""
    editor = Editor(answer)
    client: Any = editor  # which has no more than what these tests use
    words = command or AGENT
    async with spawn_agent_process(
        client,
        words[0],
        *words[1:],
        env=environment(**env),
        transport_kwargs={"stderr": None, "shutdown_timeout": SECONDS},
        use_unstable_protocol=True,
    ) as (_, process):
        editor.process = process
        await editor.agent.initialize(protocol_version=1)
        yield editor
