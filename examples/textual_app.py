"""A terminal app on Textual: sessions side by side, each followed live.

    pip install jidocode textual
    python examples/textual_app.py [PROJECT ...]

Choose a session on the left (Tab, arrows and Enter, or the mouse). What is typed is said in its
conversation, and `!ls` runs a command, whose output comes live. F9 kills the session's State
with signal 9: on the right it is to be seen how it comes back, and nothing of the conversation is
lost. Ctrl-Q ends the app, with all its processes; the next time the sessions go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from conversing import keep_output, say, start_command
from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Input, OptionList, RichLog, Static
from textual.widgets.option_list import Option

from jidocode import (
    AsyncSessionHandle,
    AsyncSessionSystem,
    Health,
    JidocodeError,
    Message,
    SessionNotFoundError,
)

COLOURS = {"healthy": "green", "restarting": "yellow", "degraded": "yellow"}


class SessionsApp(App[None]):
    """Shows the sessions of some projects, one at a time."""

    TITLE = "jidocode"
    CSS = """
    #sessions { width: 22; height: 1fr; }
    #processes { width: 44; padding: 1; }
    #conversation { height: 1fr; border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f9", "kill_state", "kill -9 State")]

    def __init__(self, system: AsyncSessionSystem, projects: Sequence[Path]) -> None:
        """Show sessions of *system* for *projects*."""
        super().__init__()
        self._system = system
        self._projects = projects
        self._project = projects[0]

    def compose(self) -> ComposeResult:
        """Yield what is on the screen (called by Textual)."""
        with Horizontal():
            yield OptionList(*(Option(Text(path.name)) for path in self._projects), id="sessions")
            with Vertical():
                yield RichLog(id="conversation", wrap=True, min_width=20)
                yield Input(placeholder="a message, or !command")
            yield Static(id="processes")
        yield Footer()

    def on_mount(self) -> None:
        """Begin with the first session (called by Textual)."""
        self.query_one(Input).focus()
        self.follow(self._projects[0])

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        """Follow another session."""
        self.query_one(Input).focus()
        self.follow(self._projects[event.option_index])

    @work(exclusive=True, group="follow")
    async def follow(self, project: Path) -> None:
        """Show a session until another one is chosen; one that ends is opened again."""
        self._project = project
        self.query_one(RichLog).clear()
        self.query_one(Static).update("")
        last_seq = 0
        try:
            while True:
                session = await self._system.open_session(project)
                self.show_processes(session)
                try:
                    async for change in session.state.subscribe(from_seq=last_seq + 1):
                        last_seq = change.seq
                        if isinstance(change, Message):
                            self.query_one(RichLog).write(text_of(change))
                except SessionNotFoundError:
                    continue
        except JidocodeError as error:
            self.notify(str(error), severity="error", markup=False)

    @work(exclusive=True, group="processes")
    async def show_processes(self, session: AsyncSessionHandle) -> None:
        """Draw the session's processes after each change, until it ends."""
        try:
            async with session.events() as events:
                while True:
                    health = await session.health_check()
                    self.query_one(Static).update(drawing(health))
                    if await events.get() is None:
                        return
        except JidocodeError:
            self.query_one(Static).update("no session")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Say what was typed, or run it."""
        text = event.input.value  # not the event's: what is typed fast would be said twice
        event.input.clear()
        if text.strip():
            self.carry_out(self._project, text)

    @work(group="work")
    async def carry_out(self, project: Path, text: str) -> None:
        """Say *text*, or run it as a command; that goes on while other sessions are shown."""
        try:
            session = await self._system.open_session(project)
            if not text.startswith("!"):
                await say(session, "user", text)
            elif started := await start_command(session, text.removeprefix("!")):
                await keep_output(session, *started)
        except JidocodeError as error:
            self.notify(str(error), severity="error", markup=False)

    @work(group="work")
    async def action_kill_state(self) -> None:
        """Kill the session's State as hard as that can be done."""
        try:
            session = await self._system.open_session(self._project)
            state = await self._system.get_state(session.id)
            os.kill(state.os_pid, signal.SIGKILL)
        except (JidocodeError, ProcessLookupError) as error:
            self.notify(str(error), severity="error", markup=False)


def text_of(message: Message) -> Text:
    """Return what a message looks like. It is text: what looks like markup in it is none."""
    content = message.content.rstrip("\n")
    match message.role, message.metadata:
        case "user", {"command": _}:
            return Text(f"$ {content}", "bold")
        case _, {"ended": ended}:
            return Text(f"{content}{ended}", "italic dim")
        case "user", _:
            return Text(content, "bold")
        case _:
            return Text.from_ansi(content)


def drawing(health: Health) -> Text:
    """Return a session and its processes as lines."""
    lines = Text.assemble("session  ", _status(health.status.value))
    for child in health.children:
        branch = "└─" if child is health.children[-1] else "├─"
        pid = f"pid {child.ref.os_pid}" if child.ref else "no process"
        restarts = f", restarts {child.restarts}" if child.restarts else ""
        lines.append_text(
            Text.assemble(f"\n{branch} {child.id}  {pid}, ", _status(child.status.value), restarts)
        )
    return lines


def _status(status: str) -> tuple[str, str]:
    return status, COLOURS.get(status, "red")


async def main(projects: Sequence[Path]) -> None:
    """Run the app until Ctrl-Q or SIGTERM."""
    # One for one: commands go on while State comes back.
    async with AsyncSessionSystem(strategy="one_for_one") as system:
        app = SessionsApp(system, projects)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.exit)
        await app.run_async()


if __name__ == "__main__":
    asyncio.run(main([Path(each).absolute() for each in sys.argv[1:] or ["."]]))
