"""The sessions that editors have opened.

An editor has many conversations about one project open; of a project one session runs at a time,
for two would change the same files. So a session that nobody waits for is stopped when another
one of its project is used, and is resumed, with all that was said, when it is used again.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from attrs import define, frozen

from jidocode.base.text import quote
from jidocode.bridges.acp.permissions import Preset, preset_in
from jidocode.errors import (
    InvalidRequestError,
    InvalidSessionError,
    ProjectAlreadyOpenError,
    SessionNotFoundError,
)
from jidocode.session.mcp.spec import McpServer
from jidocode.session.project.locate import locate_project
from jidocode.session.record import Session, is_session_id
from jidocode.system.archive import list_resumable

if TYPE_CHECKING:
    from jidocode.system.asynchronous.handle import AsyncSessionHandle
    from jidocode.system.asynchronous.system import AsyncSessionSystem

PAGE = 50
"""Sessions that one answer lists."""
Servers = tuple[McpServer, ...]
_CURSOR = re.compile(r"[0-9T:.+-]{32}\|[0-9a-f-]{36}")


class Busy(Protocol):
    """A prompt under way."""

    async def cancel(self) -> None:
        """End it; returns when it has ended."""
        ...


@define(eq=False)
class EditorSession:
    """A session that an editor has opened.

    Attributes:
        record: What it is.
        preset: What may be done without asking.
        turn: The prompt under way, if there is one.
        servers: The MCP servers that the editor wants it to have, whenever it runs.
        is_ours: Whether it runs because of us, and may be stopped.
    """

    record: Session
    preset: Preset = Preset.ASK
    turn: Busy | None = None
    servers: Servers = ()
    is_ours: bool = False

    @property
    def id(self) -> str:
        """Its id."""
        return self.record.id


@frozen
class Listed:
    """A session that can be loaded.

    Attributes:
        record: What it is.
        updated_at: When something happened in it last.
    """

    record: Session
    updated_at: datetime

    @property
    def place(self) -> str:
        """Where it stands in the list: a text that sorts as the list, backwards."""
        return f"{self.updated_at.isoformat(timespec='microseconds')}|{self.record.id}"


class EditorSessions:
    """All of them."""

    def __init__(self, system: AsyncSessionSystem) -> None:
        self._system = system
        self._known: dict[str, EditorSession] = {}
        self._opening = asyncio.Lock()
        self._listing = asyncio.Lock()

    def get(self, session_id: str) -> EditorSession:
        """Return one that is open.

        Raises:
            SessionNotFoundError: None has that id, or it was closed.
        """
        found = self._known.get(session_id)
        if found is None:
            raise SessionNotFoundError(session_id)
        return found

    def turns(self) -> list[Busy]:
        """Return all prompts under way."""
        return [each.turn for each in self._known.values() if each.turn is not None]

    async def new(self, folder: str, servers: Servers) -> EditorSession:
        """Begin one in *folder*, with these *servers*; raises as `create_session`."""
        _require_absolute(folder)
        async with self._opening:
            handle = await self._start(
                lambda: self._system.create_session(folder, mcp_servers=servers)
            )
            record = await self._system.session_record(handle.id)
            session = EditorSession(record, servers=servers, is_ours=True)
            self._known[session.id] = session
            return session

    async def open(self, session_id: str, folder: str, servers: Servers) -> EditorSession:
        """Open one again, with its project in *folder*, and with these *servers*.

        Raises:
            SessionNotFoundError: It is neither open nor has it a journal.
            InvalidRequestError: It is of another project; or it runs with other servers, and
                cannot be stopped.
            Exception: Whatever else `resume_session` raises.
        """
        _require_absolute(folder)
        session = self._known.get(_require_id(session_id))
        async with self._opening:
            is_ours = not await self._system.session_running(session_id)
            if not is_ours and servers != (session.servers if session else ()):
                if session is None or session.turn is not None or not session.is_ours:
                    raise InvalidRequestError("the session runs, without these MCP servers")
                await self._stop(session_id)
                is_ours = True
            if is_ours:
                handle = await self._start(lambda: self._resume(session_id, folder, servers))
            else:
                handle = await self._system.get_session(session_id)
            record = await self._system.session_record(session_id)
            if not _is_in(record, folder):
                if is_ours:
                    await self._stop(session_id)
                raise _of_another_project(record)
            if session is None:
                session = self._known.setdefault(session_id, EditorSession(record))
            session.record, session.preset = record, preset_in(await handle.state.settings())
            session.servers = servers
            session.is_ours = session.is_ours or is_ours
            return session

    async def handle(self, session: EditorSession) -> AsyncSessionHandle:
        """Return the handle of one, which runs then; raises as `open`."""
        async with self._opening:
            if await self._system.session_running(session.id):
                return await self._system.get_session(session.id)
            handle = await self._start(
                lambda: self._system.resume_session(session.id, mcp_servers=session.servers)
            )
            session.is_ours = True
            return handle

    async def close(self, session_id: str) -> None:
        """End the prompt under way, and stop the session, unless others have opened it."""
        session = self.get(session_id)
        if session.turn is not None:
            await session.turn.cancel()
        async with self._opening:
            self._known.pop(session_id, None)
            if session.is_ours:
                await self._stop(session_id)

    async def delete(self, session_id: str) -> None:
        """Close one, if it is open, and delete all that was said in it."""
        _require_id(session_id)
        with suppress(SessionNotFoundError):
            await self.close(session_id)
        await self._system.delete_session(session_id)

    async def fork(self, session_id: str, folder: str, servers: Servers) -> EditorSession:
        """Begin one with a copy of what was said in another."""
        _require_absolute(folder)
        record = await self._system.fork_session(_require_id(session_id))
        if not _is_in(record, folder):
            await self._system.delete_session(record.id)
            raise _of_another_project(record)
        original = self._known.get(session_id)
        preset = Preset.ASK if original is None else original.preset
        session = self._known[record.id] = EditorSession(record, preset, servers=servers)
        return session

    async def listed(
        self, folder: str | None, cursor: str | None
    ) -> tuple[list[Listed], str | None]:
        """Return the sessions that can be loaded, the last used first, and where it goes on.

        Args:
            folder: Those with their project there; None for all.
            cursor: Where to go on, as it was said before; None for the first ones.

        Raises:
            InvalidRequestError: *folder* is not absolute, or *cursor* is none.
        """
        if folder is not None:
            _require_absolute(folder)
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise InvalidRequestError("this is no cursor")
        settings = self._system.settings
        if settings.durability == "memory":
            records = await self._system.list_sessions()
            found = [Listed(each, each.updated_at) for each in records]
            if folder is not None:
                found = [each for each in found if _is_in(each.record, folder)]
        else:
            async with self._listing:  # threads that wait for the disk outlive their requests
                journals = await asyncio.to_thread(
                    list_resumable, settings.state_dir, project=folder
                )
            found = [Listed(each.session, each.modified_at) for each in journals if each.session]
        found.sort(key=lambda each: each.place, reverse=True)
        left = [each for each in found if cursor is None or each.place < cursor]
        page = left[:PAGE]
        return page, page[-1].place if len(left) > PAGE else None

    async def _resume(self, session_id: str, folder: str, servers: Servers) -> AsyncSessionHandle:
        try:
            return await self._system.resume_session(session_id, mcp_servers=servers)
        except InvalidSessionError:
            if not await asyncio.to_thread(os.path.isdir, folder):
                raise
        return await self._system.resume_session(
            session_id, project_path=folder, mcp_servers=servers
        )

    async def _start(
        self, start: Callable[[], Awaitable[AsyncSessionHandle]]
    ) -> AsyncSessionHandle:
        """Start a session, and stop another one of ours that is in its way, and idle."""
        while True:
            try:
                return await start()
            except ProjectAlreadyOpenError as error:
                other = self._known.get(error.session_id)
                is_kept = self._system.settings.durability != "memory"
                if other is None or other.turn is not None or not other.is_ours or not is_kept:
                    raise
                await self._stop(other.id)

    async def _stop(self, session_id: str) -> None:
        with suppress(SessionNotFoundError):
            await self._system.stop_session(session_id)


def _require_id(session_id: str) -> str:
    """Return *session_id*; what is no id at all is the id of no session, and nothing else."""
    if not is_session_id(session_id):
        raise SessionNotFoundError(session_id)
    return session_id


def _require_absolute(folder: str) -> None:
    if not os.path.isabs(folder):  # noqa: PTH117 - it is text
        raise InvalidRequestError(f"the folder must be an absolute path, not {quote(folder)}")


def _is_in(record: Session, folder: str) -> bool:
    try:
        return locate_project(folder)[1] == record.project_key
    except InvalidSessionError:
        return False


def _of_another_project(record: Session) -> InvalidRequestError:
    return InvalidRequestError(f"the session is of another project: {quote(record.project_path)}")
