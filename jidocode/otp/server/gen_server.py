"""`GenServer`: a process, written as a plain class.

A server says what to do with each message; it never meets a socket, a thread or
a timer. What it asks for is carried out by whoever runs it (`runtime.py`), so it can be
tested without a process. How it is driven stands in `loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Name, Target, Via, require_name, require_target
from jidocode.base.text import quote
from jidocode.errors import CallError
from jidocode.otp.seconds import require_seconds
from jidocode.otp.server.commands import CALL_TIMEOUT, ServerCommands, sound
from jidocode.otp.server.machine import (
    LogUnexpected,
    SendCall,
    SendPart,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, InitResult, Refuse, Result
from jidocode.otp.server.streams import CallStream


class GenServer(ServerCommands):
    """A process, written as a plain class (OTP: gen_server).

    Subclass it, keep the state in attributes that `init` sets, and put it
    under a supervisor through a `ChildSpec`. Every callback runs in the
    server's own process. There is no `__init__` to write: the arguments of
    the spec go to `init`, at the first start and at each restart alike.

    What a callback asks for is carried out at once, while it runs: so a handler that
    takes a minute is heard meanwhile, and what cannot be pickled is a `CallError` in
    the line that sends it. A thread that the server has started may ask for the same
    things; a fork may not.

    Which exit reason should I choose?

    - `Normal`: the work is done. Not logged; a transient child stays down.
    - `Shutdown`: ended in order, at somebody's request. Treated like `Normal`.
    - anything else, an exception above all: logged, and a transient child is
      started again.
    """

    # Callbacks

    def init(self, *args: Any, **kwargs: Any) -> InitResult:
        """Set up the state; the supervisor waits for it (called by the host, first).

        Raise, or return `Stop`, to make the start fail; return `Ignore` not to run.
        """

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* (called once per call)."""
        del caller
        return Refuse(CallError(f"{self.kind} does not know {quote(request)} as a call"))

    def handle_cast(self, request: Any) -> Result:
        """Act on *request*; nobody waits (called once per cast)."""
        self._runtime.emit(LogUnexpected(type(request).__name__))
        return None

    def handle_info(self, message: Any) -> Result:
        """Act on any other *message*: `Timeout`, `Down`, `Response`, your own."""
        self._runtime.emit(LogUnexpected(type(message).__name__))
        return None

    def handle_continue(self, then: Any) -> Result:
        """Go on with what a callback left in `then=` (called before any waiting message)."""
        raise NotImplementedError(f"{type(self).__name__} returned then={quote(then)}")

    def terminate(self, reason: ExitReason) -> None:
        """Clean up (called last: after `Stop`, an exception, or a stop by the supervisor).

        Never called after SIGKILL or a failed `init`; do not rely on it for data.
        """

    def _problem(self) -> str | None:
        """Return why it cannot do all that it is for, which health tells; None if it can."""
        return None

    def _when_responsive(self, step: Callable[[], object]) -> None:
        """Take *step*, which says that the process is well, as soon as it can handle a message."""
        step()

    # What waits

    def call(self, target: Target, request: object, *, timeout: float = CALL_TIMEOUT) -> Any:
        """Send *request* to the `handle_call` of *target*, wait, and return its answer.

        Meanwhile no other callback runs: all other messages wait, in their order, and a
        stop by the supervisor waits, too; heartbeats are answered. Two processes that call
        each other get no answer (OTP: neither do they). While the process under a name is
        restarted it is waited for. Works in `init` and `terminate`, too.

        A thread waits until the server's main thread has read its answer: never call
        in a thread that the main thread waits for.

        Args:
            target: A process, the name that it runs under, or a `Via`.
            request: Anything that pickles.
            timeout: Seconds to wait for all of it, `INFINITY` to wait for ever.

        Raises:
            CallTimeoutError: No answer in time; one that comes later is dropped.
            NoProcessError: Nobody is there; nothing was sent.
            ActorExitedError: It died, perhaps while it was at work on it.
            HandlerError: Its handler raised, and it ended.
            CallError: *request* cannot be pickled, or *target* is this server itself.
            RegistryNotRunningError: Nobody can say who has that name.
            Exception: Whatever *target* refuses with.
        """
        require_seconds("timeout", timeout)
        require_target(target)
        return self._runtime.call(SendCall(target, request, timeout))

    def call_stream(
        self, target: Target, request: object, *, timeout: float = CALL_TIMEOUT
    ) -> CallStream:
        """Call *target*, and return an iterator of the parts that its answer comes in.

        To wait for a part is to wait as `call` does. *timeout* is for each part.

        Raises:
            CallError: *request* cannot be pickled; whatever else `call` raises, the
                iterator raises.
        """
        require_seconds("timeout", timeout)
        require_target(target)
        source = self._runtime.open_stream(SendCall(target, request, timeout))
        return CallStream(source, timeout)

    def send_part(self, caller: Caller, part: object, *, timeout: float = CALL_TIMEOUT) -> bool:
        """Send *caller* a part of the answer that it waits for, while this is at work on it.

        Whoever called by `call_stream` reads it; for others it is dropped. A reader may be
        32 parts behind: then this waits, as `call` does, until it has read some. One that
        has read none for *timeout* seconds gets a `StreamStalledError`, and no more parts.

        Returns:
            False if a reader is gone, wants no more, or has its answer; else True, to go on.

        Raises:
            TypeError: *caller* is none.
            CallError: *part* cannot be pickled.
        """
        require_seconds("timeout", timeout)
        return self._runtime.send_part(SendPart(sound(caller, Caller), part, timeout))

    def whereis(self, target: Name | Via) -> ActorRef | None:
        """Return the process that has a name or a key now, None if none does (OTP: whereis).

        It may have died by the time it is used; `call` and its kin take *target* itself.

        Raises:
            RegistryNotRunningError: Nobody can say.
            CallTimeoutError: The registry does not answer.
        """
        if isinstance(target, Via):
            require_target(target)
        else:
            require_name(target)
        return self._runtime.look_up(target)
