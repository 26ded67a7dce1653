"""The end of the app that starts a system, and with which it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from jidocode._host import wire
from jidocode._host.client.client import HostClient
from jidocode._host.client.news import Listener
from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.limits import explain, is_kernels
from jidocode._host.transport.messenger import Envelope
from jidocode.errors import HostError, HostStartError
from jidocode.otp.naming.messages import ROOT
from jidocode.otp.supervision.specs import Start

if TYPE_CHECKING:
    from jidocode._host.attach.door import Door
    from jidocode._host.attach.place import Claim


class OwnerClient(HostClient):
    """A system, seen from the app that has started it."""

    _host: HostProcess
    _door: Door | None = None

    def __init__(
        self,
        host: HostProcess,
        root: Start,
        *,
        start_timeout: float,
        on_event: Listener | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Take over *host*, and start the tree below *root* in it; see `HostClient`.

        Raises:
            HostStartError: The host or the tree did not start. Nothing is left.
        """
        self._root = root
        try:
            super().__init__(host, timeout=start_timeout, on_event=on_event, on_end=on_end)
        except BaseException as error:
            if is_kernels(error):
                problem = f"the host process cannot be started: {explain(error)}"
                raise HostStartError(problem) from error
            raise

    def _join(self, deadline: float) -> None:
        order = wire.SpawnOrder(
            start=wire.pack(self._root),
            shell=wire.SUPERVISOR_SHELL,
            kind=self._root.target.kind,
            incarnation=1,
            app=self._messenger.address,
        )
        self._messenger.send(self._host.admin, wire.StartRoot(order))
        why: Callable[[], object] = lambda: self._news.root_failure or self._ledger.ended  # noqa: E731
        if self.directory.wait_for(ROOT, deadline, lambda: why() is not None) is None:
            reason = why() or "it was not ready in time"
            raise HostStartError(f"the tree could not be started: {reason}")

    def let_in(self, claim: Claim, about: object) -> None:
        """Let other processes in by the name of *claim*, and tell them *about* the system.

        The name is given up when the system ends.

        Raises:
            OSError: There can be no socket.
        """
        from jidocode._host.attach.door import Door, Welcome  # noqa: PLC0415 - few systems have a name

        host = self._host
        welcome = Welcome(host.key, host.admin, host.pid, wire.pack(about))
        self._door = Door(claim, self._messenger, self.directory, welcome, host)
        self.hand_over(self._door.open)

    @property
    def visitors(self) -> int:
        """How many other processes are in the system."""
        return self._door.visitors if self._door is not None else 0

    @property
    def idle_since(self) -> float | None:
        """Since when none is (monotonic seconds); None if one is, or none could be."""
        return self._door.idle_since if self._door is not None else None

    def _take_news(self, envelope: Envelope) -> None:
        super()._take_news(envelope)
        if self._door is not None:
            self._door.tell(envelope.message)

    def _end(self, error: HostError) -> None:
        with contextlib.ExitStack() as last:  # as the others
            if self._door is not None:
                last.callback(self._door.close)
            super()._end(error)

    def _begin_to_end(self, timeout: float) -> None:
        if self._door is not None and self._ledger.ended is None:
            self.hand_over(self._door.say_goodbye)
        if self._ledger.ended is None:
            with contextlib.suppress(HostError):  # another one has just done the rest
                self._messenger.send(self._host.admin, wire.Shutdown())
        self._host.wait(timeout)
