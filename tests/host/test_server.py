"""What a server's process does: messages, answers, beginnings and ends (rows L)."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import signal
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from actors import (
    BadLastWords,
    Diary,
    Interrupter,
    LateLeaver,
    Leaver,
    Lengthy,
    Misfit,
    NeedsArguments,
    Subject,
    Talker,
    Unspeakable,
    Watcher,
    pool,
    subject,
)
from loguru import logger
from servers import notes
from trees import LONG, MakeTree, Tree, cast_to

from jidocode._host.client.news import News
from jidocode._host.deadline import Deadline
from jidocode._host.descriptors import wait_for_any
from jidocode._host.transport import messenger, window
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.wire import Pulse
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HandlerError,
    NoProcessError,
    StartFailedError,
)
from jidocode.otp import (
    INFINITY,
    ChildExited,
    ChildSpec,
    ChildStarted,
    Crashed,
    ExitReason,
    Flags,
    Killed,
    Name,
    Normal,
    Response,
    Restart,
    Shutdown,
    Start,
    Timeout,
)
from jidocode.testing import eventually, is_alive

MANY = Flags(max_restarts=1_000)
ONE_LIFE = Flags(max_restarts=0)


def lines(log: Path) -> list[str]:
    """Return the notes, without those of the starts."""
    return [line for line in notes(log) if not line.startswith("init")]


def inits(log: Path) -> int:
    return len(notes(log, "init"))


def warnings_of(run: Callable[[], object], enough: Callable[[list[str]], bool]) -> list[str]:
    """Return what the system logs while *run* runs, and until that is *enough*."""
    seen: list[str] = []
    logger.enable("jidocode")
    sink = logger.add(lambda message: seen.append(message.record["message"]), level="WARNING")
    try:
        run()
        eventually(lambda: enough(seen), f"the log ({seen})")
    finally:
        logger.remove(sink)
        logger.disable("jidocode")
    return seen


# ----- messages -------------------------------------------------------------------


def test_messages_of_one_sender_are_handled_in_order_one_at_a_time(
    tree: MakeTree, log: Path
) -> None:
    """Calls and casts share one queue."""
    running = tree(MANY, subject("a", log))
    for number in range(100):
        running.cast("a", number)
    running.call("a", "pid")
    running.cast("a", "last")
    running.call("a", "pid")

    assert lines(log) == [
        *(f"cast {number}" for number in range(100)),
        *("call pid", "cast last", "call pid"),
    ]


def test_a_continuation_runs_before_any_waiting_message(tree: MakeTree, gate: Path) -> None:
    """One that `init` leaves, and one after the other that a cast leaves."""
    diary = ChildSpec(id="d", start=Start(Diary, then="first"))
    running = tree(MANY, diary)
    running.cast("d", ("until", gate))
    running.cast("d", ("then", ("then", "third")))
    running.cast("d", "waiting")
    gate.touch()

    assert running.call("d", "read") == [
        "init",
        ("continued", "first"),
        ("then", ("then", "third")),
        ("continued", ("then", "third")),
        ("continued", "third"),
        "waiting",
    ]


def test_many_continuations_in_a_row_are_no_recursion(tree: MakeTree) -> None:
    """Each one is a turn of its own."""
    running = tree(MANY, ChildSpec(id="d", start=Start(Diary, then=("countdown", 5_000))))

    assert running.call("d", "read") == ["init", "counted down"]


def test_an_idle_server_is_told_once(tree: MakeTree, log: Path) -> None:
    """After `init` as after a call, and as often as it asks for it."""
    running = tree(MANY, ChildSpec(id="d", start=Start(Diary, log, timeout=0.001)))
    eventually(lambda: lines(log) == ["Timeout()"], "the first timeout")
    running.call("d", ("timeout", 0.001))
    eventually(lambda: lines(log) == ["Timeout()"] * 2, "the second timeout")

    assert running.call("d", "read") == ["init", Timeout(), ("timeout", 0.001), Timeout()]


def test_any_message_clears_the_idle_timeout(tree: MakeTree, log: Path, gate: Path) -> None:
    """Even one that waited when the time was over; a shorter timeout replaces a longer one."""
    running = tree(MANY, ChildSpec(id="d", start=Start(Diary, log)))
    running.cast("d", ("until", gate))
    running.cast("d", ("timeout", 0.0))
    running.cast("d", "a message")
    running.cast("d", ("timeout", 600.0))
    running.cast("d", ("timeout", 0.001))
    gate.touch()
    eventually(lambda: lines(log) == ["Timeout()"], "the timeout")

    assert running.call("d", "read") == [
        "init",
        ("timeout", 0.0),
        "a message",
        ("timeout", 600.0),
        ("timeout", 0.001),
        Timeout(),
    ]


def test_deferred_replies_go_to_those_who_wait(tree: MakeTree) -> None:
    """Many at a time, each to its own caller."""
    running = tree(MANY, subject("a"))
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(running.call, "a", "wait") for _ in range(8)]
        eventually(lambda: running.call("a", "waiting") == 8, "eight callers")
        running.call("a", "wake")

        assert [future.result() for future in waiting] == ["woken"] * 8


def test_a_reply_to_nobody_is_dropped(tree: MakeTree) -> None:
    """The caller has given up; the server does not notice."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallTimeoutError):
        running.call("a", "wait", timeout=0.01)
    running.call("a", "wake")

    assert running.call("a", ("echo", "mine")) == "mine"


