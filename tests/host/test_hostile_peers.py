"""Peers that do not hold the key, or misbehave: they cost little, and others are answered."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from limits import limited
from msgspec import Struct
from thespian.actors import ActorAddress
from thespian.system.transport import ReceiveEnvelope

from jidocode._host.transport import inbound as inbound_module
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import (
    HEADER,
    MAX_HELLO_BODY,
    Frame,
    FrameDecoder,
    FrameError,
    Kind,
    unpack_count,
)
from jidocode._host.transport.handshake import ConnectionKeys, Hello, Opening
from jidocode._host.transport.inbound import MAX_STRANGERS, Acceptor, Inbound
from jidocode._host.transport.key import new_key
from jidocode._host.transport.knock import Knock
from jidocode._host.transport.thespian import (
    LoopbackEndpoint,
    ThespianEnvelope,
    ThespianTransport,
)
from jidocode.base import log

DEADLINE = 20.0
KEY = new_key()
ME = LoopbackAddress(1, 1)


class Trap(Struct, frozen=True):
    """Leaves a mark where it is unpickled."""

    mark: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


class Served:
    """An actor that echoes, and one honest client of it, both run in this thread."""

    def __init__(self) -> None:
        self.server = ThespianTransport.for_admin(KEY)
        self.client = ThespianTransport(
            LoopbackEndpoint(KEY, admin=ActorAddress(self.server.address))
        )
        self.got: list[object] = []
        self._numbers = itertools.count()

    def echo(self, envelope: ThespianEnvelope) -> bool:
        self.got.append(envelope.message)
        self.server.send(envelope.origin, envelope.message)
        return True

    def step(self) -> None:
        self.server.run(self.echo, 0.002)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "the awaited condition did not come"
            self.step()

    def answers(self) -> bool:
        """Return whether the honest client gets its answer."""
        answers: list[object] = []
        question = ("question", next(self._numbers))
        self.client.send(self.server.address, question)

        def take(envelope: ReceiveEnvelope) -> bool:
            answers.append(envelope.message)
            return True

        def answered() -> bool:
            self.client.run(take, 0.001)
            return bool(answers)

        self.until(answered)
        return answers == [question]

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def served() -> Iterator[Served]:
    """Run the echo in this thread, step by step."""
    made = Served()
    yield made
    made.close()


@contextlib.contextmanager
def raw(served: Served) -> Generator[socket.socket]:
    """Connect as anybody on this machine can who has guessed the knock."""
    port = served.server.address.port
    with socket.socket() as sock:
        Knock.at(KEY, port).give(sock)
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.001)
        yield sock


def is_dropped(sock: socket.socket) -> bool:
    try:
        return sock.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def opening(served: Served, key: bytes = KEY, nonce: int | None = None) -> Opening:
    """Return the opener's half of a new connection; its `first` opens it."""
    return Opening(key, Hello(ME, served.server.address.nonce if nonce is None else nonce))


def reply_to(served: Served, sock: socket.socket) -> Frame:
    """Return the frame that comes as the answer to a HELLO."""
    decoder = FrameDecoder(64)
    replies: list[Frame] = []

    def has_come() -> bool:
        with contextlib.suppress(TimeoutError):
            decoder.receive(sock.recv(1000))
        if (frame := decoder.next_frame()) is not None:
            replies.append(frame)
        return bool(replies)

    served.until(has_come)
    return replies[0]


def let_in(served: Served, sock: socket.socket) -> ConnectionKeys:
    """Open a connection over *sock* as an own peer does, and return its keys."""
    opener = opening(served)
    sock.sendall(opener.first)
    return opener.finish(reply_to(served, sock))


def sealed(keys: ConnectionKeys, message: object, kind: Kind = Kind.MESSAGE) -> bytes:
    body = pickle.dumps(message)
    return keys.forward.seal(kind, body) + body


def attacks(trap: bytes) -> dict[str, bytes]:
    """Return what somebody without the key may try to have unpickled."""
    zeros = bytes(16)
    return {
        "a bare pickle": trap,
        "Thespian's framing": b"%d>%s" % (len(trap), trap),
        "a message without MAC": HEADER.pack(len(trap), Kind.MESSAGE, zeros) + trap,
        "a HELLO that is a pickle": HEADER.pack(len(trap), Kind.HELLO, zeros) + trap,
    }


@pytest.mark.parametrize("attack", attacks(b""))
def test_an_unauthenticated_pickle_never_runs(served: Served, tmp_path: Path, attack: str) -> None:
    """Any local process can connect; none of its bytes is unpickled."""
    mark = tmp_path / "mark"
    with raw(served) as sock:
        sock.sendall(attacks(pickle.dumps(Trap(mark)))[attack].ljust(600, b"\0"))
        served.until(lambda: is_dropped(sock))

    assert served.answers()
    assert not mark.exists()


