"""What is called when a descriptor is readable, and when."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from jidocode._host.transport.key import new_key
from jidocode._host.transport.messenger import Envelope, Messenger, Turn

DEADLINE = 20.0


class Actor:
    """A messenger whose handler notes what it gets, and does what comes in turn."""

    def __init__(self) -> None:
        self.messenger = Messenger(new_key())
        self.seen: list[object] = []

    def take(self, envelope: Envelope) -> bool:
        if isinstance(envelope.message, Turn):
            envelope.message.call()
        else:
            self.seen.append(envelope.message)
        return True

    def step(self) -> None:
        self.messenger.serve(self.take, time.monotonic())

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "the awaited condition did not come"
            self.messenger.serve(self.take, time.monotonic() + 0.01)

    def note(self, what: object) -> Callable[[], None]:
        return lambda: self.seen.append(what)


@pytest.fixture
def actor() -> Iterator[Actor]:
    made = Actor()
    yield made
    made.messenger.close()


class Child:
    """A forked child that waits, and a descriptor of it."""

    def __init__(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            signal.pause()
            os._exit(0)
        self.descriptor = os.pidfd_open(self.pid)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED | os.WNOWAIT)

    def bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


@pytest.fixture
def children() -> Iterator[Callable[[], Child]]:
    """Make children, and bury them."""
    made: list[Child] = []

    def make() -> Child:
        made.append(Child())
        return made[-1]

    yield make
    for child in made:
        child.bury()


def test_a_death_comes_behind_the_messages_that_wait(
    actor: Actor, children: Callable[[], Child]
) -> None:
    """What the dead has said before is handled first."""
    child = children()
    actor.messenger.watch(child.descriptor, actor.note("death"))
    actor.messenger.send(actor.messenger.address, "before")
    child.kill()
    actor.until(lambda: "death" in actor.seen)

    assert actor.seen[:2] == ["before", "death"]


def test_all_deaths_come_before_what_follows_from_them(
    actor: Actor, children: Callable[[], Child]
) -> None:
    """One that is seen only when the first is told comes before messages that wait already."""
    first, second = children(), children()

    def tell_first() -> None:
        actor.seen.append("first")

    actor.messenger.watch(first.descriptor, tell_first)
    actor.messenger.watch(second.descriptor, actor.note("second"))
    first.kill()
    actor.messenger.poller.wait(time.monotonic() + DEADLINE)  # it is reported, and waits
    second.kill()
    actor.messenger.send(actor.messenger.address, "what follows")
    actor.until(lambda: "what follows" in actor.seen)

    assert sorted(map(str, actor.seen[:2])) == ["first", "second"]
    assert actor.seen[2] == "what follows"


def test_a_number_that_is_another_files_by_now_is_not_taken_for_a_death(
    actor: Actor, children: Callable[[], Child]
) -> None:
    """Both died at once; what the first death brings about ends the second watch."""
    dead = [children(), children()]
    reused: list[int] = []

    def told(other: Child) -> Callable[[], None]:
        def tell() -> None:
            actor.seen.append("death")
            actor.messenger.unwatch(other.descriptor)
            os.close(other.descriptor)
            living = children()
            assert living.descriptor == other.descriptor
            reused.append(other.descriptor)
            actor.messenger.watch(other.descriptor, actor.note("a living one"))

        return tell

    for child, other in zip(dead, reversed(dead), strict=True):
        actor.messenger.watch(child.descriptor, told(other))
        child.kill()
    actor.until(lambda: reused)
    for _ in range(5):
        actor.step()

    assert actor.seen.count("death") >= 1
    assert "a living one" not in actor.seen
    actor.messenger.unwatch(reused[0])


def test_a_watch_that_ended_before_its_turn_is_not_told(
    actor: Actor, children: Callable[[], Child]
) -> None:
    """The report of it waited among the messages."""
    child = children()
    actor.messenger.watch(child.descriptor, actor.note("death"))
    child.kill()
    actor.messenger.poller.wait(time.monotonic() + DEADLINE)
    actor.messenger.unwatch(child.descriptor)
    actor.messenger.unwatch(child.descriptor)
    actor.step()
    actor.step()

    assert actor.seen == []


def test_a_descriptor_is_told_as_long_as_it_is_readable(actor: Actor) -> None:
    """Whoever does not read it is called again."""
    reader, writer = os.pipe()
    actor.messenger.watch(reader, actor.note("readable"))
    actor.step()
    assert actor.seen == []
    os.write(writer, b"x")
    actor.until(lambda: len(actor.seen) >= 3)
    os.read(reader, 1)
    actor.step()
    seen = len(actor.seen)
    actor.step()
    actor.messenger.unwatch(reader)
    os.close(reader)
    os.close(writer)

    assert len(actor.seen) == seen


def test_a_readable_descriptor_does_not_make_a_sender_spin(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only sends handles nothing; it is told when messages are handled again."""
    other = Actor()
    reader, writer = os.pipe()
    turns: list[float] = []
    wait = actor.messenger.poller.wait

    def counted(deadline: float) -> None:
        turns.append(deadline)
        wait(deadline)

    monkeypatch.setattr(actor.messenger.poller, "wait", counted)
    actor.messenger.watch(reader, actor.note("readable"))
    os.write(writer, b"x")
    actor.messenger.send(other.messenger.address, "unread")
    actor.messenger.drain(time.monotonic() + 0.1)
    spun = len(turns)
    actor.until(lambda: actor.seen)
    actor.messenger.unwatch(reader)
    os.close(reader)
    os.close(writer)
    other.messenger.close()

    assert spun < 50  # some, to look after the connection; a sender that spins makes thousands


def test_an_ended_watch_that_a_child_still_holds_is_not_reported(
    actor: Actor, children: Callable[[], Child]
) -> None:
    """The kernel goes on reporting an open file whose number is closed here."""
    reader, writer = os.pipe()
    os.write(writer, b"x")
    actor.messenger.watch(reader, actor.note("readable"))
    children()  # has copies of both
    actor.messenger.unwatch(reader)
    os.close(reader)
    actor.step()
    actor.step()
    os.close(writer)

    assert actor.seen == []


def test_what_cannot_be_watched_is_refused(actor: Actor) -> None:
    """And leaves nothing behind."""
    with open(os.devnull) as plain, pytest.raises(OSError, match="not permitted"):  # noqa: PTH123
        actor.messenger.watch(plain.fileno(), actor.note("never"))
    reader, writer = os.pipe()  # probably with the same number
    actor.messenger.watch(reader, actor.note("readable"))
    os.write(writer, b"x")
    actor.until(lambda: actor.seen)
    actor.messenger.unwatch(reader)
    os.close(reader)
    os.close(writer)

    assert actor.seen[0] == "readable"
