"""Opening, finding and stopping sessions, and everything that is refused."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from folders import new_folders
from servers import worker

from jidocode import (
    ActorExitedError,
    BoundaryError,
    CallError,
    HealthStatus,
    InvalidSessionError,
    InvalidSessionIdError,
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    RegistryNotRunningError,
    Session,
    SessionExistsError,
    SessionHandle,
    SessionLimitError,
    SessionNotFoundError,
    SessionSystem,
    Strategy,
)
from jidocode.errors import InvalidChildSpecError, StartFailedError
from jidocode.otp import BRUTAL_KILL, ChildCounts, ChildSpec
from jidocode.session.tree import session_children
from jidocode.session.upkeep import Upkeep
from jidocode.system.rules import CreationRate
from jidocode.testing import eventually, is_alive, kill, wait_for_restart


def test_a_fresh_session_answers_with_its_record(system: SessionSystem, project: Path) -> None:
    """Everybody has the same record: the registry, Manager and State."""
    session = system.create_session(project, name="till", config={"temperature": 1})

    record = session.session
    assert (record.name, record.project_path, record.language) == ("till", str(project), "python")
    assert session.manager.session() == session.state.session() == record
    assert system.list_sessions() == [record]


def test_the_manager_reads_writes_and_lists_the_project(session: SessionHandle) -> None:
    """Through the process, with the boundary in force."""
    session.manager.write_file("src/new.py", "first\nsecond\n")

    assert session.manager.read_file("src/new.py", offset=2).text == "second\n"
    assert {entry.name for entry in session.manager.list_directory("src").entries} == {
        "checkout.py",
        "new.py",
    }


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "link"])
def test_a_path_out_of_the_project_is_refused_and_the_manager_goes_on(
    session: SessionHandle, project: Path, path: str
) -> None:
    """An expected refusal is no crash."""
    (project / "link").symlink_to("/etc")
    before = session.which_children()
    with pytest.raises(BoundaryError):
        session.manager.read_file(path if path != "link" else "link/passwd")

    assert session.which_children() == before


def test_a_missing_file_is_an_ordinary_error(session: SessionHandle) -> None:
    """With the type that Python users expect."""
    with pytest.raises(FileNotFoundError):
        session.manager.read_file("nowhere.txt")


def test_state_keeps_messages_in_order(session: SessionHandle) -> None:
    """Across calls, with pages."""
    sent = [session.state.append_message("user", f"message {number}") for number in range(5)]
    page = session.state.messages(after_seq=sent[1].seq, limit=2)

    assert [message.content for message in page] == ["message 2", "message 3"]


def test_sessions_are_found_by_id_path_and_name(system: SessionSystem, tmp_path: Path) -> None:
    """Several of one name: the oldest."""
    folders = new_folders(tmp_path, 2)
    first, second = [system.create_session(folder, name="same") for folder in folders]

    assert system.get_session(second.id).id == second.id
    assert system.find_session(path=folders[1]).id == second.id
    assert system.find_session(path=f"{folders[1]}/").id == second.id
    assert system.find_session(name="same").id == first.id
    assert [record.id for record in system.list_sessions()] == [first.id, second.id]
    with pytest.raises(SessionNotFoundError):
        system.find_session(name="Same")
    with pytest.raises(TypeError):
        system.find_session()


def test_a_stopped_session_is_gone_when_stop_returns(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """Its processes are dead, its id is unknown, its project is free."""
    pids = [info.ref.os_pid for info in session.which_children() if info.ref]
    session.stop()

    assert not any(map(is_alive, pids))
    assert not system.session_running(session.id)
    assert system.statistics().sessions == 0
    with pytest.raises(SessionNotFoundError):
        session.stop()
    with pytest.raises(SessionNotFoundError):
        session.state.messages()
    assert system.create_session(project).id != session.id


def test_a_project_is_opened_once_under_whatever_path(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """A symlink and a trailing slash are the same project."""
    alias = project.parent / "alias"
    alias.symlink_to(project)
    for path in (project, f"{project}/", alias):
        with pytest.raises(ProjectAlreadyOpenError) as refused:
            system.create_session(path)

        assert refused.value.session_id == session.id
    assert len(system.list_sessions()) == 1


@pytest.mark.parametrize("same_project", [False, True])
def test_an_id_is_used_once(
    system: SessionSystem, session: SessionHandle, tmp_path: Path, *, same_project: bool
) -> None:
    """The second one with the same id is refused; the id is looked at before the project."""
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SessionExistsError):
        system.create_session(
            session.session.project_path if same_project else other, session_id=session.id
        )

    assert [record.id for record in system.list_sessions()] == [session.id]


def test_the_limit_is_checked_first(project: Path, tmp_path: Path) -> None:
    """Limit, then id, then path; a stopped session frees its place."""
    other = tmp_path / "other"
    other.mkdir()
    with SessionSystem(max_sessions=1) as system:
        session = system.create_session(project)
        with pytest.raises(SessionLimitError) as refused:
            system.create_session(project, session_id=session.id)

        assert (refused.value.current, refused.value.max) == (1, 1)
        session.stop()
        assert system.create_session(other).session.project_path == str(other)


def test_a_session_can_be_started_from_a_record(system: SessionSystem, project: Path) -> None:
    """`start_session` takes what `Session.new` gave."""
    record = Session.new(project_path=project)
    session = system.start_session(record)

    assert session.session == record
    session.stop()
    assert system.start_session(record).session == record


def test_a_session_can_be_stopped_and_started_over_and_over(
    system: SessionSystem, project: Path
) -> None:
    """At once, from the same record or as a new one: nothing of the old one is in the way."""
    record = Session.new(project_path=project)
    for turn in range(20):
        session = system.create_session(project) if turn % 2 else system.start_session(record)
        assert system.session_running(session.id)
        session.stop()

    assert system.list_sessions() == []


def test_many_stops_at_once_are_one_stop(system: SessionSystem, session: SessionHandle) -> None:
    """All return when it is gone; who comes after that is told that there is none."""

    def stop(_: int) -> bool:
        try:
            session.stop()
        except SessionNotFoundError:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        stopped = list(threads.map(stop, range(10)))

    assert stopped.count(True) >= 1
    assert system.list_sessions() == []


def test_the_end_of_one_session_is_nothing_to_the_others(
    system: SessionSystem, tmp_path: Path
) -> None:
    """Three at once, each with processes of its own."""
    folders = new_folders(tmp_path, 3)
    first, second, third = sessions = [system.create_session(folder) for folder in folders]
    refs = {session.id: [info.ref for info in session.which_children()] for session in sessions}
    second.stop()

    assert len({ref for own in refs.values() for ref in own}) == 6
    for session in (first, third):
        assert session.count_children() == ChildCounts(specs=2, active=2, supervisors=0, workers=2)
        assert [info.ref for info in session.which_children()] == refs[session.id]
    assert system.list_sessions() == [first.session, third.session]
    assert system.statistics().sessions == 2


def test_ten_sessions_are_let_in_and_the_eleventh_when_one_has_gone(tmp_path: Path) -> None:
    """Ten is the default."""
    folders = new_folders(tmp_path, 11)
    with SessionSystem(creation_rate=None) as system:
        sessions = [system.create_session(folder) for folder in folders[:10]]
        with pytest.raises(SessionLimitError) as refused:
            system.create_session(folders[10])

        assert (refused.value.current, refused.value.max) == (10, 10)
        sessions[4].stop()
        assert system.create_session(folders[10]).session in system.list_sessions()


def test_an_agent_is_missing_until_there_is_one(
    system: SessionSystem, session: SessionHandle
) -> None:
    """With a typed error that says what is missing."""
    with pytest.raises(NoProcessError, match="agent"):
        system.get_agent(session.id)


def test_own_children_are_part_of_the_session(system: SessionSystem, project: Path) -> None:
    """At creation and later, called by the id of their spec."""
    session = system.create_session(project, children=[worker("one")])
    session.start_child(worker("two"))

    assert [info.id for info in session.which_children()] == ["manager", "state", "one", "two"]
    assert session.call("one", ("echo", 1)) == 1
    assert session.call("two", ("echo", 2)) == 2
    session.terminate_child("two")
    session.delete_child("two")
    with pytest.raises(NoProcessError):
        session.call("two", ("echo", 2))


def test_a_session_whose_child_cannot_start_leaves_nothing(
    system: SessionSystem, project: Path
) -> None:
    """What had started is stopped again, and the place is free."""
    with pytest.raises(StartFailedError, match="init was told to raise"):
        system.create_session(project, children=[worker("bad", None, "raise")])

    assert system.list_sessions() == []
    assert system.create_session(project).session.project_path == str(project)


def test_a_vanished_project_is_refused(system: SessionSystem, project: Path) -> None:
    """Between the record and the start."""
    record = Session.new(project_path=project)
    project.rename(project.parent / "elsewhere")
    with pytest.raises(InvalidSessionError):
        system.start_session(record)

    assert system.list_sessions() == []


def test_health_names_the_child_that_does_not_answer(system: SessionSystem, project: Path) -> None:
    """The others are well."""
    children = [worker("busy", shutdown=BRUTAL_KILL)]
    session = system.create_session(project, children=children)
    assert session.health_check().status is HealthStatus.HEALTHY

    session.terminate_child("busy")
    health = session.health_check()

    assert health.status is HealthStatus.DEGRADED
    assert {child.id: child.status for child in health.children} == {
        "manager": HealthStatus.HEALTHY,
        "state": HealthStatus.HEALTHY,
        "busy": HealthStatus.DEAD,
    }


# ----- bad input ------------------------------------------------------------------


def test_unusable_projects_are_refused(system: SessionSystem, project: Path) -> None:
    """With the code that says why; nothing is started."""
    unusable: list[tuple[Any, str]] = [
        ("/no/such/folder", "path_not_found"),
        (f"{project}/README.md", "path_not_directory"),
        (f"{project}/../shop", "path_traversal_detected"),
        ("x" * 5000, "path_too_long"),
        (7, "invalid_project_path"),
        (None, "invalid_project_path"),
        (f"{project}\0", "invalid_project_path"),
    ]
    for path, code in unusable:
        with pytest.raises(InvalidSessionError) as refused:
            system.create_session(path)

        assert refused.value.codes == (code,)
    assert system.list_sessions() == []


def test_other_bad_arguments_are_refused(system: SessionSystem, project: Path) -> None:
    """Each with a typed error, before anything is started."""
    refusals: list[tuple[type[Exception], dict[str, Any]]] = [
        (InvalidSessionError, {"name": ""}),
        (InvalidSessionError, {"name": "x" * 51}),
        (InvalidSessionError, {"config": {"temperature": 3}}),
        (InvalidSessionIdError, {"session_id": "nonsense"}),
        (InvalidChildSpecError, {"strategy": "one_for_some"}),
        (InvalidChildSpecError, {"children": ["no spec"]}),
        (InvalidChildSpecError, {"children": [worker("manager")]}),
        (InvalidChildSpecError, {"children": [worker("one", lambda: None)]}),
        (InvalidChildSpecError, {"children": [worker("session")]}),
        (InvalidChildSpecError, {"children": [worker("one", name=("one", "for all"))]}),
    ]
    for error, arguments in refusals:
        with pytest.raises(error):
            system.create_session(project, **arguments)
    with pytest.raises(TypeError):
        system.start_session("no record")  # type: ignore[arg-type]

    assert system.list_sessions() == []
    assert system.statistics().processes == 3


def test_a_kind_is_a_text(system: SessionSystem, session: SessionHandle) -> None:
    """Whoever is asked for it: no wrong one reaches the registry."""
    with pytest.raises(TypeError, match="kind must be a str"):
        session.call(["manager"], "hello")  # type: ignore[arg-type] # on purpose
    with pytest.raises(TypeError, match="kind must be a str"):
        session.monitor(1)  # type: ignore[arg-type] # on purpose
    with pytest.raises(TypeError, match="kind must be a str"):
        system.get_process(session.id, None)  # type: ignore[arg-type] # on purpose


def test_a_stopped_child_is_no_process_of_a_session_that_is_there(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Not to be mixed up with a session that is gone."""
    session.terminate_child("manager")

    with pytest.raises(NoProcessError):
        system.get_manager(session.id)
    with pytest.raises(NoProcessError):
        session.manager.project_root()


