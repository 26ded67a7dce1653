"""Another user on a dead actor's port: what a sender says to him, which is nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.key import new_key
from jidocode._host.transport.knock import Knock
from jidocode._host.transport.messenger import Envelope, Messenger
from jidocode._host.transport.window import Outcome

DEADLINE = 20.0
KEY = new_key()
CONTENT = "what only the target may read"
LENGTH = 3_000_000


def silent(_data: bytes, _sock: socket.socket, _living: int) -> None:
    """Say nothing, and go on listening."""


def echo(data: bytes, sock: socket.socket, _living: int) -> None:
    """Send back whatever comes."""
    sock.sendall(data)


def babble(_data: bytes, sock: socket.socket, _living: int) -> None:
    """Answer in the format, without the key."""
    sock.sendall(b"\0\0\0\x10\x08" + bytes(32))


def relay(data: bytes, sock: socket.socket, living: int) -> None:
    """Have a living process of the same system make the proof."""
    with socket.socket() as other:
        Knock.at(KEY, living).give(other)
        other.settimeout(1.0)
        other.connect(("127.0.0.1", living))
        other.sendall(data)
        with contextlib.suppress(OSError):
            sock.sendall(other.recv(1000))


class Stranger:
    """Listens on a port, notes all that comes, and does what it is told with it."""

    def __init__(self, trick: Callable[[bytes, socket.socket, int], None], living: int) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.01)
        self.port: int = self.server.getsockname()[1]
        self.read = b""
        self.stopped = False
        self._trick, self._living = trick, living
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.ExitStack() as stack:
            socks: list[socket.socket] = []
            while not self.stopped:
                with contextlib.suppress(TimeoutError):
                    socks.append(stack.enter_context(self.server.accept()[0]))
                    socks[-1].settimeout(0.01)
                for sock in socks:
                    with contextlib.suppress(OSError):
                        if data := sock.recv(1 << 16):
                            self.read += data
                            self._trick(data, sock, self._living)

    def close(self) -> None:
        self.stopped = True
        self.thread.join(DEADLINE)
        self.server.close()


def take(_envelope: Envelope) -> bool:
    return True


@pytest.fixture
def sender() -> Iterator[Messenger]:
    made = Messenger(KEY)
    yield made
    made.close()


@pytest.fixture
def living() -> Iterator[Messenger]:
    """Another process of the same system, which answers as they do."""
    made = Messenger(KEY)
    thread = threading.Thread(target=made.serve, args=(take,), daemon=True)
    thread.start()
    yield made
    made.abort_run()
    thread.join(DEADLINE)
    made.close()


@pytest.mark.parametrize("trick", [silent, echo, babble, relay])
def test_a_stranger_on_a_dead_actors_port_reads_nothing_of_a_message(
    sender: Messenger, living: Messenger, trick: Callable[[bytes, socket.socket, int], None]
) -> None:
    """Whatever he answers, and although he may ask others of the same system."""
    stranger = Stranger(trick, living.address.port)
    outcomes: list[Outcome] = []
    for message in (CONTENT, [CONTENT] * 3, CONTENT * (LENGTH // len(CONTENT))):
        sender.send(LoopbackAddress(stranger.port, 7), message, outcomes.append)
    deadline = time.monotonic() + DEADLINE
    while not (outcomes or (trick is silent and stranger.read)):
        assert time.monotonic() < deadline, f"{len(stranger.read)} bytes, and no end"
        sender.serve(take, time.monotonic() + 0.01)
    sender.serve(take, time.monotonic() + 0.05)
    stranger.close()

    assert stranger.read
    assert CONTENT.encode() not in stranger.read
    assert len(stranger.read) < 200
    assert set(outcomes) == (set() if trick is silent else {Outcome.DEAD_TARGET})
