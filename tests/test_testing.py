"""The test kit, as users have it: how it waits and checks, and fakes that do as what they fake."""

from __future__ import annotations

import gc
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from actors import BadLastWords, Subject, subject
from async_servers import Desk
from hypothesis import given, strategies as st
from servers import worker

from jidocode import (
    CallError,
    CallTimeoutError,
    HandlerError,
    NoProcessError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    Strategy,
)
from jidocode.errors import ActorExitedError, StartFailedError
from jidocode.otp import (
    ActorRef,
    Caller,
    Crashed,
    Down,
    ExitReason,
    GenServer,
    Killed,
    NoReply,
    Normal,
    Reply,
    Response,
    Restart,
    Shutdown,
    Start,
    Stop,
    start,
)
from jidocode.otp.server.machine import SendCast, SendRequest, StartMonitor
from jidocode.otp.server.results import CallResult, InitResult
from jidocode.session.record import Session
from jidocode.session.state.client import StateClient
from jidocode.session.state.server import State
from jidocode.testing import (
    FakeChild,
    FakeClock,
    eventually,
    is_alive,
    kill,
    nothing_left,
    pause,
    wait_for_exit,
    wait_for_restart,
)

ROOT = Path(__file__).parents[1]
OTHER = ActorRef("other", 1, 1)
BRIEF = 0.05
"""Seconds to wait for what does not come."""


# ----- the page -----------------------------------------------------------------


