"""`jidocode logs`, of a served system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from shell import SECONDS, following, jidocode

from jidocode import SessionHandle, SessionSystem
from jidocode._host.attach import door
from jidocode._host.attach.door import ASKS_LOG, LOG
from jidocode._host.attach.visit import Visit, visit
from jidocode._host.deadline import Deadline
from jidocode._host.tail import MAX_BYTES, MAX_ENTRY, MAX_LINES, Tail, tell
from jidocode.base.log import Line
from jidocode.errors import InvalidRequestError, InvalidTimeError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.seconds import INFINITY
from jidocode.system.logged import read_log
from jidocode.testing import eventually, wait_for_restart


def crash(system: SessionSystem, session: SessionHandle) -> None:
    victim = system.get_state(session.id)
    os.kill(victim.os_pid, signal.SIGKILL)
    wait_for_restart(system, session, "state", after=victim)


def test_the_last_lines_are_shown(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """For people and for programs, as many as are wanted, also by who comes later."""
    crash(attached, opened)
    eventually(lambda: "killed by signal 9" in jidocode("logs", "--system", served))
    said = [
        json.loads(each) for each in jidocode("logs", "--system", served, "--json").split("\n")[:-1]
    ]
    [error] = [each for each in said if each["level"] == "ERROR"]

    assert (error["process"], error["module"]) == ("session", "jidocode._host.actor.reports")
    assert "child 'state' ended: 'killed by signal 9'" in error["text"]
    assert error["pid"] == attached.get_process(opened.id, "session").os_pid
    last = jidocode("logs", "--system", served, "-n", "1").splitlines()
    assert len(last) == 1
    assert jidocode("logs", "--system", served, "-n", "0") == ""


@pytest.fixture
def followed(served: str, opened: SessionHandle) -> Iterator[subprocess.Popen[str]]:
    """`jidocode logs --follow`, that has said what there was."""
    del opened
    with following("logs", "--system", served) as process:
        assert process.stdout is not None
        line: dict[str, Any] = {"text": ""}
        while "child 'state' runs" not in line["text"]:
            line = json.loads(process.stdout.readline())
        yield process


def test_they_are_followed(
    followed: subprocess.Popen[str], attached: SessionSystem, opened: SessionHandle
) -> None:
    """Each as it comes."""
    assert followed.stdout is not None
    crash(attached, opened)
    line = json.loads(followed.stdout.readline())
    while line["level"] != "ERROR":
        line = json.loads(followed.stdout.readline())
    assert "killed by signal 9" in line["text"]


def test_following_ends_with_the_system(name: str) -> None:
    """As an end that is wanted; and one that asks a system that is gone is told so."""
    with SessionSystem(name=name, durability="memory"):
        lines = read_log(name, last=100, follow=True)
        assert "registry" in next(lines).text
    assert all(each.process for each in lines)
    assert jidocode("logs", "--system", name, status=1).count("\n") == 1


def test_who_reads_the_log_counts_as_attached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """He is not sent away while he waits, and forgotten when he goes."""
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.05)
    with SessionSystem(name=name, durability="memory") as system:
        client: Any = system._running.client
        lines = read_log(name, last=1, follow=True)
        next(lines)
        assert (client.visitors, client.idle_since) == (1, None)
        later = threading.Event()
        client._messenger.after(0.2, later.set)
        assert later.wait(SECONDS)
        with SessionSystem.attach(name) as other:
            registry = other.whereis(REGISTRY)
            assert registry is not None
            os.kill(registry.os_pid, signal.SIGKILL)
        assert any("registry" in each.text for each in lines)
        lines.close()
        eventually(lambda: client.visitors == 0)


def test_who_asks_wrongly_is_sent_away(name: str) -> None:
    """And nobody else notices."""
    with SessionSystem(name=name, durability="memory") as system:
        client: Any = system._running.client
        inside = visit(name, Deadline.after(10.0))
        assert b"registry" in inside.ask(LOG.pack(ASKS_LOG, 0, 5, False), 10.0)  # noqa: FBT003 - a packet
        with pytest.raises(EOFError):
            inside.ask(LOG.pack(b"?", 0, 5, False), 10.0)  # noqa: FBT003 - a packet
        inside.close()
        eventually(lambda: client.visitors == 0)
        assert len(list(read_log(name, last=2))) == 2


@pytest.mark.parametrize(("more", "lost"), [(5, 0), (2 * MAX_LINES, 2 * MAX_LINES - 980)])
def test_as_many_lines_are_read_as_are_wanted(name: str, more: int, lost: int) -> None:
    """However long they are, and however many come while they are read."""
    with SessionSystem(name=name, durability="memory") as system:
        client: Any = system._running.client
        tail: Tail = client._host.log_tail
        for number in range(100):
            tail.add(line(f"{number} {'x' * 20_000}"), 0, 100)
        lines = read_log(name, last=20)
        read = [next(lines)]
        for number in range(100, 100 + more):
            tail.add(line(f"{number} {'x' * 20_000}"), 0, 100)
        read += lines

        assert len(read) == 20
        # What the system says itself may come in between.
        assert read[0].text.startswith(("80 ", "81 ", "82 "))
        assert sum(each.lost for each in read) == pytest.approx(lost, abs=lost and 110)
        # Of fewer than are wanted, as many as there were.
        lines = read_log(name, last=2 * MAX_LINES)
        read = [next(lines)]
        there = len(tail.after(0, 2 * MAX_LINES))
        tail.add(line("later"), 0, 100)
        assert len([*read, *lines]) == there


def test_each_answer_has_all_of_its_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads slowly is not taken for a system that does not answer."""
    seconds: list[float | None] = []
    ask = Visit.ask

    def note(visit: Visit, packet: bytes, patience: float | None) -> bytes:
        seconds.append(patience)
        return ask(visit, packet, patience)

    monkeypatch.setattr(Visit, "ask", note)
    with SessionSystem(name=name, durability="memory") as system:
        client: Any = system._running.client
        for _ in range(30):
            client._host.log_tail.add(line("x" * 20_000), 0, 100)
        assert len(list(read_log(name, last=30, timeout=7.0))) == 30
    assert len(seconds) > 1
    assert set(seconds) == {7.0}


