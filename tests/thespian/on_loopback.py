"""A pytest plugin that puts jidocode's transport under Thespian's own test suite.

See docs/thespian.md for how to run it, and for what is different.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

import thespian.system.multiprocTCPBase
from thespian.actors import ActorAddress
from thespian.system.messages.convention import CONV_ADDR_IPV4_CAPABILITY
from thespian.system.transport import ExternalInterfaceTransportInit, TransportInit__Base

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.key import new_key
from jidocode._host.transport.thespian import LoopbackEndpoint, ThespianTransport

if TYPE_CHECKING:
    from collections.abc import Mapping


ADMIN_PORT = 1900
"""Thespian's own default."""
KEY = new_key()
"""Of all systems of a run, so that they can join one another."""


def admin_at(port: int) -> ActorAddress:
    """Return the address of the Admin at *port*, which everybody can guess."""
    return ActorAddress(LoopbackAddress(port, nonce=port))


class AdminEndpoint(LoopbackEndpoint, frozen=True, kw_only=True):
    """What an Admin needs that has to listen at a given place."""

    place: LoopbackAddress


class SuiteTransport(ThespianTransport):
    """The transport of a system that is found by the port of its Admin, as the suite does."""

    def __init__(self, init: TransportInit__Base, *rest: Any) -> None:
        if isinstance(init, ExternalInterfaceTransportInit):
            capabilities: Mapping[str, Any] = rest[0]
            port = int(capabilities.get("Admin Port", ADMIN_PORT))
            init = LoopbackEndpoint(KEY, admin=admin_at(port))
        self._place = init.place if isinstance(init, AdminEndpoint) else None
        super().__init__(init)

    def _listen(self) -> socket.socket:  # type: ignore[override] # static where no place is given
        if self._place is None:
            return super()._listen()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._place.port))
        listener.listen()
        return listener

    def _draw_nonce(self) -> int:  # type: ignore[override] # idem
        return self._place.nonce if self._place else super()._draw_nonce()

    def prepEndpoint(  # noqa: N802 - Thespian's name
        self,
        assignedLocalAddr: ActorAddress,  # noqa: N803 - Thespian's name
        capabilities: object,
    ) -> LoopbackEndpoint:
        """Return what the child needs; the one with an address already is the Admin."""
        place = assignedLocalAddr.addressDetails
        if isinstance(place, LoopbackAddress):
            return AdminEndpoint(self.key, parent=self.myAddress, place=place)
        return super().prepEndpoint(assignedLocalAddr, capabilities)

    @staticmethod
    def getAddressFromString(  # type: ignore[override]  # noqa: N802 - Thespian's name; the transport's own refuses
        addrspec: str | tuple[str, int],
        adminRouting: bool = False,  # noqa: ARG004, FBT001, FBT002, N803 - Thespian's signature
    ) -> ActorAddress:
        """Return the address of the Admin that *addrspec* (host and port) names."""
        port = addrspec[1] if isinstance(addrspec, tuple) else addrspec.partition(":")[2]
        return admin_at(int(port or ADMIN_PORT))

    @classmethod
    def getConventionAddress(cls, capabilities: Any) -> list[ActorAddress] | None:  # type: ignore[override]  # noqa: N802 - idem
        """Return where the leaders of the convention are, if there is to be one."""
        leaders: Any = capabilities.get(CONV_ADDR_IPV4_CAPABILITY)
        if not leaders:
            return None
        several = cast("list[str]", leaders if isinstance(leaders, list) else [leaders])
        return [cls.getAddressFromString(leader) for leader in several]


thespian.system.multiprocTCPBase.ActorSystemBase.transportType = SuiteTransport
