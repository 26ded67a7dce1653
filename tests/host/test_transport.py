"""The transport: who may speak, what arrives, and what a sender learns when it does not."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import pickle
import resource
import select
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from msgspec.structs import replace
from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    InvalidActorAddress,
    WakeupMessage,
    WatchMessage,
)
from thespian.system.addressManager import ActorAddressManager, CannotPickleAddress
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.messages.status import Thespian_SystemStatus
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    ReceiveEnvelope,
    SendStatus,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    Thespian__UpdateWork,
    TransmitIntent,
    TransmitOnly,
)

from jidocode._host.transport import course, inbound, messenger, outbound, window
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import FrameDecoder, Kind, pack_count
from jidocode._host.transport.handshake import Hello, Opening, Reception
from jidocode._host.transport.key import new_key
from jidocode._host.transport.knock import Knock
from jidocode._host.transport.thespian import (
    STATUSES,
    LoopbackEndpoint,
    ThespianEnvelope,
    ThespianTransport,
)
from jidocode._host.transport.window import Outcome
from jidocode.errors import HostError
from jidocode.testing import eventually

DEADLINE = 20.0
KEY = new_key()


class Peer:
    """A transport and what came to it."""

    def __init__(self, transport: ThespianTransport) -> None:
        self.transport = transport
        self.got: list[Any] = []
        self.senders: list[ActorAddress] = []
        self.statuses: list[SendStatus.BASE] = []

    @property
    def address(self) -> ActorAddress:
        """The address as other processes have it: a copy."""
        return ActorAddress(self.transport.address)

    def take(self, envelope: ReceiveEnvelope) -> bool:
        self.got.append(envelope.message)
        self.senders.append(envelope.sender)
        return True

    def step(self, seconds: float = 0.005) -> None:
        self.transport.run(self.take, seconds)

    def intend(self, target: ActorAddress, message: object, period: float | None = None) -> None:
        def note(status: SendStatus.BASE, _intent: TransmitIntent) -> None:
            self.statuses.append(status)

        self.transport.scheduleTransmit(
            None, TransmitIntent(target, message, note, note, maxPeriod=period)
        )


def until(condition: Callable[[], object], *peers: Peer) -> None:
    """Run *peers* in turn until *condition* holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        for peer in peers:
            peer.step()


def greet(one: Peer, two: Peer) -> None:
    """Have *one* let in by *two*, which acknowledges the first message at once."""
    one.transport.send(two.transport.address, "hello")
    until(lambda: two.got and not one.transport.outstanding(), one, two)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the last messages acknowledged soon."""
    monkeypatch.setattr(inbound, "ACK_SECONDS", 0.02)


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    """Make peers of one system, and close them."""
    made: list[Peer] = []

    def make(kind: type[ThespianTransport] = ThespianTransport, key: bytes = KEY) -> Peer:
        made.append(Peer(kind(LoopbackEndpoint(key))))
        return made[-1]

    yield make
    for peer in made:
        peer.transport.close()


@pytest.fixture
def one(peers: Callable[..., Peer]) -> Peer:
    return peers()


@pytest.fixture
def two(peers: Callable[..., Peer]) -> Peer:
    return peers()


def client_of(admin: Peer) -> ThespianTransport:
    """Return the transport of a client of the system whose Admin is *admin*."""
    return ThespianTransport(LoopbackEndpoint(KEY, admin=admin.address))


def listening_at(address: LoopbackAddress) -> type[ThespianTransport]:
    """Return a transport that gets the port of *address*, as a later actor may."""

    class Reborn(ThespianTransport):
        @staticmethod
        def _listen() -> socket.socket:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", address.port))
            listener.listen(5)
            return listener

    return Reborn


@contextlib.contextmanager
def process(body: Callable[[], object]) -> Generator[int]:
    """Run *body* in a forked process and yield its pid; it is gone afterwards."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@contextlib.contextmanager
def remote_peer() -> Generator[tuple[int, ActorAddress]]:
    """Run an echo in a process of its own, and yield its pid and address."""
    reader, writer = os.pipe()

    def serve() -> None:
        transport = ThespianTransport(LoopbackEndpoint(KEY))
        os.write(writer, pickle.dumps(transport.address))

        def echo(envelope: ThespianEnvelope) -> bool:
            transport.send(envelope.origin, envelope.message)
            return True

        transport.run(echo)

    with process(serve) as pid:
        address = pickle.loads(os.read(reader, 1000))
        yield pid, ActorAddress(address)
    os.close(reader)
    os.close(writer)


def test_a_message_arrives_with_the_address_of_its_sender(one: Peer, two: Peer) -> None:
    """The receiver can answer."""
    one.transport.send(two.transport.address, {"question": 1})
    until(lambda: two.got, one, two)
    two.transport.send(two.transport.resolve(two.senders[0]), "answer")
    until(lambda: one.got, one, two)

    assert two.got == [{"question": 1}]
    assert one.got == ["answer"]
    assert two.senders == [one.address]


def test_messages_to_one_target_keep_their_order(one: Peer, two: Peer) -> None:
    """Whichever way they are sent."""
    for number in range(100):
        if number % 3:
            one.transport.send(two.transport.address, number)
        else:
            one.intend(two.address, number)
    until(lambda: len(two.got) == 100, one, two)

    assert two.got == list(range(100))


def test_two_peers_share_one_connection_per_direction(one: Peer, two: Peer) -> None:
    """Connections are reused, not made per message."""
    for _ in range(10):
        one.got.clear()
        two.got.clear()
        one.transport.send(two.transport.address, "x")
        two.transport.send(one.transport.address, "y")
        until(lambda: one.got and two.got, one, two)

    assert len(one.transport._acceptor._inbounds) == len(two.transport._acceptor._inbounds) == 1
    assert len(one.transport._links) == len(two.transport._links) == 1


