"""One command as its server has it: what it is told, and what is kept of it."""

from __future__ import annotations

import gc
import os
import select
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from jidocode import CommandError, CommandRunningError, InvalidRequestError
from jidocode.session.commands import limits, operations, words
from jidocode.session.commands.channel import Channel
from jidocode.session.commands.loop import EventLoop
from jidocode.session.commands.result import OutputChunk
from jidocode.session.commands.running import RunningCommand
from jidocode.session.commands.streams import Streams
from jidocode.session.commands.wanted import Wanted
from jidocode.session.commands.watch import Changes


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """A loop that runs in the test's own thread, when it is told to."""
    loop = EventLoop()
    yield loop
    loop.close()


def run_for(loop: EventLoop, seconds: float) -> None:
    loop._stopped = False  # it is used again
    loop.call_later(seconds, loop.stop)
    loop.run()


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The ends of a channel: the server's, and its runner's."""
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def start(loop: EventLoop, channel: Channel, wanted: Wanted) -> RunningCommand:
    streams = Streams.pipes(has_input=wanted.stdin is not None, merge=False)
    return RunningCommand(
        loop,
        wanted,
        channel,
        streams,
        output_limit=2**10,
        saved=None,
        on_free=Channel.close,
        on_build=os.close,
        changes=Changes,
        on_end=lambda: None,
    )


def fill(channel: Channel) -> int:
    """Send words that nobody reads until no more can be sent; return how many were."""
    for number in range(100_000):
        try:
            if not channel.send(words.word(words.SIGNAL, 1)):
                return 0
        except BlockingIOError:
            return number
    return 0


def finish(loop: EventLoop, theirs: Channel) -> None:
    for word in (words.word(words.STARTED, 1), words.word(words.EXITED, 0)):
        theirs.send(word)
    theirs.send(words.word(words.GONE))
    run_for(loop, 0.05)


def test_nobody_waits_for_who_does_not_read(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill, ours)
        try:
            assert filled.result(10)
        finally:
            theirs.close()  # whoever waits is told that nobody is there


def test_who_stops_waiting_is_forgotten(loop: EventLoop, ends: tuple[Channel, Channel]) -> None:
    """Somebody may ask a thousand times a minute whether a server still runs."""
    ours, theirs = ends
    command = start(loop, ours, Wanted("1", ("x",)))
    waits = [command.wait(0.0) for _ in range(10)]
    kept = [weakref.ref(wait) for wait in waits]
    last = command.wait(60.0)
    run_for(loop, 0.05)
    with pytest.raises(CommandRunningError):
        waits[0].result(0)  # type: ignore[union-attr] # it is a future while it runs
    waits.clear()
    gc.collect()
    assert [ref() for ref in kept] == [None] * 10
    finish(loop, theirs)
    assert last.result(0) == command.result  # type: ignore[union-attr] # as above


def write_all(loop: EventLoop, command: RunningCommand, most: int) -> int:
    """Write output until *most* bytes are written, or are not taken; return how many were."""
    pipe = command._streams.theirs[1]
    os.set_blocking(pipe, False)
    written = rounds = 0
    while written < most and rounds < 2:
        rounds += 1
        with suppress(BlockingIOError):
            while written < most:
                written += os.write(pipe, b"x" * 2**12)
                rounds = 0
        run_for(loop, 0.01)
    return written


def read_some(command: RunningCommand, offset: int, reader: int = 1) -> OutputChunk:
    chunk = command.read(offset, "stdout", 2**16, 0.0, reader)
    assert isinstance(chunk, OutputChunk)
    return chunk


def test_a_command_waits_for_who_follows_it(loop: EventLoop, ends: tuple[Channel, Channel]) -> None:
    """All that it writes is read, though it is more than is kept; the slowest one counts."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    most = 2**20
    read_some(command, 0, reader=2)
    chunk = read_some(command, 0)
    written = write_all(loop, command, most)
    assert written < most
    while (chunk := read_some(command, chunk.next_offset)).data:
        pass
    assert write_all(loop, command, most) == 0  # the other one has read nothing
    while written < most:
        read_some(command, chunk.next_offset, reader=2)
        written += write_all(loop, command, most - written)
        last, chunk = chunk, read_some(command, chunk.next_offset)
        assert chunk.offset == last.next_offset
    assert chunk.offset > most - 2**18
    finish(loop, ends[1])