def test_the_trap_of_these_tests_does_spring(tmp_path: Path) -> None:
    """The tests above would notice an unpickling."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "mark")))

    assert (tmp_path / "mark").is_dir()


def test_a_peer_with_another_key_is_dropped(served: Served) -> None:
    """Another system on this machine is a stranger like all others."""
    with raw(served) as sock:
        sock.sendall(opening(served, new_key()).first)
        served.until(lambda: is_dropped(sock))

    assert served.answers()


@pytest.mark.parametrize(
    "garbage",
    [
        b"-5>abcdefgh".ljust(64),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes(64),
        b"\xff" * 64,
        HEADER.pack(0, Kind.HELLO, bytes(16)),
        HEADER.pack(MAX_HELLO_BODY + 1, Kind.HELLO, bytes(16)),
        HEADER.pack(1 << 31, Kind.MESSAGE, bytes(16)),
    ],
)
def test_garbage_is_dropped_and_others_are_answered(served: Served, garbage: bytes) -> None:
    """Wrong, zero, huge and "negative" lengths alike."""
    with raw(served) as sock:
        sock.sendall(garbage)
        served.until(lambda: is_dropped(sock))

    assert served.answers()


def test_a_recorded_connection_cannot_be_played_again(served: Served) -> None:
    """Neither whole nor in part; the first time it was honest."""
    opener = opening(served)
    with raw(served) as first:
        first.sendall(opener.first)
        order = sealed(opener.finish(reply_to(served, first)), "order")
        first.sendall(order)
        served.until(lambda: served.got)
        for pause in (False, True):
            with raw(served) as second:
                second.sendall(opener.first)
                if pause:
                    reply_to(served, second)
                second.sendall(order)
                served.until(lambda: is_dropped(second))
        first.sendall(order)
        served.until(lambda: is_dropped(first))

    assert served.got == ["order"]
    assert served.answers()


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.ACK, Kind.REFUSE])
def test_a_sender_that_sends_no_message_is_dropped(served: Served, kind: Kind) -> None:
    """Also with the right key, only messages follow a HELLO."""
    with raw(served) as sock:
        sock.sendall(sealed(let_in(served, sock), "x", kind))
        served.until(lambda: is_dropped(sock))

    assert served.got == []


def test_a_hello_for_another_life_is_refused_with_proof(served: Served) -> None:
    """The sender can trust that its target is gone: the refusal carries the key."""
    opener = opening(served, nonce=served.server.address.nonce + 1)
    with raw(served) as sock:
        sock.sendall(opener.first)
        frame = reply_to(served, sock)
        served.until(lambda: is_dropped(sock))

    assert frame.kind == Kind.REFUSE
    with pytest.raises(FrameError, match="another life"):  # its MAC is right
        opener.finish(frame)


def test_slow_and_silent_strangers_are_dropped_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection has to prove the key soon, however little it sends."""
    monkeypatch.setattr(inbound_module, "STRANGER_SECONDS", 0.05)
    hello = opening(served).first
    with raw(served) as slow, raw(served) as silent:
        sent = itertools.count()

        def both_dropped() -> bool:
            with contextlib.suppress(OSError):
                slow.send(hello[(at := next(sent) % 20) : at + 1])
            return is_dropped(slow) and is_dropped(silent)

        served.until(both_dropped)

    assert served.answers()