def test_a_request_that_cannot_be_pickled_is_refused(system: SessionSystem, project: Path) -> None:
    """As an answer is."""
    session = system.create_session(project, children=[worker("own")])

    with pytest.raises(CallError, match="cannot be pickled"):
        session.call("own", lambda: None)
    with pytest.raises(CallError, match="cannot be pickled"):
        session.start_child(worker("more", lambda: None))


def test_a_time_out_may_be_endless(system: SessionSystem, project: Path) -> None:
    """The longest that the platform can wait."""
    session = system.create_session(project, children=[worker("own")])

    assert session.call("own", "handled", timeout=float("inf")) == 1
    session.call("own", ("announce", "fact"))
    with system.events() as stream:
        session.call("own", ("announce", "fact"))
        assert stream.get(float("inf")) is not None


def test_a_session_opens_though_the_registry_dies_over_it(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """Who opens it gets the handle, and the next one is told that it is open."""
    log, latch = tmp_path / "log", tmp_path / "latch"
    with ThreadPoolExecutor(1) as pool:
        slow = worker("slow", log, f"latch {latch}")
        opening = pool.submit(system.create_session, project, children=[slow])
        eventually(log.exists, "the start of the slow child")
        registry = system.tree().children[0].ref
        assert registry is not None
        os.kill(registry.os_pid, signal.SIGKILL)
        eventually(lambda: system.tree().children[0].restarts == 1, "restart of the registry")
        eventually(lambda: system.statistics().calls == 1, "the second attempt")
        latch.touch()
        session = opening.result(20)

    assert system.list_sessions() == [session.session]
    with pytest.raises(ProjectAlreadyOpenError):
        system.create_session(project)


def test_a_class_that_no_child_can_import_is_refused() -> None:
    """With what to do about it."""

    class Local:
        def init(self) -> None: ...

    Local.__module__ = "__main__"
    with pytest.raises(InvalidChildSpecError, match="module of its own"):
        ChildSpec(id="local", start=Local)


def test_bad_settings_are_refused() -> None:
    """Before anything is started."""
    bad: list[dict[str, Any]] = [
        {"max_sessions": 0},
        {"max_sessions": "ten"},
        {"call_timeout": -1},
        {"call_timeout": float("nan")},
        {"strategy": "one_for_some"},
        {"max_restarts": True},
    ]
    for settings in bad:
        with pytest.raises(ValueError, match=next(iter(settings))):
            SessionSystem(**settings)
    for wrong in ("shop.toml", {"max_sessions": 1}):
        with pytest.raises(TypeError, match="must be Settings"):
            SessionSystem(wrong)  # type: ignore[arg-type] # on purpose
    with pytest.raises(TypeError):
        SessionSystem(no_such_setting=1)  # type: ignore[call-arg] # on purpose


def test_the_strategy_of_the_settings_is_the_default(project: Path) -> None:
    """One for one here: State keeps its process."""
    with SessionSystem(strategy=Strategy.ONE_FOR_ONE) as system:
        first = system.create_session(project)
        state = system.get_state(first.id)
        wait_for_restart(system, first, "manager", after=kill(system, first, "manager").ref)

        assert system.get_state(first.id) == state


# ----- what a session consists of -----------------------------------------------------


def with_an_indexer(
    session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
) -> Sequence[ChildSpec]:
    return session_children(session, (worker("indexer"), *own), upkeep=upkeep)


def without_state(
    session: Session, own: Sequence[ChildSpec] = (), *, upkeep: Upkeep
) -> Sequence[ChildSpec]:
    return session_children(session, own, upkeep=upkeep)[:1]


def test_an_app_can_say_what_every_session_consists_of(project: Path) -> None:
    """Its children are found by name, and take part in updates."""
    with SessionSystem(build=with_an_indexer) as system:
        session = system.create_session(project, children=[worker("one")])

        ids = [info.id for info in session.which_children()]
        assert ids == ["manager", "state", "indexer", "one"]
        assert session.call("indexer", ("echo", 1)) == 1
        assert session.rename("till").name == "till"


def test_a_session_without_state_is_refused(project: Path) -> None:
    """Before anything is started."""
    with SessionSystem(build=without_state) as system:
        with pytest.raises(InvalidChildSpecError, match="state"):
            system.create_session(project)

        assert system.list_sessions() == []


def test_the_current_folder_is_the_default_project(
    system: SessionSystem, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call, and a session is open where the app was started."""
    monkeypatch.chdir(project)

    assert system.create_session().session.project_path == str(project)


# ----- who is let in ----------------------------------------------------------------


def test_the_limit_is_exact_under_many_callers(tmp_path: Path) -> None:
    """Forty threads, ten places: ten get in, and the count never passes ten."""
    folders = new_folders(tmp_path, 40)
    results: list[object] = []
    with SessionSystem(creation_rate=None) as system:

        def attempt(folder: Path) -> None:
            try:
                results.append(system.create_session(folder))
            except SessionLimitError as error:
                results.append(error)

        threads = [threading.Thread(target=attempt, args=(folder,)) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sessions = system.list_sessions()

    assert len(sessions) == 10
    assert sum(isinstance(result, SessionHandle) for result in results) == 10
    assert {result.current for result in results if isinstance(result, SessionLimitError)} == {10}


def test_one_project_is_opened_once_under_many_callers(
    system: SessionSystem, project: Path
) -> None:
    """Twenty threads at once: one gets it."""
    results: list[object] = []

    def attempt() -> None:
        try:
            results.append(system.create_session(project))
        except ProjectAlreadyOpenError as error:
            results.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(result, SessionHandle) for result in results) == 1
    assert len(results) == 20


def test_attempts_are_limited_by_rate_whether_they_succeed_or_not(project: Path) -> None:
    """A refused attempt costs as much as a good one."""
    with SessionSystem(creation_rate=CreationRate(3, 3600.0)) as system:
        session = system.create_session(project)
        for _ in range(2):
            with pytest.raises(ProjectAlreadyOpenError):
                system.create_session(project)
        with pytest.raises(RateLimitedError) as refused:
            system.create_session(project)

        assert 0 < refused.value.retry_after <= 1200
        assert system.list_sessions() == [session.session]


@pytest.mark.parametrize("inner_first", [True, False])
def test_a_project_inside_an_open_one_is_refused_unless_allowed(
    project: Path, tmp_path: Path, *, inner_first: bool
) -> None:
    """Whichever is opened first, and under whatever path."""
    alias = tmp_path / "alias"
    alias.symlink_to(project / "src")
    first, second = (alias, project) if inner_first else (project, alias)
    with SessionSystem() as system:
        session = system.create_session(first)
        with pytest.raises(ProjectAlreadyOpenError, match="inside") as refused:
            system.create_session(second)

        assert (refused.value.session_id, refused.value.nested) == (session.id, True)
    with SessionSystem(allow_nested=True) as system:
        system.create_session(first)
        assert system.create_session(second).session.project_path == str(second)


def test_a_new_registry_lets_nobody_in_before_it_knows_what_runs(tmp_path: Path) -> None:
    """The limit holds while the registry is killed over and over."""
    folders = new_folders(tmp_path, 8)
    with SessionSystem(max_sessions=2, creation_rate=None) as system:
        for folder in folders[:2]:
            system.create_session(folder)
        for folder in folders[2:5]:
            registry = system.tree().children[0].ref
            assert registry is not None
            os.kill(registry.os_pid, signal.SIGKILL)
            with pytest.raises(SessionLimitError):
                create_again(system, folder)

        assert len(system.list_sessions()) == 2


def create_again(system: SessionSystem, folder: Path) -> SessionHandle:
    """Create a session, through the deaths of the registry."""
    while True:
        try:
            return system.create_session(folder)
        except (ActorExitedError, RegistryNotRunningError):
            continue
