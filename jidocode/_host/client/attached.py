"""The end of an app that is in a system which another process has started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from jidocode._host import wire
from jidocode._host.attach.visit import HungUpError, Visit
from jidocode._host.client.calls import NotSentError, PendingCall, PendingStream
from jidocode._host.client.client import HostClient
from jidocode._host.client.news import Listener
from jidocode._host.transport.messenger import Envelope, Gather
from jidocode.base.refs import ActorRef
from jidocode.errors import AttachError, ReadOnlyError
from jidocode.otp.naming.messages import ROOT

_LAST_NEWS_SECONDS = 0.1
"""How long news may take that come by way of the process that has started the system."""


class AttachedClient(HostClient):
    """A system, seen from a process that has not started it, and does not end it."""

    _host: Visit
    came_later = True

    def __init__(
        self,
        host: Visit,
        *,
        timeout: float,
        on_event: Listener | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Be in the system of *host*; see `HostClient`.

        Raises:
            HungUpError: The system has let go of this process, or has ended.
            AttachError: What it consists of is not known within *timeout* seconds.
        """
        self._timeout = timeout
        super().__init__(host, timeout=timeout, on_event=on_event, on_end=on_end)

    def close(self, timeout: float) -> None:
        """Detach."""
        if self.owned and not self.closed:
            self._why_closed = "this process has detached from the system"
        super().close(timeout)

    def _join(self, deadline: float) -> None:
        self._host.listen_at(self._messenger.address)
        why: Callable[[], bool] = lambda: self._ledger.ended is not None  # noqa: E731
        if self.directory.wait_for(ROOT, deadline, why) is None:
            if self._ledger.ended is not None:
                raise HungUpError("it has hung up")
            problem = f"it does not say what runs in it, for {self._timeout:g} s"
            raise AttachError(f"a system cannot be attached to: {problem}")

    def _take_news(self, envelope: Envelope) -> None:
        match envelope.message:
            case wire.Snapshot(state=state):
                self.directory.restore(state)
            case wire.SystemCloses():
                self._close_requested = True
            case _:
                super()._take_news(envelope)

    def _on_host_gone(self) -> None:
        if self._ledger.ended is not None:
            return
        # It is readable for good.
        for end in self._host.ends:
            self._messenger.unwatch(end)
        self._messenger.after(_LAST_NEWS_SECONDS, super()._on_host_gone)


class ReadOnlyClient(AttachedClient):
    """A system that this process only looks at: whatever is not known to change nothing is refused.

    It keeps one from mistakes. It is no boundary: who has been let in has the key of the system.
    """

    def __init__(
        self,
        host: Visit,
        *,
        timeout: float,
        permits: Callable[[object], bool],
        on_event: Listener | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Be in the system of *host*, and ask it only what *permits* is true of."""
        self._permits = permits
        super().__init__(host, timeout=timeout, on_event=on_event, on_end=on_end)

    def begin(
        self, ref: ActorRef, request: object, *, target: str, gather: Gather | None = None
    ) -> PendingCall:
        """Send *request* to *ref*; raises `ReadOnlyError` if that may change something."""
        self._require(request)
        return super().begin(ref, request, target=target, gather=gather)

    def begin_stream(self, ref: ActorRef, request: object, *, target: str) -> PendingStream:
        """Do as `begin`, for a call whose answer comes in parts."""
        self._require(request)
        return super().begin_stream(ref, request, target=target)

    def begin_all(
        self, refs: Sequence[ActorRef], request: object
    ) -> list[PendingCall | NotSentError]:
        """Send *request* to all of *refs* at once; raises as `begin`."""
        self._require(request)
        return super().begin_all(refs, request)

    def send(self, ref: ActorRef, message: object) -> NoReturn:
        """Refuse: nobody says whether a message changes something."""
        del ref, message
        raise ReadOnlyError

    def _require(self, request: object) -> None:
        if not self._permits(request):
            raise ReadOnlyError
