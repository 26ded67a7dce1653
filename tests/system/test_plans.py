"""What the services ask of whom, and what follows from an answer: without any process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from jidocode._host.attach import place
from jidocode._host.client.calls import NotSentError
from jidocode._host.client.directory import Directory
from jidocode.errors import (
    ActorExitedError,
    CallTimeoutError,
    ChildNotFoundError,
    JournalWriteError,
    NoProcessError,
    RegistryNotRunningError,
    SessionExistsError,
    SessionNotFoundError,
)
from jidocode.otp import ActorRef, ChildStarted, Killed, Name
from jidocode.otp.naming.messages import REGISTRY, ROOT, AwaitLive, Live, LookUp, NotFound
from jidocode.otp.supervision.management import UpdateChild
from jidocode.session.admission.messages import (
    SESSIONS,
    GetRecord,
    ListRecords,
    OpenSession,
    StartSession,
    StopSession,
    UpdateRecord,
)
from jidocode.session.journal.place import journal_path
from jidocode.session.project.locate import enclosing_keys
from jidocode.session.record import Session
from jidocode.session.requests import Request, request, update_session
from jidocode.session.tree import session_children
from jidocode.session.upkeep import Upkeep
from jidocode.system.archive import Archive
from jidocode.system.router import Router
from jidocode.system.session_router import SessionRouter
from jidocode.system.sessions import Sessions
from jidocode.system.settings import Settings
from jidocode.system.steps import Ask, AwaitName, Plan, Step
from jidocode.system.updates import Updates

T = TypeVar("T")
ROOT_REF = ActorRef("application", 1, 100)


class App:
    """An app without a host: it knows names, and a test says what comes of each step."""

    def __init__(self, settings: Settings) -> None:
        self.directory = Directory(lambda _ref, _reason: None)
        self.router = SessionRouter(
            self.directory, lambda: None, lambda: None, settings.call_timeout
        )
        self.archive = Archive(settings)
        self.sessions = Sessions(self.router, self.archive, settings, session_children, None)
        self.updates = Updates(self.router, self.sessions)
        self.asked: list[tuple[str, object]] = []
        self.deadlines: list[float] = []
        self.directory.root_started(ROOT_REF, ROOT)
        for name in (REGISTRY, SESSIONS):
            self.knows(name)

    def knows(self, name: Name) -> ActorRef:
        """Have a process run under *name*."""
        ref = ActorRef(name[0] if name[0] != "system" else name[1], 1, 101)
        self.directory.take(ChildStarted(supervisor=ROOT_REF, child_id=name[1], ref=ref, name=name))
        return ref

    def carry_out(self, plan: Plan[T], answer: Callable[[str, Any], object]) -> T:
        """Carry out *plan*; *answer* says what who answers to what, an error among it."""
        step: Step
        try:
            step = next(plan)
            while True:
                outcome = self._outcome(step, answer)
                failed = isinstance(outcome, Exception)
                step = plan.throw(outcome) if failed else plan.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _outcome(self, step: Step, answer: Callable[[str, Any], object]) -> Any:
        if isinstance(step, AwaitName):
            return self.directory.find(step.name)
        assert isinstance(step, Ask)
        self.asked.append((step.ref.kind, step.request))
        self.deadlines.append(step.deadline.at)
        return answer(step.ref.kind, step.request)


@pytest.fixture
def app() -> App:
    """An app whose sessions have no journals."""
    return App(Settings(durability="memory"))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A record."""
    return Session.new(project_path=tmp_path)


def starts(app: App) -> list[StartSession]:
    return [request for _, request in app.asked if isinstance(request, StartSession)]


