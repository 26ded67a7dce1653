"""Calls whose answers come in parts, from real processes to the app and to each other."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from servers import Group
from streamers import AsyncStreamer, streamer

import jidocode
from jidocode import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HandlerError,
    HealthStatus,
    HostExitedError,
    InvalidTimeError,
    NoProcessError,
    StreamStalledError,
)
from jidocode.otp import Application, ChildSpec, ChildType, Flags, Start, start
from jidocode.testing import eventually

PACKAGE = f"{Path(jidocode.__file__).parent}/"
WINDOW = 32
A, B, C = ("streamer", "a"), ("streamer", "b"), ("streamer", "c")
MANY = 500


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where streamer a makes a dot for each part that it has sent."""
    return tmp_path / "a"


@pytest.fixture
def app(tmp_path: Path, log: Path) -> Iterator[Application]:
    """Two servers, and one of coroutines."""
    children = [
        streamer("a", log),
        streamer("b", tmp_path / "b"),
        streamer("c", tmp_path / "c", AsyncStreamer),
    ]
    group = ChildSpec(
        id="group", start=Start(Group, Flags(max_restarts=100), children), type=ChildType.SUPERVISOR
    )
    with start(group, call_timeout=20) as running:
        yield running
        if running._running.client._ledger.ended is None:
            assert running._running.client.calls == 0


def sent(log: Path) -> int:
    """Return how many parts have been sent."""
    return log.stat().st_size if log.exists() else 0


def wait_until_sent(app: Application, log: Path, count: int) -> None:
    """Wait for *count* parts, and until all processes have answered after them."""
    eventually(lambda: sent(log) >= count, f"{count} parts")
    assert app.system_health().status is HealthStatus.HEALTHY


@pytest.mark.parametrize("target", [A, C], ids=["server", "coroutines"])
def test_all_parts_come_in_order_and_then_the_answer(app: Application, target: Any) -> None:
    """However many there are."""
    for count in (0, 1, WINDOW - 1, WINDOW, WINDOW + 1, MANY):
        stream = app.call_stream(target, ("count", count))
        assert list(stream) == list(range(count))
        assert list(stream) == []
        assert (stream.result(), stream.result()) == (count, count)


def test_a_thread_sends_parts_too(app: Application) -> None:
    """While its server answers others."""
    stream = app.call_stream(A, ("count in a thread", MANY))
    assert next(stream) == 0
    assert app.call(A, "pid")
    assert list(stream) == list(range(1, MANY))
    assert stream.result() == MANY


