"""What the app makes of the supervisors' news, in whatever order they come."""

from __future__ import annotations

import threading
import time

from jidocode._host.client.directory import Directory
from jidocode.otp import ActorRef, ChildExited, ChildStarted, ExitReason, Killed, Name

ROOT: Name = ("root", "jidocode")
FIRST, SECOND = ActorRef("group", 1, 100), ActorRef("group", 2, 200)


def directory(deaths: list[ActorRef]) -> Directory:
    """Return one that adds whoever ends to *deaths*."""

    def note(ref: ActorRef, _reason: ExitReason) -> None:
        deaths.append(ref)

    return Directory(note)


def started(supervisor: ActorRef, ref: ActorRef, name: Name | None = None) -> ChildStarted:
    return ChildStarted(supervisor=supervisor, child_id=ref.kind, ref=ref, name=name)


def test_a_new_root_is_not_taken_for_the_old_one() -> None:
    """That it runs and that the old one ended come from two processes."""
    deaths: list[ActorRef] = []
    known = directory(deaths)
    known.root_started(FIRST, ROOT)
    below = ActorRef("worker", 1, 101)
    known.take(started(FIRST, below))
    known.root_started(SECOND, ROOT)
    known.root_ended(ROOT, 1, Killed(9), restarting=True)

    assert deaths == [FIRST, below]
    assert known.find(ROOT) == SECOND
    assert known.live() == [SECOND]
    assert not known.is_expected(ROOT)


def test_a_root_that_ended_is_expected_until_the_next_one_runs() -> None:
    """If there is to be one."""
    known = directory([])
    known.root_started(FIRST, ROOT)
    known.root_ended(ROOT, 1, Killed(9), restarting=True)
    assert known.is_expected(ROOT)
    known.root_started(SECOND, ROOT)
    assert not known.is_expected(ROOT)
    known.root_ended(ROOT, 2, Killed(9), restarting=False)

    assert not known.is_expected(ROOT)
    assert known.live() == []


def test_who_is_heard_of_after_his_supervisor_is_dead_is_dead_too() -> None:
    """They come from two processes; nobody is left to tell of his end."""
    deaths: list[ActorRef] = []
    known = directory(deaths)
    known.root_started(FIRST, ROOT)
    known.root_ended(ROOT, 1, Killed(9), restarting=False)
    late = ActorRef("worker", 1, 101)
    for _ in range(2):
        known.take(started(FIRST, late, ("worker", "late")))

    assert deaths == [FIRST, late]
    assert known.death_of(late) == Killed()
    assert known.live() == []


def ended(supervisor: ActorRef, ref: ActorRef, name: Name, *, restarting: bool) -> ChildExited:
    return ChildExited(
        supervisor=supervisor,
        child_id=ref.kind,
        ref=ref,
        reason=Killed(9),
        name=name,
        restarting=restarting,
    )


def test_a_name_that_is_anothers_is_not_given_to_who_says_that_it_runs_under_it() -> None:
    """It may have been started without a registry; what is expected back has it, too."""
    known, name = directory([]), ("manager", "1")
    holder, successor, thief = (ActorRef("worker", each, 300 + each) for each in (1, 2, 3))
    known.take(started(FIRST, holder, name))
    known.take(started(SECOND, thief, name))
    assert known.find(name) == holder
    known.take(ended(FIRST, holder, name, restarting=True))
    assert known.find(name) is None
    known.take(started(SECOND, thief, name))
    assert known.find(name) is None
    known.take(started(FIRST, successor, name))

    assert known.find(name) == successor


def test_a_name_is_passed_on_when_the_last_one_is_known_to_be_dead() -> None:
    """Of two supervisors' news, those of the next holder may be heard first."""
    known, name = directory([]), ("kind", "1")
    holder, successor = ActorRef("worker", 1, 301), ActorRef("worker", 2, 302)
    known.take(started(FIRST, holder, name))
    known.take(started(SECOND, successor, name))
    known.take(ended(FIRST, holder, name, restarting=False))
    assert known.find(name) == successor

    known.take(ended(SECOND, successor, name, restarting=True))
    known.take(started(FIRST, last := ActorRef("worker", 3, 303), name))
    assert known.find(name) is None
    known.take(ended(FIRST, SECOND, ("group", "2"), restarting=False))
    assert known.find(name) == last


def test_the_end_of_all_wakes_who_waits_for_what_never_was() -> None:
    """At once, and not at the deadline."""
    known, ended = directory([]), threading.Event()
    known_to_wait = threading.Event()

    def give_up() -> bool:
        known_to_wait.set()
        return ended.is_set()

    waiter = threading.Thread(
        target=known.wait_for, args=(ROOT, time.monotonic() + 60, give_up), daemon=True
    )
    waiter.start()
    known_to_wait.wait(10)
    ended.set()
    known.close(Killed())
    waiter.join(10)

    assert not waiter.is_alive()


def test_a_process_is_found_below_all_names_above_it() -> None:
    """Of the nearest first, those without a name left out."""
    known = directory([])
    known.root_started(FIRST, ROOT)
    session, group = ActorRef("session", 1, 101), ActorRef("group", 1, 102)
    leaf = ActorRef("worker", 1, 103)
    known.take(started(FIRST, session, ("session", "s")))
    known.take(started(session, group, ("group", "s")))
    known.take(started(group, leaf))

    assert known.names_above(leaf) == [("group", "s"), ("session", "s"), ROOT]
    assert known.names_above(ActorRef("worker", 9, 999)) == []
