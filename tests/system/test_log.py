"""The log of all processes, at the sinks of the app."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from limits import many_descriptors
from loguru import logger
from registrants import registrant
from servers import Group, Unspeakable, worker

from jidocode import ActorExitedError, HandlerError, SessionSystem
from jidocode._host.shipper import Shipper
from jidocode.base.log import Line
from jidocode.otp import ChildSpec, ChildType, Flags, Start, management, start
from jidocode.testing import eventually

if TYPE_CHECKING:
    from loguru import Message


@contextmanager
def sink(
    write: Callable[[Message], None], *, level: str | int = "INFO", catch: bool = True
) -> Generator[None]:
    """Have *write* get what is logged while the block runs."""
    number = logger.add(write, level=level, catch=catch)
    logger.enable("jidocode")
    try:
        yield
    finally:
        logger.disable("jidocode")
        logger.remove(number)


def test_every_record_comes_once_and_in_order(system: SessionSystem, project: Path) -> None:
    """With the process it came from, and nothing before it is asked for."""
    records: list[tuple[str, str]] = []
    session = system.create_session(project, children=[worker("talker")])
    session.call("talker", ("log", "before"))
    with sink(
        lambda m: records.append((m.record["extra"].get("process", ""), m.record["message"]))
    ):
        for turn in range(50):
            session.call("talker", ("log", f"line {turn}"))
        eventually(lambda: len(records) >= 50, "arrival of the log")

    assert records == [("worker", f"line {turn}") for turn in range(50)]


def test_a_start_from_outside_is_said_at_debug_alone() -> None:
    """And so is its next start after an end in order (OTP: no progress report)."""
    records: list[tuple[str, str]] = []
    group = ("group", "all")
    spec = ChildSpec(
        id="group", start=Start(Group, Flags(), []), type=ChildType.SUPERVISOR, name=group
    )

    def about_it() -> list[str]:
        return [level for level, text in records if "'late' runs as" in text]

    with (
        sink(lambda m: records.append((m.record["level"].name, m.record["message"])), level=0),
        start(spec) as app,
    ):
        management.start_child(app, group, registrant("late"))
        app.stop(("registrant", "late"))
        eventually(lambda: len(about_it()) >= 2, "both starts")
    assert about_it() == ["DEBUG", "DEBUG"]


def test_a_fatal_signal_leaves_its_trace(system: SessionSystem, project: Path) -> None:
    """The line of Python that was running."""
    texts: list[str] = []
    with sink(texts.append, level="ERROR"):
        session = system.create_session(project, children=[worker("doomed")])
        with pytest.raises(ActorExitedError, match="signal 11"):
            session.call("doomed", "segfault")
        eventually(lambda: any("Segmentation fault" in text for text in texts), "the trace")

    assert any("handle_call" in text for text in texts)


def test_a_sink_that_hangs_keeps_no_call_waiting(project: Path) -> None:
    """And what it cannot take is counted, even where the log is a high descriptor."""
    texts: list[str] = []
    gate = threading.Event()

    def write(message: Message) -> None:
        gate.wait()
        texts.append(message.record["message"])

    with many_descriptors(), SessionSystem() as system:
        session = system.create_session(project, children=[worker("talker")])
        with sink(write):
            session.call("talker", ("log", *["long" * 8_000] * 12))
            assert session.manager.project_root() == str(project)
            gate.set()
            last = 0
            while "the last one" not in texts:  # it may be lost, too, while the sink catches up
                session.call("talker", ("log", "the last one"))
                last += 1
            eventually(lambda: _told(texts) == 12 + last, "word of every record")


def _told(texts: list[str]) -> int:
    """Return how many records have arrived, or were counted as lost."""
    lost = [text for text in texts if text.endswith("log records of worker were lost")]
    return sum(int(text.split()[0]) for text in lost) + len(texts) - len(lost)


def test_a_sink_that_raises_harms_nothing_else(
    system: SessionSystem, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it raises is told as what any thread dies of, record by record."""
    told: list[str] = []

    def tell(args: threading.ExceptHookArgs) -> None:
        told.append(str(args.exc_value))

    monkeypatch.setattr(threading, "excepthook", tell)

    def write(message: Message) -> None:
        raise OSError(message.record["message"])

    session = system.create_session(project, children=[worker("talker")])
    with sink(write, catch=False):
        session.call("talker", ("log", "one", "two"))
        eventually(lambda: len(told) == 2, "the second failure")

    assert told == ["one", "two"]
    assert session.health_check().status.value == "healthy"


