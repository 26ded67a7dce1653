"""When the registry lets a session in, told by its supervisors in whatever order."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn, cast

import pytest
from msgspec.structs import replace

from jidocode.errors import (
    ActorExitedError,
    ChildNotFoundError,
    InvalidRequestError,
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    SessionNotFoundError,
    StartFailedError,
)
from jidocode.otp import ActorRef, Killed, Response, Start
from jidocode.otp.naming.messages import (
    REGISTRY,
    ClaimName,
    RegisterName,
    ReleaseName,
    ReportComplete,
)
from jidocode.otp.server.machine import SendRequest
from jidocode.otp.supervision.events import ChildExited
from jidocode.otp.supervision.management import StartChild, TerminateChild
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.admission.messages import (
    SESSIONS,
    FindRecord,
    GetRecord,
    ListRecords,
    OpenSession,
    StartSession,
    StopSession,
    UpdateRecord,
)
from jidocode.session.admission.registry import ProcessRegistry
from jidocode.session.project.locate import enclosing_keys
from jidocode.session.record import Session
from jidocode.session.supervisor import SessionSupervisor
from jidocode.session.tree import session_children
from jidocode.session.upkeep import Upkeep
from jidocode.testing import FakeChild

ROOT = ActorRef("application", 1, 100)
OLD = ActorRef("sessions", 2, 101)
NEW = ActorRef("sessions", 3, 102)


@pytest.fixture
def registry() -> FakeChild:
    """A registry whose supervisor of sessions has just been killed."""
    registry = FakeChild(Start(ProcessRegistry, AdmissionRules(max_sessions=1)))
    registry.cast(ClaimName(SESSIONS, ROOT, OLD.incarnation))
    registry.cast(RegisterName(SESSIONS, ROOT, OLD))
    registry.cast(ReportComplete(OLD))
    exit_ = ChildExited(supervisor=ROOT, child_id="sessions", ref=OLD, reason=Killed(9))
    registry.cast(exit_)
    registry.cast(ClaimName(SESSIONS, ROOT, NEW.incarnation))
    return registry


def request_to_start(project: Path) -> StartSession:
    """Return what an app asks to open *project*."""
    session = Session.new(project_path=project)
    children = session_children(session, upkeep=Upkeep())
    opened = OpenSession(session, frozenset(enclosing_keys(session.project_path)), Upkeep())
    return StartSession(opened, SessionSupervisor.child_spec(opened, children))


@pytest.fixture
def start(tmp_path: Path) -> StartSession:
    """The request to start a session."""
    return request_to_start(tmp_path)


@pytest.mark.parametrize("first", [0, 1])
def test_a_session_that_comes_early_is_let_in_once_its_supervisor_is_known_and_has_reported(
    registry: FakeChild, start: StartSession, first: int
) -> None:
    """Whichever is heard first: the two come from different processes."""
    news = (ReportComplete(NEW), RegisterName(SESSIONS, ROOT, NEW))
    call = registry.begin_call(start)
    registry.effects.clear()
    registry.cast(news[first])
    assert not [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    registry.cast(news[1 - first])

    assert not call.done
    (sent,) = [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    assert sent.target == NEW
    assert sent.request == StartChild(start.spec)


def test_an_attempt_that_has_to_be_repeated_costs_one(start: StartSession) -> None:
    """A process that died over it, or was not known yet, is no fault of who asks."""
    registry = FakeChild(Start(ProcessRegistry, AdmissionRules(max_sessions=1, attempts=1)))
    registry.cast(ClaimName(REGISTRY, ROOT, 1))
    registry.cast(ReportComplete(ROOT))
    with pytest.raises(NoProcessError):
        registry.call(start)
    with pytest.raises(NoProcessError):
        registry.call(replace(start, again=True))
    with pytest.raises(RateLimitedError):
        registry.call(start)


def test_what_is_asked_early_is_answered_once_the_sessions_are_known(start: StartSession) -> None:
    """A new registry says of no session that it is not there, before all have been told."""
    session, ref = start.session.record, ActorRef("session", 1, 103)
    name = ("session", session.id)
    registry = FakeChild(Start(ProcessRegistry, AdmissionRules(max_sessions=1)))
    renamed = session.rename("till")
    questions: list[tuple[object, object]] = [
        (GetRecord(session.id), session),
        (ListRecords(), [session]),
        (FindRecord(name=session.name), session),
        (UpdateRecord(session.id, renamed), replace(start.session, record=renamed)),
    ]
    calls = [(registry.begin_call(question), answer) for question, answer in questions]
    stop = registry.begin_call(StopSession(session.id))
    for news in (
        ReportComplete(NEW),
        ClaimName(SESSIONS, ROOT, NEW.incarnation),
        ClaimName(REGISTRY, ROOT, 1),
        ReportComplete(ROOT),
        ClaimName(name, NEW, ref.incarnation, start.session),
        RegisterName(name, NEW, ref),
    ):
        registry.cast(news)
        assert not any(call.done for call, _ in calls)
    registry.cast(RegisterName(SESSIONS, ROOT, NEW))

    assert [call.result() for call, _ in calls] == [answer for _, answer in calls]
    (sent,) = [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    assert sent.request == TerminateChild(session.id)
    assert not stop.done


def test_a_stop_that_is_repeated_may_find_that_the_first_is_done(
    registry: FakeChild, start: StartSession
) -> None:
    """Though the registry has not heard so yet: only who asks for the first time is refused."""
    session_id, ref = start.session.record.id, ActorRef("session", 1, 103)
    for news in (
        RegisterName(SESSIONS, ROOT, NEW),
        ClaimName(("session", session_id), NEW, ref.incarnation, start.session),
        RegisterName(("session", session_id), NEW, ref),
        ReportComplete(NEW),
    ):
        registry.cast(news)
    first, again = (
        registry.begin_call(StopSession(session_id, again=again)) for again in (False, True)
    )
    for sent in [effect for effect in registry.effects if isinstance(effect, SendRequest)]:
        registry.info(Response(sent.token, None, ChildNotFoundError(session_id)))

    with pytest.raises(SessionNotFoundError):
        first.result()
    assert again.result() is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_session_that_is_being_started_is_found_once_it_is(
    registry: FakeChild, start: StartSession, *, fails: bool
) -> None:
    """Whoever was forestalled looks for it, and is not told that there is none."""
    session = start.session.record
    questions = [
        GetRecord(session.id),
        FindRecord(project_key=session.project_key),
        FindRecord(name=session.name),
    ]
    registry.cast(RegisterName(SESSIONS, ROOT, NEW))
    registry.cast(ReportComplete(NEW))
    registry.effects.clear()
    started = registry.begin_call(start)
    (sent,) = [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    calls = [registry.begin_call(question) for question in questions]
    with pytest.raises(SessionNotFoundError):
        registry.call(FindRecord(name="another"))
    assert not any(call.done for call in calls)
    if fails:
        registry.info(Response(sent.token, None, StartFailedError(session.id, Killed(9))))
        for call in (started, *calls):
            with pytest.raises(StartFailedError if call is started else SessionNotFoundError):
                call.result()
    else:
        name, ref = ("session", session.id), ActorRef("session", 1, 103)
        registry.cast(ClaimName(name, NEW, ref.incarnation, start.session))
        registry.cast(RegisterName(name, NEW, ref))
        registry.info(Response(sent.token, ref, None))
        assert started.result() == ref
        assert [call.result() for call in calls] == [session] * len(calls)


@pytest.mark.parametrize("fails", [False, True])
def test_a_session_whose_start_another_registry_was_asked_for_is_found_once_it_is(
    registry: FakeChild, start: StartSession, *, fails: bool
) -> None:
    """Or one that is restarted: its supervisor has its name, and no process yet."""
    session = start.session.record
    name, ref = ("session", session.id), ActorRef("session", 1, 103)
    for news in (
        RegisterName(SESSIONS, ROOT, NEW),
        ClaimName(name, NEW, ref.incarnation, start.session),
        ReportComplete(NEW),
    ):
        registry.cast(news)
    call = registry.begin_call(GetRecord(session.id))
    assert not call.done
    if fails:
        registry.cast(ReleaseName(name, NEW))
        with pytest.raises(SessionNotFoundError):
            call.result()
    else:
        registry.cast(RegisterName(name, NEW, ref))
        assert call.result() == session


def test_whoever_asks_is_answered_however_many_wait(
    registry: FakeChild, start: StartSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are not looked at again before there is news."""
    looked: list[FindRecord] = []
    find = ProcessRegistry._find

    def look(self: ProcessRegistry, wanted: FindRecord) -> Session:
        looked.append(wanted)
        return find(self, wanted)

    monkeypatch.setattr(ProcessRegistry, "_find", look)
    registry.cast(RegisterName(SESSIONS, ROOT, NEW))
    registry.cast(ReportComplete(NEW))
    registry.begin_call(start)
    question = FindRecord(name=start.session.record.name)
    calls = [registry.begin_call(question) for _ in range(100)]
    assert registry.call(ListRecords()) == []
    assert len(looked) == len(calls)
    assert not any(call.done for call in calls)