@pytest.mark.parametrize("size", [0, 2**30])
def test_a_start_is_waited_for_as_long_as_the_journal_takes_to_open(
    session: Session, tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    """By the app and the supervisor of sessions; State may always take what the largest takes."""
    folder = tmp_path_factory.mktemp("state")
    journal_path(folder, session.id).touch()
    os.truncate(journal_path(folder, session.id), size)
    app = App(Settings(state_dir=folder))
    before = time.monotonic()
    app.carry_out(app.sessions.start(session), lambda _who, _request: ActorRef("session", 1, 1))
    (request,) = starts(app)
    patience = size / 2**24

    assert app.deadlines[-1] == pytest.approx(before + 5 + patience, abs=1)
    assert request.spec.init_timeout == 10 + patience
    (state,) = [each for each in session_children(session, upkeep=Upkeep()) if each.id == "state"]
    assert state.init_timeout >= 10 + 2**30 / 2**24


# ----- starting ----------------------------------------------------------------------


def test_the_registry_is_told_of_the_folders_around_a_project(app: App, session: Session) -> None:
    """It looks at no disk, and nor does the next one, which gets the same from the supervisor."""
    app.carry_out(app.sessions.start(session), lambda _who, _request: ActorRef("session", 1, 1))
    (request,) = starts(app)

    enclosing = frozenset(enclosing_keys(session.project_path))
    upkeep = Upkeep(heartbeat=10.0, closed=(str(place.folder()),))
    opened = OpenSession(session, enclosing, upkeep)
    assert request.session == opened
    assert request.spec.value == opened
    assert not request.again
    assert opened.enclosing


def test_a_registry_that_dies_over_a_start_is_followed_by_the_next_one(
    app: App, session: Session
) -> None:
    """It is asked the same again, which is no new attempt."""
    outcomes: list[object] = [
        ActorExitedError("the registry", Killed(9)),
        NotSentError("the registry"),
        ActorRef("session", 1, 1),
    ]
    app.carry_out(app.sessions.start(session), lambda _who, _request: outcomes.pop(0))

    first, *others = starts(app)
    assert others == [replace(first, again=True)] * 2


@pytest.mark.parametrize("was_open", [True, False])
def test_a_registry_that_dies_over_a_stop_is_followed_by_the_next_one(
    app: App, session: Session, *, was_open: bool
) -> None:
    """It may find none: that is an error, unless the session was known to be open."""
    outcomes: list[object] = [
        Live(ActorRef("session", 1, 1)) if was_open else NotFound(),
        ActorExitedError("the registry", Killed(9)),
        ActorExitedError("sessions", Killed(9)),
        None,
    ]
    app.carry_out(app.sessions.stop(session.id), lambda _who, _request: outcomes.pop(0))

    again = StopSession(session.id, again=was_open)
    _, *asked = [each for _, each in app.asked]
    assert asked == [StopSession(session.id), again, again]


def test_whoever_did_not_answer_is_named(app: App, session: Session) -> None:
    """The session if it was asked to stop; the registry if nobody has brought it back."""
    app.knows(("session", session.id))
    plan = app.sessions.stop(session.id)
    with pytest.raises(CallTimeoutError, match=f"^session {session.id} did not answer"):
        app.carry_out(plan, lambda _who, _request: CallTimeoutError("the registry", 1.0))
    outcomes: list[object] = [
        ActorExitedError("the registry", Killed(9)),
        CallTimeoutError("the registry", 1.0),
    ]
    with pytest.raises(CallTimeoutError, match=r"^the registry did not answer"):
        app.carry_out(app.sessions.stop(session.id), lambda _who, _request: outcomes.pop(0))


@pytest.mark.parametrize("same", [True, False])
def test_a_start_that_was_repeated_finds_what_the_first_one_has_started(
    app: App, session: Session, *, same: bool
) -> None:
    """Or that somebody else has taken the id meanwhile."""
    found = OpenSession(session if same else session.rename("other"), frozenset(), Upkeep())
    outcomes: list[object] = [
        ActorExitedError("the registry", Killed(9)),
        SessionExistsError(session.id),
        Live(ActorRef("session", 1, 1), found),
    ]
    plan = app.sessions.start(session)
    if same:
        assert app.carry_out(plan, lambda _who, _request: outcomes.pop(0)) == session
    else:
        with pytest.raises(SessionExistsError):
            app.carry_out(plan, lambda _who, _request: outcomes.pop(0))
    assert app.asked[-1] == ("registry", AwaitLive(("session", session.id)))


def test_an_id_that_exists_at_the_first_attempt_is_somebody_elses(
    app: App, session: Session
) -> None:
    """Nobody is asked any more."""
    with pytest.raises(SessionExistsError):
        app.carry_out(app.sessions.start(session), lambda _who, _: SessionExistsError(session.id))

    assert len(app.asked) == 1


# ----- updates -----------------------------------------------------------------------


def update(app: App, session: Session, refusing: Mapping[str, Exception]) -> Session:
    """Rename *session*; whoever is in *refusing* raises that."""
    opened = OpenSession(session, frozenset({(1, 2)}), Upkeep())

    def answer(who: str, request: object) -> object:
        match request:
            case GetRecord():
                return session
            case UpdateRecord():
                return replace(opened, record=request.record)
            case Request() if who == "state":
                return refusing.get(who, request.args[0])
            case _:
                return refusing.get(who)

    plan = app.updates.apply(session.id, lambda record: record.rename("till"))
    return app.carry_out(plan, answer)


def test_a_change_goes_to_state_and_then_to_all_who_have_the_record(
    app: App, session: Session
) -> None:
    """State writes it down; a later registry and later processes start from it."""
    for kind in ("session", "state", "manager"):
        app.knows((kind, session.id))
    record = update(app, session, {})

    assert record.name == "till"
    who = [kind for kind, _ in app.asked]
    assert who == ["registry", "state", "registry", "sessions", "session", "session", "manager"]
    told = dict(app.asked[1:4])
    assert told["state"] == request(update_session, record, session.updated_at)
    opened = OpenSession(record, frozenset({(1, 2)}), Upkeep())
    assert told["sessions"] == UpdateChild(session.id, value=opened)
    children = [request for _, request in app.asked[4:6] if isinstance(request, UpdateChild)]
    assert [(child.child_id, child.start) for child in children] == [
        (spec.id, spec.start) for spec in app.sessions.children(opened)
    ]


def test_what_state_refuses_changes_nothing(app: App, session: Session) -> None:
    """Nobody else hears of it."""
    app.knows(("state", session.id))
    with pytest.raises(JournalWriteError):
        update(app, session, {"state": JournalWriteError("no space")})

    assert [kind for kind, _ in app.asked] == ["registry", "state"]


def test_children_that_are_not_there_need_not_hear_of_a_change(app: App, session: Session) -> None:
    """A deleted one does not start again; a stopped Manager starts from the spec."""
    for kind in ("session", "state", "manager"):
        app.knows((kind, session.id))
    refusing = {"session": ChildNotFoundError("manager"), "manager": NoProcessError("manager")}

    assert update(app, session, refusing).name == "till"


# ----- finding -----------------------------------------------------------------------


def test_a_name_that_is_known_costs_no_question(app: App, session: Session) -> None:
    """The request itself is all that is sent."""
    app.knows(("state", session.id))
    answer = app.carry_out(app.router.ask(("state", session.id), "hello"), lambda _who, _: "hi")

    assert answer == "hi"
    assert app.asked == [("state", "hello")]


def test_a_name_that_nobody_has_is_looked_up_once(app: App, session: Session) -> None:
    """And tells whether it is the session or the process that is missing."""
    name = ("tests", session.id)
    with pytest.raises(SessionNotFoundError):
        app.carry_out(app.router.ask(name, "hello"), lambda _who, _request: NotFound())
    app.knows(("session", session.id))
    with pytest.raises(NoProcessError, match="tests of session"):
        app.carry_out(app.router.ask(name, "hello"), lambda _who, _request: NotFound())

    is_there = LookUp(("session", session.id))
    assert [each for _, each in app.asked] == [AwaitLive(name), is_there, AwaitLive(name)]


def test_a_process_that_is_found_dead_is_looked_for_again_until_the_deadline(
    app: App, session: Session
) -> None:
    """Nothing was sent, so the next one may be asked the same."""
    app.knows(("state", session.id))
    outcomes: list[object] = [NotSentError("state"), NotSentError("state"), "hi"]
    plan = app.router.ask(("state", session.id), "hello")
    assert app.carry_out(plan, lambda _who, _request: outcomes.pop(0)) == "hi"

    plan = app.router.ask(("state", session.id), "hello", timeout=0.0)
    with pytest.raises(NoProcessError):
        app.carry_out(plan, lambda _who, _request: NotSentError("state"))


def test_without_a_registry_there_is_an_error_of_its_own() -> None:
    """After its deadline."""
    directory = Directory(lambda _ref, _reason: None)
    router = Router(directory, lambda: None, lambda: None, 0.0)
    plan = router.ask_registry(ListRecords())
    step = next(plan)

    assert isinstance(step, AwaitName)
    assert (step.name, step.give_up()) == (REGISTRY, True)
    with pytest.raises(RegistryNotRunningError):
        plan.send(None)


# ----- what is not open --------------------------------------------------------------


def test_the_journals_of_a_folder_are_found_without_a_host(
    tmp_path: Path, session: Session
) -> None:
    """By what is in the folder only, so that a command can look at them."""
    archive = Archive(Settings(state_dir=tmp_path / "state"))

    assert archive.find_all() == []
    with pytest.raises(SessionNotFoundError):
        archive.record(session.id)