def test_an_honest_peer_may_be_slow_to_send_its_messages(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is for the proof alone."""
    monkeypatch.setattr(inbound_module, "STRANGER_SECONDS", 0.5)
    opener = opening(served)
    with raw(served) as honest, raw(served) as silent:
        for piece in (opener.first[:9], opener.first[9:40], opener.first[40:]):
            honest.send(piece)
            served.step()
        keys = opener.finish(reply_to(served, honest))
        served.until(lambda: is_dropped(silent))
        honest.sendall(sealed(keys, "late"))
        served.until(lambda: served.got)

    assert served.got == ["late"]


def test_an_honest_peer_may_be_slow_although_sockets_have_a_time_out(served: Served) -> None:
    """One that the app has set for all sockets, for its own use."""
    opener = opening(served)
    socket.setdefaulttimeout(0.01)
    try:
        with raw(served) as honest:
            for _ in range(20):
                served.step()
            honest.sendall(opener.first)
            honest.sendall(sealed(opener.finish(reply_to(served, honest)), "late"))
            served.until(lambda: served.got)
    finally:
        socket.setdefaulttimeout(None)

    assert served.got == ["late"]


def test_who_has_hung_up_before_it_is_accepted_costs_no_place(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No object is made for it, and the poller hears nothing of it."""
    monkeypatch.setattr(inbound_module, "Inbound", None)
    turned_away: list[Acceptor] = []

    def count(acceptor: Acceptor) -> None:
        turned_away.append(acceptor)

    monkeypatch.setattr(Acceptor, "turn_away", count)
    for _ in range(100):
        with raw(served):
            pass
    for _ in range(20):
        served.step()

    assert len(turned_away) == 100


def test_what_peers_have_sent_is_read_before_strangers_are_let_in(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few of those at a time, however many there are."""
    seen: list[str] = []

    def note_message(_sender: LoopbackAddress, _message: object) -> None:
        seen.append("message")

    def turn_away(_acceptor: Acceptor, sock: socket.socket) -> None:
        seen.append("stranger")
        sock.close()

    with raw(served) as peer, contextlib.ExitStack() as stack:
        keys = let_in(served, peer)
        strangers = [stack.enter_context(raw(served)) for _ in range(40)]
        peer.sendall(sealed(keys, "hello"))
        monkeypatch.setattr(Acceptor, "_take_in", turn_away)
        monkeypatch.setattr(served.server, "deliver", note_message)
        served.server.poller.wait(time.monotonic() + DEADLINE)

    assert len(strangers) == 40
    assert seen[0] == "message"
    assert 0 < seen.count("stranger") <= 16


def test_strangers_are_logged_together(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for all of a second."""
    monkeypatch.setattr(inbound_module, "_TALLY_SECONDS", 0.1)
    lines: list[str] = []

    def note(text: str, *values: object) -> None:
        lines.append(text.format(*values))

    monkeypatch.setattr(log, "debug", note)
    for _ in range(10):
        with raw(served) as sock:
            sock.sendall(bytes(64))
    served.until(lambda: lines)

    assert lines == ["connections that hung up or did not prove the key: 10"]


def test_a_thousand_silent_connections_change_nothing(served: Served) -> None:
    """Few of them are kept, the oldest go first, and an honest newcomer gets in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = limited(resource.RLIMIT_NOFILE, min(hard, max(soft, 4096)))
    with enough, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(raw(served)) for _ in range(900)]
        served.until(lambda: is_dropped(silent[-MAX_STRANGERS - 1]))
        assert served.answers()
        silent += [stack.enter_context(raw(served)) for _ in range(100)]

        assert served.answers()
        assert len(served.server._acceptor._strangers) <= MAX_STRANGERS
        assert not is_dropped(silent[-1])


def test_a_flood_of_connections_starves_nobody(served: Served) -> None:
    """One that opens and closes as fast as it can, with garbage and without."""
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), raw(served) as sock:
                sock.send(b"x" * 700)

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        answered = [served.answers() for _ in range(50)]
    finally:
        stop.set()
        flooder.join(DEADLINE)

    assert answered == [True] * 50


class Clogged:
    """A socket that takes nothing while it is clogged, and little at a time afterwards."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.clogged = True

    def send(self, data: bytes) -> int:
        if self.clogged:
            raise BlockingIOError
        return self.sock.send(data[:5])

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)


def test_a_peer_that_reads_no_acknowledgements_gets_the_last_one_when_it_does(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count what has arrived, so none has to be kept for it."""
    decoder, acked = FrameDecoder(64), list[int]()
    with raw(served) as sock:
        keys = let_in(served, sock)
        inbound = next(iter(served.server._acceptor._inbounds))
        clogged = Clogged(inbound._socket)
        monkeypatch.setattr(inbound, "_socket", clogged)
        for number in range(10):
            sock.sendall(sealed(keys, number, Kind.CONFIRM))
            served.until(lambda: len(served.got) == number + 1)  # noqa: B023 - run at once
        clogged.clogged = False
        while not acked or acked[-1] < 10:
            served.step()
            with contextlib.suppress(TimeoutError):
                decoder.receive(sock.recv(10_000))
            while (frame := decoder.next_frame()) is not None:
                keys.back.check(frame)
                acked.append(unpack_count(frame))

    assert acked == [1, 10]
    assert served.got == list(range(10))


MANY_TURNS = 50


def count_turns(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Count how often the server's loop wakes up from now on."""
    turns = itertools.count()
    wait = served.server.poller.wait

    def counted(deadline: float) -> None:
        next(turns)
        wait(deadline)

    monkeypatch.setattr(served.server.poller, "wait", counted)
    return turns


@contextlib.contextmanager
def no_descriptor_left() -> Generator[None]:
    """Let this process open nothing more."""
    lowest = os.dup(0)
    os.close(lowest)
    with limited(resource.RLIMIT_NOFILE, lowest):
        yield


def test_a_full_table_of_descriptors_does_not_make_the_loop_spin(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be accepted waits, and is served as soon as there is room."""
    turns = count_turns(served, monkeypatch)
    opener = opening(served)
    with raw(served) as late:
        late.sendall(opener.first)
        with no_descriptor_left():
            served.server.run(served.echo, 0.3)
        assert not served.server._acceptor._inbounds
        spun = next(turns)
        late.sendall(sealed(opener.finish(reply_to(served, late)), "patience"))
        served.until(lambda: served.got)

    assert spun < MANY_TURNS
    assert served.got == ["patience"]


def test_a_connection_ends_although_a_forked_child_holds_a_copy(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer sees the end at once, and the kernel's reports about the copy wake nobody."""
    with raw(served) as sock:
        served.until(lambda: served.server._acceptor._strangers)
        child = os.fork()
        if child == 0:
            signal.pause()
        try:
            sock.sendall(bytes(600))
            served.until(lambda: is_dropped(sock))
            turns = count_turns(served, monkeypatch)
            served.server.run(served.echo, 0.1)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    assert next(turns) < MANY_TURNS


def test_strangers_make_room_when_descriptors_run_out(served: Served) -> None:
    """An honest peer does not wait for those who only hold a connection."""
    with raw(served), raw(served) as honest:
        served.until(lambda: len(served.server._acceptor._strangers) == 2)
        let_in(served, honest)
        served.until(lambda: len(served.server._acceptor._strangers) == 1)
        with raw(served) as late, no_descriptor_left():
            keys = let_in(served, late)
            late.sendall(sealed(keys, "made room"))
            served.server.run(lambda envelope: served.got.append(envelope.message), DEADLINE)

    assert served.got == ["made room"]


needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="needs root and iproute2 for a network namespace",
)


@contextlib.contextmanager
def neighbour() -> Generator[tuple[str, str]]:
    """Make another network namespace joined to this one; yield its name and our address in it."""
    name, number = f"jido{os.getpid()}", os.getpid() % 16_000
    first = ip_address("10.213.0.0") + 4 * number  # a /30 of its own, as tests run side by side
    host, guest = str(first + 1), str(first + 2)
    ours, theirs = f"vh{os.getpid()}", f"vn{os.getpid()}"
    commands = (
        f"ip netns add {name}",
        f"ip link add {ours} type veth peer name {theirs} netns {name}",
        f"ip addr add {host}/30 dev {ours}",
        f"ip link set {ours} up",
        f"ip -n {name} addr add {guest}/30 dev {theirs}",
        f"ip -n {name} link set {theirs} up",
    )
    try:
        for command in commands:
            if subprocess.run(command.split(), capture_output=True, check=False).returncode:
                pytest.skip(f"cannot make a network namespace here: {command}")
        yield name, host
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", ours], capture_output=True, check=False)


CONNECT = """
import socket, sys
try:
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
except ConnectionRefusedError:
    sys.exit(3)
sock.sendall(bytes.fromhex(sys.argv[3]))
"""


@needs_namespaces
def test_a_pickle_from_another_network_namespace_never_runs(served: Served, tmp_path: Path) -> None:
    """Another machine, or container, does not even reach an actor; a plain server it does."""
    mark = tmp_path / "mark"
    trap = pickle.dumps(Trap(mark)).hex()
    with neighbour() as (name, host), socket.create_server((host, 0)) as open_to_all:
        results = [
            subprocess.run(
                ["ip", "netns", "exec", name, sys.executable, "-c", CONNECT, host, str(port), trap],
                check=False,
                timeout=DEADLINE,
            ).returncode
            for port in (open_to_all.getsockname()[1], served.server.address.port)
        ]
        served.step()

    assert results == [0, 3]
    assert not mark.exists()
    assert served.answers()


def test_every_listener_is_bound_to_loopback(served: Served) -> None:
    """For the Admin, actors and clients alike."""
    child = ThespianTransport(served.server.prepEndpoint(ActorAddress(None), {}))
    hosts = {t._acceptor._listener.getsockname()[0] for t in (served.server, served.client, child)}
    child.close()

    assert hosts == {"127.0.0.1"}


def test_a_stranger_is_never_read_beyond_its_limit(served: Served) -> None:
    """Its bytes beyond the first frame stay with the kernel until it has proven the key."""
    with raw(served) as sock:
        sock.sendall(HEADER.pack(MAX_HELLO_BODY, Kind.HELLO, bytes(16)))
        served.until(lambda: served.server._acceptor._strangers)
        stranger: Inbound = next(iter(served.server._acceptor._strangers))
        room = stranger._decoder.room()

        assert room is not None
        assert len(room) <= MAX_HELLO_BODY