@pytest.mark.parametrize("target", [A, C], ids=["server", "coroutines"])
def test_a_sender_waits_for_a_slow_reader(app: Application, tmp_path: Path, target: Any) -> None:
    """It is so many parts ahead, and not more; a heartbeat finds it well meanwhile."""
    log = tmp_path / target[1]
    stream = app.call_stream(target, ("count", MANY))
    wait_until_sent(app, log, WINDOW)
    assert sent(log) == WINDOW
    assert list(islice(stream, 100)) == list(range(100))
    wait_until_sent(app, log, 100 + WINDOW // 2)
    assert sent(log) <= 100 + WINDOW
    assert stream.result() == MANY
    assert sent(log) == MANY


def test_who_calls_without_reading_parts_gets_the_answer_alone(app: Application) -> None:
    """Of the whole work, which waits for nobody."""
    assert app.call(A, ("count", MANY)) == MANY
    assert app.call(C, ("count", MANY)) == MANY


@pytest.mark.parametrize("how", ["close", "with", "del"])
@pytest.mark.parametrize("target", [A, C], ids=["server", "coroutines"])
def test_a_sender_hears_that_nobody_reads_on(
    app: Application, tmp_path: Path, how: str, target: Any
) -> None:
    """In the midst of its waiting."""
    stream = app.call_stream(target, ("count", MANY))
    log = tmp_path / target[1]
    wait_until_sent(app, log, WINDOW)
    assert next(stream) == 0
    if how == "with":
        with stream:
            pass
    elif how == "close":
        stream.close()
        stream.close()
        for _ in range(2):
            with pytest.raises(CallError, match=f"the call to streamer {target[1]} was cancelled"):
                list(stream)
        with pytest.raises(CallError, match="was cancelled"):
            stream.result()
    del stream
    gc.collect()
    assert app.call(target, "pid", timeout=10)
    assert sent(log) < MANY


@pytest.mark.parametrize("how", ["close", "kill"])
def test_a_sender_that_does_not_wait_hears_so_too(app: Application, log: Path, how: str) -> None:
    """In the midst of a callback that sends a part now and then."""
    request = "count slowly", 30, 0.1
    if how == "close":
        with app.call_stream(A, request) as stream:
            assert next(stream) == 0
    else:
        with pytest.raises(ActorExitedError):
            app.call(B, ("read one and die", A, request))
    assert app.call(A, "pid", timeout=20)
    assert sent(log) < 20


def test_parts_that_came_before_a_death_are_read_before_its_news(app: Application) -> None:
    """Those that were sent; whoever asks again hears of the death again."""
    for how, error in (("die", ActorExitedError), ("raise", HandlerError)):
        stream = app.call_stream(A, (f"count and {how}", 20))
        parts: list[int] = []
        with pytest.raises(error):
            parts.extend(stream)
        assert parts == list(range(20))
        with pytest.raises(error):
            stream.result()


def test_a_kill_ends_a_stream_wherever_it_is(app: Application) -> None:
    """While its sender waits, and while its reader does; the next life streams again."""
    for read in (0, 50):
        stream = app.call_stream(A, ("count", MANY))
        assert len(list(islice(stream, read))) == read
        ref = app.whereis(A)
        assert ref is not None
        os.kill(ref.os_pid, signal.SIGKILL)
        with pytest.raises(ActorExitedError):
            list(stream)
        assert list(app.call_stream(A, ("count", 3))) == [0, 1, 2]


def test_a_reader_waits_so_long_and_may_ask_again(
    app: Application, log: Path, tmp_path: Path
) -> None:
    """For each part anew."""
    gate = tmp_path / "gate"
    stream = app.call_stream(A, ("count until", 2, gate), timeout=0.2)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(CallTimeoutError, match=r"streamer a did not answer within 0\.2 s"):
        next(stream)
    gate.touch()
    eventually(lambda: app.call(A, "pid"), "the end of the handler")
    assert list(stream) == []
    assert stream.result() == "done"
    with pytest.raises(InvalidTimeError):
        app.call_stream(A, ("count", 1), timeout=-1)
    assert sent(log) == 2


@pytest.mark.parametrize("how", ["impatiently", "impatiently in a thread"])
def test_a_reader_that_stalls_is_given_up(app: Application, how: str) -> None:
    """It has what came before, and is told; its server goes on."""
    stream = app.call_stream(A, (how, 0.2))
    eventually(lambda: stream._source._stream.wait(0), "the refusal")  # type: ignore[attr-defined] # its pending call
    parts: list[int] = []
    with pytest.raises(StreamStalledError, match=r"no part of the answer was read for 0\.2 s"):
        parts.extend(stream)
    assert parts == list(range(WINDOW))
    assert app.call(A, "pid")


def test_what_cannot_be_sent_fails_in_its_line(app: Application) -> None:
    """As an answer that cannot."""
    with pytest.raises(HandlerError, match="the part cannot be pickled"):
        list(app.call_stream(A, "a lambda"))


def test_no_part_comes_after_the_answer(app: Application, log: Path) -> None:
    """And its sender is told so."""
    stream = app.call_stream(A, ("reply, and send", 1))
    assert list(stream) == []
    assert stream.result() == "early"
    eventually(lambda: log.exists() and log.read_text() == "False", "the sender's answer")


def test_nobody_to_stream_is_told_at_once(app: Application) -> None:
    """As to any call."""
    with pytest.raises(NoProcessError):
        app.call_stream(("streamer", "nobody"), ("count", 1))
    with pytest.raises(TypeError):
        app.call_stream(5, ("count", 1))  # type: ignore[arg-type] # on purpose
    with pytest.raises(CallError, match="cannot be pickled"):
        app.call_stream(A, lambda: None)


def test_a_closed_tree_ends_its_streams(app: Application) -> None:
    """After what has come."""
    stream = app.call_stream(A, ("impatiently", 0.5))
    assert next(stream) == 0
    app.close()
    with pytest.raises((StreamStalledError, ActorExitedError, HostExitedError)):
        list(stream)
    stream.close()


@pytest.mark.parametrize("how", ["read", "read in a thread", "begin in a thread"])
def test_servers_read_each_others_parts(app: Application, how: str) -> None:
    """By name and by ref, from a callback and from threads."""
    for count in (0, 1, MANY):
        whole = list(range(count)), count
        assert app.call(B, (how, A, ("count", count))) == whole
        assert app.call(B, (how, app.whereis(C), ("count", count))) == whole


def test_parts_are_passed_on(app: Application) -> None:
    """Whoever reads slowly holds up the first sender."""
    stream = app.call_stream(B, ("pass on", A, ("count", MANY)))
    assert list(stream) == list(range(MANY))
    assert stream.result() == "passed on"


def test_a_server_that_reads_no_more_says_so(app: Application, log: Path) -> None:
    """Also one that is killed in the midst of it, which says nothing."""
    for how in ("read one", "read one and die"):
        log.unlink(missing_ok=True)
        before = app.call(A, "pid")
        try:
            assert app.call(B, (how, A, ("count", MANY))) == 0
        except ActorExitedError:
            assert how == "read one and die"
        assert app.call(A, "pid", timeout=3) == before
        assert sent(log) < MANY


def test_a_server_hears_of_its_senders_death(app: Application) -> None:
    """And of nobody there."""
    with pytest.raises(HandlerError, match="ActorExitedError"):
        app.call(B, ("read", A, ("count and die", 5)))
    with pytest.raises(HandlerError, match="NoProcessError"):
        app.call(B, ("read", ("streamer", "nobody"), ("count", 1)))


def test_a_fork_of_a_reader_closes_nothing(app: Application) -> None:
    """And dies of nothing."""
    assert app.call(B, ("fork and close", A, ("count", 50))) == (0, list(range(50)))


def test_many_streams_at_once_do_not_mix(app: Application) -> None:
    """From one process and from several."""

    def read(number: int) -> bool:
        target = (A, B, C)[number % 3]
        how = "count" if target == C else "count in a thread"
        stream = app.call_stream(target, (how, MANY))
        return list(stream) == list(range(MANY)) and stream.result() == MANY

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(read, range(24)))