def run_pytest(folder: Path, *options: str) -> str:
    """Run the tests in *folder* with the plugin that pyproject.toml declares; return the output."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    points = project["entry-points"]["pytest11"]
    metadata = folder / "metadata" / "jidocode-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jidocode\nVersion: 0\n")
    lines = ["[pytest11]", *(f"{name} = {module}" for name, module in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(metadata.parent)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_plugin_can_be_named_three_times_over(tmp_path: Path) -> None:
    """By its entry point, on the command line and in a conftest."""
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['jidocode.testing']\n")
    (tmp_path / "test_it.py").write_text("def test_it(session_system): pass\n")
    output = run_pytest(tmp_path, "-p", "jidocode.testing")

    assert "1 passed" in output, output


def test_a_test_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    """After the system was closed; what was there before is not counted."""
    (tmp_path / "test_it.py").write_text(
        "import os, subprocess, pytest\n\n"
        "@pytest.fixture\n"
        "def process():\n"
        "    with subprocess.Popen(['sleep', '1000']) as process:\n"
        "        yield process\n"
        "        process.kill()\n\n"
        "def test_tidy(process, session_system): pass\n\n"
        "def test_untidy(session_system): os.open(os.devnull, os.O_RDONLY)\n"
    )
    (tmp_path / "conftest.py").write_text(
        "import jidocode.testing\n"
        "jidocode.testing.nothing_left.__wrapped__.__kwdefaults__['timeout'] = 0.1\n"
    )
    output = run_pytest(tmp_path)

    assert "2 passed, 1 error" in output, output
    assert re.search(r"left behind: descriptor \d+ on '/dev/null'", output), output


def test_whoever_does_not_use_the_plugin_pays_for_nothing_else(tmp_path: Path) -> None:
    """It brings no module but itself and what puts all others off until they are used."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_modules(): print('\\nmodules:', *sys.modules)\n"
    )
    modules: list[set[str]] = []
    for number, options in enumerate([[], ["-p", "no:jidocode.testing"]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(tmp_path / "test_it.py", folder)
        output = run_pytest(folder, "-s", *options)
        assert "1 passed" in output, output
        (line,) = [line for line in output.splitlines() if line.startswith("modules:")]
        modules.append({name for name in line.split()[1:] if "editable" not in name})
    with_it, without_it = modules

    needed = {"jidocode", "jidocode.base", "jidocode.base.lazy", "jidocode.testing"}
    assert with_it - without_it == needed
    assert not any(name.startswith("jidocode") for name in without_it)


def test_jidocode_is_imported_in_tests_as_elsewhere() -> None:
    """And not parsed by pytest, in whatever thread needs a module first."""
    spec = importlib.import_module("jidocode.system.system").__spec__
    assert spec is not None
    assert type(spec.loader).__name__ == "SourceFileLoader"


def test_without_pytest_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not before the module itself is imported."""
    monkeypatch.setitem(sys.modules, "pytest", None)
    monkeypatch.delitem(sys.modules, "jidocode.testing")
    with pytest.raises(ImportError, match=r"^jidocode.testing needs pytest: pip install pytest$"):
        importlib.import_module("jidocode.testing")


# ----- waiting ------------------------------------------------------------------


def test_eventually_returns_the_first_true_value() -> None:
    """And looks no more after it."""
    values = iter([0, None, "there", "never"])

    assert eventually(lambda: next(values)) == "there"
    assert next(values) == "never"


def test_eventually_gives_up_and_names_what_did_not_happen() -> None:
    """After its timeout; what the look raises is not waited for."""
    with pytest.raises(AssertionError, match=r"the rain did not happen within 0\.05 s"):
        eventually(lambda: False, "the rain", timeout=BRIEF)
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0)


def test_a_kill_returns_what_the_system_says_of_it(
    session_system: SessionSystem, session: SessionHandle
) -> None:
    """The process, and the signal as the reason."""
    state = session_system.get_state(session.id)
    down = kill(session_system, session, "state")

    assert (down.ref, down.reason) == (state, Killed(signal.SIGKILL))
    assert not is_alive(state.os_pid)


def test_a_restart_is_waited_for_until_all_of_the_session_is_back(
    session_system: SessionSystem, session: SessionHandle
) -> None:
    """One for all takes State along, which is started last."""
    before = session.which_children()
    down = kill(session_system, session, "manager")
    manager = wait_for_restart(session_system, session, "manager", after=down.ref)
    after = session.which_children()

    assert manager == session_system.get_manager(session.id) == after[0].ref
    assert all(new.ref and new.ref != old.ref for old, new in zip(before, after, strict=True))


def test_a_restart_that_does_not_come_is_not_waited_for_longer(
    session_system: SessionSystem, session: SessionHandle
) -> None:
    """Nobody was killed; and a session that is gone is an error at once."""
    manager = session_system.get_manager(session.id)
    with pytest.raises(AssertionError, match="the restart of manager#"):
        wait_for_restart(session_system, session, "manager", after=manager, timeout=BRIEF)
    session.stop()
    with pytest.raises(SessionNotFoundError):
        wait_for_restart(session_system, session, "manager", after=manager)


def test_an_exit_is_waited_for_and_its_reason_returned(
    session_system: SessionSystem, project: Path
) -> None:
    """Also long after it; a process that lives on is an AssertionError."""
    session = session_system.create_session(
        project, strategy=Strategy.ONE_FOR_ONE, children=[worker("own")]
    )
    own = session_system.get_process(session.id, "own")
    with pytest.raises(AssertionError, match="the end of worker#"):
        wait_for_exit(session_system, own, timeout=BRIEF)
    session.call("own", "stop")

    assert wait_for_exit(session_system, own) == Shutdown("asked to")
    assert wait_for_exit(session_system, own) == Shutdown("asked to")
    assert not is_alive(own.os_pid)


# ----- pausing ------------------------------------------------------------------


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_paused_process_is_stopped_until_the_block_ends(
    session_system: SessionSystem, session: SessionHandle
) -> None:
    """By an exception, too."""
    with pause(session_system, session, "manager") as manager:
        assert state_of(manager.os_pid) == "T"
    with pytest.raises(KeyError), pause(session_system, session, "manager"):
        raise KeyError

    assert session.manager.project_root()
    assert session_system.get_manager(session.id) == manager


def test_a_process_that_dies_while_paused_is_left_dead(
    session_system: SessionSystem, session: SessionHandle
) -> None:
    """Its successor is not touched."""
    with pause(session_system, session, "manager") as manager:
        kill(session_system, session, "manager")

    assert wait_for_restart(session_system, session, "manager", after=manager) != manager


# ----- leaving nothing behind ---------------------------------------------------


@nothing_left(timeout=BRIEF)
def leave_open(path: Path, opened: list[int]) -> None:
    opened.append(os.open(path, os.O_RDONLY))


@nothing_left(timeout=BRIEF)
def leave_running(started: list[subprocess.Popen[bytes]]) -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 1000; :"])
    started.append(process)
    eventually(lambda: psutil.Process(process.pid).children(), "the grandchild")


@nothing_left(timeout=BRIEF)
def leave_a_zombie(started: list[subprocess.Popen[bytes]]) -> None:
    process = subprocess.Popen(["sh", "-c", ":"])
    started.append(process)
    eventually(lambda: not is_alive(process.pid), "the end")


@nothing_left(timeout=BRIEF)
def leave_open_and_raise(opened: list[int]) -> None:
    opened.append(os.open(os.devnull, os.O_RDONLY))
    raise KeyError


class Handle:
    """A descriptor that nothing but garbage collection closes."""

    def __init__(self) -> None:
        self.itself = self
        self.descriptor = os.open(os.devnull, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)


def test_a_descriptor_that_is_left_is_named(tmp_path: Path) -> None:
    """With its target; one that was open before is nobody's fault."""
    opened = [os.open(tmp_path, os.O_RDONLY)]
    try:
        with pytest.raises(AssertionError, match=r"^left behind: descriptor \d+ on '/dev/null'$"):
            leave_open(Path(os.devnull), opened)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_processes_that_are_left_are_named() -> None:
    """Grandchildren too, and a zombie until somebody has waited for it."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        with pytest.raises(AssertionError, match=r"process \d+ called 'sh', process \d+ called 's"):
            leave_running(started)
        with pytest.raises(AssertionError, match=r"^left behind: zombie \d+ called 'sh'$"):
            leave_a_zombie(started)
    finally:
        for child in psutil.Process().children(recursive=True):
            child.kill()
        for process in started:
            process.wait()


def test_what_is_only_waiting_for_its_collection_is_not_left() -> None:
    """It is collected before anybody is blamed."""
    gc.disable()
    try:
        with nothing_left(timeout=BRIEF):
            Handle()
    finally:
        gc.enable()


def test_a_block_that_raises_is_not_checked() -> None:
    """Its exception is the news."""
    opened: list[int] = []
    with pytest.raises(KeyError):
        leave_open_and_raise(opened)
    os.close(opened[0])


# ----- the clock ----------------------------------------------------------------


def test_a_clock_moves_only_when_told_and_tenths_add_up() -> None:
    """It can be called as `time.monotonic` is."""
    clock = FakeClock(100)
    for _ in range(10):
        clock.advance(0.1)

    assert clock() == clock.now == 101
    with pytest.raises(ValueError, match="seconds must be seconds >= 0"):
        clock.advance(-1)


def test_a_clock_stands_in_for_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For code that asks for the time itself."""
    clock = FakeClock()
    monkeypatch.setattr("time.monotonic", clock)
    clock.advance(3)
    now = time.monotonic()
    monkeypatch.undo()

    assert now == 3


@given(delays=st.lists(st.integers(0, 50)), steps=st.lists(st.integers(0, 20)))
def test_actions_are_called_in_order_each_at_its_time(delays: list[int], steps: list[int]) -> None:
    """However the time passes; those at the same time in the order in which they were set."""
    clock = FakeClock()
    called: list[tuple[float, int]] = []
    for number, delay in enumerate(delays):
        clock.call_after(delay / 10, lambda number=number: called.append((clock.now, number)))  # type: ignore[misc] # a default is no argument
    for step in steps:
        clock.advance(step / 10)
    clock.advance(0)
    due = sorted((delay, number) for number, delay in enumerate(delays) if delay <= sum(steps))

    assert called == [(delay / 10, number) for delay, number in due]
    assert clock.now == sum(steps) / 10


# ----- the fake child -----------------------------------------------------------


class Script(GenServer):
    """Runs the steps that it is sent: `(method, *arguments)`; keeps a diary."""

    kind = "script"

    def init(self, first: InitResult = None, diary: list[object] | None = None) -> InitResult:
        self.diary: list[object] = [] if diary is None else diary
        self.waiting: list[Caller] = []
        self.diary.append("init")
        return first

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case "diary":
                return Reply(self.diary)
            case "wait":
                self.waiting.append(caller)
                return NoReply()
            case ("do", method, *arguments):
                return Reply(getattr(self, method)(*arguments))
            case ("return", result):
                return result  # type: ignore[no-any-return] # whatever the test sends
            case _:
                return super().handle_call(request, caller)

    def handle_cast(self, request: Any) -> NoReply:
        self.diary.append(("cast", request))
        if request == "wake":
            for caller in self.waiting:
                self.reply(caller, "woken")
        return NoReply(timeout=5)

    def handle_info(self, message: Any) -> None:
        self.diary.append(message)

    def handle_continue(self, then: Any) -> None:
        self.diary.append(("continued", then))

    def terminate(self, reason: ExitReason) -> None:
        self.diary.append(reason)


def test_a_fake_child_gets_calls_casts_and_messages_in_order() -> None:
    """With `then=` before any of them."""
    child = FakeChild(Start(Script, NoReply(then="first")))
    child.cast(1)
    child.info("two")

    assert child.call("diary") == ["init", ("continued", "first"), ("cast", 1), "two"]
    assert child.exit_reason is None


def test_what_is_sent_is_a_copy() -> None:
    """As between processes: arguments, requests and answers."""
    given: list[object] = []
    child = FakeChild(Start(Script, diary=given))
    child.info(given)
    answer = child.call("diary")
    answer.clear()

    assert given == []
    assert child.call("diary") == ["init", []]


def test_a_request_that_cannot_be_pickled_is_its_senders_fault() -> None:
    """The child never hears of it."""
    child = FakeChild(Start(Script))
    with pytest.raises(CallError, match="cannot be pickled"):
        child.call(lambda: None)
    with pytest.raises(CallError, match="cannot be pickled"):
        child.cast(lambda: None)

    assert child.call("diary") == ["init"]


def test_timers_fire_in_order_as_time_passes() -> None:
    """An idle timer is set anew by every message."""
    child = FakeChild(Start(Script))
    child.call(("do", "send_after", 3.0, "late"))
    child.call(("do", "send_after", 1.0, "early"))
    child.cast("idle")  # for five seconds
    child.advance(2.9)
    assert child.call("diary")[2:] == ["early"]

    child.advance(0.1)
    child.advance(10)
    assert child.call("diary")[3:] == ["late"]
    child.cast("idle")
    child.advance(4.9)
    assert len(child.call("diary")) == 5
    child.cast("idle")
    child.advance(5)
    assert [type(entry).__name__ for entry in child.call("diary")[6:]] == ["Timeout"]


def test_children_can_share_a_clock() -> None:
    """Time passes for all of them at once."""
    clock = FakeClock()
    children = [FakeChild(Start(Script), clock=clock) for _ in range(2)]
    for child in children:
        child.call(("do", "send_after", 1.0, "now"))
    clock.advance(1)

    assert [child.call("diary")[-1] for child in children] == ["now", "now"]
    assert children[0].ref != children[1].ref


def test_a_call_without_an_answer_times_out_on_the_clock() -> None:
    """After five seconds by default; a late answer is lost."""
    child = FakeChild(Start(Script))
    with pytest.raises(CallTimeoutError, match="script did not answer within 5 s"):
        child.call("wait")
    with pytest.raises(CallTimeoutError, match=r"within 0\.5 s"):
        child.call("wait", timeout=0.5)

    assert child.clock.now == 5.5
    child.cast("wake")
    assert child.exit_reason is None


def test_a_call_can_be_answered_by_a_later_message() -> None:
    """Every caller gets its own answer."""
    child = FakeChild(Start(Script))
    calls = [child.begin_call("wait") for _ in range(2)]
    with pytest.raises(AssertionError, match="script has not answered yet"):
        calls[0].result()
    child.cast("wake")

    assert [call.result() for call in calls] == ["woken", "woken"]
    assert child.clock.now == 0


def test_a_server_of_coroutines_needs_a_process() -> None:
    """Its event loop runs in a thread, whose time is no fake one."""
    with pytest.raises(TypeError, match="Desk is a server of coroutines, which needs a process"):
        FakeChild(Start(Desk))


class Relay(GenServer):
    """Reads what another process sends, and sends it on."""

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        stream = self.call_stream(("source", ""), request)
        if request == "one":
            with stream:
                return Reply(next(stream))
        wanted = [self.send_part(caller, part) for part in stream]
        return Reply((wanted, stream.result()))


def test_parts_of_answers_are_given_and_kept() -> None:
    """By a generator and in a list, without any process."""

    def source(_target: object, request: object) -> Generator[object, None, str]:
        yield from [[1], [2]]
        if request == "fail":
            raise LookupError("no more")
        return "all"

    child = FakeChild(Start(Relay), on_call=source)
    call = child.begin_call("parts")
    assert call.parts == [[1], [2]]
    assert call.result() == ([True, True], "all")
    assert child.call("one") == [1]
    call = child.begin_call("fail")
    assert call.parts == [[1], [2]]
    with pytest.raises(HandlerError, match="no more"):
        call.result()


def test_callers_that_wait_are_told_of_the_end() -> None:
    """And later ones that there is nobody; messages are lost."""
    child = FakeChild(Start(Script))
    waiting = child.begin_call("wait")
    child.stop(Shutdown("enough"))
    child.cast("lost")
    child.info("lost")
    child.advance(10)

    assert child.exit_reason == Shutdown("enough")
    with pytest.raises(ActorExitedError, match="enough"):
        waiting.result()
    with pytest.raises(NoProcessError):
        child.call("diary")


def test_an_init_that_fails_or_ignores() -> None:
    """The first raises, the second leaves a child that never ran."""
    with pytest.raises(StartFailedError, match="not now"):
        FakeChild(Start(Script, Stop(Crashed("not now"))))
    ignored = FakeChild(Start(Subject, None, "ignore"))

    assert ignored.exit_reason == Normal()
    with pytest.raises(NoProcessError):
        ignored.call("pid")


def test_what_it_wants_from_others_is_listed_and_can_be_answered() -> None:
    """In order, with the tokens to answer with."""
    child = FakeChild(Start(Script))
    token = child.call(("do", "send_request", OTHER, "question"))
    monitor = child.call(("do", "monitor", OTHER))
    child.call(("do", "cast", OTHER, "news"))
    child.info(Response(token, "answer", None))
    child.info(Down(monitor, OTHER, Killed(9)))

    assert child.effects == [
        SendRequest(token, OTHER, "question", 5.0),
        StartMonitor(monitor, OTHER),
        SendCast(OTHER, "news"),
    ]
    assert child.call("diary")[1:] == [
        Response(token, "answer", None),
        Down(monitor, OTHER, Killed(9)),
    ]


def test_what_it_sends_to_itself_comes_back() -> None:
    """A request to itself as an error, for nobody could answer it."""
    child = FakeChild(Start(Script))
    child.call(("do", "cast", child.ref, "mine"))
    child.call(("do", "send", child.ref, "too"))
    child.call(("do", "send_request", child.ref, "never"))
    *_, cast, sent, response = child.call("diary")

    assert (cast, sent) == (("cast", "mine"), "too")
    assert isinstance(response.error, CallError)
    assert child.effects == []


def test_a_client_works_on_a_fake_child(project: Path) -> None:
    """The typed ones of sessions too, for `call` is the same protocol."""
    state = StateClient(FakeChild(Start(State, Session.new(project_path=project))).call)
    state.append_message("user", "hello")

    assert [message.content for message in state.messages()] == ["hello"]


def outcome(call: Callable[[Any], Any], request: object) -> tuple[object, ...]:
    """Return what comes of a call, in words that do not name the target."""
    try:
        return ("answer", call(request))
    except HandlerError as error:
        return (HandlerError, error.error)
    except ActorExitedError as error:
        return (ActorExitedError, str(error.reason))
    except Exception as error:  # noqa: BLE001 - all errors are compared
        return (type(error), str(error))


REQUESTS: list[object] = [
    ("echo", {"a": [1, 2]}),
    "refuse",
    "raise",
    "stop",
    "stop silently",
    "sys.exit",
    "unfit",
    "unpicklable",
    "refuse unspeakable",
    "cast a lambda",
    "nothing",
    "wake",
    "no such request",
    lambda: None,
]


def test_a_fake_child_answers_as_a_real_one(session_system: SessionSystem, project: Path) -> None:
    """The same class, the same request: the same answer, the same error, the same end."""
    session = session_system.create_session(project, strategy=Strategy.ONE_FOR_ONE)
    for number, request in enumerate(REQUESTS):
        child_id = f"own {number}"
        own = session.start_child(subject(child_id, restart=Restart.TEMPORARY))
        assert own is not None
        real = outcome(partial(session.call, child_id), request)
        child = FakeChild(Start(Subject))
        fake = outcome(child.call, request)

        assert fake == real, request
        if child.exit_reason is not None:
            assert str(wait_for_exit(session_system, own)) == str(child.exit_reason), request
        else:
            assert session.call(child_id, ("echo", "alive")) == "alive", request


def test_last_words_that_cannot_be_sent_are_the_reason_of_the_end() -> None:
    """And `terminate` does not run again for them."""
    child = FakeChild(Start(BadLastWords))
    child.stop()

    assert isinstance(child.exit_reason, Crashed)
    assert "BadLastWords.terminate.<locals>.<lambda>" in child.exit_reason.error


def test_trees_are_tested_like_sessions() -> None:
    """Whoever is meant by a name is killed, paused and waited for."""
    name = ("worker", "a")
    with nothing_left(), start(worker("a", name=name)) as app:
        down = kill(app, name)
        assert down.reason == Killed(9)
        again = wait_for_restart(app, name, after=down.ref)
        with pause(app, name) as ref:
            assert ref == again
        app.stop(name)
        assert wait_for_exit(app, again) == Normal()