def test_a_first_reader_is_waited_for(loop: EventLoop, ends: tuple[Channel, Channel]) -> None:
    """A program may have written more than is kept before anybody knows that it runs."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    command.expect_readers()
    written, most = write_all(loop, command, 2**20), 2**20
    assert written < most
    chunk = read_some(command, 0)
    while written < most:
        written += write_all(loop, command, most - written)
        last, chunk = chunk, read_some(command, chunk.next_offset)
        assert chunk.offset == last.next_offset
    finish(loop, ends[1])


def test_who_holds_a_command_has_no_more_kept(
    loop: EventLoop, ends: tuple[Channel, Channel]
) -> None:
    """However long he does: the command waits, and nothing is read meanwhile."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    read_some(command, 0)
    write_all(loop, command, 2**20)
    kept = command.kept
    for _ in range(20):
        read_some(command, 0)
        assert write_all(loop, command, 2**20) == 0
    assert command.kept == kept
    finish(loop, ends[1])


def write_on(loop: EventLoop, command: RunningCommand, most: int = 2**22) -> None:
    """Write *most* bytes, as a command does that nobody holds up for good."""
    deadline = time.monotonic() + 20
    while most:
        most -= write_all(loop, command, most)
        assert time.monotonic() < deadline, "it is held up"


def test_a_command_waits_for_nobody_who_does_not_go_on(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it goes on as if nobody had read, and what was not read is cut out."""
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.05)
    command = start(loop, ends[0], Wanted("1", ("x",)))
    most = 2**22
    read_some(command, 0)
    write_on(loop, command, most)
    assert command.kept == 2**10 + 1
    first = read_some(command, 0)
    assert (first.offset, first.next_offset) == (0, 2**9)
    assert read_some(command, 2**9).offset == most - 2**9
    finish(loop, ends[1])


@pytest.mark.parametrize("before", [0, 2**9], ids=["waits", "answered at once"])
def test_who_has_vanished_is_waited_for_from_his_last_answer_on(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """However long he would have waited for it, and whether he had to."""
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.05)
    command = start(loop, ends[0], Wanted("1", ("x",)))
    write_all(loop, command, before)
    command.read(0, "stdout", 2**9, 60.0, 1)
    write_on(loop, command)
    finish(loop, ends[1])


def test_a_question_that_waits_is_waited_for(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer may come later than a reader has, who was answered."""
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.0)
    command = start(loop, ends[0], Wanted("1", ("x",)))
    asked = command.read(0, "stdout", 2**9, 60.0, 1)
    monkeypatch.setattr(limits, "HOLD_SECONDS", 60.0)
    assert write_all(loop, command, 2**20) < 2**20
    assert asked.result(0).next_offset == 2**9  # type: ignore[union-attr] # it has waited
    finish(loop, ends[1])


