"""Several processes in one system: one has started it by a name, others attach and detach."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps import stopped
from colleagues import Colleague, RemoteError, colleagues
from servers import worker

from jidocode import (
    AttachError,
    HostExitedError,
    ModelSpec,
    NoProcessError,
    ReadOnlyError,
    SessionHandle,
    SessionSystem,
    SystemNameTakenError,
    SystemNotFoundError,
)
from jidocode._host.attach import place
from jidocode._host.client.owner import OwnerClient
from jidocode.errors import InvalidRequestError, InvalidSettingError
from jidocode.otp import ChildExited, ChildRunning
from jidocode.session.commands.operations import run_command
from jidocode.session.commands.wanted import Wanted
from jidocode.session.requests import request
from jidocode.system.events import EventStream
from jidocode.testing import PATIENCE, eventually, kill


@pytest.fixture
def shop(name: str, tmp_path: Path) -> Iterator[SessionSystem]:
    """A system with a name."""
    with SessionSystem(name=name, state_dir=tmp_path / "state", creation_rate=None) as system:
        yield system


@pytest.fixture
def own(shop: SessionSystem, project: Path) -> SessionHandle:
    """A session that was opened by who has started the system."""
    return shop.create_session(project, children=[worker("worker")])


@pytest.fixture
def other() -> Iterator[Colleague]:
    """Another process."""
    with colleagues() as [other]:
        yield other


def visitors(system: SessionSystem) -> int:
    """Return how many other processes are in *system*, which this one has started."""
    client = system._running.client
    assert isinstance(client, OwnerClient)
    return client.visitors


# ----- the same system --------------------------------------------------------------------


def test_a_session_is_one_in_all_processes(
    name: str, shop: SessionSystem, own: SessionHandle, other: Colleague, tmp_path: Path
) -> None:
    """Whoever has opened it: each finds it, sees what the others say, and may stop it."""
    other.attach(name)
    other.do(f"shop = system.get_session({own.id!r})")
    other.do("shop.state.append_message('user', 'from the other')")
    own.state.append_message("user", "from here")

    said = other.do("[message.content for message in shop.state.messages()]")
    assert said == ["from the other", "from here"]
    assert other.do("shop.call('worker', ('echo', 1))") == 1
    assert other.do("str(system.tree())") == str(shop.tree())

    (tmp_path / "bakery").mkdir()
    theirs = other.do(f"system.create_session({str(tmp_path / 'bakery')!r}).id")
    assert {record.id for record in shop.list_sessions()} == {own.id, theirs}
    assert shop.get_session(theirs).run("echo hello").stdout == "hello\n"
    own.stop()
    with pytest.raises(RemoteError, match="SessionNotFoundError"):
        other.do("shop.state.messages()")


def test_no_change_of_a_record_is_lost(
    name: str, shop: SessionSystem, own: SessionHandle, other: Colleague
) -> None:
    """Though each process reads it, changes it, and writes it back."""
    other.attach(name)
    other.begin(
        f"[system.update_session({own.id!r}, lambda shop: shop.rename(shop.name + 'x')).name"
        " for _ in range(20)][-1]"
    )
    for _ in range(20):
        shop.update_session(own.id, lambda record: record.rename(record.name + "y"))
    other.answer()

    assert sorted(own.session.name) == sorted("shop" + 20 * "x" + 20 * "y")
    assert own.state.session() == own.session


def test_limits_are_those_of_the_system(name: str, tmp_path: Path, other: Colleague) -> None:
    """However many processes open sessions, and whatever their own settings would be."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with SessionSystem(name=name, state_dir=tmp_path / "state", max_sessions=1) as system:
        other.attach(name)
        assert other.do("system.settings.max_sessions") == 1
        system.create_session(tmp_path / "one")
        with pytest.raises(RemoteError) as refused:
            other.do(f"system.create_session({str(tmp_path / 'two')!r})")
        assert refused.value.kind == "SessionLimitError"


