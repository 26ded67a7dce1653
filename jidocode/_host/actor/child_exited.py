"""What a supervisor gets from the host when one of its children is dead."""

from __future__ import annotations

from thespian.actors import ActorAddress, ChildActorExited

from jidocode._host.transport.address import Address


class ChildExited(ChildActorExited):
    """From the host to a supervisor: that child is dead, and all below it.

    Thespian's own notice, with what that does not say.

    Attributes:
        incarnation: Which start it was.
        address: Where it listened, if it had got so far.
        status: Its exit status as `subprocess` counts it (negative: a signal).
    """

    def __init__(self, incarnation: int, address: Address | None, status: int) -> None:
        super().__init__(ActorAddress(address))
        self.incarnation = incarnation
        self.address = address
        self.status = status
