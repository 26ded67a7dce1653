"""`jidocode top`: the live tree on a terminal, with keys.

The terminal's keys and the looks at the system are in two threads, so that keys answer while
a process that hangs makes a look take its time. What is drawn is in `drawing`.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from jidocode.cli.options import attach, explain_end, system_option
from jidocode.cli.streams import are_a_terminal

if TYPE_CHECKING:
    from jidocode.cli.drawing import Scene
    from jidocode.session.commands.result import CommandInfo
    from jidocode.system.system import SessionSystem
    from jidocode.system.watching import Key, Line, Look

_LOOK_SECONDS = 1.0
_MIN_LOOK_SECONDS = 0.2
"""So that a storm of changes does not make as many looks."""
_KEY_SECONDS = 0.1
_REST_SECONDS = 0.05
"""How long the rest of a key's sequence may take; after that it is the Escape key."""
_CHANGES = 200
_EVENTS = 1000
_UP, _DOWN = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j")
_PAGES = {"\x1b[5~": -1, "\x1b[6~": 1}
_FIRST, _LAST = ("\x1b[H", "\x1bOH", "\x1b[1~", "g"), ("\x1b[F", "\x1bOF", "\x1b[4~", "G")
_FAR = 10**9
_KEY = re.compile(r"\x1b[\[O]\d*[A-Z~]|.", re.DOTALL)
"""A sequence, or one character; a key that is held down comes several times at once."""
_CUT_SHORT = re.compile(r"\x1b(?:[\[O]\d*)?\Z")
_NO_TERMINALS = ("", "dumb", "unknown")


@click.command("top")
@system_option
def command(system_name: str) -> None:
    """Watch the processes of a system.

    Keys: up, down, page up and page down choose a process, Enter looks closer at its session, s
    stops that session after a y, Escape goes back, q or Ctrl-C ends it.
    """
    from rich.console import Console
    from rich.live import Live

    from jidocode.cli.drawing import draw

    if not are_a_terminal():
        raise click.ClickException("top needs a terminal; `jidocode tree` does not")
    if os.environ.get("TERM", "") in _NO_TERMINALS:
        raise click.ClickException("top needs a terminal that TERM names; `jidocode tree` does not")
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    with attach(system_name) as system:
        screen = Screen(system_name, system)
        signal.signal(signal.SIGINT, lambda _number, _frame: screen.end())
        threading.Thread(target=screen.look_on, daemon=True).start()
        console = Console(highlight=False)
        drawn = None
        with _keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while not screen.ended:
                if drawn != (drawn := (screen.version, console.size)):
                    live.update(draw(screen.scene(), *console.size), refresh=True)
                for key in _pressed():
                    screen.press(key)
        screen.end()
        if screen.problem is not None and not explain_end(system, system_name):
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
    if _CUT_SHORT.search(text) and select.select([stdin], [], [], _REST_SECONDS)[0]:
        text += os.read(stdin, 64).decode("utf-8", "replace")
    return _KEY.findall(text)