def test_sessions_outlive_who_has_opened_them(
    name: str, shop: SessionSystem, other: Colleague, project: Path
) -> None:
    """He may detach, or be killed in the midst of a call."""
    other.attach(name)
    session_id = other.do(f"session = system.create_session({str(project)!r})") or other.do(
        "session.id"
    )
    other.do("session.state.append_message('user', 'kept')")
    other.begin("session.state.events(after_seq=1000000, wait=60.0)")
    other.kill()

    session = shop.get_session(session_id)
    assert [message.content for message in session.state.messages()] == ["kept"]
    assert session.health_check().status.value == "healthy"
    eventually(lambda: visitors(shop) == 0, "its end is noticed")


def test_a_command_ends_with_who_waits_for_it(
    name: str, shop: SessionSystem, own: SessionHandle
) -> None:
    """For nobody else could get its result; one that was started lives on."""
    del shop
    started = own.commands.start("sleep 1000")
    with colleagues(2) as [first, second]:
        for each in (first, second):
            each.attach(name).do(f"session = system.get_session({own.id!r})")
            each.begin("session.run('sleep 1000', timeout=1000)")
        eventually(lambda: len(running(own)) == 3, "they run")
        first.kill()
        eventually(lambda: len(running(own)) == 2, "one is ended")
        second.kill()
        eventually(lambda: running(own) == [started.id], "the other one, too")
    started.cancel()
    with pytest.raises(InvalidRequestError, match="waiter"):
        own.commands._channel(request(run_command, Wanted("x", ("true",), waiter=-1)))


def running(session: SessionHandle) -> list[str]:
    """Return the commands that run in *session*."""
    return [info.id for info in session.commands.list() if info.running and info.pid]


@pytest.mark.parametrize("length", [2**16, 2**20])
def test_a_model_may_be_told_much(name: str, length: int) -> None:
    """More than one packet holds: whoever attaches is told it, too."""
    model = ModelSpec("scripted_models:ScriptedModel", {"words": "x" * length})
    with (
        SessionSystem(name=name, durability="memory", model=model),
        SessionSystem.attach(name, timeout=20.0) as attached,
    ):
        told = attached._running.tooling.model
        assert told is not None
        assert told.options == model.options


def test_close_only_detaches(name: str, shop: SessionSystem, own: SessionHandle) -> None:
    """In a process that has started the same system, too."""
    with SessionSystem.attach(name) as attached:
        assert attached.host_pid == shop.host_pid
        assert "closed" not in repr(attached)
        attached.get_session(own.id).state.append_message("user", "hello")
    attached.close()

    with pytest.raises(HostExitedError):
        attached.list_sessions()
    assert own.state.statistics().messages == 1
    with SessionSystem.attach(name) as again:  # the lock on the name is not lost by that
        assert len(again.list_sessions()) == 1
    with pytest.raises(SystemNameTakenError):
        SessionSystem(name=name)


# ----- news ----------------------------------------------------------------------------------


def test_whoever_attaches_knows_all_and_hears_all(
    name: str, shop: SessionSystem, own: SessionHandle
) -> None:
    """What runs at that time without asking; and after it each change, in its order."""
    session = own
    with SessionSystem.attach(name) as attached:
        directories = [each._running.client.directory for each in (shop, attached)]
        assert directories[0].snapshot() == directories[1].snapshot()

        heard = attached.events()
        for _ in range(7):
            assert isinstance(next(heard).fact, ChildRunning)
        first = shop.events()
        for _ in range(3):
            kill(shop, session, "state")
            shop.health_check(session.id)
        session.stop()

        assert facts(heard, session.id) == facts(first, session.id)
        eventually(lambda: directories[0].snapshot() == directories[1].snapshot())


def facts(stream: EventStream, session_id: str) -> list[str]:
    """Return what is heard until a session has ended."""
    found: list[str] = []
    while (event := stream.get(PATIENCE)) is not None:
        found.append(repr(event.fact))
        if isinstance(event.fact, ChildExited) and event.fact.name == ("session", session_id):
            return found
    raise AssertionError(found)