def test_a_message_to_oneself_arrives_as_a_copy(one: Peer) -> None:
    """As it would from anybody else."""
    message = ["list"]
    one.transport.send(one.transport.address, message)
    message.append("changed")
    until(lambda: one.got, one)

    assert one.got == [["list"]]


def test_an_intent_ends_as_sent_when_the_target_has_it(one: Peer, two: Peer) -> None:
    """Not before: Thespian's promise is an acknowledgement."""
    one.intend(two.address, "hello")
    one.step()
    assert one.statuses == []

    until(lambda: one.statuses, one, two)

    assert one.statuses == [SendStatus.Sent]
    assert two.got == ["hello"]


def test_an_intent_to_oneself_ends_as_sent(one: Peer) -> None:
    """Thespian uses it to hand notices to its own loop."""
    one.intend(one.address, "notice")
    until(lambda: one.got, one)

    assert one.got == ["notice"]
    assert one.statuses == [SendStatus.Sent]


@pytest.fixture
def no_late_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have messages acknowledged for a reason, and never for their number or age."""
    monkeypatch.setattr(inbound, "ACK_SECONDS", 1000.0)
    monkeypatch.setattr(inbound, "ACK_EVERY", 1000)


def test_messages_are_acknowledged_together(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One per message would cost as much as the message. Only the first has one of its own."""
    monkeypatch.setattr(inbound, "ACK_SECONDS", 1000.0)
    acks: list[int] = []
    reply = inbound.Inbound._reply

    def noted(self: inbound.Inbound, kind: Kind, count: int) -> None:
        acks.append(count)
        reply(self, kind, count)

    monkeypatch.setattr(inbound.Inbound, "_reply", noted)
    for number in range(1 + 2 * inbound.ACK_EVERY):
        one.transport.send(two.transport.address, number)
        until(lambda: len(two.got) == number + 1, one, two)  # noqa: B023 - run at once
    until(lambda: not one.transport.outstanding(), one)

    assert acks == [1, 1 + inbound.ACK_EVERY, 1 + 2 * inbound.ACK_EVERY]


def test_a_single_message_is_acknowledged_too(one: Peer, two: Peer) -> None:
    """A little later, and without another message."""
    greet(one, two)
    one.transport.send(two.transport.address, "alone")
    until(lambda: not one.transport.outstanding(), one, two)

    assert two.got == ["hello", "alone"]


@pytest.mark.usefixtures("no_late_ack")
def test_who_drains_asks_for_what_is_not_acknowledged(one: Peer, two: Peer) -> None:
    """An actor that exits does not wait for others to take their time."""
    greet(one, two)
    one.transport.send(two.transport.address, "last words")
    runner = threading.Thread(target=one.transport.run, args=(TransmitOnly, DEADLINE), daemon=True)
    runner.start()
    until(lambda: not runner.is_alive(), two)

    assert two.got == ["hello", "last words"]
    assert one.transport.outstanding() == 0


def test_a_message_is_at_risk_until_the_peer_lets_its_sender_in(one: Peer, two: Peer) -> None:
    """A connection that nobody has accepted may be dropped with all that is in it."""
    one.transport.send(two.transport.address, "hello")
    before = one.transport.at_risk()
    until(lambda: not one.transport.at_risk(), one, two)

    assert before == 1
    assert two.got == ["hello"]


@pytest.mark.usefixtures("no_late_ack")
def test_what_the_kernel_has_sent_is_read_after_the_end_of_its_sender(one: Peer, two: Peer) -> None:
    """Nobody has to wait for a busy peer before it exits."""
    greet(one, two)
    for word in ("my", "last", "words"):
        one.transport.send(two.transport.address, word)
    outstanding, at_risk = one.transport.outstanding(), one.transport.at_risk()
    one.transport.close()
    until(lambda: len(two.got) == 4, two)

    assert (outstanding, at_risk) == (3, 0)
    assert two.got == ["hello", "my", "last", "words"]


def test_what_the_kernel_cannot_send_yet_is_at_risk(one: Peer, two: Peer) -> None:
    """The peer does not read, and its buffer is full."""
    greet(one, two)
    one.transport.send(two.transport.address, bytes(50_000_000))
    at_risk = one.transport.at_risk()
    until(lambda: not one.transport.at_risk(), one, two)

    assert at_risk == 1


@pytest.mark.usefixtures("no_late_ack")
def test_an_actor_that_stops_acknowledges_what_it_has_handled(one: Peer, two: Peer) -> None:
    """Otherwise its end would make the order to stop a failure."""
    failed: list[str] = []
    greet(one, two)
    one.transport.send(two.transport.address, "stop", lambda _: failed.append("stop"))
    two.transport.run(lambda _: False, DEADLINE)
    until(lambda: not one.transport.outstanding(), one)

    assert failed == []


def test_a_dead_target_is_reported_from_the_loop_and_not_from_send(one: Peer, two: Peer) -> None:
    """The connection is refused; nobody waits for a time-out."""
    two.transport.close()
    failed: list[str] = []
    one.transport.send(two.transport.address, "x", lambda _: failed.append("send"))
    one.intend(two.address, "y")
    assert failed == []
    assert one.statuses == []

    until(lambda: failed and one.statuses, one)

    assert failed == ["send"]
    assert one.statuses == [SendStatus.DeadTarget]
    assert one.transport._links == {}


def test_what_a_killed_process_had_not_acknowledged_is_reported(one: Peer) -> None:
    """Kill -9 in the middle of a conversation."""
    with remote_peer() as (pid, address):
        one.intend(address, "before")
        until(lambda: one.statuses, one)
        os.kill(pid, signal.SIGSTOP)
        failed: list[int] = []

        def note(number: int, _status: Outcome) -> None:
            failed.append(number)

        for number in range(3):
            one.transport.send(one.transport.resolve(address), number, partial(note, number))
        one.intend(address, "after")
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(one.statuses) == 2, one)

    assert one.statuses == [SendStatus.Sent, SendStatus.DeadTarget]
    assert failed == [0, 1, 2]