def descriptors(app: Application, name: Any) -> int:
    ref = app.whereis(name)
    assert ref is not None
    return len(os.listdir(f"/proc/{ref.os_pid}/fd"))  # noqa: PTH208 - a number is what is wanted


def test_large_parts_wait_for_their_reader_too(app: Application) -> None:
    """However many megabytes are under way: none is dropped, and no answer overtakes them."""
    stream = app.call_stream(A, ("blocks", 40, 2**23))
    eventually(lambda: app.call(B, "pid"), "the others")
    assert [part[0] for part in stream] == list(range(40))
    assert stream.result() == 40
    with pytest.raises(HandlerError, match=r"the part has \d+ bytes, and may have"):
        list(app.call_stream(A, ("blocks", 1, 2**25)))


def test_streams_leave_nothing_in_their_sender(app: Application) -> None:
    """Also those that it has just begun to wait for when they end."""
    assert list(app.call_stream(A, ("count in a thread", WINDOW + 1)))
    before = descriptors(app, A)
    for _ in range(500):
        assert len(list(app.call_stream(A, ("count in a thread", WINDOW + 1)))) == WINDOW + 1
    eventually(lambda: descriptors(app, A) <= before, "no more descriptors than before")


def test_a_signal_handler_that_raises_takes_no_part_away(app: Application) -> None:
    """Whoever catches that, and reads on, has all of them."""

    class Rung(Exception):  # noqa: N818 - no failure
        pass

    def ring(_signal: int, frame: FrameType | None) -> None:
        # In a callback that Python itself runs, for the garbage of others, nobody could catch it.
        if frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            raise Rung

    previous = signal.signal(signal.SIGALRM, ring)
    parts: list[int] = []
    rung = 0
    stream = app.call_stream(A, ("count", 3000))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        while len(parts) < 3000:
            try:
                part = next(stream)
                parts.append(part)
            except Rung:
                rung += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert parts == list(range(3000))
    assert rung
    assert stream.result() == 3000
