"""What a standby does while it waits: what every process does first, with nobody listening.

A fork shares its parent's memory until it writes, and even to call a function
is to write: its count of references. So whatever is done for the first time
copies pages, and takes many times as long as later. A standby has the time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.frames import Kind
from jidocode._host.outbound import Parcel
from jidocode._host.transport import Envelope, LoopbackTransport
from jidocode.otp.children import ChildReady, Spawn
from jidocode.otp.refs import ActorRef
from jidocode.otp.server import Caller, CallReceived, CallResult, GenServer, Reply, ServerLoop
from jidocode.otp.specs import ChildSpec, Flags, Start
from jidocode.otp.supervisor import Supervisor, SupervisorLoop

PATIENCE = 1.0
"""Seconds that the rehearsed call may take; it goes by this machine's loopback, as all do."""


class Standby(Struct, frozen=True):
    """What a process is told that is to stand by.

    Attributes:
        turn: The pipe on which its order will come.
        supervises: Whether it is to be ready to supervise.
    """

    turn: int
    supervises: bool


class _Understudy(GenServer):
    """Repeats what it is told."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* with itself."""
        del caller
        return Reply(request)


class _Company(Supervisor):
    """Supervises an understudy."""

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return the one child."""
        return Flags(), [_Understudy.child_spec()]


def rehearse(transport: LoopbackTransport, *, supervises: bool) -> None:
    """Go through the beginning of a process and its first call; nobody else has part in it."""
    start = Start(_Company if supervises else _Understudy)
    shell = wire.SUPERVISOR_SHELL if supervises else wire.SERVER_SHELL
    address = transport.address
    order = wire.SpawnOrder(start, shell, "understudy", 1, address, parent=address)
    wire.unpack(wire.pack(order))
    resolve_name(order.shell)(order)
    ref = ActorRef(order.kind, order.incarnation, os.getpid(), address)
    if supervises:
        company = SupervisorLoop.of(start, ref)
        effects = company.start(start, 0.0)
        incarnation = next(e.incarnation for e in effects if isinstance(e, Spawn))
        company.handle(ChildReady(incarnation, ref), 0.0)
    else:
        understudy = ServerLoop.of(start, ref)
        understudy.start(start)
        understudy.handle(CallReceived(Caller(address, 1), ref))
    _call(transport, ref)


def _call(transport: LoopbackTransport, ref: ActorRef) -> None:
    """Have this process call itself, by way of the kernel, and answer."""
    call = wire.encode(wire.Call(1, wire.pack(ref)))
    transport.post(transport.address, Parcel(Kind.MESSAGE, call))
    called = transport.run(None, PATIENCE)
    if isinstance(called, Envelope) and isinstance(called.message, wire.Call):
        wire.encode(wire.answer(1, wire.unpack(called.message.payload)))
    transport.hang_up(transport.address)
    transport.run(None, 0.0)  # it sees that nobody is there any more
