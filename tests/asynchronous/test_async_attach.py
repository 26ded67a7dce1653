"""A system that another process has started, awaited: with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from colleagues import Colleague, colleagues
from loops import Runner, nobody_waits

from jidocode import (
    AsyncSessionSystem,
    HostExitedError,
    Message,
    ReadOnlyError,
    SessionSystem,
    SystemNotFoundError,
)


def begin(other: Colleague, name: str, folder: Path, project: Path) -> str:
    """Have *other* start a system and a session, and return the id of that."""
    settings = f"name={name!r}, state_dir={str(folder)!r}, call_timeout=30.0"
    other.do(f"system = SessionSystem({settings})")
    other.do(f"shop = system.create_session({str(project)!r})")
    return str(other.do("shop.id"))


def test_who_awaits_is_in_the_system_of_another_process(
    loop: Runner, name: str, project: Path, tmp_path: Path
) -> None:
    """It is asked, watched and changed; to leave it ends nothing; and its end is heard."""

    async def main(other: Colleague, session_id: str) -> None:
        async with AsyncSessionSystem.attach(name) as system:
            session = await system.get_session(session_id)
            await session.state.append_message("user", "from here")
            other.do("shop.state.append_message('user', 'from the other')")
            async with session.state.subscribe(from_seq=1) as changes:
                said: list[str] = []
                while len(said) < 2:
                    change = await changes.get(30.0)
                    assert change is not None
                    said += [change.content] if isinstance(change, Message) else []
            assert said == ["from here", "from the other"]
            kept = await session.manager.take_snapshot()
            assert [each.id for each in await session.manager.snapshots()] == [kept.id]
            assert (await session.run("echo out")).stdout == "out\n"
            await session.rename("till")
            nobody_waits(system)
        assert other.do("shop.session.name") == "till"

        async with AsyncSessionSystem.attach(name, read_only=True) as system:
            session = await system.get_session(session_id)
            assert len(await session.state.messages()) == 2
            assert (await session.health_check()).status.value == "healthy"
            with pytest.raises(ReadOnlyError):
                await session.state.append_message("user", "x")
            with pytest.raises(ReadOnlyError):
                await session.run("true")

        async with AsyncSessionSystem.attach(name) as system:
            session = await system.get_session(session_id)
            async with system.events() as events:
                other.do("system.close()")
                assert [event async for event in events]  # to their end
            with pytest.raises(HostExitedError):
                await session.state.messages()

    with colleagues() as [other]:
        session_id = begin(other, name, tmp_path / "state", project)
        loop.run(lambda: main(other, session_id))


def test_who_awaits_lets_others_in(loop: Runner, name: str, project: Path) -> None:
    """By its name, until it is closed."""

    async def main() -> None:
        async with AsyncSessionSystem(name=name) as system:
            session = await system.create_session(project)
            with SessionSystem.attach(name) as same:
                same.get_session(session.id).state.append_message("user", "hello")
            (message,) = await session.state.messages()
            assert message.content == "hello"
        with pytest.raises(SystemNotFoundError):
            await AsyncSessionSystem.attach(name).__aenter__()

    loop.run(main)