def test_a_message_for_a_dead_actor_never_reaches_the_next_one_on_its_port(
    one: Peer, two: Peer, peers: Callable[..., Peer]
) -> None:
    """The nonce tells two lives on one port apart, and the sender learns of it."""
    stale = two.address
    two.transport.close()
    three = peers(listening_at(two.transport.address))
    assert three.transport.address.port == two.transport.address.port
    one.intend(stale, "for the dead")
    failed: list[str] = []
    one.transport.send(two.transport.address, "for the dead", lambda _: failed.append("send"))
    until(lambda: one.statuses and failed, one, three)
    one.transport.send(three.transport.address, "for the living")
    until(lambda: three.got, one, three)

    assert one.statuses == [SendStatus.DeadTarget]
    assert three.got == ["for the living"]


def test_a_long_message_for_a_dead_actor_is_refused_as_well(
    one: Peer, two: Peer, peers: Callable[..., Peer]
) -> None:
    """The refusal is read although the connection is reset under the message."""
    stale = two.address
    two.transport.close()
    three = peers(listening_at(two.transport.address))
    one.intend(stale, bytes(20 << 20))
    until(lambda: one.statuses, one, three)

    assert one.statuses == [SendStatus.DeadTarget]
    assert three.got == []


class Fake:
    """A target made by hand: it reads the HELLO, and replies what it likes."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = ActorAddress(LoopbackAddress(self.server.getsockname()[1], 7))

    def reply(self, opener: Peer, *replies: tuple[Kind, int]) -> socket.socket:
        """Accept a connection of *opener*, let it in, reply to its message, and return it."""
        sock, _ = self.server.accept()
        decoder = FrameDecoder(1000)
        decoder.receive(sock.recv(10_000))
        hello = decoder.next_frame()
        assert hello is not None
        reception = Reception(KEY, 7, hello)
        assert reception.keys is not None
        sock.sendall(reception.reply)
        until(lambda: select.select([sock], [], [], 0)[0], opener)
        back = reception.keys.back
        for kind, count in replies:
            sock.sendall(back.seal(kind, pack_count(count)) + pack_count(count))
        return sock


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.server.close()


def test_a_foreign_server_on_a_dead_actors_port_is_a_dead_target(one: Peer, fake: Fake) -> None:
    """It may speak any protocol, and knows nothing of ours."""
    one.intend(fake.address, "x")
    foreign, _ = fake.server.accept()
    foreign.sendall(b"220 mail.example.org ESMTP" + bytes(40))
    until(lambda: one.statuses, one)
    foreign.close()

    assert one.statuses == [SendStatus.DeadTarget]


def test_an_acknowledgement_without_the_key_is_none(one: Peer, fake: Fake) -> None:
    """A stranger on the port cannot make a lost message pass for a delivered one."""
    one.intend(fake.address, "x")
    one.step()
    foreign, _ = fake.server.accept()
    key = new_key()
    opener = Opening(key, Hello(one.transport.address, 7))
    decoder = FrameDecoder(1000)
    decoder.receive(opener.first)
    hello = decoder.next_frame()
    assert hello is not None
    foreign.sendall(Reception(key, 7, hello).reply)
    until(lambda: one.statuses, one)
    foreign.close()

    assert one.statuses == [SendStatus.DeadTarget]


@pytest.mark.parametrize("reply", [(Kind.ACK, 2), (Kind.HELLO, 1)])
def test_a_target_that_breaks_the_protocol_is_given_up(
    one: Peer, fake: Fake, reply: tuple[Kind, int]
) -> None:
    """More acknowledged than was sent, or a reply that is none."""
    one.intend(fake.address, "x")
    with fake.reply(one, reply):
        until(lambda: one.statuses, one)

    assert one.statuses == [SendStatus.DeadTarget]


def test_a_rejection_belongs_to_its_connection(one: Peer, fake: Fake) -> None:
    """Places are counted anew when a connection is opened again."""
    one.intend(fake.address, "x")
    fake.reply(one, (Kind.REJECT, 0)).close()
    until(lambda: select.select([fake.server], [], [], 0)[0], one)
    with fake.reply(one, (Kind.ACK, 1)):
        until(lambda: one.statuses, one)

    assert one.statuses == [SendStatus.Sent]


def test_a_target_that_dies_before_it_accepts_is_reported(one: Peer) -> None:
    """The refusal comes late, when the connection was already being made."""
    with contextlib.ExitStack() as stack, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        one.intend(ActorAddress(LoopbackAddress(full.getsockname()[1], 7)), "x")
        one.step()
        full.close()
        until(lambda: one.statuses, one)

    assert one.statuses == [SendStatus.DeadTarget]


def test_a_connection_that_is_dropped_unread_is_opened_again(
    one: Peer, two: Peer, peers: Callable[..., Peer]
) -> None:
    """A target under flood may drop a connection that it has not read; nothing is lost."""
    address = two.transport.address
    two.transport.close()
    with socket.create_server(("127.0.0.1", address.port)) as server:
        one.intend(ActorAddress(address), "x")
        dropped, _ = server.accept()
        dropped.close()

    class SameLife(listening_at(address)):  # type: ignore[misc]
        @staticmethod
        def _draw_nonce() -> int:
            return address.nonce

    three = peers(SameLife)
    until(lambda: one.statuses, one, three)

    assert three.got == ["x"]
    assert one.statuses == [SendStatus.Sent]


def test_an_intent_expires(one: Peer, two: Peer) -> None:
    """A target that does not answer does not hold an intent for ever."""
    one.intend(two.address, "x", 0.05)
    one.intend(two.address, "y", 1000)
    until(lambda: one.statuses, one)

    assert one.statuses == [SendStatus.Failed]


def test_an_intent_that_expires_before_it_is_sent_is_never_delivered(one: Peer, two: Peer) -> None:
    """It stood behind a message that the stopped target did not take."""
    one.intend(two.address, bytes(32 << 20))
    one.intend(two.address, "too late", 0.05)
    until(lambda: one.statuses, one)
    assert one.statuses == [SendStatus.Failed]
    one.intend(two.address, "in time")
    until(lambda: len(one.statuses) == 3, one, two)

    assert one.statuses[1:] == [SendStatus.Sent, SendStatus.Sent]
    assert two.got[1:] == ["in time"]


def test_a_target_that_drops_every_connection_is_given_up(
    one: Peer, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives, but does not let us in: a failure, and not a dead target."""
    monkeypatch.setattr(course, "MAX_ATTEMPTS", 3)
    one.intend(fake.address, "x")
    fake.server.settimeout(0.001)

    def dropped() -> bool:
        with contextlib.suppress(TimeoutError):
            fake.server.accept()[0].close()
        return bool(one.statuses)

    until(dropped, one)

    assert one.statuses == [STATUSES[Outcome.UNREACHABLE]]