def test_a_call_ends_when_its_process_dies_though_another_one_has_started_it(
    name: str, shop: SessionSystem, own: SessionHandle, other: Colleague
) -> None:
    """At once, and with its reason; a monitor tells, too."""
    other.attach(name)
    other.do(f"shop = system.get_session({own.id!r}); monitor = shop.monitor('worker')")
    other.begin("shop.call('worker', 'wait', timeout=60)")
    own_calls = itertools.count(1)
    eventually(lambda: own.call("worker", "handled") > next(own_calls), "it is asked")
    begun = time.monotonic()
    os.kill(shop.get_process(own.id, "worker").os_pid, signal.SIGKILL)

    with pytest.raises(RemoteError, match="killed by signal 9"):
        other.answer()
    assert time.monotonic() - begun < PATIENCE
    assert "signal 9" in other.do("str(monitor.wait(5).reason)")


def test_what_has_just_begun_is_there_before_it_is_heard_of(
    name: str, project: Path, tmp_path: Path
) -> None:
    """News come by way of who has started the system, and may come after the answers."""
    with colleagues() as [other]:
        other.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path / 'state')!r})")
        with SessionSystem.attach(name) as system, stopped(other.pid):
            session = system.create_session(project)
            assert session.commands.list() == []
            assert not session.agent.busy()
            with pytest.raises(NoProcessError, match="worker of session"):
                session.call("worker", ("echo", 1))
            assert session.run("echo out").stdout == "out\n"


def test_who_does_not_read_his_news_has_to_go(
    name: str, shop: SessionSystem, own: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before they fill the memory of who tells them; nobody else notices."""
    monkeypatch.setattr("jidocode._host.transport.window.MAX_QUEUED_MESSAGES", 50)
    with colleagues() as [other]:
        other.attach(name)
        assert visitors(shop) == 1
        with stopped(other.pid):
            for number in range(200):
                own.call("worker", ("announce", number))
            eventually(lambda: visitors(shop) == 0)
        with pytest.raises(RemoteError, match="HostExitedError"):
            until_refused(other)
    assert own.call("worker", ("echo", 1)) == 1


def until_refused(other: Colleague) -> None:
    """Have *other* ask until it is refused."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        other.do("system.list_sessions()")


@pytest.mark.parametrize("end", ["close", "kill"])
def test_calls_end_when_the_system_does(name: str, tmp_path: Path, project: Path, end: str) -> None:
    """Also when the process that has started it is killed."""
    with colleagues(2) as [first, second]:
        first.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path / 'state')!r})")
        session_id = first.do(f"session = system.create_session({str(project)!r})") or first.do(
            "session.id"
        )
        second.attach(name)
        second.do("stream = system.events()")
        second.do(f"state = system.get_session({session_id!r}).state")
        second.begin("state.events(after_seq=state.events(after_seq=0)[-1].seq, wait=60.0)")
        eventually(lambda: first.do("system._running.client.visitors") == 1)
        begun = time.monotonic()
        if end == "close":
            first.do("system.close()")
        else:
            first.kill()

        with pytest.raises(RemoteError, match=r"ActorExited|HostExited|NoProcess"):
            second.answer()
        assert time.monotonic() - begun < PATIENCE
        assert second.do("(list(stream), stream.closed)[1]") is True
        with pytest.raises(RemoteError, match="HostExitedError"):
            second.do("system.list_sessions()")
        with pytest.raises(RemoteError, match="SystemNotFoundError"):
            second.do(f"SessionSystem.attach({name!r})")
        second.do("system.close()")
        second.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path / 'state')!r})")
        eventually(lambda: second.do(f"bool(system.resume_session({session_id!r}))"))
        second.do("system.close()")