class Screen:
    """What is known, and what keys do with it.

    Attributes:
        ended: Whether it is over.
        problem: What has ended it, if that was no key.
        version: Grows with whatever is to be seen.
    """

    def __init__(self, name: str, system: SessionSystem) -> None:
        from jidocode.system.watching import Watch

        self.ended = False
        self.problem: BaseException | None = None
        self.version = 0
        self._name = name
        self._system = system
        self._watch = Watch(system)
        self._events = system.events()
        self._changes: deque[str] = deque(maxlen=_CHANGES)
        self._lines: list[Line] = []
        self._looks: dict[Key, Look] = {}
        self._changed: dict[Key, tuple[int | None, float]] = {}
        self._window = slice(0, 50)
        self._chosen: Key | None = None  # the key of a line: lines come and go
        self._closer: str | None = None
        self._asked: str | None = None
        self._said = ""

    # ----- looking, in a thread of its own

    def look_on(self) -> None:
        """Look at the system again and again, until it is over."""
        try:
            while not self.ended:
                self._look()
                self._await_change()
        except BaseException as error:  # noqa: BLE001 - the other thread raises it
            if not self.ended:
                self.problem, self.ended = error, True

    def _look(self) -> None:
        from jidocode.errors import CallError, RegistryNotRunningError

        self._lines = self._watch.lines()
        try:
            self._looks = self._watch.look(self._visible()[self._window])
        except (CallError, RegistryNotRunningError) as error:  # it is being restarted
            self._said = error.message
        self._note_changes()
        self.version += 1

    def _note_changes(self) -> None:
        """Remember since when each process that is shown is what it is."""
        now = time.monotonic()
        self._changed = {
            key: before
            if (before := self._changed.get(key)) is not None and before[0] == look.process.pid
            else (look.process.pid, now if before is not None else 0.0)
            for key, look in self._looks.items()
        }

    def _await_change(self) -> None:
        from jidocode.cli.events import as_line
        from jidocode.otp.supervision.events import ChildRunning

        begun, window = time.monotonic(), (self._window, self._closer)
        while not self.ended:
            seconds = time.monotonic() - begun
            if seconds >= _LOOK_SECONDS:
                return
            event = self._events.get(_MIN_LOOK_SECONDS)
            for _ in range(_EVENTS):
                if event is None:
                    break
                if not isinstance(event.fact, ChildRunning):  # what runs already is no change
                    self._changes.append(as_line(event))
                    seconds = _LOOK_SECONDS
                event = self._events.get(0.0)
            if self._events.closed:
                self._system.list_sessions()  # which says how the system has ended
            if seconds >= _MIN_LOOK_SECONDS and window != (self._window, self._closer):
                return
            if seconds >= _LOOK_SECONDS:
                time.sleep(max(0.0, begun + _MIN_LOOK_SECONDS - time.monotonic()))
                return

    # ----- keys

    def end(self) -> None:
        """Have it be over."""
        self.ended = True

    def press(self, key: str) -> None:
        """Do what *key* says."""
        self.version += 1
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._said = ""
            if key == "y":
                self._stop(asked)
            return
        if key == "q":
            self.end()
        elif key in _UP:
            self._move(-1)
        elif key in _DOWN:
            self._move(1)
        elif key in _PAGES:
            self._move(_PAGES[key] * max(1, self._window.stop - self._window.start - 1))
        elif key in _FIRST:
            self._move(-_FAR)
        elif key in _LAST:
            self._move(_FAR)
        elif key in ("\r", "\n"):
            self._closer = self._session() or self._closer
        elif key == "\x1b":
            self._closer = None
        elif key == "s":
            self._asked = self._session()
            question = f"stop session {self._asked}? y, or any other key"
            self._said = question if self._asked else "choose a session first: s stops it"

    def _move(self, step: int) -> None:
        keys = [line.key for line in self._visible()]
        if not keys:
            return
        place = keys.index(self._chosen) if self._chosen in keys else -1
        self._chosen = keys[max(0, min(len(keys) - 1, place + step))]

    def _session(self) -> str | None:
        """Return the session that the chosen process belongs to."""
        found = (line.session_id for line in self._lines if line.key == self._chosen)
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
            self.version += 1

        threading.Thread(target=stop, daemon=True).start()

    # ----- what is to be seen

    def _visible(self) -> list[Line]:
        closer = self._closer
        if closer is None:
            return self._lines
        inside = [line for line in self._lines if line.session_id == closer]
        if not inside and self._lines:  # it has ended
            self._closer = None
            return self._lines
        return inside

    def scene(self) -> Scene:
        """Return what is to be seen."""
        from jidocode.cli.drawing import Scene

        return Scene(
            name=self._name,
            lines=self._visible(),
            looks=self._looks,
            sessions=sum(line.is_session for line in self._lines),
            processes=sum(line.ref is not None for line in self._lines),
            chosen=self._chosen,
            changed={key: at for key, (_, at) in self._changed.items()},
            commands=self._commands(),
            changes=list(self._changes),
            said=self._said,
            show=self._show,
        )

    def _commands(self) -> list[CommandInfo]:
        return self._watch.commands.get(self._closer, []) if self._closer is not None else []

    def _show(self, window: slice) -> None:
        """Take in which lines are drawn: only those are looked at."""
        self._window = window
