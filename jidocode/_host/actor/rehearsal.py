"""What a standby does while it waits: what every process does first, with nobody listening.

A fork shares its parent's memory until it writes, and even to call a function
is to write: its count of references. So whatever is done for the first time
copies pages, and takes many times as long as later. A standby has the time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.transport.address import Address
from jidocode.base.refs import ActorRef
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import ServerLoop
from jidocode.otp.server.machine import CallReceived
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, Reply
from jidocode.otp.supervision.life import ChildReady, Spawn
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop


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


def rehearse(address: Address, *, supervises: bool) -> None:
    """Go through the beginning of a process at *address*; nothing is sent or started."""
    start = Start(_Company if supervises else _Understudy)
    shell = wire.SUPERVISOR_SHELL if supervises else wire.SERVER_SHELL
    order = wire.SpawnOrder(wire.pack(start), shell, "understudy", 1, address, parent=address)
    wire.unpack(wire.pack(order))
    wire.unpack(order.start)
    ref = ActorRef(order.kind, order.incarnation, os.getpid(), address)
    if supervises:
        company = SupervisorLoop.of(start, ref)
        effects = company.start(start, 0.0)
        incarnation = next(e.incarnation for e in effects if isinstance(e, Spawn))
        company.handle(ChildReady(incarnation, ref), 0.0)
    else:
        understudy = ServerLoop.of(start, ref)
        understudy.start(start)
        request = wire.unpack(wire.pack(ref))
        understudy.handle(CallReceived(Caller(address, 1), request))
        wire.decode(wire.encode(wire.answer(1, request)))