def test_whoever_is_killed_nobody_else_notices(
    name: str, shop: SessionSystem, own: SessionHandle, other: Colleague
) -> None:
    """Fifty come, work, and are killed or go, all in no order."""
    other.do("from colleagues import crowd")
    other.begin(f"crowd({name!r}, {own.id!r}, 50)")
    most = eventually(lambda: visitors(shop))
    calls = 0
    while visitors(shop) or most < 50:
        assert own.call("worker", ("echo", 1)) == 1
        calls += 1
        most = max(most, own.state.statistics().messages)
    assert other.answer() == 50
    assert own.state.statistics().messages == 50
    assert calls > 1
    assert own.health_check().status.value == "healthy"


# ----- looking -------------------------------------------------------------------------------


def test_who_only_looks_changes_nothing(
    name: str, shop: SessionSystem, own: SessionHandle, tmp_path: Path
) -> None:
    """He reads all; what may change something is refused before it is sent."""
    (tmp_path / "bakery").mkdir()
    own.state.append_message("user", "hello")
    kept = own.manager.take_snapshot()
    with SessionSystem.attach(name, read_only=True) as look:
        session = look.get_session(own.id)
        assert session.state.messages()[0].content == "hello"
        assert session.manager.read_text("README.md").text.startswith("# Shop")
        assert not session.manager.is_protected("README.md")
        assert session.manager.changes_since(kept).changes == ()
        assert session.manager.diff("README.md", since=kept).text == ""
        assert [each.id for each in session.manager.snapshots()] == [kept.id]
        assert session.commands.list() == []
        assert session.health_check().status.value == "healthy"
        assert str(look.tree()) == str(shop.tree())
        assert look.statistics().sessions == 1
        changes: list[Callable[[], object]] = [
            lambda: session.state.append_message("user", "x"),
            lambda: session.manager.write_file("x", "x"),
            session.manager.take_snapshot,
            session.manager.revert,
            lambda: session.run("true"),
            lambda: session.rename("x"),
            lambda: session.call("worker", ("echo", 1)),
            lambda: session.cast("worker", "x"),
            session.stop,
            lambda: session.terminate_child("worker"),
            lambda: look.create_session(tmp_path / "bakery"),
            lambda: look.fork_session(own.id),
            lambda: look.delete_session(own.id),
            lambda: look.stop(("state", own.id)),
            lambda: look.call_stream(("worker", own.id), "x"),
            lambda: look.begin_call(("worker", own.id), "x"),
        ]
        for change in changes:
            with pytest.raises(ReadOnlyError):
                change()
    assert own.state.statistics().messages == 1


# ----- names ---------------------------------------------------------------------------------


def test_a_name_belongs_to_one_live_system(name: str, shop: SessionSystem) -> None:
    """Whoever else wants it is told who has it."""
    del shop
    with (
        colleagues() as [other],
        pytest.raises(RemoteError, match=f"SystemNameTakenError.*process {os.getpid()} "),
    ):
        other.do(f"SessionSystem(name={name!r})")
    with pytest.raises(SystemNameTakenError) as taken:
        SessionSystem(name=name)
    assert taken.value.pid == os.getpid()


def test_of_those_who_race_for_a_name_one_gets_it(name: str, tmp_path: Path) -> None:
    """And the others can attach to it, while it is being started."""
    code = (
        "try:\n"
        f"    system = SessionSystem(name={name!r}, state_dir={str(tmp_path)!r})\n"
        "    started = True\n"
        "except SystemNameTakenError:\n"
        f"    system = SessionSystem.attach({name!r}, timeout=60)\n"
        "    started = False\n"
    )
    with colleagues(4) as others:
        for each in others:
            each.do("SessionSystem")  # it is imported
        for each in others:
            each.begin(code)
        for each in others:
            each.answer()
        assert sorted(each.do("started") for each in others) == [False, False, False, True]
        assert len({each.do("system.host_pid") for each in others}) == 1
        for each in sorted(others, key=lambda each: bool(each.do("started"))):
            each.do("system.close()")