def test_a_message_that_is_too_long_fails(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its sender: a target would drop the whole connection for it."""
    monkeypatch.setattr(messenger, "MAX_BODY", 100)
    one.intend(two.address, bytes(101))
    one.intend(two.address, "short")
    until(lambda: len(one.statuses) == 2, one, two)

    assert one.statuses == [STATUSES[Outcome.TOO_LONG], SendStatus.Sent]
    assert two.got == ["short"]


class _Unreadable:
    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return (_raise_secret, (self._error,))


def _raise_secret(error: type[BaseException]) -> None:
    raise error("secret of the message")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_message_that_cannot_be_unpickled_is_reported_and_hurts_nobody(
    one: Peer, two: Peer, error: type[BaseException]
) -> None:
    """The receiver goes on; the sender learns which one failed; the log shows only a type."""
    failed: list[str] = []
    logged: list[str] = []
    logger.enable("jidocode")
    sink = logger.add(logged.append)
    one.transport.send(two.transport.address, "first")
    one.transport.send(two.transport.address, _Unreadable(error), lambda _: failed.append("bad"))
    one.intend(two.address, _Unreadable(error))
    one.transport.send(two.transport.address, "last", lambda _: failed.append("last"))
    one.intend(two.address, "end")
    until(lambda: len(one.statuses) == 2, one, two)
    logger.remove(sink)
    logger.disable("jidocode")

    assert two.got == ["first", "last", "end"]
    assert failed == ["bad"]
    assert one.statuses == [SendStatus.BadPacket, SendStatus.Sent]
    assert len(logged) == 2
    assert error.__name__ in logged[0]
    assert "secret" not in logged[0]


def test_a_long_message_is_not_kept_once_it_has_arrived(one: Peer, two: Peer) -> None:
    """The connection stays, but nobody waits for the next message to get the memory back."""
    tracemalloc.start()
    try:
        one.transport.send(two.transport.address, bytes(30_000_000))
        until(lambda: two.got and not one.transport.outstanding(), one, two)
        two.got.clear()
        kept, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000


def test_a_message_that_cannot_be_pickled_raises_at_its_sender(one: Peer, two: Peer) -> None:
    """Nothing of it is sent, and the next message is not affected."""
    with pytest.raises((AttributeError, pickle.PicklingError)):
        one.transport.send(two.transport.address, lambda: None)

    one.transport.send(two.transport.address, "fine")
    until(lambda: two.got, one, two)

    assert two.got == ["fine"]


def test_the_address_of_a_child_is_used_as_soon_as_it_is_known(one: Peer, two: Peer) -> None:
    """Thespian keeps what waits for it and asks again."""
    book = ActorAddressManager(one.transport.adminAddress, one.transport.myAddress)
    one.transport.setAddressManager(book)
    child = book.createLocalAddress()
    with pytest.raises(CannotPickleAddress):
        one.intend(child, "early")

    book.associateUseableAddress(one.transport.myAddress, 0, two.address)
    one.intend(child, "known")
    until(lambda: two.got, one, two)

    assert two.got == ["known"]


def test_a_full_queue_fails_its_own_messages_and_delays_no_other_target(
    one: Peer, two: Peer, peers: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped target costs a bounded queue; when it goes on, it gets all that was taken."""
    monkeypatch.setattr(window, "MAX_QUEUED_MESSAGES", 50)
    other = peers()
    failed: list[tuple[int, Outcome]] = []

    def note(number: int, status: Outcome) -> None:
        failed.append((number, status))

    for number in range(60):
        one.transport.send(two.transport.address, number, partial(note, number))
    one.transport.send(other.transport.address, "prompt")
    until(lambda: other.got and len(failed) == 10, one, other)
    assert two.got == []

    until(lambda: not one.transport.outstanding(), one, two, other)

    assert two.got == list(range(50))
    assert failed == [(number, Outcome.TOO_MANY) for number in range(50, 60)]


def test_a_queue_is_bounded_in_bytes_and_still_takes_one_big_message(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is acknowledged makes room again."""
    monkeypatch.setattr(window, "MAX_QUEUED_BYTES", 1000)
    failed: list[str] = []
    one.transport.send(two.transport.address, b"x" * 5000, lambda _: failed.append("big"))
    one.transport.send(two.transport.address, b"y", lambda _: failed.append("small"))
    until(lambda: two.got and not one.transport.outstanding(), one, two)
    for later in (b"z1", b"z2"):
        one.transport.send(two.transport.address, later, lambda _: failed.append("later"))
    until(lambda: not one.transport.outstanding(), one, two)

    assert failed == ["small"]
    assert two.got == [b"x" * 5000, b"z1", b"z2"]


def test_a_message_of_50_megabytes_arrives(one: Peer, two: Peer) -> None:
    """In pieces, while others are served."""
    big = os.urandom(1 << 20) * 50
    one.intend(two.address, big)
    one.transport.send(two.transport.address, "after")
    until(lambda: len(two.got) == 2, one, two)
    until(lambda: one.statuses, one, two)

    assert two.got == [big, "after"]
    assert one.statuses == [SendStatus.Sent]


def test_a_long_message_goes_out_between_those_that_wait(one: Peer, two: Peer) -> None:
    """Not only when all that has come is handled."""
    big = bytes(12 << 20)
    greet(one, two)
    greet(two, one)
    for number in range(40):
        two.transport.send(one.transport.address, number)
    seen: list[bool] = []

    def handle(envelope: ReceiveEnvelope) -> bool:
        if envelope.message == 0:
            one.transport.send(two.transport.address, big)
        two.step()
        seen.append(big in two.got)
        return len(seen) < 40

    one.transport.run(handle, DEADLINE)

    assert seen[-1]


@pytest.mark.parametrize("by_continuation", [False, True])
def test_a_first_message_leaves_before_its_sender_does_more(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch, *, by_continuation: bool
) -> None:
    """It needs the consent of its target; what the sender handles next may take long."""
    monkeypatch.setattr(messenger, "WELCOME_SECONDS", DEADLINE)
    for number in range(2):
        one.transport.send(one.transport.address, number)
    runner = threading.Thread(target=two.transport.run, args=(two.take, None), daemon=True)
    runner.start()

    def handle(envelope: ReceiveEnvelope) -> bool:
        if envelope.message == 0:
            one.transport.send(two.transport.address, "first answer")
            if by_continuation:
                one.transport.send_off_soon()
        if (envelope.message == 0) == by_continuation:
            eventually(lambda: two.got, "the answer", timeout=DEADLINE)
        return bool(envelope.message == 0)

    one.transport.run(handle)
    two.transport.abort_run()
    runner.join(DEADLINE)

    assert two.got == ["first answer"]


def test_a_stopped_peer_is_not_waited_for_with_every_message(
    one: Peer, peers: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection may cost a moment, but not all of them together."""
    waits = itertools.count()
    send_off = one.transport.send_off

    def counted(deadline: float) -> None:
        next(waits)
        send_off(deadline)

    monkeypatch.setattr(one.transport, "send_off", counted)
    monkeypatch.setattr(messenger, "PATIENCE_SECONDS", 1000.0)
    stopped = [peers() for _ in range(20)]
    for number in range(20):
        one.transport.send(one.transport.address, number)

    def handle(_envelope: ReceiveEnvelope) -> bool:
        one.transport.send(stopped.pop().transport.address, "x")
        return bool(stopped)

    one.transport.run(handle)

    assert next(waits) == 1


def test_a_connection_that_the_kernel_does_not_take_is_tried_anew(one: Peer, two: Peer) -> None:
    """A full backlog drops it, and the kernel's own next try is a second away.

    So the message comes by another connection than the first.
    """
    listener = two.transport._acceptor._listener
    listener.listen(0)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            Knock.at(KEY, two.transport.address.port).give(waiting)
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        one.transport.send(two.transport.address, "x")
        [link] = one.transport._links.values()
        first = link._socket
        assert first is not None
        for _ in range(5):
            one.step(0.02)
        until(lambda: two.got, one, two)

    assert link._socket is not first


def test_many_threads_send_while_one_runs(one: Peer, two: Peer) -> None:
    """Every message arrives once, and each thread's own in order."""

    def send_all(name: int) -> None:
        for number in range(200):
            one.transport.send(two.transport.address, (name, number))

    threads = [threading.Thread(target=send_all, args=(name,), daemon=True) for name in range(8)]
    runner = threading.Thread(target=one.transport.run, args=(one.take, None), daemon=True)
    runner.start()
    for thread in threads:
        thread.start()
    until(lambda: len(two.got) == 1600 and not one.transport.outstanding(), two)
    one.transport.abort_run()
    for thread in (*threads, runner):
        thread.join(DEADLINE)

    assert not runner.is_alive()
    for name in range(8):
        assert [number for sender, number in two.got if sender == name] == list(range(200))


@pytest.mark.timeout(20)
def test_a_message_may_be_sent_where_its_thread_holds_the_link(one: Peer, two: Peer) -> None:
    """As by a signal handler, or a finalizer, that interrupts a `send`."""
    greet(one, two)
    [link] = one.transport._links.values()
    with link._gate:
        one.transport.send(two.transport.address, "meanwhile")
    until(lambda: len(two.got) == 2, one, two)

    assert two.got == ["hello", "meanwhile"]


def test_who_looks_at_a_link_sends_what_others_left_to_it_meanwhile(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They found it held, and went: nothing else would send it."""
    greet(one, two)
    unsent = outbound._unsent

    def post_and_look(sock: socket.socket) -> int:
        sender = threading.Thread(
            target=one.transport.send, args=(two.transport.address, "meanwhile")
        )
        sender.start()
        sender.join(DEADLINE)
        return unsent(sock)

    monkeypatch.setattr(outbound, "_unsent", post_and_look)
    one.transport.at_risk()
    until(lambda: len(two.got) == 2, two)

    assert two.got == ["hello", "meanwhile"]


class Joined:
    """A socket that has somebody else send something more whenever it is written to."""

    def __init__(self, sock: socket.socket, post: Callable[[int], None]) -> None:
        self.sock = sock
        self.post = post
        self.writes = 0

    def send(self, data: bytes) -> int:
        self.writes += 1
        if self.writes < 100:
            thread = threading.Thread(target=self.post, args=(self.writes,))
            thread.start()
            thread.join()
        return self.sock.send(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.sock, name)


def test_who_sends_is_not_held_by_what_others_send(
    one: Peer, two: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run loop goes on with it, turn by turn."""
    greet(one, two)
    [link] = one.transport._links.values()
    assert link._socket is not None
    joined = Joined(link._socket, lambda number: one.transport.send(two.transport.address, number))
    monkeypatch.setattr(link, "_socket", joined)
    one.transport.send(two.transport.address, 0)
    held = joined.writes
    until(lambda: len(two.got) == 101, one, two)

    assert held < 20
    assert two.got == ["hello", *range(100)]


def test_who_must_not_be_held_up_sends_what_is_quickly_sent(one: Peer, two: Peer) -> None:
    """To connect, and to seal what is long, is left to the run loop; and the order is kept."""
    gathered: list[Callable[[], None]] = []
    messages: list[Any] = ["first", "second", "third", "x" * (1 << 16)]

    def send(message: object) -> None:
        one.transport.send(two.transport.address, message, gather=gathered.append)

    send(messages[0])
    assert gathered == []
    until(lambda: two.got == messages[:1], one, two)
    for message in messages[1:3]:
        send(message)
    assert len(gathered) == 2
    assert len(set(gathered)) == 1
    send(messages[3])
    assert len(gathered) == 2
    gathered[0]()
    until(lambda: two.got == messages, one, two)


def test_a_failure_in_another_thread_is_told_by_the_running_one(one: Peer, two: Peer) -> None:
    """The runner sleeps without end until there is something to tell."""
    two.transport.close()
    told_in: list[int] = []
    runner = threading.Thread(target=one.transport.run, args=(one.take, None), daemon=True)
    runner.start()
    for _ in range(20):
        one.transport.send(
            two.transport.address, "x", lambda _: told_in.append(threading.get_ident())
        )
    one.transport.send(one.transport.address, "self")
    eventually(lambda: len(told_in) == 20 and one.got, "what both were told")
    ident = runner.ident
    one.transport.abort_run()
    runner.join(DEADLINE)

    assert set(told_in) == {ident}


def test_an_idle_connection_makes_room_when_descriptors_run_out(
    one: Peer, two: Peer, peers: Callable[..., Peer]
) -> None:
    """It is opened again when it is needed."""
    three = peers()
    one.transport.send(two.transport.address, "first")
    until(lambda: two.got and not one.transport.outstanding(), one, two)
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        one.transport.send(three.transport.address, "needs room")
        until(lambda: three.got, one, two, three)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    one.transport.send(two.transport.address, "second")
    until(lambda: len(two.got) == 2, one, two)

    assert two.got == ["first", "second"]
    assert three.got == ["needs room"]


def test_run_without_a_handler_returns_one_envelope(one: Peer, two: Peer) -> None:
    """The rest waits for the next call."""
    greet(two, one)
    two.transport.send(one.transport.address, 1)
    two.transport.send(one.transport.address, 2)
    first, second = one.transport.run(None, DEADLINE), one.transport.run(None, DEADLINE)

    assert isinstance(first, ReceiveEnvelope)
    assert isinstance(second, ReceiveEnvelope)
    assert [first.message, second.message] == [1, 2]


def test_run_ends_with_what_thespian_expects(one: Peer) -> None:
    """Expired, stopped by the handler, or aborted."""
    assert isinstance(one.transport.run(None, timedelta(milliseconds=1)), Thespian__Run_Expired)
    one.transport.send(one.transport.address, "x")
    assert isinstance(one.transport.run(lambda _: False), Thespian__Run_HandlerResult)
    one.transport.abort_run()
    assert isinstance(one.transport.run(None), Thespian__Run_Terminated)


def test_an_abort_that_drains_waits_for_what_was_sent(one: Peer, two: Peer) -> None:
    """An actor that exits gets its last words out."""
    one.intend(two.address, "last words")
    one.transport.abort_run(drain=True)
    runner = threading.Thread(target=one.transport.run, args=(one.take, None), daemon=True)
    runner.start()
    until(lambda: not runner.is_alive(), two)

    assert two.got == ["last words"]
    assert one.statuses == [SendStatus.Sent]


def test_transmit_only_counts_down_and_keeps_messages_for_later(one: Peer, two: Peer) -> None:
    """Thespian drains with it: 0 means that all is acknowledged."""
    greet(one, two)
    greet(two, one)
    until(lambda: not one.transport.outstanding(), one, two)
    two.transport.send(one.transport.address, "later")
    assert one.transport.run(TransmitOnly, 0) == 0
    one.intend(two.address, 1)
    assert isinstance(one.transport.run(TransmitOnly, 0.01), Thespian__Run_Expired)
    until(lambda: len(two.got) == 2, two)

    assert one.transport.run(TransmitOnly, DEADLINE) == 0
    assert one.got == ["hello"]
    until(lambda: len(one.got) == 2, one)
    assert one.got == ["hello", "later"]


def test_a_readable_watch_does_not_wake_a_draining_transport(one: Peer, two: Peer) -> None:
    """Nobody would read it, so it must not make the loop spin."""
    reader, writer = os.pipe()
    one.transport.set_watch([reader])
    os.write(writer, b"x")
    one.intend(two.address, "unread")
    turns = itertools.count()
    wait = one.transport.poller.wait

    def counted(deadline: float) -> None:
        next(turns)
        wait(deadline)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.transport.poller, "wait", counted)
        one.transport.run(TransmitOnly, 0.1)
    until(lambda: one.got, one)
    one.transport.set_watch([])
    os.close(reader)
    os.close(writer)

    assert next(turns) < 10
    assert isinstance(one.got[0], WatchMessage)


def test_a_watch_tells_of_readable_descriptors_until_it_is_dropped(one: Peer) -> None:
    """The same list again costs no system call."""
    reader, writer = os.pipe()
    one.transport.set_watch([reader])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.transport, "poller", None)
        one.transport.set_watch([reader])
    os.write(writer, b"x")
    until(lambda: one.got, one)
    ready = one.got[0].ready
    one.transport.set_watch([])
    one.step()
    seen = len(one.got)
    one.step()
    os.close(reader)
    os.close(writer)

    assert ready == [reader]
    assert len(one.got) == seen


def test_an_actor_may_close_what_it_watches(one: Peer, two: Peer) -> None:
    """Before it says so, and although a connection has got the number since."""
    reader, writer = os.pipe()
    one.transport.set_watch([reader])
    os.close(reader)
    os.close(writer)
    one.transport.send(two.transport.address, "reuses the number")
    assert reader in one.transport.protectedFileNumList()

    one.transport.run(TransmitOnly, 0)
    one.transport.set_watch([])
    until(lambda: two.got, one, two)
    two.transport.send(one.transport.address, "answer")
    until(lambda: one.got and not one.transport.outstanding(), one, two)

    assert one.got == ["answer"]


def test_a_closed_watch_that_a_child_still_holds_is_not_reported(one: Peer) -> None:
    """The kernel goes on reporting an open file whose number is closed here."""
    reader, writer = os.pipe()
    os.write(writer, b"x")
    with process(signal.pause):
        one.transport.set_watch([reader])
        os.close(reader)
        one.transport.set_watch([])
        one.step()
        one.step()
    os.close(writer)

    assert one.got == []


def test_a_descriptor_that_cannot_be_watched_is_left_out(one: Peer, tmp_path: Path) -> None:
    """Like one that is closed already; the others are watched."""
    reader, writer = os.pipe()
    with (tmp_path / "file").open("w") as plain:
        one.transport.set_watch([plain.fileno(), reader])
    os.write(writer, b"x")
    until(lambda: one.got, one)
    os.close(reader)
    os.close(writer)

    assert one.got[0].ready == [reader]


def test_wakeups_come_in_the_order_of_their_time(one: Peer) -> None:
    """Seconds or timedelta; the message carries what was asked for."""
    one.transport.addWakeup(0.02, "second")
    one.transport.addWakeup(timedelta(milliseconds=10), "first")
    one.transport.addWakeup(1000, "never")
    until(lambda: len(one.got) == 2, one)

    assert one.got == [
        WakeupMessage(timedelta(milliseconds=10), "first"),
        WakeupMessage(0.02, "second"),
    ]
    deadline = one.transport.next_deadline()
    assert deadline is not None
    assert deadline > time.monotonic() + 900


@pytest.mark.parametrize("far", [30 * 86_400.0, 1e300, math.inf])
def test_a_far_wakeup_does_not_end_the_loop(one: Peer, far: float) -> None:
    """Further than the kernel counts."""
    one.transport.addWakeup(far, "far")
    threading.Timer(0.01, one.transport.abort_run).start()

    assert isinstance(one.transport.run(one.take), Thespian__Run_Terminated)
    assert one.got == []


def test_a_wakeup_at_no_time_is_refused(one: Peer) -> None:
    """It would keep all others from their places."""
    with pytest.raises(ValueError, match="NaN"):
        one.transport.addWakeup(math.nan, "never")


def test_a_signal_handler_interrupts_the_wait(one: Peer) -> None:
    """Both notices come as messages, in a loop that sleeps without end."""

    def interrupt(_signal: int, _frame: object) -> None:
        one.transport.interrupt_wait(signal_shutdown=True, check_children=True)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        one.transport.run(lambda envelope: one.take(envelope) and len(one.got) < 2)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert [type(message) for message in one.got] == [ChildMayHaveDied, ActorExitRequest]


def test_a_forked_child_drops_its_copies_and_the_parent_does_not_notice(
    one: Peer, two: Peer
) -> None:
    """The child closes every descriptor of the parent's transport, and only closes."""
    one.transport.send(two.transport.address, "before")
    two.transport.send(one.transport.address, "before")
    until(lambda: one.got and two.got, one, two)
    reader, writer = os.pipe()
    mine = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - numbers are meant

    def child() -> None:
        for fd in one.transport.childResetFileNumList():
            os.close(fd)
        endpoint = one.transport.prepEndpoint(ActorAddress(None), {})
        transport = ThespianTransport(endpoint)
        transport.send(one.transport.address, "from the child")
        transport.run(TransmitOnly, DEADLINE)
        os.write(writer, b"done")

    with process(child):
        until(lambda: len(one.got) == 2, one)
        assert os.read(reader, 4) == b"done"
        one.transport.send(two.transport.address, "after")
        two.transport.send(one.transport.address, "after")
        until(lambda: len(one.got) == 3 and len(two.got) == 2, one, two)
    os.close(reader)
    os.close(writer)

    assert one.got == ["before", "from the child", "after"]
    assert set(one.transport.childResetFileNumList()) <= mine


def test_a_closed_transport_leaves_nothing_open() -> None:
    """Neither descriptors nor a promise: what was outstanding ends as Failed."""
    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers are meant
    one = Peer(ThespianTransport.for_admin(KEY))
    two = Peer(client_of(one))
    two.transport.send(one.transport.address, "x")
    one.transport.send(two.transport.address, "x")
    until(lambda: one.got and two.got, one, two)
    two.intend(one.address, "unread")
    two.transport.close()
    two.transport.close()
    one.transport.close()

    assert two.statuses == [SendStatus.Failed]
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - numbers are meant


def take_all_numbers(stack: contextlib.ExitStack, *numbers: int) -> list[int]:
    """Open files until they have the descriptors *numbers*; return all of them."""
    files: list[int] = []
    while not set(numbers) <= set(files):
        files.append(os.memfd_create("taken"))
        stack.callback(os.close, files[-1])
    return files


def test_a_closed_transport_wakes_nobody(one: Peer) -> None:
    """The number of its descriptor may be that of another file."""
    poller = one.transport.poller
    numbers = poller.filenos()
    one.transport.close()
    with contextlib.ExitStack() as stack:
        files = take_all_numbers(stack, *numbers)
        poller.wake()

        assert [os.fstat(fd).st_size for fd in files] == [0] * len(files)


class Turnstile:
    """A lock that has the first who takes it wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.come, self.go = threading.Event(), threading.Event()

    def locked(self) -> bool:
        return self.lock.locked()

    def __enter__(self) -> None:
        if not self.come.is_set():
            self.come.set()
            self.go.wait(DEADLINE)
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_who_sends_while_another_closes_writes_to_no_other_file(one: Peer, two: Peer) -> None:
    """It has come as far as the socket, and finds it closed."""
    greet(one, two)
    [link] = one.transport._links.values()
    turnstile: Any = Turnstile()
    link._writing = turnstile
    numbers = one.transport.protectedFileNumList()
    sent: list[str] = []

    def send() -> None:
        one.transport.send(two.transport.address, "late")
        sent.append("late")

    sender = threading.Thread(target=send)
    sender.start()
    turnstile.come.wait(DEADLINE)
    one.transport.close()
    with contextlib.ExitStack() as stack:
        files = take_all_numbers(stack, *numbers)
        turnstile.go.set()
        sender.join(DEADLINE)

        assert sent == ["late"]
        assert [os.fstat(fd).st_size for fd in files] == [0] * len(files)


def test_a_closed_transport_sends_nothing(two: Peer) -> None:
    """And says so, instead of losing the message."""
    one = Peer(ThespianTransport.for_admin(KEY))
    one.transport.close()

    with pytest.raises(HostError, match="closed"):
        one.transport.send(two.transport.address, "x")


def test_the_descriptor_is_readable_while_there_is_something_to_do(one: Peer, two: Peer) -> None:
    """An event loop that waits on it misses nothing, not even what handlers sent to themselves."""

    def readable() -> bool:
        return bool(select.select([one.transport.fileno()], [], [], 0)[0])

    def again(envelope: ReceiveEnvelope) -> bool:
        if envelope.message == "first":
            one.transport.send(one.transport.address, "second")
        return one.take(envelope)

    greet(two, one)
    one.transport.run(again, 0)
    assert not readable()
    two.transport.send(one.transport.address, "first")
    eventually(readable, "what can be read")
    one.transport.run(again, 0)
    assert readable()

    one.transport.run(again, 0)

    assert one.got == ["hello", "first", "second"]
    assert not readable()


def test_a_dead_child_ends_what_is_on_its_way_to_it(one: Peer, two: Peer) -> None:
    """Thespian saw it die, and says so."""
    book = ActorAddressManager(one.transport.adminAddress, one.transport.myAddress)
    one.intend(two.address, "x")
    one.transport.deadAddress(book, two.address)
    one.transport.deadAddress(book, book.createLocalAddress())
    until(lambda: one.statuses, one)

    assert one.statuses == [SendStatus.DeadTarget]


def test_the_status_counts_and_shows_no_message(one: Peer, two: Peer) -> None:
    """What is on its way, what waits to be handled, and when wake-ups come."""
    one.transport.send(two.transport.address, "secret out")
    one.transport.send(one.transport.address, "secret in")
    one.transport.addWakeup(1000, "secret payload")
    status = Thespian_SystemStatus(one.address)
    one.transport._updateStatusResponse(status)

    assert status.pendingMessages == [(one.address, two.address, "a message")]
    assert status.receivedMessages == [(one.address, one.address, "str")]
    ((owner, timer),) = status.pendingWakeups
    assert owner == one.address
    assert 900 < timer.view().remainingSeconds() <= 1000


def test_a_client_finds_the_admin_and_clones_itself(one: Peer, two: Peer) -> None:
    """Thespian's external API works with a client's transport."""
    client = client_of(one)
    clone = client.external_transport_clone()
    for transport in (client, clone):
        assert transport.getAdminAddr({}) == one.address
        transport.close()
    assert client.address != clone.address
    assert two.transport.probeAdmin(one.address)

    one.transport.close()

    assert not two.transport.probeAdmin(one.address)


def test_there_are_no_conventions(one: Peer) -> None:
    """Nobody can write an address by hand, and no other machine is asked."""
    with pytest.raises(InvalidActorAddress):
        one.transport.getAddressFromString("127.0.0.1:1900")

    assert one.transport.getConventionAddress({"Convention Address.IPv4": "10.0.0.1:1900"}) is None


def test_thespians_tickle_is_not_sent(one: Peer) -> None:
    """Its transports look at their queues for it; there is nothing to look at here."""
    one.intend(one.address, Thespian__UpdateWork())

    assert one.statuses == [SendStatus.Sent]
    assert one.got == []


def test_an_abort_ends_a_drain(one: Peer, two: Peer, peers: Callable[..., Peer]) -> None:
    """As when Thespian learns from it that a target is dead."""
    three = peers()
    three.transport.close()
    one.transport.send(two.transport.address, "nobody takes it")
    one.transport.send(three.transport.address, "dead", lambda _: one.transport.abort_run())

    assert isinstance(one.transport.run(TransmitOnly, DEADLINE), Thespian__Run_Terminated)


def test_the_key_of_a_system_is_in_no_text(one: Peer) -> None:
    """An endpoint shows up in process names and logs; the key must not."""
    endpoint = one.transport.prepEndpoint(ActorAddress(None), {})

    assert endpoint.key == KEY
    assert repr(KEY) not in repr(endpoint)
    assert len(new_key()) == 32
    assert new_key() != new_key()


def test_an_address_travels_and_stays_the_same() -> None:
    """It is a key of dictionaries and part of messages."""
    address = LoopbackAddress(4711, 99)
    copy = pickle.loads(pickle.dumps(address))

    assert copy == address
    assert hash(copy) == hash(address)
    assert address != replace(address, nonce=98)
    assert address.isLocalAddr()
    assert address.isSameSystem(ActorAddress(copy))
    assert not address.isSameSystem(ActorAddress("other"))
    assert str(address) == "127.0.0.1:4711/63"


def test_only_its_own_endpoints_make_a_transport() -> None:
    """Thespian's external init has no key in it."""
    with pytest.raises(Exception, match="expected a LoopbackEndpoint"):
        ThespianTransport(ExternalInterfaceTransportInit())
