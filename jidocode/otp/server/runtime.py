"""`Runtime`: what a server asks of whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from jidocode.base.refs import ActorRef, Name, Via
from jidocode.otp.server.machine import Command, SendCall, SendPart
from jidocode.otp.server.streams import PartSource


class Interruption(Protocol):
    """Ends a thread's waiting from another thread, with an error of its own (`base.stop.Stop`)."""

    def waking(self, wake: Callable[[], object]) -> AbstractContextManager[None]:
        """Have *wake* called if it is asked for while the block waits."""
        ...


class Runtime(Protocol):
    """Carries out at once what a server asks for: in its callbacks, and in its own threads.

    So a callback that takes long is heard while it runs, and what cannot be sent is an
    error in the line that sends it.
    """

    def emit(self, command: Command) -> None:
        """Carry out *command*.

        From a thread, what needs the server's main thread waits until that is free:
        requests, monitors and timers.

        Raises:
            CallError: What is to be sent cannot be pickled.
        """
        ...

    def call(self, call: SendCall, stop: Interruption | None = None) -> Any:
        """Make the *call*, and return the answer; what else comes meanwhile waits.

        *stop* may end the waiting.

        Raises:
            Exception: As `GenServer.call`.
        """
        ...

    def open_stream(self, call: SendCall) -> PartSource:
        """Make the *call*, and return where its parts come from.

        Raises:
            CallError: The request cannot be pickled.
        """
        ...

    def send_part(self, part: SendPart) -> bool:
        """Send *part*, as soon as its reader may be sent one; as `GenServer.send_part`."""
        ...

    def look_up(self, target: Name | Via) -> ActorRef | None:
        """Return the process that is *target* now; raises as `GenServer.whereis`."""
        ...

    def returned(self, error: BaseException | None) -> None:
        """Take note that a callback was left, by *error* if it was raised."""
        ...
