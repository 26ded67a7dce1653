"""A knock: how own peers are told from strangers by the kernel, before a connection is made.

Whoever connects sends one packet first, the SYN, and some fields of it are the sender's
to choose: how far it may travel (TTL), its class (DSCP), and how much he will take in
before he has looked at it (the window). Own peers choose them by the key of the system
and the port. The kernel drops every other SYN to a guarded port, as a filter on the
listening socket says.

Why. Everybody on this machine can connect to a port, and to accept a connection only
to close it costs some 20 microseconds. A stranger who does nothing else takes half of
a core from each process that he does it to. A SYN that the kernel drops costs us nothing.

It is no proof. It has 27 bits, and whoever listens on a dead actor's port can read that
port's. All that a guess wins is to be a stranger at the door (see `inbound`): the proof
is the handshake. Where the kernel takes no filter there is none, and all else holds.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import NamedTuple

from jidocode.base import log
from jidocode.base.hashes import blake2b

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SIOCGIFMTU = 0x8921  # linux/sockios.h
_WIDEST_WINDOW = (1 << 15) - 1
"""Bytes of the widest window. Nothing but short replies comes back to who connects."""

_STEP = struct.Struct("HBBI")  # linux/filter.h: struct sock_filter
_LOAD_BYTE, _LOAD_SHORT, _AND, _IF_EQUAL, _RETURN = 0x30, 0x28, 0x54, 0x15, 0x06
_IP_HEADER = 0xFFF00000  # SKF_NET_OFF: what follows counts from there, else from the TCP header
_FLAGS, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12
_WINDOW = 14


class Knock(NamedTuple):
    """What the SYN of an own peer looks like."""

    ttl: int
    dscp: int
    """As it stands in the header: its two lowest bits are not its own."""
    window: int

    @classmethod
    def at(cls, key: bytes, port: int) -> Knock:
        """Return that of peers which connect to *port* in the system with that *key*."""
        digest = blake2b(port.to_bytes(2), digest_size=4, key=key, person=b"jidocode.knock")
        bits = int.from_bytes(digest.digest())
        return cls(64 + (bits & 0x7F), bits >> 7 << 2 & 0xFC, (1 << 14) + (bits >> 13 & 0x3FFF))

    def give(self, sock: socket.socket) -> None:
        """Have *sock* knock when it connects."""
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self.ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, self.dscp)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, self.window)

    def guard(self, listener: socket.socket) -> None:
        """Have *listener* hear of those alone who knock so, if the kernel can do that."""
        try:
            request = struct.pack("16si", b"lo", 0).ljust(40, b"\0")
            mtu = struct.unpack_from("16si", fcntl.ioctl(listener, _SIOCGIFMTU, request))[1]
            if mtu <= _WIDEST_WINDOW + 40:  # the kernel would round it to whole segments
                return
            steps = self._filter()
            code = ctypes.create_string_buffer(b"".join(_STEP.pack(*step) for step in steps))
            program = struct.pack("HL", len(steps), ctypes.addressof(code))
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError as error:
            log.debug("strangers are not kept from connecting: {}", error.strerror)

    def _filter(self) -> list[tuple[int, int, int, int]]:
        """Return the program: accept what is no SYN, or one that knocks right."""
        return [
            (_LOAD_BYTE, 0, 0, _FLAGS),
            (_AND, 0, 0, _SYN_OR_ACK),
            (_IF_EQUAL, 0, 7, _SYN),  # else to the end: accept
            (_LOAD_BYTE, 0, 0, _IP_HEADER + 8),
            (_IF_EQUAL, 0, 6, self.ttl),  # else to the end: drop
            (_LOAD_BYTE, 0, 0, _IP_HEADER + 1),
            (_AND, 0, 0, 0xFC),
            (_IF_EQUAL, 0, 3, self.dscp),
            (_LOAD_SHORT, 0, 0, _WINDOW),
            (_IF_EQUAL, 0, 1, self.window),
            (_RETURN, 0, 0, 0xFFFFFFFF),
            (_RETURN, 0, 0, 0),
        ]
