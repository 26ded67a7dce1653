"""The terminal app, by Textual's own pilot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from shell import SECONDS
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, RichLog, Static
from textual_app import SessionsApp

from jidocode import AsyncSessionSystem


def conversation(app: SessionsApp) -> str:
    return "\n".join(line.text.rstrip() for line in app.query_one(RichLog).lines)


def processes(app: SessionsApp) -> str:
    return str(app.query_one(Static).render())


async def until(
    pilot: Pilot[None], text: Callable[[SessionsApp], str], look: Callable[[str], object]
) -> None:
    """Wait until what is shown is as it should be."""
    assert isinstance(pilot.app, SessionsApp)
    deadline = time.monotonic() + SECONDS
    while not look(text(pilot.app)):
        assert time.monotonic() < deadline, text(pilot.app)
        await pilot.pause(0.05)


async def enter(pilot: Pilot[None], text: str) -> None:
    """Type *text*, and press Enter."""
    pilot.app.query_one(Input).value = text
    await pilot.press("enter")


async def work(folder: Path, projects: list[Path]) -> None:
    """Two sessions, a command that runs on, a kill, and a second app that finds all of it."""
    async with AsyncSessionSystem(state_dir=folder / "state", strategy="one_for_one") as system:
        app = SessionsApp(system, projects)
        async with app.run_test(size=(140, 40)) as pilot:
            await until(pilot, processes, lambda text: text.startswith("session  healthy"))
            await pilot.press(*"[b]hi")
            await pilot.press("enter")
            await until(pilot, conversation, lambda text: text == "[b]hi")
            await enter(pilot, "!echo first; until [ -e go ]; do sleep 0.05; done; echo second")
            await until(pilot, conversation, lambda text: text.endswith("\nfirst"))
            await pilot.press("f9")
            await until(pilot, processes, lambda text: "healthy, restarts 1" in text)

            app.query_one(OptionList).focus()
            await pilot.press("down", "enter")
            await until(pilot, conversation, lambda text: text == "")
            await until(pilot, processes, lambda text: text.startswith("session  healthy"))
            await enter(pilot, "alone")
            await until(pilot, conversation, lambda text: text == "alone")

            (projects[0] / "go").touch()
            app.query_one(OptionList).focus()
            await pilot.press("up", "enter")
            await until(pilot, conversation, lambda text: text.endswith("second\nexit code 0"))
            assert conversation(app).startswith("[b]hi\n$ echo first;")
            await pilot.press("ctrl+q")

    async with AsyncSessionSystem(state_dir=folder / "state") as system:
        app = SessionsApp(system, projects)
        async with app.run_test(size=(140, 40)) as pilot:
            await until(pilot, conversation, lambda text: text.endswith("second\nexit code 0"))
            assert [record.name for record in await system.list_sessions()] == ["one"]
            (record,) = await system.list_sessions()
            await system.stop_session(record.id)  # it is opened again, for it is looked at
            await enter(pilot, "here")
            await until(pilot, conversation, lambda text: text.endswith("\nhere"))
            await enter(pilot, "long " * 40 + "to its end")  # it is wrapped, and not cut
            await until(pilot, conversation, lambda text: text.endswith("to its end"))
            assert conversation(app).count("\nsecond") == 1


def test_sessions_are_seen_killed_and_found_again(tmp_path: Path) -> None:
    """In one loop with Textual, which is held up by nothing."""
    projects = [tmp_path / name for name in ("one", "two")]
    for project in projects:
        project.mkdir()
    asyncio.run(work(tmp_path, projects))