@pytest.mark.parametrize("wrong", [None, "no record", ActorRef("session", 1, 103)])
def test_an_update_with_what_is_no_record_is_refused(
    registry: FakeChild, start: StartSession, wrong: object
) -> None:
    """One client's mistake is nobody else's crash."""
    registry.cast(RegisterName(SESSIONS, ROOT, NEW))
    registry.cast(ReportComplete(NEW))
    session_id = start.session.record.id
    name = ("session", session_id)
    registry.cast(ClaimName(name, NEW, 1, start.session))
    registry.cast(RegisterName(name, NEW, ActorRef("session", 1, 103)))

    with pytest.raises(InvalidRequestError):
        registry.call(UpdateRecord(session_id, cast("Session", wrong)))
    assert registry.call(GetRecord(session_id)) == start.session.record


@pytest.fixture
def no_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Makes every look at a disk fail, for as long as a block takes."""

    def look(*args: object, **options: object) -> NoReturn:
        raise AssertionError(f"looked at {args} {options}")

    @contextmanager
    def fail() -> Generator[None]:
        with monkeypatch.context() as patch:
            for name in ("stat", "lstat", "open", "listdir", "scandir", "readlink", "access"):
                patch.setattr(os, name, look)
            yield

    return fail


@pytest.mark.parametrize(("opened", "wanted"), [(".", "till"), ("till", ".")])
def test_a_new_registry_refuses_a_nested_project_and_looks_at_no_disk(
    tmp_path: Path,
    opened: str,
    wanted: str,
    no_disk: Callable[[], AbstractContextManager[None]],
) -> None:
    """What it has to know of folders comes with what the supervisors report: a disk may hang."""
    (tmp_path / "till").mkdir()
    first, second = request_to_start(tmp_path / opened), request_to_start(tmp_path / wanted)
    session_id = first.session.record.id
    with no_disk():
        registry = FakeChild(Start(ProcessRegistry, AdmissionRules(max_sessions=9)))
        registry.cast(ClaimName(SESSIONS, ROOT, NEW.incarnation))
        registry.cast(RegisterName(SESSIONS, ROOT, NEW))
        registry.cast(ClaimName(("session", session_id), NEW, 1, first.spec.value))
        registry.cast(RegisterName(("session", session_id), NEW, ActorRef("session", 1, 103)))
        registry.cast(ReportComplete(NEW))

        with pytest.raises(ProjectAlreadyOpenError) as refused:
            registry.call(second)
        renamed = registry.call(UpdateRecord(session_id, first.session.record.rename("till")))
        with pytest.raises(ProjectAlreadyOpenError):
            registry.call(second)

    assert (refused.value.session_id, refused.value.nested) == (session_id, True)
    assert renamed.enclosing == first.session.enclosing


def test_an_attempt_that_its_supervisor_died_over_is_no_rival_of_the_next(
    registry: FakeChild, start: StartSession
) -> None:
    """What the dead one had claimed for it goes first, in whatever order that is heard."""
    name, session = ("session", start.session.record.id), ActorRef("session", 1, 2**22 + 1)
    registry.cast(RegisterName(SESSIONS, ROOT, NEW))
    registry.cast(ReportComplete(NEW))
    first = registry.begin_call(start)
    (sent,) = [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    registry.cast(ClaimName(name, NEW, 1, start.session))
    registry.cast(RegisterName(name, NEW, session))
    registry.info(Response(sent.token, None, ActorExitedError("sessions", Killed(9))))
    with pytest.raises(ActorExitedError):
        first.result()

    second = registry.begin_call(replace(start, again=True))
    assert not second.done
    newest = ActorRef("sessions", 4, 104)
    registry.cast(ChildExited(supervisor=ROOT, child_id="sessions", ref=NEW, reason=Killed(9)))
    registry.effects.clear()
    registry.cast(ClaimName(SESSIONS, ROOT, newest.incarnation))
    registry.cast(RegisterName(SESSIONS, ROOT, newest))
    registry.cast(ReportComplete(newest))
    assert not second.done
    registry.cast(ChildExited(supervisor=NEW, child_id="x", ref=session, reason=Killed(9)))

    assert not second.done
    (sent,) = [effect for effect in registry.effects if isinstance(effect, SendRequest)]
    assert sent.target == newest