def test_what_a_killed_system_has_left_stops_nobody(name: str, tmp_path: Path) -> None:
    """Its socket and its secret are there, and nobody at them."""
    with colleagues() as [other]:
        other.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path)!r})")
        other.kill()
    with pytest.raises(SystemNotFoundError):
        SessionSystem.attach(name)
    with (
        SessionSystem(name=name, state_dir=tmp_path / "state") as system,
        SessionSystem.attach(name) as attached,
    ):
        assert attached.host_pid == system.host_pid


def test_a_system_whose_host_is_dead_has_no_name(name: str, shop: SessionSystem) -> None:
    """Though the process that has started it lives."""
    os.kill(shop.host_pid, signal.SIGKILL)

    with pytest.raises(HostExitedError):
        until_gone(shop)
    eventually(lambda: raises_not_found(name))
    with SessionSystem(name=name):
        pass


def until_gone(system: SessionSystem) -> None:
    """Ask until the system is gone."""
    while True:
        system.list_sessions()


def raises_not_found(name: str) -> bool:
    """Whether no system is called *name*."""
    try:
        SessionSystem.attach(name).close()
    except SystemNotFoundError:
        return True
    except AttachError:
        pass
    return False


def test_who_looks_for_a_wrong_name_is_told_the_right_ones(name: str, shop: SessionSystem) -> None:
    """Those of live systems, and not what others have left."""
    del shop
    (place.folder() / "stale.lock").touch(mode=0o600)
    (place.folder() / "no name.lock").touch(mode=0o600)
    with colleagues() as [other]:
        other.do(f"system = SessionSystem(name='{name}-b', durability='memory')")
        says = f"no system of this user is called nope: there is {name}, {name}-b$"
        with pytest.raises(SystemNotFoundError, match=says):
            SessionSystem.attach("nope")
        with pytest.raises(RemoteError, match=says):
            other.do("SessionSystem.attach('nope')")
        other.do("system.close()")
    with pytest.raises(SystemNameTakenError):  # the look has not lost the name
        SessionSystem(name=name)


@pytest.mark.parametrize("wrong", ["", ".", "../x", "a/b", "x" * 65, "a b", "-x", "ä", 1, b"x"])
def test_what_is_no_name_is_refused(wrong: object) -> None:
    """Before anything is made."""
    with pytest.raises(InvalidSettingError, match="name"):
        SessionSystem(name=wrong)  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidSettingError, match="name"):
        SessionSystem.attach(wrong)  # type: ignore[arg-type] # idem


def test_a_fork_of_who_is_attached_says_so(name: str, shop: SessionSystem) -> None:
    """And leaves the connection of its parent alone."""
    del shop
    with SessionSystem.attach(name) as attached:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                attached.list_sessions()
            except Exception as error:  # noqa: BLE001 - its type is the answer
                status = 0 if type(error).__name__ == "HostError" else 2
            attached.close()
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert attached.list_sessions() == []


def test_a_busy_thread_keeps_nobody_out(name: str, shop: SessionSystem, own: SessionHandle) -> None:
    """The reader thread of who has started the system has its turn."""
    del own
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    busy = threading.Thread(target=compute)
    busy.start()
    try:
        with colleagues() as [other]:
            other.attach(name)
            assert len(other.do("system.list_sessions()")) == 1
    finally:
        over.set()
        busy.join()
    assert shop.list_sessions()


def test_journals_are_where_they_are_for_who_has_started_the_system(
    name: str, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that follows the environment, which is another one here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "its"))
    with colleagues() as [other], SessionSystem(name=name):
        other.do(f"os.environ['XDG_STATE_HOME'] = {str(tmp_path / 'own')!r}")
        other.do(f"system = SessionSystem.attach({name!r})")
        other.do(f"session = system.create_session({str(project)!r})")

        assert len(list(tmp_path.glob("its/jidocode/*.jsonl"))) == 1
        assert not (tmp_path / "own").exists()
