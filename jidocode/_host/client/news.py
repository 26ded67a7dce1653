"""What the processes of a system announce to the app, and who hears of it there."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from jidocode._host import wire
from jidocode._host.client.directory import Directory
from jidocode.base import log
from jidocode.base.exits import ExitReason
from jidocode.base.refs import Name
from jidocode.base.text import clip, line
from jidocode.otp.naming.messages import ROOT
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarting,
    GaveUp,
    SupervisorEvent,
)

SESSION = "session"
"""The kind of the supervisor of a session; nobody starts it again."""

News = ChildStarting | SupervisorEvent | wire.News
Listener = Callable[[News, Sequence[Name]], None]
"""Hears a fact, and the names of the process that it is about and of those above it.

What a child announces itself it hears as it came: to unpickle it runs foreign code, which may
take any time, and this is the thread that all calls wait for. Who wants to know it reads it.
"""


class NewsDesk:
    """Enters what is announced into the directory, and passes it on; for the reader thread.

    Attributes:
        root_failure: Why the root of the tree ended for good, once it has.
    """

    def __init__(self, directory: Directory, listener: Listener | None) -> None:
        self.root_failure: ExitReason | None = None
        self._last_straw: ExitReason | None = None
        self._directory = directory
        self._listener = listener

    @property
    def why_root_failed(self) -> str:
        """Why the root of the tree ended for good, in words; with what was one end too many."""
        if self._last_straw is None:
            return str(self.root_failure)
        last = line(str(self._last_straw))
        return f"{self.root_failure}, which had ended: {last}"

    def take(self, message: object) -> None:
        """Take one message, whatever it is; what is no news is dropped."""
        match message:
            case ChildStarting():
                self._tell(message, self._names_in(message))
            case _ if isinstance(message, SupervisorEvent):
                if isinstance(message, GaveUp) and message.supervisor == self._directory.find(ROOT):
                    self._last_straw = message.reason
                names = self._names_in(message)  # while they are known
                lost = self._directory.take(message)
                self._tell(message, names)
                self._tell_lost_sessions(lost)
            case wire.News():
                self._tell(message, self._names_of(message.name))
            case wire.RootReady():
                self._directory.root_started(message.ref, ROOT)
            case wire.RootExited():
                self._on_root_exited(message)
            case _:
                pass

    def _names_in(self, event: SupervisorEvent | ChildStarting) -> Sequence[Name]:
        above = self._directory.names_above(event.supervisor)
        if isinstance(event, GaveUp) or event.name is None:
            return above
        return [event.name, *above]

    def _names_of(self, name: Name | None) -> Sequence[Name]:
        ref = self._directory.find(name) if name else None
        return self._directory.names_above(ref) if ref else [name] if name else []

    def _on_root_exited(self, message: wire.RootExited) -> None:
        if not message.restarting:
            self.root_failure = message.reason
        lost = self._directory.root_ended(
            ROOT, message.incarnation, message.reason, restarting=message.restarting
        )
        self._tell_lost_sessions(lost)

    def _tell_lost_sessions(self, lost: Sequence[ChildExited]) -> None:
        """Have whoever follows a session hear of its end, also if nobody lived to announce it."""
        for event in lost:
            if event.name is not None and event.name[0] == SESSION:
                self._tell(event, [event.name])

    def _tell(self, fact: News, names: Sequence[Name]) -> None:
        if self._listener is None:
            return
        try:
            self._listener(fact, names)
        except BaseException:  # noqa: BLE001 - a listener's failure is not the reader's
            log.error("a listener to supervisor events failed\n{}", clip(traceback.format_exc()))