def test_a_command_is_held_for_as_long_as_its_slowest_reader_has(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first one that never comes has less time than the others."""
    monkeypatch.setattr(limits, "FIRST_HOLD_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HOLD_SECONDS", 60.0)
    command = start(loop, ends[0], Wanted("1", ("x",)))
    command.expect_readers()
    write_on(loop, command)
    finish(loop, ends[1])


def test_a_first_reader_has_his_time_from_the_start_on(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: before it he knows of no command."""
    ours, theirs = ends
    monkeypatch.setattr(limits, "FIRST_HOLD_SECONDS", 0.0)
    command = start(loop, ours, Wanted("1", ("x",)))
    command.expect_readers()
    monkeypatch.setattr(limits, "FIRST_HOLD_SECONDS", 60.0)
    theirs.send(words.word(words.STARTED, 1))
    run_for(loop, 0.01)
    assert write_all(loop, command, 2**20) < 2**20
    theirs.send(words.word(words.GONE))
    run_for(loop, 0.05)


def test_nobody_is_remembered_who_follows_no_more(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing is written any more: as soon as another one follows, and at the end."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    readers = [2**62 + number for number in range(3)]

    def references() -> list[int]:
        return [sys.getrefcount(reader) for reader in readers]

    before = references()
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.0)
    read_some(command, 0, readers[0])
    monkeypatch.undo()
    read_some(command, 0, readers[1])
    assert references() == [before[0], before[1] + 1, before[2]]
    finish(loop, ends[1])
    read_some(command, 0, readers[2])
    assert references() == before


def test_as_many_follow_as_may(
    loop: EventLoop, ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is told so; who follows already goes on, and there is room when one has gone."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    most = 100
    for reader in range(1, most + 1):
        read_some(command, 0, reader)
    for _ in range(2):
        with pytest.raises(CommandError, match="100 follow"):
            read_some(command, 0, most + 1)
    read_some(command, 0, most)
    read_some(command, 0, 0)
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.0)
    read_some(command, 0, most)
    read_some(command, 0, most + 1)
    finish(loop, ends[1])


def test_who_says_that_he_has_gone_holds_nothing_up(
    loop: EventLoop, ends: tuple[Channel, Channel]
) -> None:
    """At once; also if he says it again, or while a question of his is open."""
    command = start(loop, ends[0], Wanted("1", ("x",)))
    read_some(command, 0)
    asked = command.read(0, "stdout", 2**9, 60.0, 2)
    assert write_all(loop, command, 2**20) < 2**20
    command.leave("stdout", 2)
    assert asked.result(0).data  # type: ignore[union-attr] # it has waited
    assert write_all(loop, command, 2**20) == 0
    command.leave("stdout", 1)
    command.leave("stdout", 1)
    command.read(2**30, "stdout", 2**9, 60.0, 3)
    command.leave("stdout", 3)
    write_on(loop, command)
    finish(loop, ends[1])
    command.leave("stdout", 1)


@pytest.mark.parametrize("wrong", [2**64, -1, 2**2000, True, "1", None])
def test_a_place_is_a_number_of_64_bits(wrong: Any) -> None:
    """Whoever asks chooses it, and it is remembered."""
    nobody: Any = None
    with pytest.raises(InvalidRequestError, match="offset must be an int of 0 to 1844"):
        operations.read_output(nobody, "1", wrong)
    with pytest.raises(InvalidRequestError, match="reader must be an int of 0 to 1844"):
        operations.read_output(nobody, "1", 0, reader=wrong)
    with pytest.raises(InvalidRequestError, match="reader must be an int of 0 to 1844"):
        operations.leave_output(nobody, "1", "stdout", wrong)
    with pytest.raises(InvalidRequestError, match="stream must be"):
        operations.leave_output(nobody, "1", wrong, 1)


def test_what_it_was_given_to_read_is_not_kept(
    loop: EventLoop, ends: tuple[Channel, Channel]
) -> None:
    """A hundred commands that have ended are remembered, and each can have 16 MiB."""
    ours, theirs = ends
    wanted = Wanted("1", ("x", "y" * 1000), stdin=b"x" * 2**20, env={"a": "b" * 1000})
    command = start(loop, ours, wanted)
    finish(loop, theirs)
    assert command.wanted.argv == wanted.argv
    assert not command.wanted.stdin
    assert not command.wanted.env
    assert not command._input
    assert command.kept == 1001


def test_an_end_that_cannot_be_told_is_told_later(
    loop: EventLoop, ends: tuple[Channel, Channel]
) -> None:
    """Its runner may be stopped: the deadline of its command must not end the others."""
    ours, theirs = ends
    command = start(loop, ours, Wanted("1", ("x",), timeout=0.01))
    assert fill(ours)
    run_for(loop, 0.1)
    command.cancel()
    said: list[bytes] = []
    for _ in range(3):
        while select.select([theirs], [], [], 0)[0]:
            said.append(words.parse(theirs.receive()[0])[0])
        run_for(loop, 0.15)
    assert words.END in said
    finish(loop, theirs)
    assert command.result is not None
    assert command.result.timed_out
