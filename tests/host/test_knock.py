"""The knock: who does not know it is not heard, and costs nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given, strategies as st

from jidocode._host.transport import knock as knock_module
from jidocode._host.transport.key import KEY_BYTES, new_key
from jidocode._host.transport.knock import Knock

KEY = new_key()
KNOCK = Knock(100, 40 << 2, 20_001)


@contextlib.contextmanager
def listening(knock: Knock) -> Generator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        knock.guard(listener)
        listener.listen(16)
        listener.settimeout(0)
        yield listener


@pytest.fixture
def guarded() -> Iterator[socket.socket]:
    """Listen for those who knock."""
    with listening(KNOCK) as listener:
        yield listener


def is_heard(listener: socket.socket, knock: Knock | None, seconds: float = 10.0) -> bool:
    """Return whether *listener* gets a connection, made with *knock*, in so many *seconds*."""
    with socket.socket() as sock:
        if knock is not None:
            knock.give(sock)
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(listener.getsockname())
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                return True
    return False


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        KNOCK._replace(ttl=KNOCK.ttl + 1),
        KNOCK._replace(dscp=KNOCK.dscp + 4),
        KNOCK._replace(window=KNOCK.window + 1),
    ],
)
def test_only_who_knocks_right_is_heard(guarded: socket.socket, wrong: Knock | None) -> None:
    """The kernel drops all others; they do not even learn that somebody listens."""
    assert is_heard(guarded, KNOCK)
    assert not is_heard(guarded, wrong, 0.1)  # loopback takes no time
    assert is_heard(guarded, KNOCK)


def test_a_connection_that_was_let_in_carries_whatever_is_sent(guarded: socket.socket) -> None:
    """In both directions; a long one too, and the end of it."""
    data = bytes(range(256)) * 4000
    with socket.socket() as sock:
        KNOCK.give(sock)
        sock.connect(guarded.getsockname())
        peer, _ = guarded.accept()
        with peer:
            for one, other in ((sock, peer), (peer, sock)):
                one.settimeout(0)
                other.settimeout(0)
                sent, got = 0, b""
                while len(got) < len(data):
                    with contextlib.suppress(BlockingIOError):
                        sent += one.send(data[sent:])
                    with contextlib.suppress(BlockingIOError):
                        got += other.recv(1 << 20)
                assert got == data
            sock.shutdown(socket.SHUT_WR)
            peer.settimeout(10)
            assert peer.recv(1) == b""


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), st.integers(0, 65535))
def test_every_knock_can_be_given_and_heard(key: bytes, port: int) -> None:
    """Whatever the key and the port, its fields are ones that the kernel takes and sends."""
    knock = Knock.at(key, port)
    with socket.socket() as sock:
        knock.give(sock)

    assert 64 <= knock.ttl <= 191
    assert knock.dscp & 0b11 == 0
    assert 1 << 14 <= knock.window < 1 << 15


def test_ports_and_systems_have_knocks_of_their_own() -> None:
    """Who has learned one has not learned the others."""
    knocks = {Knock.at(key, port) for key in (KEY, new_key()) for port in range(1000, 1100)}

    assert len(knocks) > 190


@pytest.mark.parametrize(
    ("name", "value"), [("_SO_ATTACH_FILTER", 9999), ("_WIDEST_WINDOW", 1 << 20)]
)
def test_a_kernel_that_takes_no_filter_lets_all_connect(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    """Or whose loopback would change the window: own peers must not be shut out."""
    monkeypatch.setattr(knock_module, name, value)
    with listening(KNOCK) as listener:
        assert is_heard(listener, None)
        assert is_heard(listener, KNOCK)