def test_a_late_reply_reaches_nobody(tree: MakeTree, gate: Path) -> None:
    """The next call gets its own answer."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallTimeoutError, match=r"did not answer within 0\.01 s"):
        running.call("a", ("until", gate), timeout=0.01)
    gate.touch()

    assert [running.call("a", ("echo", number)) for number in range(3)] == [0, 1, 2]
    assert running.client.calls == 0


def test_requests_and_replies_of_every_size_arrive(tree: MakeTree) -> None:
    """Whole, and unchanged."""
    running = tree(MANY, subject("a"))
    for size in (0, 1, 65_535, 65_536, 1 << 20, 20 << 20):
        content = bytes(range(256)) * (size // 256) + bytes(size % 256)

        assert running.call("a", ("echo", content)) == content


def test_unknown_messages_are_logged_once_and_ignored(tree: MakeTree) -> None:
    """Once per type; nothing of what they hold is in the log."""
    running = tree(MANY, subject("a"), ChildSpec(id="t", start=Start(Talker)))

    def send_unknown() -> None:
        for _ in range(3):
            running.cast("a", "unknown")
            running.call("t", ("send", running.ref("a"), b"secret"))
        # What its supervisor reports of its end shows that all was handled.
        eventually(lambda: running.call("a", "handled"), "the call")
        running.cast("a", "raise")

    seen = warnings_of(send_unknown, lambda seen: any("ended" in line for line in seen))
    told = sorted(line for line in seen if "ignores" in line)

    assert told == [
        "subject ignores messages of type bytes",
        "subject ignores messages of type str",
    ]
    assert "secret" not in "".join(seen)


def test_an_unknown_call_is_refused(tree: MakeTree) -> None:
    """And the server goes on (deviation: OTP's dies of it)."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallError, match="subject does not know 'nonsense' as a call"):
        running.call("a", "nonsense")

    assert running.call("a", "handled") == 2


def test_what_a_server_prints_disturbs_nothing(tree: MakeTree) -> None:
    """Standard output is no way between processes."""
    running = tree(MANY, subject("a"))

    assert running.call("a", "print") is None
    assert running.call("a", "handled") == 2


# ----- what cannot be pickled -------------------------------------------------------


def test_a_reply_that_cannot_be_pickled_is_an_error_for_the_caller_alone(tree: MakeTree) -> None:
    """The server goes on."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallError, match=r"the reply cannot be sent: .*lambda"):
        running.call("a", "unpicklable")
    with pytest.raises(CallError, match=r"the reply cannot be sent: SystemExit: 4"):
        running.call("a", "exits when sent")

    assert running.call("a", "handled") == 2


def test_a_reply_that_cannot_be_read_is_an_error_for_the_caller_alone(tree: MakeTree) -> None:
    """The server cannot know."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallError, match="cannot read the reply of a: LookupError: it can"):
        running.call("a", "fragile")

    assert running.call("a", ("echo", 1)) == 1


@pytest.mark.parametrize("thread", ["the main thread", "another"])
def test_a_reply_at_whose_reading_one_would_exit_ends_nobody(tree: MakeTree, thread: str) -> None:
    """Neither the app nor its thread: the caller gets an error."""
    values = {Leaver: "SystemExit: 5", Interrupter: "KeyboardInterrupt", Misfit: "Unfit: unfit"}
    running = tree(MANY, subject("a"))
    for value, told in values.items():
        call = partial(running.call, "a", ("make", value))
        with (
            pytest.raises(CallError, match=f"cannot read the reply of a: .*{told}"),
            ThreadPoolExecutor(1) as pool,
        ):
            call() if thread == "the main thread" else pool.submit(call).result()

        assert running.call("a", ("echo", 1)) == 1


def test_a_ctrl_c_while_a_reply_is_read_is_one(
    tree: MakeTree, request: pytest.FixtureRequest
) -> None:
    """And no fault of the reply's."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    running = tree(MANY, subject("a"))
    with pytest.raises(KeyboardInterrupt):
        running.call("a", ("make", Lengthy))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(running.call, "a", ("make", Lengthy)).result() == "read"


def test_an_error_that_does_not_pickle_is_told_as_text(tree: MakeTree) -> None:
    """The caller raises something in any case, and the server goes on."""
    errors: list[tuple[object, str]] = [
        ("refuse fragile", "cannot read the reply of a: LookupError"),
        ("refuse turncoat", "the error of a cannot be read here: 3"),
        (("refuse", "a text"), "refused with an error that cannot be sent: 'a text'"),
        (("refuse", None), "refused with an error that cannot be sent: None"),
        ("refuse unspeakable", "refused with an error that cannot be sent: .*UnspeakableError"),
    ]
    running = tree(MANY, subject("a"))
    ref = running.ref("a")
    for request, told in errors:
        with pytest.raises(CallError, match=told):
            running.call("a", request)

        assert running.call("a", ("echo", 1)) == 1
    assert running.ref("a") == ref


def test_a_refusal_keeps_its_type_and_message(tree: MakeTree) -> None:
    """It is an answer, not a crash."""
    running = tree(MANY, subject("a"))
    with pytest.raises(LookupError, match="refused on purpose"):
        running.call("a", "refuse")

    assert running.call("a", "handled") == 2


def test_a_request_that_cannot_be_read_is_refused(
    tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class lives in a module that only the app has."""
    module = types.ModuleType("only_in_the_app")
    exec("class Order: pass", module.__dict__)  # noqa: S102 - a class that no file has
    monkeypatch.setitem(sys.modules, "only_in_the_app", module)
    running = tree(MANY, subject("a"))
    for _ in range(2):
        with pytest.raises(CallError, match="subject cannot read the request: ModuleNotFoundError"):
            running.call("a", module.Order())
        running.cast("a", module.Order())

    assert running.call("a", "handled") == 1


def test_a_request_whose_reading_fails_without_a_word_is_refused(tree: MakeTree) -> None:
    """Its error cannot be printed."""
    running = tree(ONE_LIFE, subject("a"))
    with pytest.raises(CallError, match=r"cannot read the request: .*UnspeakableError"):
        running.call("a", Unspeakable())

    assert running.call("a", ("echo", 1)) == 1


def test_a_reply_whose_reading_fails_without_a_word_is_told(tree: MakeTree) -> None:
    """As a `CallError`, not as what printing it raises."""
    running = tree(ONE_LIFE, subject("a"))
    with pytest.raises(CallError, match=r"cannot read the reply of a: .*UnspeakableError"):
        running.call("a", "unspeakable")


def test_an_error_of_a_server_that_is_none_is_the_error_of_its_response(pair: Tree) -> None:
    """It was one where it came from."""
    pair.call("t", ("request", pair.ref("a"), "refuse turncoat"))
    [response] = messages(pair)

    assert isinstance(response.error, CallError)


def test_a_request_whose_reading_exits_is_refused(tree: MakeTree) -> None:
    """A module that exits when it is imported ends nobody."""
    running = tree(MANY, subject("a"))
    with pytest.raises(CallError, match="subject cannot read the request: SystemExit: 5"):
        running.call("a", Leaver())

    assert running.call("a", "handled") == 1


def test_a_child_at_whose_arguments_one_exits_fails_to_start(tree: MakeTree) -> None:
    """With that as the reason, and not without a word."""
    running = tree(ONE_LIFE, pool("pool"))
    spec = ChildSpec(id="a", start=Start(Subject, LateLeaver()))
    with pytest.raises(StartFailedError, match="SystemExit: 5"):
        running.start(spec, "pool")


def test_a_supervisor_survives_what_it_cannot_read_or_does_not_know(
    tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are refused, messages ignored."""
    module = types.ModuleType("only_in_the_app")
    exec("class Order: pass", module.__dict__)  # noqa: S102 - idem
    monkeypatch.setitem(sys.modules, "only_in_the_app", module)
    running = tree(MANY, subject("a"), ChildSpec(id="t", start=Start(Talker)))
    for message in (module.Order(), Leaver(), "nonsense"):
        cast_to(running.client, running.root, message)
        with pytest.raises(Exception, match=r"cannot read the request|does not know 'nonsense'"):
            running.ask(message)
    running.call("t", ("send", running.root, "nonsense"))

    assert set(running.children()) == {"a", "t"}
    assert running.events(ChildExited) == []


def test_sending_what_cannot_be_pickled_is_a_crash_like_any_other(
    tree: MakeTree, log: Path
) -> None:
    """In the line that sends it; `terminate` runs, and the supervisor acts."""
    running = tree(MANY, subject("a", log))
    ref = running.ref("a")
    with pytest.raises(HandlerError, match=r"CallError: the request cannot be pickled.*lambda"):
        running.call("a", "cast a lambda")
    reason = running.end_of(ref).reason
    running.successor(ref, "a")

    assert isinstance(reason, Crashed)
    assert "lambda" in reason.error
    assert reason.traceback
    assert [line for line in lines(log) if line.startswith("terminate")] == [f"terminate {reason}"]


def test_last_words_that_cannot_be_pickled_do_not_run_terminate_twice(
    tree: MakeTree, log: Path
) -> None:
    """The process ends all the same."""
    running = tree(MANY, ChildSpec(id="a", start=Start(BadLastWords, log)))
    ref = running.ref("a")
    with pytest.raises(ActorExitedError):
        running.call("a", "stop silently")
    running.successor(ref, "a")

    assert lines(log) == ["call stop silently", "terminate normal"]


# ----- how a server begins ----------------------------------------------------------


def test_init_that_ignores_is_no_failure(tree: MakeTree) -> None:
    """There is no process."""
    running = tree(MANY)

    assert running.start(subject("a", None, "ignore")) is None
    assert running.children()["a"].ref is None


def test_a_start_fails_with_the_reason_for_which_init_ended(tree: MakeTree, log: Path) -> None:
    """Nothing of the child stays, and `terminate` does not run."""
    ends: dict[str, ExitReason] = {
        "raise": Crashed("ValueError: init was told to raise"),
        "exit 3": Crashed("exited with status 3 and without a word"),
        "exit 0": Crashed("exited with status 0 and without a word"),
        "sys.exit 4": Crashed("SystemExit: 4"),
        "sys.exit 0": Normal(),
        "segfault": Killed(signal.SIGSEGV),
        "kill": Killed(signal.SIGKILL),
        "unfit": Crashed("actors.Unfit: unfit"),
        "interrupt": Crashed("KeyboardInterrupt"),
    }
    running = tree(MANY)
    for how, reason in ends.items():
        with pytest.raises(StartFailedError) as failed:
            running.start(subject("a", log, how))

        assert same(failed.value.reason, reason), how
        assert running.children() == {}, how
    assert not any(line.startswith("terminate") for line in lines(log))


def same(one: ExitReason, other: ExitReason) -> bool:
    """Whether two reasons are the same, whatever their tracebacks say."""
    if isinstance(one, Crashed) and isinstance(other, Crashed):
        return one.error == other.error
    return one == other


def test_an_init_that_hangs_is_killed_at_its_deadline(tree: MakeTree, log: Path) -> None:
    """No process of it is left when the start has failed."""
    running = tree(MANY)
    with pytest.raises(StartFailedError, match=r"init took longer than 2 s"):
        running.start(subject("a", log, "hang", init_timeout=2.0))
    pid = int(log.read_text().split()[-1])

    assert not is_alive(pid)
    assert running.start(subject("a", log)) is not None


def test_a_class_with_a_constructor_of_its_own_is_told_why_it_cannot_start(tree: MakeTree) -> None:
    """The error names what is missing, as a failing `init` would."""
    running = tree(MANY)
    with pytest.raises(StartFailedError, match=r"TypeError.*__init__.*number"):
        running.start(ChildSpec(id="a", start=Start(NeedsArguments)))


@pytest.mark.parametrize("end", ["kill", "exit 0", "exit 3", "segfault"])
def test_a_child_that_ends_right_after_its_init_harms_nobody(tree: MakeTree, end: str) -> None:
    """Its start has succeeded or failed, and each start that was announced has one end."""
    running = tree(MANY)
    for number in range(10):
        spec = subject(f"c{number}", None, f"and then {end}", restart=Restart.TEMPORARY)
        try:
            ref = running.start(spec)
        except StartFailedError:
            continue
        assert ref is not None
        running.end_of(ref)
    running.until(lambda: running.children() == {}, "the end of all")

    started = [event.ref for event in running.events(ChildStarted)]
    assert [event.ref for event in running.events(ChildExited)] == started


# ----- how a server ends --------------------------------------------------------------


DEATHS: list[tuple[str, ExitReason]] = [
    ("kill", Killed(signal.SIGKILL)),
    ("segfault", Killed(signal.SIGSEGV)),
    ("overflow", Killed(signal.SIGSEGV)),
    ("abort", Killed(signal.SIGABRT)),
    ("bus error", Killed(signal.SIGBUS)),
    ("exit 0", Crashed("exited with status 0 and without a word")),
    ("exit 3", Crashed("exited with status 3 and without a word")),
    ("sys.exit 0", Normal()),
    ("sys.exit 4", Crashed("SystemExit: 4")),
    ("raise", Crashed("RuntimeError: the handler was told to raise")),
    ("unfit", Crashed("actors.Unfit: unfit")),
    ("interrupt", Crashed("KeyboardInterrupt")),
    ("nothing", Crashed("bad return value: handle_call returned None")),
]


def test_every_death_has_its_reason_and_the_child_comes_back(tree: MakeTree, log: Path) -> None:
    """Told to the caller long before its timeout, and announced once."""
    running = tree(MANY, subject("a", log))
    for count, (how, reason) in enumerate(DEATHS, 1):
        ref = running.ref("a")
        with pytest.raises(CallError) as ended:
            running.call("a", how)
        end = running.end_of(ref)
        running.successor(ref, "a")

        assert same(end.reason, reason), how
        assert end.restarting, how
        assert not end.on_request, how
        assert isinstance(ended.value, (ActorExitedError, HandlerError)), how
        if isinstance(ended.value, ActorExitedError):
            assert same(ended.value.reason, reason), how
        assert running.call("a", "handled") == 1, how
        assert len(running.events(ChildExited)) == count, how
        assert len(running.events(ChildStarted)) == count + 1, how


def test_the_first_exception_ends_the_process_and_nothing_is_delivered_twice(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """`terminate` runs once, and the rest of the mailbox is lost."""
    running = tree(MANY, subject("a", log))
    ref = running.ref("a")
    running.cast("a", ("until", gate))
    running.cast("a", "raise")
    running.cast("a", "lost")
    gate.touch()
    reason = running.end_of(ref).reason
    running.successor(ref, "a")
    running.call("a", "pid")

    assert isinstance(reason, Crashed)
    assert lines(log) == ["busy", f"terminate {reason}", "call pid"]
    assert inits(log) == 2


def test_the_caller_gets_the_remote_traceback(tree: MakeTree) -> None:
    """As text, with the line that raised."""
    running = tree(MANY, subject("a"))
    with pytest.raises(HandlerError) as failed:
        running.call("a", "raise")

    assert failed.value.target == "subject"
    assert failed.value.error == "RuntimeError: the handler was told to raise"
    assert 'raise RuntimeError("the handler was told to raise")' in failed.value.remote_traceback
    assert "In the process of subject" in str(failed.value)


def test_a_crash_with_a_long_message_is_told_in_short(tree: MakeTree) -> None:
    """With its beginning and its end: the texts are kept for a long time."""
    running = tree(MANY, subject("a"))
    ref = running.ref("a")
    with pytest.raises(HandlerError, match="raised ValueError: begin") as raised:
        running.call("a", ("raise", f"begin{'x' * 1_000_000}end"))
    reason = running.end_of(ref).reason

    assert isinstance(reason, Crashed)
    for text in (raised.value.error, reason.error, reason.traceback):
        assert len(text) < 20_000
        assert text.strip().endswith("end")


@pytest.mark.parametrize("how", ["kill", "raise", "stop"])
def test_callers_that_queue_behind_a_death_learn_of_it_at_once(
    tree: MakeTree, gate: Path, log: Path, how: str
) -> None:
    """With the reason, and not by their timeout, which is long."""
    running = tree(MANY, subject("a", log))
    ref = running.ref("a")
    with ThreadPoolExecutor(8) as threads:
        busy = threads.submit(running.call, "a", ("until", gate))
        eventually(lambda: lines(log) == ["busy"], "the busy handler")
        if how != "kill":
            running.cast("a", how)
        queued = [threads.submit(running.call, "a", "handled") for _ in range(5)]
        eventually(lambda: running.client.calls == 6, "calls that queue")
        if how == "kill":
            running.kill("a")
        gate.touch()
        reason = running.end_of(ref).reason
        errors = [future.exception() for future in queued]
        first = busy.exception()

    assert {type(error) for error in errors} == {ActorExitedError}
    assert {getattr(error, "reason", None) for error in errors} == {reason}
    assert (reason == Killed(signal.SIGKILL)) == (how == "kill")
    assert isinstance(first, ActorExitedError) == (how == "kill")


def test_a_call_to_a_dead_process_fails_at_once(tree: MakeTree) -> None:
    """There is no process (OTP: noproc), and nothing is sent."""
    running = tree(MANY, subject("a"))
    ref = running.kill("a")
    with pytest.raises(NoProcessError):
        running.client.call(ref, "pid", deadline=Deadline.after(600), target="a")
    cast_to(running.client, ref, "into the void")

    assert running.call("a", "handled") == 1


def test_a_cast_to_a_dead_process_is_not_sent(tree: MakeTree) -> None:
    """Somebody else may listen on its port, and would read it."""
    running = tree(MANY, subject("a"))
    ref = running.kill("a")
    assert isinstance(ref.address, LoopbackAddress)
    with socket.create_server(("127.0.0.1", ref.address.port)) as stranger:
        cast_to(running.client, ref, "a secret")

        assert not wait_for_any([stranger.fileno()], 0)


def test_stop_with_a_reply_answers_after_terminate(tree: MakeTree, log: Path) -> None:
    """Whoever has the answer knows that `terminate` is done."""
    running = tree(MANY, subject("a", log))
    ref = running.ref("a")

    assert running.call("a", ("stop with reply", Shutdown("done"), "bye")) == "bye"
    assert lines(log) == ["terminate shutdown (done)"]
    assert running.end_of(ref).reason == Shutdown("done")


@pytest.mark.parametrize("delay", [30 * 86_400.0, INFINITY])
def test_a_server_may_wait_for_ages(tree: MakeTree, delay: float) -> None:
    """Further than the kernel counts."""
    running = tree(ONE_LIFE, Diary.child_spec())
    running.call("diary", ("timeout", delay))

    assert running.call("diary", "read") == ["init", ("timeout", delay)]


def test_an_idle_timeout_of_no_time_is_a_crash_that_says_so(tree: MakeTree) -> None:
    """It would never come, and nobody would know."""
    running = tree(MANY, Diary.child_spec())
    ref = running.ref("diary")
    running.call("diary", ("timeout", 1e9))
    running.cast("diary", ("timeout", math.nan))

    assert "timeout must be seconds" in str(running.end_of(ref).reason)


@pytest.mark.parametrize("size", [1, 3 << 19])
def test_the_news_of_an_end_do_not_overtake_an_answer(tree: MakeTree, log: Path, size: int) -> None:
    """They come over another connection, which may be read first."""
    running = tree(MANY, subject("a", log), subject("b"), subject("c"))
    running.call("a", "handled")  # the first answer takes the app's consent, which is held below
    hears = running.client._news._listener
    assert hears is not None
    held, free = threading.Event(), threading.Event()

    def hold(event: News, names: Sequence[Name]) -> None:
        held.set()
        free.wait()
        hears(event, names)

    running.client._news._listener = hold
    pid = running.ref("c").os_pid
    os.kill(running.ref("b").os_pid, signal.SIGKILL)
    held.wait()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), "the end of c")
    request = ("stop with reply", Normal(), bytes(size))
    answer = running.begin("a", request)
    eventually(lambda: inits(log) == 2, "the next a")
    free.set()

    assert answer.result() == bytes(size)


def test_stop_without_a_reply_tells_the_caller_the_reason(tree: MakeTree) -> None:
    """Not an answer, but no mystery."""
    running = tree(MANY, subject("a"))
    with pytest.raises(ActorExitedError) as ended:
        running.call("a", ("stop", Shutdown("enough")))

    assert ended.value.reason == Shutdown("enough")


def test_terminate_runs_when_a_server_can_still_do_something(tree: MakeTree, log: Path) -> None:
    """After a stop and after an exception; never after a signal (row L8)."""
    ends = {
        "stop silently": ["terminate normal"],
        "raise": ["terminate crashed: RuntimeError: the handler was told to raise"],
        "sys.exit 0": ["terminate normal"],
        "kill": [],
        "exit 3": [],
        "segfault": [],
    }
    running = tree(MANY, subject("a", log))
    for how in ends:
        ref = running.ref("a")
        with pytest.raises(CallError):
            running.call("a", how)
        running.successor(ref, "a")

    assert lines(log) == [line for how, last in ends.items() for line in (f"call {how}", *last)]


def test_a_server_hears_nothing_after_it_has_stopped(tree: MakeTree, log: Path, gate: Path) -> None:
    """Not even of a second death that it watched, and that came at the same instant."""
    watcher = ChildSpec(id="w", start=Start(Watcher, log))
    running = tree(MANY, watcher, subject("a"), subject("b"), subject("c"))
    ref = running.ref("w")
    running.call("w", ("watch", [running.ref(child) for child in "abc"]))
    busy = running.begin("w", ("until", gate))
    eventually(lambda: lines(log) == ["busy"], "the busy watcher")
    for child in "abc":
        running.kill(child)
    gate.touch()
    busy.result()
    running.successor(ref, "w")

    assert lines(log) == ["busy", "hears of Down", "terminate normal"]


# ----- servers among themselves --------------------------------------------------------


@pytest.fixture
def pair(tree: MakeTree) -> Tree:
    """A talker and a subject."""
    return tree(MANY, ChildSpec(id="t", start=Start(Talker)), subject("a"))


def messages(running: Tree, count: int = 1) -> list[Any]:
    """Return what the talker has got, as soon as that is *count* messages."""

    def enough() -> list[Any]:
        got: list[Any] = running.call("t", "messages")
        return got if len(got) >= count else []

    return eventually(enough, f"{count} messages")


def test_a_request_of_a_server_is_answered_as_a_message(pair: Tree) -> None:
    """With the token that it was given."""
    token = pair.call("t", ("request", pair.ref("a"), ("echo", 7)))

    assert messages(pair) == [Response(token, 7, None)]


def test_a_refusal_comes_as_the_error_of_the_response(pair: Tree) -> None:
    """It is the very error that the other one refused with."""
    token = pair.call("t", ("request", pair.ref("a"), "refuse"))
    [response] = messages(pair)

    assert response.token == token
    assert isinstance(response.error, LookupError)


def test_a_handler_that_raises_is_the_error_of_the_response(pair: Tree) -> None:
    """Exactly one response, although the other one also died."""
    ref = pair.ref("a")
    pair.call("t", ("request", ref, "raise"))
    pair.successor(ref, "a")
    [response] = messages(pair)

    assert isinstance(response.error, HandlerError)


def test_the_death_of_the_other_one_is_the_error_of_the_response(pair: Tree, gate: Path) -> None:
    """For the request that it was busy with and for those that waited."""
    ref = pair.ref("a")
    tokens = [pair.call("t", ("request", ref, ("until", gate))) for _ in range(3)]
    pair.kill("a")
    responses = messages(pair, 3)

    assert sorted(response.token for response in responses) == tokens
    assert {type(response.error) for response in responses} == {ActorExitedError}


def test_a_reply_before_the_end_is_not_lost(pair: Tree) -> None:
    """It comes before the news of the end, in every one of fifty rounds."""
    for number in range(50):
        ref = pair.ref("a")
        pair.call("t", ("request", ref, ("stop with reply", Normal(), number)))
        pair.successor(ref, "a")

    assert [response.value for response in messages(pair, 50)] == list(range(50))


def test_a_request_to_a_dead_process_is_an_error_at_once(pair: Tree) -> None:
    """There is no process (OTP: noproc)."""
    ref = pair.kill("a")
    pair.call("t", ("request", ref, "pid"))
    [response] = messages(pair)

    assert isinstance(response.error, NoProcessError)


def test_a_server_without_a_descriptor_left_is_well(pair: Tree) -> None:
    """It cannot say how much memory it has, and lives."""
    pair.call("a", "open all")
    [pulse] = pair.client.ping_all([pair.ref("a")], Deadline.after(LONG))

    assert isinstance(pulse, Pulse)
    assert pulse.memory is None
    assert pair.call("a", ("echo", 1)) == 1


def test_a_server_that_calls_itself_is_told_so(pair: Tree) -> None:
    """It could never answer (OTP: calling_self)."""
    token = pair.call("t", ("request yourself", "anything"))
    [response] = messages(pair)

    assert response.token == token
    assert type(response.error) is CallError
    assert "talker calls itself" in str(response.error)


def test_casts_and_messages_pass_between_servers_and_to_oneself(pair: Tree) -> None:
    """In the order in which they were sent."""
    itself = pair.ref("t")
    for request in (
        ("cast", itself, 1),
        ("send", itself, 2),
        ("send yourself", 3),
        ("send later", 4),
    ):
        pair.call("t", request)

    assert messages(pair, 4) == [("cast", 1), 2, 3, 4]


def test_what_is_sent_to_a_dead_process_is_lost_in_silence(pair: Tree) -> None:
    """The sender goes on, and the successor hears nothing."""
    ref = pair.kill("a")
    pair.call("t", ("cast", ref, "too late"))
    pair.call("t", ("send", ref, "too late"))

    assert pair.call("a", "handled") == 1
    assert pair.call("t", "messages") == []


# ----- more than can be sent ------------------------------------------------------------


@pytest.fixture
def busy(tree: MakeTree, gate: Path) -> Iterator[Tree]:
    """A subject that is busy until there is a gate, and then has answered that it is done."""
    running = tree(MANY, subject("a"), ChildSpec(id="t", start=Start(Talker)))
    log = gate.with_name("busy")
    running.call("a", ("note in", log))
    done = running.begin("a", ("until", gate))
    eventually(lambda: lines(log) == ["busy"], "the busy subject")
    yield running
    gate.touch()
    assert done.result() == "done"


def test_answers_are_sent_however_many_wait(busy: Tree, gate: Path) -> None:
    """Whoever asked for them reads them."""
    content = bytes(1 << 20)
    busy.cast("a", ("room for", 1))
    answers = [busy.begin("a", ("echo", content)) for _ in range(4)]
    eventually(lambda: busy.client.calls == 5, "the calls")
    gate.touch()

    assert [answer.result() for answer in answers] == [content] * 4


def test_a_call_that_finds_no_room_is_told_so(busy: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process lives, and nobody is told of an exit; of lost casts the log tells once."""
    monkeypatch.setattr(window, "MAX_QUEUED_MESSAGES", 5)

    def cast() -> None:
        for number in range(20):
            busy.cast("a", number)

    logged = warnings_of(cast, lambda seen: "are lost" in "".join(seen))
    with pytest.raises(CallError, match="did not reach a: too many messages wait") as raised:
        busy.call("a", "pid")

    assert type(raised.value) is CallError
    assert ["are lost" in line for line in logged].count(True) == 1


def test_a_call_that_is_too_long_is_told_so(pair: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is answered."""
    monkeypatch.setattr(messenger, "MAX_BODY", 1000)
    with pytest.raises(CallError, match="did not reach a: it is too long"):
        pair.call("a", ("echo", bytes(1001)))

    assert pair.call("a", ("echo", 1)) == 1


def test_a_request_that_finds_no_room_has_an_error_as_its_response(busy: Tree) -> None:
    """Each request has its response."""
    busy.call("t", ("room for", 2))
    tokens = [busy.call("t", ("request", busy.ref("a"), bytes(10))) for _ in range(5)]
    responses = messages(busy, 3)

    assert {response.token for response in responses} <= set(tokens)
    assert {type(response.error) for response in responses} == {CallError}


def test_calls_from_many_threads_do_not_mix(tree: MakeTree) -> None:
    """Each thread gets its own answers."""
    running = tree(MANY, pool(), subject("a"))
    wrong: list[object] = []

    def talk(number: int) -> None:
        for turn in range(30):
            content = (number, turn)
            if running.call("a", ("echo", content)) != content:
                wrong.append(content)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert running.call("a", "handled") == 16 * 30 + 1


class _Interrupted(BaseException):
    """What a signal's handler raises in the main thread, as Ctrl-C does."""


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Run something over and over until an exception comes out of a signal's handler."""

    def raise_it(_number: int, _frame: types.FrameType | None) -> None:
        raise _Interrupted

    def run(work: Callable[[], object]) -> None:
        with contextlib.suppress(_Interrupted):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)  # of processor time: never in a wait
            while True:
                work()

    before = signal.signal(signal.SIGVTALRM, raise_it)
    gc.disable()  # what a callback of the collector raises goes nowhere
    yield run
    gc.enable()
    signal.signal(signal.SIGVTALRM, before)


def test_ctrl_c_while_sending_harms_nothing_else(
    tree: MakeTree, interrupted: Callable[[Callable[[], object]], None]
) -> None:
    """Wherever it comes: the others arrive once, in order, and nothing is stuck."""
    running = tree(MANY, Diary.child_spec())
    client, diary = running.client, running.ref("diary")
    numbers = itertools.count()
    sent: list[int] = []

    def cast() -> None:
        number = next(numbers)
        cast_to(client, diary, number)
        sent.append(number)

    for _ in range(200):
        interrupted(cast)
        client.call(diary, "are you there", deadline=Deadline.after(LONG), target="diary")

    arrived = [entry for entry in running.call("diary", "read") if isinstance(entry, int)]
    assert arrived == sorted(set(arrived))
    assert set(sent) <= set(arrived)


def test_a_signal_handler_may_send_while_its_thread_sends(tree: MakeTree) -> None:
    """To the same process: nothing is lost, and nothing is stuck."""
    running = tree(MANY, Diary.child_spec())
    client, diary = running.client, running.ref("diary")
    handled: list[str] = []

    def send_too(_number: int, _frame: types.FrameType | None) -> None:
        handled.append("handler")
        cast_to(client, diary, "handler")

    before = signal.signal(signal.SIGVTALRM, send_too)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.001, 0.001)
        while len(handled) < 50:
            for number in range(50):
                cast_to(client, diary, number)
            client.call(diary, "are you there", deadline=Deadline.after(LONG), target="diary")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

    eventually(
        lambda: running.call("diary", "read").count("handler") == len(handled), "what it sent"
    )


def test_ctrl_c_in_a_call_ends_that_call_alone(
    tree: MakeTree, interrupted: Callable[[Callable[[], object]], None]
) -> None:
    """The next one gets its own answer, and no call is left open."""
    running = tree(MANY, pool(), subject("a"))
    client, ref = running.client, running.ref("a")

    def echo(content: object) -> object:
        return client.call(ref, ("echo", content), deadline=Deadline.after(LONG), target="a")

    for turn in range(200):
        interrupted(lambda: echo("interrupted"))
        assert echo(turn) == turn

    assert client.calls == 0


def test_a_restart_runs_init_with_the_arguments_of_the_spec(tree: MakeTree, log: Path) -> None:
    """Nothing of the state is kept."""
    running = tree(MANY, ChildSpec(id="a", start=Start(Subject, log, label="x")))
    running.call("a", "pid")
    ref = running.kill("a")
    running.successor(ref, "a")

    assert [line.split()[0] for line in log.read_text().splitlines()] == ["x", "x", "x"]
    assert running.call("a", "handled") == 1
