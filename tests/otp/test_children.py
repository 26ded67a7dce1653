"""One life of one child: the table, and every order in which a death can become known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest
from attrs import evolve
from msgspec import Struct
from msgspec.structs import replace

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, Killed
from jidocode.base.refs import ActorRef
from jidocode.otp.naming.messages import OneLife
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.events import ChildExited, ChildStartFailed
from jidocode.otp.supervision.life import NOTE_GRACE, TRANSITIONS, Life, LifeState
from jidocode.otp.supervision.machine import (
    After,
    Announce,
    AskToStop,
    CauseUnknown,
    ChildEvent,
    ChildFailed,
    ChildGone,
    ChildIgnored,
    ChildReady,
    Claim,
    ClaimTimeout,
    DeathSeen,
    ExitNoted,
    HeartbeatDue,
    HeartbeatLost,
    InitTimeout,
    KeeperEffect,
    Kill,
    KillRequested,
    NameClaimed,
    NameReserved,
    NameTaken,
    NoteTimeout,
    PulseHeard,
    Spawn,
    StopRequested,
    StopTimeout,
)
from jidocode.otp.supervision.specs import BRUTAL_KILL, Flags, Start
from jidocode.otp.supervision.strategy import Restart
from jidocode.otp.supervision.supervisor import SupervisorLoop
from tests.otp.machines import SUPERVISOR, Tree, worker

REF = ActorRef("worker", 1, 1001)
NAMED = worker("a", name=("k", "1"), value="v")
SAID = Crashed("ValueError: no", "Traceback ...")


def life_in(state: LifeState) -> Life:
    """Return a life that got to *state* by the shortest way."""
    life = Life(NAMED, 1)
    life.begin(claim=True)
    ways: dict[LifeState, list[ChildEvent]] = {
        LifeState.CLAIMING: [],
        LifeState.STARTING: [NameClaimed(1)],
        LifeState.RUNNING: [NameClaimed(1), ChildReady(1, REF)],
        LifeState.STOPPING: [NameClaimed(1), ChildReady(1, REF)],
        LifeState.KILLING: [NameClaimed(1), InitTimeout(1)],
        LifeState.SILENT: [NameClaimed(1), ChildGone(1, None)],
        LifeState.ENDED: [NameClaimed(1), ChildGone(1, -9)],
    }
    for event in ways[state]:
        life.handle(event)
    if state is LifeState.STOPPING:
        life.stop()

    assert life.state is state
    return life


EVENTS: dict[type[ChildEvent], ChildEvent] = {
    NameClaimed: NameClaimed(1),
    NameReserved: NameReserved(1),
    NameTaken: NameTaken(1, REF),
    ClaimTimeout: ClaimTimeout(1),
    ChildReady: ChildReady(1, REF),
    ChildIgnored: ChildIgnored(1),
    ChildFailed: ChildFailed(1, SAID),
    InitTimeout: InitTimeout(1),
    StopRequested: StopRequested(1),
    KillRequested: KillRequested(1),
    StopTimeout: StopTimeout(1),
    HeartbeatLost: HeartbeatLost(1),
    ExitNoted: ExitNoted(1, NORMAL),
    ChildGone: ChildGone(1, -11),
    CauseUnknown: ChildGone(1, 0),
    NoteTimeout: NoteTimeout(1),
}


# ----- the table ---------------------------------------------------------------


@pytest.mark.parametrize("state", LifeState)
@pytest.mark.parametrize("news", EVENTS)
def test_news_goes_where_the_table_says_and_stale_news_changes_nothing(
    state: LifeState, news: type[ChildEvent]
) -> None:
    """A pair that is not in the table leaves every field as it was, and does nothing."""
    life = life_in(state)
    before = replace(life)

    effects = life.handle(EVENTS[news])

    target = TRANSITIONS[state].get(news)
    if target is None:
        assert (life, effects) == (before, [])
    else:
        assert life.state is target
        assert target is not state or effects == []


def test_the_table_knows_every_event_but_the_beats() -> None:
    """What can be heard is listed once, and each of it leads somewhere.

    A death that was only seen does not: what is below it may still live.
    """
    heard = {news for row in TRANSITIONS.values() for news in row}

    assert heard == set(EVENTS)
    assert set(get_args(ChildEvent)) - heard == {DeathSeen, HeartbeatDue, PulseHeard}


@pytest.mark.parametrize("state", LifeState)
def test_every_state_but_the_last_leads_to_the_end(state: LifeState) -> None:
    """No life can get stuck: from each state there is news that leads on, and one end."""
    reached = {state}
    for _ in LifeState:
        reached |= {target for each in reached for target in TRANSITIONS[each].values()}

    assert LifeState.ENDED in reached
    assert TRANSITIONS[LifeState.ENDED] == {}


def test_every_death_is_heard_of_in_every_state_with_a_process() -> None:
    """A death notice is never stale while the process is known to be there."""
    for state in set(LifeState) - {LifeState.CLAIMING, LifeState.ENDED}:
        assert {ChildGone, CauseUnknown, ExitNoted} <= set(TRANSITIONS[state])


# ----- what a life asks for ------------------------------------------------------


def test_name_is_claimed_with_its_value_before_the_spawn() -> None:
    """The process starts when the name is granted, with a deadline for its init."""
    life = Life(NAMED, 1)

    assert life.begin(claim=True) == [
        Claim(1, ("k", "1"), "v"),
        After(10.0, ClaimTimeout(1)),
    ]
    assert life.handle(NameClaimed(1)) == [
        Spawn(1, NAMED),
        After(10.0, InitTimeout(1)),
    ]


@pytest.mark.parametrize("claim", [True, False])
def test_child_without_a_name_starts_at_once(claim: bool) -> None:  # noqa: FBT001 - both ways
    """There is nothing to claim."""
    assert isinstance(Life(worker("a"), 1).begin(claim=claim)[0], Spawn)


def test_init_without_a_limit_has_no_deadline() -> None:
    """INFINITY sets no timer."""
    spec = worker("a", init_timeout=INFINITY)

    assert Life(spec, 1).begin(claim=False) == [Spawn(1, spec)]


def test_stop_asks_first_and_kills_at_the_deadline() -> None:
    """F3: a second stop changes nothing."""
    life = life_in(LifeState.RUNNING)

    assert life.stop() == [AskToStop(1), After(5.0, StopTimeout(1))]
    assert life.stop() == []
    assert life.handle(StopTimeout(1)) == [Kill(1)]


@pytest.mark.parametrize("shutdown", [BRUTAL_KILL, 0])
def test_brutal_stop_kills_at_once(shutdown: float) -> None:
    """F4, F6: without asking."""
    life = Life(worker("a", shutdown=shutdown), 1)
    life.begin(claim=False)
    life.handle(ChildReady(1, REF))

    assert life.stop() == [Kill(1)]
    life.handle(ChildGone(1, -9))
    assert (life.reason, life.on_request) == (Killed(9), True)


def test_stop_before_the_process_is_there_ends_the_life() -> None:
    """A claim that is under way has nothing to kill."""
    life = life_in(LifeState.CLAIMING)

    assert life.stop() == []
    assert (life.state, life.reason) == (LifeState.ENDED, SHUTDOWN)


def test_the_name_of_a_child_that_has_one_life_is_claimed_as_such() -> None:
    """The registry frees it by itself then, as soon as the process is dead."""
    spec = worker("a", name=("k", "1"), value="v", restart=Restart.TEMPORARY)

    assert Life(spec, 1).begin(claim=True)[0] == Claim(1, ("k", "1"), OneLife("v"))


def test_a_claim_that_is_not_decided_ends_the_start() -> None:
    """Else two supervisors could wait for each other for ever."""
    life = life_in(LifeState.CLAIMING)

    assert life.handle(ClaimTimeout(1)) == []
    assert life.reason == Crashed("its name was not free within 10 s")


def test_refused_name_is_the_reason() -> None:
    """B7: with the holder; nobody holds what is reserved."""
    life = life_in(LifeState.CLAIMING)
    life.handle(NameTaken(1, REF))
    other = life_in(LifeState.CLAIMING)
    other.handle(NameReserved(1))

    assert (life.holder, life.name_reserved) == (REF, False)
    assert life.reason == Crashed("its name is taken by worker#1 (pid 1001)")
    assert (other.holder, other.name_reserved) == (None, True)
    assert other.reason == Crashed("its name is reserved")


def test_silence_is_given_a_moment_for_the_note() -> None:
    """The note of a dead child may still be under way, for a bounded time."""
    life = life_in(LifeState.RUNNING)

    assert life.handle(ChildGone(1, 0)) == [
        After(NOTE_GRACE, NoteTimeout(1)),
    ]


# ----- every order in which a death can become known -------------------------------


class Cause(Struct, frozen=True):
    """What really happened to a process: what it said, and how it ended."""

    name: str
    said: ChildEvent | None
    status: int

    def witnesses(self) -> list[ChildEvent]:
        """Return all that can be heard of it: notice, again, pidfd, exit status, note."""
        heard: list[ChildEvent] = [ChildGone(0, None)] * 3
        heard.append(ChildGone(0, self.status))
        return [*heard, self.said] if self.said else heard


CAUSES = [
    Cause("SIGKILL", None, -9),
    Cause("SIGSEGV", None, -11),
    Cause("finished", ExitNoted(0, NORMAL), 0),
    Cause("shut down", ExitNoted(0, SHUTDOWN), 0),
    Cause("exception", ExitNoted(0, SAID), 1),
    Cause("exit without a word", None, 0),
    Cause("exit status without a word", None, 3),
    Cause("SIGKILL while it left", ExitNoted(0, SHUTDOWN), -9),
]


def orders(events: Sequence[ChildEvent]) -> Iterator[tuple[ChildEvent, ...]]:
    """Return every permutation of every subset of *events* that tells of the death."""
    numbered = list(enumerate(events))
    for count in range(1, len(events) + 1):
        for order in itertools.permutations(numbered, count):
            chosen = tuple(event for _, event in order)
            if any(isinstance(event, ChildGone) for event in chosen):
                yield chosen


def best_known(order: Sequence[ChildEvent]) -> ExitReason:
    """Return the best reason known when the end is acted upon.

    That is as soon as the death is known together with a signal or a word of
    the child; failing these, when nothing more was heard in time.
    """
    dead, said, status = False, None, None
    for event in order:
        match event:
            case ChildGone():
                dead = True
                status = event.status if status is None else status
            case ExitNoted(reason=reason) | ChildFailed(reason=reason):
                said = reason
            case _:
                raise AssertionError(event)
        if dead and (said is not None or (status is not None and status < 0)):
            break
    if status is not None and status < 0:
        return Killed(-status)
    if said is not None:
        return said
    return (
        Killed() if status is None else Crashed(f"exited with status {status} and without a word")
    )


class OnePermanentChild:
    """A supervisor of one permanent child, whose deaths cost nothing."""

    def __init__(self) -> None:
        flags = Flags(max_restarts=10**9)
        start = Start(Tree, (flags, [worker("a")]))
        self.loop = SupervisorLoop.of(start, SUPERVISOR)
        self.incarnation = 1
        self.loop.start(start, 0.0)

    def feed(self, event: ChildEvent) -> list[KeeperEffect]:
        return self.loop.handle(replace(event, incarnation=self.incarnation), 0.0)

    def ready(self) -> None:
        self.feed(ChildReady(0, evolve(REF, incarnation=self.incarnation)))

    def deaths(self, order: Sequence[ChildEvent]) -> list[ExitReason]:
        """Feed *order* and what timers there are; return the reasons of announced ends."""
        effects = [effect for event in order for effect in self.feed(event)]
        for timeout in (NoteTimeout(0), StopTimeout(0), InitTimeout(0)):
            effects += self.feed(timeout)
        reasons = [
            effect.event.reason
            for effect in effects
            if isinstance(effect, Announce)
            and isinstance(effect.event, (ChildExited, ChildStartFailed))
        ]
        self.incarnation += sum(isinstance(effect, Spawn) for effect in effects)
        return reasons


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_death_of_a_running_child_is_one_end_with_the_best_reason(cause: Cause) -> None:
    """Any subset of the witnesses, in any order: one restart, and no other reaction."""
    world = OnePermanentChild()
    for order in orders(cause.witnesses()):
        world.ready()
        before = world.incarnation

        assert (order, world.deaths(order)) == (order, [best_known(order)])
        assert world.incarnation == before + 1


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_each_death_of_a_stopping_child_is_one_end_with_the_best_reason(cause: Cause) -> None:
    """The stop does not hide why it ended."""
    for order in orders(cause.witnesses()):
        life = life_in(LifeState.STOPPING)
        for event in [*order, NoteTimeout(1)]:
            life.handle(event)

        assert (order, life.state, life.reason) == (order, LifeState.ENDED, best_known(order))


FAILURES = [
    Cause("init raised", ChildFailed(0, SAID), 1),
    Cause("killed in init", None, -9),
    Cause("left init without a word", None, 0),
]


@pytest.mark.parametrize("cause", FAILURES, ids=lambda cause: cause.name)
def test_each_failed_start_is_one_end_with_the_best_reason(cause: Cause) -> None:
    """A failed init is known by its word or by the death, whichever comes first."""
    for order in orders(cause.witnesses()):
        life = life_in(LifeState.STARTING)
        ends = 0
        for event in [*order, NoteTimeout(1)]:
            was = life.state
            life.handle(event)
            ends += was is not LifeState.ENDED and life.state is LifeState.ENDED

        assert (order, ends, life.ref, life.init_ignored) == (order, 1, None, False)
        assert (order, life.reason) == (order, best_known(order))


def test_each_ignored_init_is_one_end_that_is_no_failure() -> None:
    """Ignoring is known as such, in whatever order it and the death are heard of."""
    for order in orders([ChildIgnored(1), *Cause("", None, 0).witnesses()]):
        life = life_in(LifeState.STARTING)
        for event in [*order, NoteTimeout(1)]:
            life.handle(event)

        assert (order, life.state) == (order, LifeState.ENDED)
        assert (order, life.init_ignored) == (order, ChildIgnored(1) in order)


@pytest.mark.parametrize(
    "why",
    [InitTimeout(1), ChildFailed(1, SAID), ChildIgnored(1), None],
    ids=["hung", "failed", "ignored", "stopped"],
)
def test_child_killed_in_its_init_ends_with_the_first_word_of_its_death(
    why: ChildEvent | None,
) -> None:
    """There is nothing to wait for: what it did wrong is known, or it was told to stop."""
    for first in Cause("", None, -9).witnesses():
        life = life_in(LifeState.STARTING)
        effects = life.handle(why) if why else life.stop()
        life.handle(first)

        assert (effects, life.state) == ([Kill(1)], LifeState.ENDED)


def test_later_words_do_not_change_why_a_hung_init_was_killed() -> None:
    """The deadline is the reason, even if init ends between it and the kill."""
    life = life_in(LifeState.STARTING)
    life.handle(InitTimeout(1))
    for event in (ChildReady(1, REF), ChildFailed(1, SAID), ChildIgnored(1), ChildGone(1, -9)):
        life.handle(event)

    assert life.reason == Crashed("init took longer than 10 s")
    assert (life.ref, life.init_ignored) == (None, False)


def test_child_that_was_ready_and_died_at_once_had_started() -> None:
    """Its notice may overtake its readiness and its note."""
    life = life_in(LifeState.STARTING)
    for event in (ChildGone(1, 0), ChildReady(1, REF), ExitNoted(1, NORMAL)):
        life.handle(event)

    assert (life.state, life.ref, life.reason) == (LifeState.ENDED, REF, NORMAL)


def test_first_word_counts() -> None:
    """A second exit note changes nothing."""
    life = life_in(LifeState.RUNNING)
    for event in (ExitNoted(1, NORMAL), ExitNoted(1, SAID), ChildGone(1, 0)):
        life.handle(event)

    assert life.reason == NORMAL
