"""`jidocode top`: the live tree on a terminal, with keys.

The terminal's keys and the looks at the system are in two threads, so that keys answer while
a process that hangs makes a look take its time.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from jidocode.cli.options import attach, system_option

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from jidocode.session.commands.result import CommandInfo
    from jidocode.system.overview import ProcessOverview
    from jidocode.system.system import SessionSystem

_LOOK_SECONDS = 1.0
_KEY_SECONDS = 0.1
_CHANGES = 200
_SHOWN_CHANGES = 6
_FRAME_ROWS = 6
_UP, _DOWN = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j")
_KEY = re.compile(r"\x1b[\[O][A-Z]|.", re.DOTALL)
"""An arrow, or one character; a key that is held down comes several times at once."""
_COLOURS = {"healthy": "green", "running": "green", "dead": "red", "unresponsive": "red"}


@click.command("top")
@system_option
def command(system_name: str) -> None:
    """Watch the processes of a system.

    Keys: up and down (or k and j) choose a process, Enter looks closer at its session, s stops
    that session after a y, Escape goes back, q ends it.
    """
    from rich.console import Console
    from rich.live import Live

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.ClickException("top needs a terminal; `jidocode tree` does not")
    with attach(system_name) as system:
        screen = Screen(system_name, system)
        looker = threading.Thread(target=screen.look_on, daemon=True)
        looker.start()
        console = Console(highlight=False)
        with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while not screen.ended:
                live.update(screen.drawing(console.height), refresh=True)
                for key in _pressed():
                    screen.press(key)
    if screen.problem is not None:
        raise screen.problem


@contextmanager
def _keys() -> Generator[None]:
    """Have keys come one by one, and not be shown."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _pressed() -> list[str]:
    """Return the keys that were pressed, after a moment if none was."""
    stdin = sys.stdin.fileno()
    if not select.select([stdin], [], [], _KEY_SECONDS)[0]:
        return []
    text = os.read(stdin, 64).decode("utf-8", "replace")
    if not text:
        return ["q"]  # the terminal is gone
    return _KEY.findall(text)


class Screen:
    """What is shown, and what keys do with it.

    Attributes:
        ended: Whether it is over.
        problem: What has ended it, if that was no key.
    """

    def __init__(self, name: str, system: SessionSystem) -> None:
        self.ended = False
        self.problem: Exception | None = None
        self._name = name
        self._system = system
        self._events = system.events()
        self._rows: list[tuple[str, ProcessOverview]] = []
        self._changes: deque[str] = deque(maxlen=_CHANGES)
        self._commands: list[CommandInfo] = []
        self._chosen: int | None = None  # a pid: rows come and go
        self._closer: str | None = None
        self._asked: str | None = None
        self._said = ""

    # ----- looking, in a thread of its own

    def look_on(self) -> None:
        """Look at the system again and again, until it is over."""
        from jidocode.errors import CallError, JidocodeError, RegistryNotRunningError

        try:
            while not self.ended:
                try:
                    self._look()
                except (CallError, RegistryNotRunningError) as error:  # it is being restarted
                    self._said = error.message
                self._take_events()
        except (JidocodeError, OSError) as error:
            if not self.ended:
                self.problem, self.ended = error, True

    def _look(self) -> None:
        from jidocode.errors import SessionNotFoundError
        from jidocode.system.overview import overview

        self._rows = list(overview(self._system).lines())
        closer = self._closer
        running = any(
            process.session_id == closer and process.kind == "commands" for _, process in self._rows
        )
        try:
            # Only who runs something has a process for it; to ask would start it.
            self._commands = (
                self._system.get_session(closer).commands.list() if closer and running else []
            )
        except SessionNotFoundError:
            self._closer = None

    def _take_events(self) -> None:
        from jidocode.cli.events import as_line

        event = self._events.get(_LOOK_SECONDS)
        while event is not None and not self.ended:
            self._changes.append(as_line(event))
            event = self._events.get(0.0)
        if self._events.closed:
            self._system.list_sessions()  # which says how the system has ended

    # ----- keys

    def press(self, key: str) -> None:
        """Do what *key* says."""
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._said = ""
            if key == "y":
                self._stop(asked)
            return
        if key == "q":
            self.ended = True
        elif key in _UP:
            self._move(-1)
        elif key in _DOWN:
            self._move(1)
        elif key in ("\r", "\n"):
            self._closer = self._session()
        elif key == "\x1b":
            self._closer = None
        elif key == "s" and (session_id := self._session()):
            self._asked = session_id
            self._said = f"stop session {session_id}? y, or any other key"

    def _move(self, step: int) -> None:
        pids = [process.pid for _, process in self._visible()]
        place = pids.index(self._chosen) + step if self._chosen in pids else 0
        if pids:
            self._chosen = pids[max(0, min(len(pids) - 1, place))]

    def _session(self) -> str | None:
        """Return the session that the chosen process belongs to."""
        found = (process.session_id for _, process in self._rows if process.pid == self._chosen)
        return next(found, None)

    def _stop(self, session_id: str) -> None:
        def stop() -> None:
            from jidocode.errors import JidocodeError

            try:
                with attach(self._name, read_only=False) as system:
                    system.stop_session(session_id)
            except JidocodeError as error:
                self._said = error.message
            else:
                self._said = f"session {session_id} is stopped"

        threading.Thread(target=stop, daemon=True).start()

    # ----- drawing

    def _visible(self) -> list[tuple[str, ProcessOverview]]:
        if self._closer is None:
            return self._rows
        return [row for row in self._rows if row[1].session_id == self._closer]

    def drawing(self, height: int) -> Group:
        """Return what is to be seen on *height* lines."""
        from rich.console import Group
        from rich.text import Text

        from jidocode.base.text import line

        rows = self._visible()
        changes = list(self._changes)
        if self._closer is not None and self._rows and not rows:
            self._closer = None
        room = max(1, height - _FRAME_ROWS - _SHOWN_CHANGES - len(self._commands))
        pids = [process.pid for _, process in rows]
        place = pids.index(self._chosen) if self._chosen in pids else 0
        first = max(0, min(place - room // 2, len(rows) - room))
        sessions = sum(process.kind == "session" for _, process in self._rows)
        title = f"{self._name}: {sessions} sessions, {len(self._rows)} processes"
        keys = "up down  Enter closer  s stop  Escape back  q quit"
        lines = [
            *(
                Text(
                    f"{'runs' if each.running else 'ended':6} pid {each.pid}  "
                    f"{line(' '.join(each.argv))}",
                    no_wrap=True,
                )
                for each in self._commands
            ),
            *(Text(each, style="dim", no_wrap=True) for each in changes[-_SHOWN_CHANGES:]),
        ]
        return Group(
            Text(line(title), style="bold", no_wrap=True),
            self._table(rows[first : first + room]),
            Text(""),
            *lines,
            Text(line(self._said) or keys, style="reverse", no_wrap=True),
        )

    def _table(self, rows: list[tuple[str, ProcessOverview]]) -> Table:
        from rich.table import Table
        from rich.text import Text

        from jidocode.base.text import line
        from jidocode.cli.tree import HEAD, row

        table = Table(box=None, pad_edge=False, expand=True)
        for name in HEAD:
            table.add_column(name, no_wrap=True, ratio=4 if name == HEAD[0] else None)
        for drawn, process in rows:
            cells = [Text(line(cell)) for cell in row(drawn, process)]
            cells[1].stylize(_COLOURS.get(process.status, "yellow"))
            chosen = self._chosen is not None and process.pid == self._chosen
            table.add_row(*cells, style="reverse" if chosen else None)
        return table
