"""`EditorAgent`: the methods of the protocol."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from acp import PROTOCOL_VERSION, schema

from jidocode.base.text import quote
from jidocode.bridges.acp import permissions, updates
from jidocode.bridges.acp.content import PromptBlock, as_content, text_of
from jidocode.bridges.acp.permissions import Preset
from jidocode.bridges.acp.servers import EditorServer, as_servers
from jidocode.bridges.acp.sessions import EditorSession, EditorSessions
from jidocode.bridges.acp.turn import Editor, EditorTurn
from jidocode.errors import AgentBusyError, AgentError, InvalidRequestError, JidocodeError
from jidocode.session.record import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from jidocode.system.asynchronous.handle import AsyncSessionHandle
    from jidocode.system.asynchronous.system import AsyncSessionSystem


class EditorAgent:
    """Does what an editor asks, in the sessions of one system.

    Whatever it raises of ours is the answer to the request; see `serving.py`.
    """

    def __init__(self, system: AsyncSessionSystem, models: Sequence[str], editor: Editor) -> None:
        """Work in *system*; one of *models*, the first by default, answers."""
        self._system = system
        self._models = models
        self._editor = editor
        self.sessions = EditorSessions(system)

    async def initialize(self, protocol_version: int, **_: Any) -> schema.InitializeResponse:
        """Say what it can do; of the protocol it speaks one version."""
        del protocol_version
        return schema.InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=schema.Implementation(
                name="jidocode", title="jidocode", version=version("jidocode")
            ),
            auth_methods=[],
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                mcp_capabilities=schema.McpCapabilities(http=True),
                prompt_capabilities=schema.PromptCapabilities(image=True, embedded_context=True),
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities(),
                    delete=schema.SessionDeleteCapabilities(),
                    fork=schema.SessionForkCapabilities(),
                    resume=schema.SessionResumeCapabilities(),
                    close=schema.SessionCloseCapabilities(),
                ),
            ),
        )

    # Sessions

    async def new_session(
        self,
        cwd: str,
        mcp_servers: Sequence[EditorServer] | None = None,
        additional_directories: Sequence[str] | None = None,
    ) -> schema.NewSessionResponse:
        """Begin a session for the project in *cwd*."""
        _refuse(additional_directories)
        session = await self.sessions.new(cwd, as_servers(mcp_servers))
        modes, options = await self._choices(session)
        return schema.NewSessionResponse(session_id=session.id, modes=modes, config_options=options)

    async def load_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: Sequence[EditorServer] | None = None,
        additional_directories: Sequence[str] | None = None,
    ) -> schema.LoadSessionResponse:
        """Open a session again, and show all that was said in it."""
        _refuse(additional_directories)
        session = await self.sessions.open(session_id, cwd, as_servers(mcp_servers))
        await self._replay(session)
        modes, options = await self._choices(session)
        return schema.LoadSessionResponse(modes=modes, config_options=options)

    async def resume_session(
        self,
        session_id: str,
        cwd: str,
        mcp_servers: Sequence[EditorServer] | None = None,
        additional_directories: Sequence[str] | None = None,
    ) -> schema.ResumeSessionResponse:
        """Open a session again."""
        _refuse(additional_directories)
        session = await self.sessions.open(session_id, cwd, as_servers(mcp_servers))
        modes, options = await self._choices(session)
        return schema.ResumeSessionResponse(modes=modes, config_options=options)

    async def fork_session(
        self,
        session_id: str,
        cwd: str,
        mcp_servers: Sequence[EditorServer] | None = None,
        additional_directories: Sequence[str] | None = None,
    ) -> schema.ForkSessionResponse:
        """Begin a session with a copy of what was said in another one."""
        _refuse(additional_directories)
        session = await self.sessions.fork(session_id, cwd, as_servers(mcp_servers))
        modes, options = await self._choices(session)
        return schema.ForkSessionResponse(
            session_id=session.id, modes=modes, config_options=options
        )

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None
    ) -> schema.ListSessionsResponse:
        """Return the sessions that can be loaded, the last used first."""
        found, following = await self.sessions.listed(cwd, cursor)
        shown = [
            schema.SessionInfo(
                session_id=each.record.id,
                cwd=each.record.project_path,
                title=each.record.name,
                updated_at=each.updated_at.isoformat(),
            )
            for each in found
        ]
        return schema.ListSessionsResponse(sessions=shown, next_cursor=following)

    async def close_session(self, session_id: str) -> None:
        """Stop a session; it can be loaded again."""
        await self.sessions.close(session_id)

    async def delete_session(self, session_id: str) -> None:
        """Delete a session, and all that was said in it."""
        await self.sessions.delete(session_id)

    async def _replay(self, session: EditorSession) -> None:
        handle = await self.sessions.handle(session)
        kinds = {tool.name: tool.kind for tool in handle.tools}
        translator = updates.Translator(session.record.project_path, kinds)
        after_seq = 0
        while page := await handle.state.messages(after_seq=after_seq):
            for message in page:
                for update in translator.replayed(message):
                    await self._editor.show(session.id, update)
            after_seq = page[-1].seq
        for update in translator.left_open():
            await self._editor.show(session.id, update)
        if todos := await handle.state.todos():
            await self._editor.show(session.id, updates.plan(todos))

    # Prompts

    async def prompt(self, session_id: str, prompt: Sequence[PromptBlock]) -> schema.PromptResponse:
        """Say something to the model, and return how its turn ended."""
        session = self.sessions.get(session_id)
        if session.turn is not None:
            raise _busy(session_id)
        content = as_content(prompt)
        turn = session.turn = EditorTurn(self._editor, session)
        try:
            handle = await self.sessions.handle(session)
            await self._name(session, handle, text_of(prompt))
            return await turn.run(handle, content)
        except JidocodeError as error:
            if turn.is_cancelled:
                return schema.PromptResponse(stop_reason="cancelled")
            if isinstance(error, AgentBusyError):
                raise _busy(session_id) from error
            raise
        finally:
            session.turn = None
            turn.end()

    async def _name(self, session: EditorSession, handle: AsyncSessionHandle, said: str) -> None:
        """Call a session by what is said in it first, if it is called as its folder is."""
        title = updates.title_of(said, MAX_NAME_LENGTH)
        folder = os.path.basename(session.record.project_path)  # noqa: PTH119 - it is text
        if session.record.name != folder[:MAX_NAME_LENGTH] or not title:
            return
        if await handle.state.messages(limit=1):
            return
        session.record = await handle.rename(title)
        update = schema.SessionInfoUpdate(session_update="session_info_update", title=title)
        await self._editor.show(session.id, update)

    async def cancel(self, session_id: str) -> None:
        """End the turn under way; nothing if there is none."""
        turn = self.sessions.get(session_id).turn
        if turn is not None:
            await turn.cancel()

    # Modes and options

    async def set_session_mode(self, session_id: str, mode_id: str) -> None:
        """Say what may be done without asking."""
        session = self.sessions.get(session_id)
        await self._set_preset(session, mode_id)
        _, options = await self._choices(session)
        await self._editor.show(
            session_id,
            schema.ConfigOptionUpdate(
                session_update="config_option_update", config_options=options
            ),
        )

    async def set_config_option(
        self,
        config_id: str,
        session_id: str,
        value: str | bool,  # noqa: FBT001 - the protocol has both
    ) -> schema.SetSessionConfigOptionResponse:
        """Choose the permission preset, or the model."""
        session = self.sessions.get(session_id)
        match config_id:
            case permissions.MODE:
                await self._set_preset(session, value)
                mode = schema.CurrentModeUpdate(
                    session_update="current_mode_update", current_mode_id=str(session.preset)
                )
                await self._editor.show(session_id, mode)
            case permissions.MODEL:
                if value not in self._known_models(session):
                    raise InvalidRequestError(f"there is no model {quote(value)}")
                handle = await self.sessions.handle(session)
                session.record = await handle.update_config({"model": value})
            case _:
                raise InvalidRequestError(
                    f"there is no option {quote(config_id)}; "
                    f"there are {permissions.MODE} and {permissions.MODEL}"
                )
        _, options = await self._choices(session)
        return schema.SetSessionConfigOptionResponse(config_options=options)

    async def _set_preset(self, session: EditorSession, value: object) -> None:
        try:
            preset = Preset(str(value))
        except ValueError:
            known = ", ".join(Preset)
            raise InvalidRequestError(
                f"there is no mode {quote(value)}; there are {known}"
            ) from None
        handle = await self.sessions.handle(session)
        await handle.state.update_settings({permissions.REMEMBERED: str(preset)})
        session.preset = preset

    async def _choices(
        self, session: EditorSession
    ) -> tuple[
        schema.SessionModeState,
        list[schema.SessionConfigOptionSelect | schema.SessionConfigOptionBoolean],
    ]:
        known = self._known_models(session)
        model = session.record.config.model or (known[0] if known else None)
        options = permissions.config_options(session.preset, model, known)
        return permissions.modes(session.preset), options

    def _known_models(self, session: EditorSession) -> list[str]:
        chosen = session.record.config.model
        named = [*self._models] if chosen is None else [*self._models, chosen]
        return list(dict.fromkeys(named))


def _refuse(additional_directories: Sequence[str] | None) -> None:
    """Refuse what cannot be done, for to leave it out in silence would be to lie.

    Raises:
        InvalidRequestError: There are folders.
    """
    if additional_directories:
        raise InvalidRequestError("a session has one folder: its project")


def _busy(session_id: str) -> AgentError:
    """Return an `AgentBusyError` without what an app would do about it."""
    return AgentError(f"a turn of session {session_id} is under way already")
