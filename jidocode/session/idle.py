"""How long the processes of a session have had nothing to do, which they tell its State.

That one has the session stopped, if it is to be, and all of them have been idle for long enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from jidocode.base import log
from jidocode.base.refs import Name
from jidocode.errors import NoProcessError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Response
from jidocode.session.admission.messages import StopSession

_SHORTEST = 0.01


class HowIdle(Struct, frozen=True):
    """Answered with the seconds for which a process has had nothing to do; 0 if it has."""


class LookIdle(Struct, frozen=True):
    """Look whether the session is idle (a State sends this to itself)."""


class Use:
    """When a process was asked something last."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def note(self) -> None:
        """It is asked something now."""
        self._last = time.monotonic()

    def idle_seconds(self) -> float:
        """Return how long ago that was."""
        return time.monotonic() - self._last


class IdleWatch:
    """Has a session stopped that nobody has used for *seconds*.

    State asks itself, and then its siblings *others*, which may not be there. Until all have
    answered nothing is decided; whoever does not answer is at work.
    """

    def __init__(
        self,
        server: GenServer,
        session_id: str,
        seconds: float,
        own: Callable[[], float],
        others: tuple[Name, ...],
    ) -> None:
        """Watch for *server*, which has been idle as long as *own* says."""
        self._server = server
        self._session_id = session_id
        self._seconds = seconds
        self._own = own
        self._others = others
        self._asked: set[int] = set()
        self._stops: set[int] = set()
        self._idle = 0.0
        server.send_after(seconds, LookIdle())

    def look(self) -> None:
        """Look at the own use; if it was long ago, ask the others."""
        self._idle = self._own()
        if self._idle < self._seconds:
            self._look_again()
        else:
            self._asked = {self._server.send_request(each, HowIdle()) for each in self._others}

    def take(self, response: Response) -> bool:
        """Take what another one has answered; False if nothing was asked of it."""
        if response.token in self._stops:  # it says that the session still is: it was told of it
            self._stops.remove(response.token)
            return True
        if response.token not in self._asked:
            return False
        self._asked.remove(response.token)
        if isinstance(response.value, float):
            self._idle = min(self._idle, response.value)
        elif not isinstance(response.error, NoProcessError):
            self._idle = 0.0
        if not self._asked:
            self._decide()
        return True

    def _decide(self) -> None:
        if min(self._idle, self._own()) < self._seconds:
            self._look_again()
            return
        log.debug("session {} is stopped: it was idle for {:g} s", self._session_id, self._idle)
        self._stops.add(self._server.send_request(REGISTRY, StopSession(self._session_id)))
        self._idle = 0.0
        self._look_again()  # if it could not be stopped

    def _look_again(self) -> None:
        delay = max(self._seconds - self._idle, _SHORTEST)
        self._server.send_after(delay, LookIdle())