def test_what_was_logged_is_handed_over_when_close_returns(project: Path) -> None:
    """However slow the sink."""
    texts: list[str] = []
    begun = threading.Event()

    def write(message: Message) -> None:
        if not begun.is_set():
            begun.set()
            threading.Event().wait(0.2)
        texts.append(message.record["message"])

    lines = [f"line {number}" for number in range(50)]
    with SessionSystem() as system:
        session = system.create_session(project, children=[worker("talker")])
        with sink(write):
            session.call("talker", ("log", *lines))
            begun.wait()
            system.close()

    assert texts[:50] == lines


def test_a_wrong_call_of_logging_harms_nobody(system: SessionSystem, project: Path) -> None:
    """As everywhere: what a library logs in a wrong way is told on standard error."""
    texts: list[str] = []
    session = system.create_session(project, children=[worker("talker")])
    with sink(lambda message: texts.append(message.record["message"]), level="WARNING"):
        session.call("talker", ("warn", "%d", "no number"))
        session.call("talker", ("warn", "%d", 1))
        eventually(lambda: texts, "arrival of the log")

    assert texts == ["1"]


def test_a_record_that_is_too_long_is_cut(system: SessionSystem, project: Path) -> None:
    """However many bytes its characters take, and wherever it has them."""
    records: list[tuple[str, dict[str, object]]] = []
    session = system.create_session(project, children=[worker("talker")])
    with sink(lambda message: records.append((message.record["message"], message.record["extra"]))):
        session.call("talker", ("log", "\N{SNAKE}" * 40_000))
        session.call("talker", ("bind", {f"k{n}": "v" * 32_000 for n in range(20)}, "many"))
        session.call("talker", ("bind", {"k" * 300_000: "v"}, "long"))
        eventually(lambda: len(records) == 3, "arrival of the log")

    (snakes, _), (many, extra), (long, _) = records
    assert set(snakes) == {"\N{SNAKE}"}
    assert len(snakes) > 10_000
    assert len(str(extra["k19"])) > 4_000
    assert (many, long) == ("many", "long")


def test_a_sink_that_hangs_for_ever_does_not_keep_the_system(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the rest if it goes on after all."""
    monkeypatch.setattr("jidocode._host.logs.CLOSE_SECONDS", 0.1)
    texts: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def write(message: Message) -> None:
        begun.set()
        gate.wait()
        texts.append(message.record["message"])

    with SessionSystem() as system:
        session = system.create_session(project, children=[worker("talker")])
        with sink(write):
            session.call("talker", ("log", "one", "two"))
            begun.wait()
            system.close()
            assert texts == []
            gate.set()
            eventually(lambda: texts[:2] == ["one", "two"], "the rest")
    eventually(lambda: "jidocode-log" not in {thread.name for thread in threading.enumerate()})


def test_an_app_that_does_not_read_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it reads again: supervision has more to do than to report."""
    monkeypatch.setattr("jidocode._host.shipper.SEND_SECONDS", 0.5)
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reading, writing:
        writing.setblocking(False)  # noqa: FBT003 - socket's own signature
        shipper = Shipper(writing.fileno(), "supervisor")
        line = Line("DEBUG", 10, "text", "name", "path", "function", 1, {})
        with suppress(BlockingIOError):
            while True:
                writing.send(b"full")
        begun = time.monotonic()
        for _ in range(20):
            shipper.ship(line)
        assert time.monotonic() - begun < 20 * 0.5 / 2

        while reading.recv(10, socket.MSG_PEEK) == b"full":
            reading.recv(10)
            shipper.ship(line)
        assert json.loads(reading.recv(1000))["dropped"] == 20


def test_a_value_without_a_text_costs_no_record(system: SessionSystem, project: Path) -> None:
    """It says of what type it is."""
    records: list[tuple[str, object]] = []
    session = system.create_session(project, children=[worker("talker")])
    with sink(lambda m: records.append((m.record["message"], m.record["extra"].get("value")))):
        session.call("talker", ("bind", {"value": Unspeakable()}, "heard"))
        eventually(lambda: records, "arrival of the log")

    assert records == [("heard", "a value of type Unspeakable")]


def test_the_text_of_an_error_is_one_line(system: SessionSystem, project: Path) -> None:
    """Nothing that a user wrote can pass for a record, or reach the terminal."""
    texts: list[str] = []
    session = system.create_session(project, children=[worker("doomed")])
    with sink(lambda message: texts.append(message.record["message"]), level="WARNING"):
        with pytest.raises(HandlerError):
            session.call("doomed", ("raise", "no\n2026-01-01 forged\x1b[31m" + "x" * 10_000))
        eventually(lambda: texts, "arrival of the log")

    assert all(text.isprintable() and len(text) < 1300 for text in texts)
    assert any("forged" in text for text in texts)
