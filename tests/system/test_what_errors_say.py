"""What errors say of a mistake: in the words of who made it, and what would be right."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jidocode import (
    AgentBusyError,
    AsyncSessionSystem,
    HostExitedError,
    HostStartError,
    InvalidRequestError,
    InvalidSessionError,
    ProjectAlreadyOpenError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.errors import InvalidChildSpecError

_anything: Any = SessionSystem  # nothing checks what it is given


def test_a_setting_that_there_is_not_is_named_with_one_that_there_is() -> None:
    """As in a file of settings."""
    with pytest.raises(TypeError, match=r"^max_sesions is no setting; did you mean max_sessions"):
        _anything(max_sesions=3)


def test_wrong_arguments_are_named(system: SessionSystem, project: Path) -> None:
    """By what users call them."""
    given: Any = system
    with pytest.raises(
        InvalidChildSpecError, match=r"^children must be a list of ChildSpec, got 5"
    ):
        given.create_session(project, children=5)
    with pytest.raises(InvalidSessionError, match=r"must be a str or a Path, not 5"):
        given.list_resumable(project=5)
    with pytest.raises(InvalidChildSpecError, match="must be one of 'one_for_one', 'one_for_all'"):
        given.create_session(project, strategy="one_for_noe")
    session = given.create_session(project)
    with pytest.raises(TypeError, match=r"^run.* got an unexpected keyword argument 'shell'"):
        session.run("true", shell=True)  # noqa: S604 - there is no such argument


def test_who_finds_no_session_is_told_which_there_are(
    system: SessionSystem, session: SessionHandle, tmp_path: Path
) -> None:
    """Whether a name or a project was looked for; quoted, and not too many."""
    with pytest.raises(SessionNotFoundError, match="called 'no'; open are 'shop'"):
        system.find_session(name="no")
    with pytest.raises(SessionNotFoundError, match=f"{tmp_path}'; open are '{tmp_path}/shop'"):
        system.find_session(path=tmp_path)
    session.stop()
    with pytest.raises(SessionNotFoundError, match="none is open"):
        system.find_session(name="shop")


def test_a_session_that_is_open_ended_or_elsewhere_is_named_with_the_way_to_it(
    project: Path, tmp_path: Path
) -> None:
    with SessionSystem(state_dir=tmp_path / "s") as system:
        session = system.create_session(project)
        with pytest.raises(ProjectAlreadyOpenError, match=r"; open_session returns that one$"):
            system.create_session(project)
        session.stop()
        with pytest.raises(SessionNotFoundError, match=r"journal, resume_session opens it again$"):
            session.state.messages()
        project.rename(tmp_path / "elsewhere")
        with pytest.raises(InvalidSessionError, match=r"if it was moved, say where to"):
            system.resume_session(session.id)
    assert "queue=True" in str(AgentBusyError(session.id))


def test_a_message_is_true_for_who_has_a_command_line_alone(project: Path) -> None:
    """What an app can call is for whoever writes it: the message is what `jidocode` says."""
    with SessionSystem(durability="memory") as system:
        session = system.create_session(project)
        with pytest.raises(ProjectAlreadyOpenError) as already:
            system.create_session(project)
        session.stop()
        with pytest.raises(SessionNotFoundError) as gone:
            session.state.messages()
    for error in (already.value, gone.value, AgentBusyError(session.id)):
        assert session.id in error.message
        assert not any(each in error.message for each in ("_session", "queue", "="))
    with pytest.raises(HostStartError, match=r"by the setting state_dir$"):
        SessionSystem(state_dir="/dev/null/x").close()
    assert "the setting allow_nested" in ProjectAlreadyOpenError(session.id, nested=True).message


def test_a_page_that_is_too_large_is_refused(session: SessionHandle) -> None:
    """And not taken for a smaller one, which would look like all there is."""
    for method in ("messages", "prompts", "tool_calls", "reasoning", "events"):
        read: Callable[..., object] = getattr(session.state, method)
        read(after_seq=0, limit=1000)
        with pytest.raises(InvalidRequestError, match="limit may be 1000 at most, not 1001"):
            read(after_seq=0, limit=1001)


def test_a_forgotten_await_is_named_after_its_method(project: Path) -> None:
    """Of each way in which a method is made."""

    async def main() -> list[str]:
        async with AsyncSessionSystem(durability="memory") as system:
            session = await system.create_session(project)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                session.state.todos()  # type: ignore[unused-coroutine] # that is the mistake
                session.state.append_message("user", "x")  # type: ignore[unused-coroutine] # idem
                session.commands.run("true")  # type: ignore[unused-coroutine] # idem
                gc.collect()
            return [str(each.message) for each in caught]

    assert asyncio.run(main()) == [
        f"coroutine '{name}' was never awaited"
        for name in (
            "AsyncStateClient.todos",
            "AsyncStateClient.append_message",
            "AsyncCommandsClient.run",
        )
    ]


def test_who_has_detached_is_told_so(name: str, tmp_path: Path, project: Path) -> None:
    """The system has not been closed; a stream of events is not given out either."""
    with SessionSystem(name=name, state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        visitor = SessionSystem.attach(name)
        visitor.close()
        calls: list[Callable[[], object]] = [
            visitor.list_sessions,
            visitor.events,
            lambda: visitor.events(session.id),
        ]
        for call in calls:
            with pytest.raises(HostExitedError, match="this process has detached"):
                call()
