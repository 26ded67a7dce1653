"""What a standby does while it waits: what every process does first, with nobody listening.

A fork shares its parent's memory until it writes, and even to call a function
is to write: its count of references. So whatever is done for the first time
copies pages, and takes many times as long as later. A standby has the time.
"""

from __future__ import annotations

import os
from typing import Any

from jidocode._host import wire
from jidocode._host.address import LoopbackAddress
from jidocode.otp.refs import ActorRef
from jidocode.otp.server import Caller, CallReceived, CallResult, GenServer, Reply, ServerLoop
from jidocode.otp.specs import Start


class _Understudy(GenServer):
    """Repeats what it is told."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* with itself."""
        del caller
        return Reply(request)


def rehearse(address: LoopbackAddress) -> None:
    """Go through the beginning of a process at *address*; nothing is sent or started."""
    start = Start(_Understudy)
    order = wire.SpawnOrder(start, "", "understudy", 1, address, parent=address)
    wire.unpack(wire.pack(order))
    ref = ActorRef(order.kind, order.incarnation, os.getpid(), address)
    understudy = ServerLoop.of(start, ref)
    understudy.start(start)
    request = wire.unpack(wire.pack(ref))
    understudy.handle(CallReceived(Caller(address, 1), request))
    wire.decode(wire.encode(wire.answer(1, request)))
