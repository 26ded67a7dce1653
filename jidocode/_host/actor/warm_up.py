"""What a standby does before it is wanted: all that every process does first, once, for nothing.

Why: a fork shares its parent's memory until it writes, and even to call a function
is to write, for that counts references. So whatever a process does for the first
time copies pages one by one, and takes many times as long as later. Without this
the first child of a user's who waits would pay for it; a standby has the time.

Whatever is added to the way of a process from its order to its first answer belongs
in here as well.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.transport.address import Address
from jidocode.base import rehearsals
from jidocode.base.refs import ActorRef, Name, Via
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import ServerLoop
from jidocode.otp.server.machine import CallReceived, Command, SendCall, SendPart
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, Reply
from jidocode.otp.server.runtime import Interruption
from jidocode.otp.server.streams import PartSource
from jidocode.otp.supervision.machine import ChildReady, Spawn
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop


class StandbyOrder(Struct, frozen=True):
    """Stand by: what a process gets, by fork, that is made before anybody needs it.

    Attributes:
        order_pipe: The pipe on which its real order, a pickled `SpawnOrder`, will come;
            closed without one if it is not wanted.
        supervises: Whether it is to be ready for a supervisor rather than for a server.
    """

    order_pipe: int
    supervises: bool


class _Echo(GenServer):
    """Answers every request with itself."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* with itself."""
        del caller
        return Reply(request)


class _Nobody:
    """The runtime of an `_Echo`, which asks for nothing."""

    def emit(self, command: Command) -> None:
        """Never called."""

    def call(self, call: SendCall, stop: Interruption | None = None) -> None:
        """Never called."""

    def open_stream(self, call: SendCall) -> PartSource:
        """Never called."""
        raise NotImplementedError

    def send_part(self, part: SendPart) -> bool:
        """Never called."""
        raise NotImplementedError

    def look_up(self, target: Name | Via) -> None:
        """Never called."""

    def returned(self, error: BaseException | None) -> None:
        """Do nothing."""


class _EchoSupervisor(Supervisor):
    """Supervises an `_Echo`."""

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return the one child."""
        return Flags(), [_Echo.child_spec()]


def warm_up(address: Address, *, supervises: bool) -> None:
    """Go through the beginning of a process at *address*; nothing is sent or started."""
    start = Start(_EchoSupervisor if supervises else _Echo)
    shell = wire.SUPERVISOR_SHELL if supervises else wire.SERVER_SHELL
    order = wire.SpawnOrder(wire.pack(start), shell, "echo", 1, address, parent=address)
    wire.unpack(wire.pack(order))
    wire.unpack(order.start)
    ref = ActorRef(order.kind, order.incarnation, os.getpid(), address)
    if supervises:
        supervisor = SupervisorLoop.of(start, ref)
        effects = supervisor.start(start, 0.0)
        incarnation = next(e.incarnation for e in effects if isinstance(e, Spawn))
        supervisor.handle(ChildReady(incarnation, ref), 0.0)
    else:
        server = ServerLoop.of(start, ref, _Nobody())
        server.start(start)
        request = wire.unpack(wire.pack(ref))
        server.handle(CallReceived(Caller(address, 1), request))
        wire.decode(wire.encode(wire.answer(1, request)))
        rehearsals.go_through_all()