@pytest.mark.parametrize("last", [-1, 2.5, None, True])
def test_what_is_no_number_of_lines_is_refused(name: str, last: Any) -> None:
    """By an error of ours; more lines than there can be are all of them."""
    with pytest.raises(InvalidRequestError, match="last"):
        next(read_log("nobody", last=last))
    with pytest.raises(InvalidTimeError, match="timeout"):
        next(read_log("nobody", last=1, timeout=-1.0))
    with SessionSystem(name=name, durability="memory"):
        eventually(lambda: list(read_log(name, last=2**40, timeout=INFINITY)))


# ----- what is kept ----------------------------------------------------------------------------


def line(text: str, **extra: object) -> Line:
    return Line(
        "INFO", 20, text, "shop", "shop.py", "sell", 7, {"process": "till", "pid": 3, **extra}
    )


def test_what_is_kept_is_bounded() -> None:
    """In lines and in bytes; what is told of one, too, whatever was bound to it."""
    tail = Tail()
    for number in range(MAX_LINES + 10):
        tail.add(line(str(number)), 0, 100)
    kept = tail.after(0, 10_000)
    assert [each.line.text for each in (kept[0], kept[-1])] == ["10", str(MAX_LINES + 9)]
    assert [each.number for each in tail.after(MAX_LINES + 8, 10)] == [
        MAX_LINES + 9,
        MAX_LINES + 10,
    ]
    assert tail.after(tail.count, 10) == tail.after(0, 0) == []

    for _ in range(20):
        tail.add(line("\x00" * 30_000, **{"\udc80" * 9000: "\x00" * 9000}), 0, 200_000)
    kept = tail.after(0, 10_000)
    assert len(kept) <= MAX_BYTES // 200_000
    told = json.loads(tell(kept, tail.count, MAX_ENTRY))
    assert 1 <= len(told["lines"]) < len(kept)
    assert all(len(json.dumps(each)) <= MAX_ENTRY for each in told["lines"])


def test_what_a_child_says_of_itself_is_no_harm() -> None:
    """A datagram is JSON, and its values are whatever a child has written."""
    tail = Tail()
    tail.add(
        Line([1], {}, {"a": 1}, 5, None, 7, "x", {"process": [], "pid": "p", "deep": [[]]}),  # type: ignore[arg-type]
        "many",  # type: ignore[arg-type]
        10,
    )
    [told] = json.loads(tell(tail.after(0, 1), tail.count, 60_000))["lines"]
    assert (told["pid"], told["lost"], told["line"], told["extra"]) == (0, 0, 0, {"deep": "list"})
