"""The registry's rules, one by one; `test_registry_machine.py` mixes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from jidocode.base.exits import Crashed, Killed, NoProcess, Normal, Shutdown
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import (
    Live,
    NameDown,
    NameGranted,
    NameRefused,
    NameRegistered,
    NameUnregistered,
    NotFound,
    Restarting,
)
from jidocode.otp.naming.monitors import Notify
from jidocode.otp.naming.table import AnswerLookUp, Confirm, Entry, NameTable, TableEffect, Watch
from jidocode.otp.server.messages import Down

NAME = ("manager", "s1")
OTHER_NAME = ("state", "s1")
KILLED = Killed(9)


def ref(kind: str, incarnation: int = 1) -> ActorRef:
    return ActorRef(kind, incarnation, incarnation, (kind, incarnation))


ROOT = ref("root")
SUP = ref("supervisor")
NEXT_SUP = ref("supervisor", 2)
OLD = ref("manager", 1)
NEW = ref("manager", 2)


def sent(effects: Sequence[TableEffect]) -> list[Notify]:
    return [effect for effect in effects if isinstance(effect, Notify)]


@pytest.fixture
def table() -> NameTable:
    return NameTable()


@pytest.fixture
def live() -> NameTable:
    """Return a table in which OLD of SUP runs under NAME."""
    table = NameTable()
    table.claim(NAME, SUP, 1, value="v")
    table.register(NAME, SUP, OLD)
    return table


# ----- claims -----------------------------------------------------------------


def test_a_free_name_is_granted_before_its_process_is_there(table: NameTable) -> None:
    """OTP registers a name before init runs; the owner is watched from then on."""
    effects = table.claim(NAME, SUP, 1, value="v")

    assert effects == [Watch(SUP), Notify(SUP, NameGranted(NAME, 1))]
    assert table.lookup(NAME) == Restarting("v")


def test_claiming_what_one_holds_is_granted_again_and_changes_the_value(live: NameTable) -> None:
    """A supervisor that claims twice is not in its own way."""
    effects = live.claim(NAME, SUP, 2, value="w")

    assert effects == [Notify(SUP, NameGranted(NAME, 2))]
    assert live.lookup(NAME) == Live(OLD, "w")


def test_a_name_of_a_living_owner_is_refused_with_the_process_that_holds_it(
    live: NameTable,
) -> None:
    """OTP: `already_started`, with the winner."""
    assert live.claim(NAME, NEXT_SUP, 5)[1:] == [Watch(OLD), Confirm(NAME, OLD)]
    assert live.confirm(NAME, OLD) == [Notify(NEXT_SUP, NameRefused(NAME, 5, OLD))]
    assert live.lookup(NAME) == Live(OLD, "v")


def test_a_claim_to_a_name_without_a_process_waits_for_the_process(table: NameTable) -> None:
    """Of two that start at once, one wins, and the other one is told which process has it."""
    table.claim(NAME, SUP, 1)

    assert sent(table.claim(NAME, NEXT_SUP, 1)) == []
    assert Notify(NEXT_SUP, NameRefused(NAME, 1, OLD)) in table.register(NAME, SUP, OLD)


def test_a_claim_to_a_name_without_a_process_has_it_when_it_is_let_go(table: NameTable) -> None:
    """The start that was first has failed."""
    table.claim(NAME, SUP, 1)
    table.claim(NAME, NEXT_SUP, 7)

    assert table.release(NAME, SUP) == [Notify(NEXT_SUP, NameGranted(NAME, 7))]


def test_a_holder_that_turns_out_to_be_dead_is_not_named(live: NameTable) -> None:
    """Its supervisor has not said so yet: the claim waits for the next life, and is told that."""
    live.claim(NAME, NEXT_SUP, 1)

    assert live.process_vanished(OLD, KILLED) == []
    assert live.confirm(NAME, OLD) == []
    assert live.give_up_on(OLD) == []
    live.process_died(OLD, KILLED)
    assert Notify(NEXT_SUP, NameRefused(NAME, 1, NEW)) in live.register(NAME, SUP, NEW)


def test_a_claim_is_not_refused_with_a_process_that_has_been_replaced(live: NameTable) -> None:
    """What was heard between the claim and the look decides."""
    live.claim(NAME, NEXT_SUP, 1)
    live.process_died(OLD, KILLED)

    assert live.confirm(NAME, OLD) == []


def test_the_name_of_a_process_that_has_one_life_is_free_when_it_is_dead(table: NameTable) -> None:
    """Though its owner has not let go of it."""
    table.claim(NAME, SUP, 1, one_life=True)
    table.register(NAME, SUP, OLD)
    table.claim(NAME, NEXT_SUP, 1)

    assert Notify(NEXT_SUP, NameGranted(NAME, 1)) in table.process_died(OLD, KILLED)
    assert table.release(NAME, SUP) == []
    assert table.lookup(NAME) == Restarting(None)


def test_the_name_of_a_process_that_has_one_life_is_free_if_its_owner_hangs(
    table: NameTable,
) -> None:
    """It has a moment to say why; then the monitors and the next one wait no more."""
    table.claim(NAME, SUP, 1, one_life=True)
    table.register(NAME, SUP, OLD)
    table.monitor(1, OLD, "app")
    table.claim(NAME, NEXT_SUP, 1)

    assert table.process_vanished(OLD, KILLED) == []
    assert sent(table.give_up_on(OLD)) == [
        Notify("app", Down(1, OLD, Killed())),
        Notify(NEXT_SUP, NameGranted(NAME, 1)),
    ]
    assert table.process_died(OLD, KILLED) == []


def test_a_released_name_is_free_at_once(table: NameTable) -> None:
    """A failed init gives its name back before its starter hears of the failure."""
    table.claim(NAME, SUP, 1)
    table.release(NAME, SUP)

    assert table.lookup(NAME) == NotFound()
    assert sent(table.claim(NAME, NEXT_SUP, 1)) == [Notify(NEXT_SUP, NameGranted(NAME, 1))]


def test_only_the_owner_can_release(live: NameTable) -> None:
    """A stranger, or an unknown name, changes nothing."""
    assert live.release(NAME, NEXT_SUP) == []
    assert live.release(OTHER_NAME, SUP) == []
    assert live.lookup(NAME) == Live(OLD, "v")


def test_a_dead_owners_name_is_granted_only_when_its_process_is_dead(live: NameTable) -> None:
    """Two processes never serve one name, not even for a moment."""
    assert live.process_died(SUP, KILLED) == [Watch(OLD)]
    assert sent(live.claim(NAME, NEXT_SUP, 1, value="w")) == []
    assert live.lookup(NAME) == Live(OLD, "v")

    effects = live.process_vanished(OLD, Killed())

    assert sent(effects) == [Notify(NEXT_SUP, NameGranted(NAME, 1))]
    assert live.lookup(NAME) == Restarting("w")


def test_of_several_waiting_claims_the_first_wins_and_the_others_hear_of_it(
    live: NameTable,
) -> None:
    """Every claim is answered."""
    live.process_died(SUP, KILLED)
    for owner in (NEXT_SUP, ROOT):
        live.claim(NAME, owner, 4)

    assert sent(live.process_died(OLD, KILLED)) == [
        Notify(NEXT_SUP, NameGranted(NAME, 4)),
    ]
    winner = evolve(NEW, incarnation=4)
    assert Notify(ROOT, NameRefused(NAME, 4, winner)) in live.register(NAME, NEXT_SUP, winner)


def test_a_waiting_claim_that_was_released_or_whose_owner_died_is_void(live: NameTable) -> None:
    """Nobody is granted what nobody wants any more."""
    live.process_died(SUP, KILLED)
    live.claim(NAME, NEXT_SUP, 1)
    live.claim(NAME, ROOT, 1)
    live.release(NAME, NEXT_SUP)
    live.process_died(ROOT, KILLED)

    assert sent(live.process_died(OLD, KILLED)) == []
    assert live.lookup(NAME) == NotFound()


def test_the_claim_of_a_dead_owner_holds_nothing(table: NameTable) -> None:
    """Its message was under way while it died."""
    table.process_died(SUP, KILLED)

    assert table.claim(NAME, SUP, 1) == []
    assert table.lookup(NAME) == NotFound()


def test_releasing_a_name_whose_process_is_not_known_to_be_dead_orphans_it(live: NameTable) -> None:
    """The owner itself waits for its old process then."""
    assert live.release(NAME, SUP) == [Watch(OLD)]
    assert sent(live.claim(NAME, SUP, 2)) == []
    assert sent(live.process_vanished(OLD, Killed())) == [Notify(SUP, NameGranted(NAME, 2))]


@pytest.mark.parametrize(
    "name", [("manager", 1), ("manager",), ["manager", "s1"], "ab", None, ("manager", "s1", "x")]
)
def test_a_name_that_is_no_pair_of_str_is_refused(table: NameTable, name: Name) -> None:
    """1, 1.0 and True would be one key."""
    with pytest.raises(InvalidChildSpecError, match="pair of str"):
        table.claim(name, SUP, 1)
    with pytest.raises(InvalidChildSpecError, match="pair of str"):
        table.register(name, SUP, OLD)

    assert table.count() == 0


# ----- processes --------------------------------------------------------------


def test_a_dead_process_leaves_its_name_to_its_owner(live: NameTable) -> None:
    """Between two lives a look-up finds no process, and nobody else gets the name."""
    live.process_died(OLD, KILLED)

    assert live.lookup(NAME) == Restarting("v")
    assert sent(live.claim(NAME, NEXT_SUP, 1)) == []

    live.register(NAME, SUP, NEW)

    assert live.lookup(NAME) == Live(NEW, "v")


def test_a_late_register_never_replaces_a_newer_process(live: NameTable) -> None:
    """Neither while the newer one runs nor after it has died."""
    live.register(NAME, SUP, NEW)
    live.process_died(NEW, KILLED)

    assert live.register(NAME, SUP, evolve(OLD, address="never seen")) == []
    assert live.lookup(NAME) == Restarting("v")


def test_a_register_older_than_the_claim_is_late(table: NameTable) -> None:
    """A claim for the next start says that the last life is over."""
    table.claim(NAME, SUP, 2)

    assert table.register(NAME, SUP, OLD) == []
    assert table.lookup(NAME) == Restarting(None)


@pytest.mark.parametrize(("claimed", "late"), [(1, 1), (4, 3)])
def test_claiming_again_never_makes_a_late_register_fit(
    live: NameTable, claimed: int, late: int
) -> None:
    """Neither a late claim of an earlier start nor a claim for a later one."""
    live.register(NAME, SUP, NEW)
    live.process_died(NEW, KILLED)
    live.claim(NAME, SUP, claimed)

    assert live.register(NAME, SUP, ActorRef("manager", late, 99)) == []
    assert live.lookup(NAME) == Restarting(None)


def test_a_newer_process_takes_the_place_of_one_whose_death_nobody_told(live: NameTable) -> None:
    """The lost notice is made up for: `Down`, then `NameDown`, then the new one."""
    live.subscribe("listener")
    live.monitor(1, OLD, "app")

    assert live.register(NAME, SUP, NEW) == [
        Notify("app", Down(1, OLD, Killed())),
        Notify("listener", NameDown(NAME, OLD, Killed())),
        Notify("listener", NameRegistered(NAME, NEW, "v")),
    ]
    assert live.process_died(OLD, KILLED) == []
    assert live.lookup(NAME) == Live(NEW, "v")


def test_the_register_of_a_dead_process_changes_nothing(table: NameTable) -> None:
    """Its death was told faster than its start."""
    table.claim(NAME, SUP, 1)
    table.process_died(OLD, KILLED)

    assert table.register(NAME, SUP, OLD) == []
    assert table.lookup(NAME) == Restarting(None)


def test_registering_a_free_name_claims_it(table: NameTable) -> None:
    """A registry that was killed is rebuilt by what the supervisors register again."""
    assert table.register(NAME, SUP, OLD) == [Watch(SUP)]
    assert table.register(NAME, SUP, OLD) == []
    assert table.lookup(NAME) == Live(OLD)


def test_registering_the_name_of_another_owner_is_refused(live: NameTable) -> None:
    """Only who holds a name says who runs under it."""
    effects = live.register(NAME, NEXT_SUP, NEW)

    assert effects == [Notify(NEXT_SUP, NameRefused(NAME, 2, OLD))]
    assert live.lookup(NAME) == Live(OLD, "v")


def test_the_late_process_of_a_dead_owner_keeps_its_name_until_it_dies(table: NameTable) -> None:
    """It may still run, so nobody else may have the name yet."""
    table.claim(NAME, SUP, 1)
    table.process_died(SUP, KILLED)

    assert table.register(NAME, SUP, OLD) == [Watch(OLD)]
    assert sent(table.claim(NAME, NEXT_SUP, 1)) == []
    assert sent(table.process_vanished(OLD, Killed())) == [Notify(NEXT_SUP, NameGranted(NAME, 1))]


def test_unregister_takes_exactly_that_life_from_exactly_that_name(live: NameTable) -> None:
    """A late one of an earlier life changes nothing (Elixir: deletes are by key and pid)."""
    live.register(NAME, SUP, NEW)

    assert live.unregister(NAME, OLD) == []
    assert live.unregister(OTHER_NAME, NEW) == []
    assert live.lookup(NAME) == Live(NEW, "v")

    live.unregister(NAME, NEW)

    assert live.lookup(NAME) == Restarting("v")


def test_a_process_may_return_to_its_name(live: NameTable) -> None:
    """Elixir: unregister and register again, by the same process."""
    live.unregister(NAME, OLD)
    live.register(NAME, SUP, OLD)

    assert live.lookup(NAME) == Live(OLD, "v")


def test_an_unregistered_process_is_watched_so_that_its_end_is_told(live: NameTable) -> None:
    """No owner answers for it under a name any more."""
    live.monitor(1, OLD, "app")

    assert live.unregister(NAME, OLD) == [Watch(OLD)]
    assert live.process_vanished(OLD, Killed()) == [Notify("app", Down(1, OLD, Killed()))]


def test_an_orphaned_name_is_free_when_its_process_gives_it_up(live: NameTable) -> None:
    """Nobody has anything to do with the name any more."""
    live.process_died(SUP, KILLED)
    live.claim(NAME, NEXT_SUP, 1)

    assert sent(live.unregister(NAME, OLD)) == [Notify(NEXT_SUP, NameGranted(NAME, 1))]


def test_a_process_may_own_its_own_name(table: NameTable) -> None:
    """Elixir: a process registers itself. Its own end is nobody else's to tell."""
    table.register(NAME, OLD, OLD)
    table.process_vanished(OLD, Killed())

    assert table.lookup(NAME) == NotFound()


def test_the_value_is_changed_by_owner_or_process_only(live: NameTable) -> None:
    """Elixir: `update_value` by the owner only."""
    assert live.update_value(NAME, OLD, "by process")
    assert live.lookup(NAME) == Live(OLD, "by process")
    assert live.update_value(NAME, SUP, "by owner")
    assert not live.update_value(NAME, NEW, "by a stranger")
    assert not live.update_value(OTHER_NAME, SUP, "of nothing")
    assert live.lookup(NAME) == Live(OLD, "by owner")


# ----- deaths -----------------------------------------------------------------


def test_down_is_sent_before_name_down_and_both_after_the_name_is_free(live: NameTable) -> None:
    """Who hears of a death does not find the dead under its name."""
    live.subscribe("listener")
    live.monitor(1, OLD, "app")
    reason = Crashed("ValueError: no", "traceback")

    effects = live.process_died(OLD, reason)

    assert effects == [
        Notify("app", Down(1, OLD, reason)),
        Notify("listener", NameDown(NAME, OLD, reason)),
    ]
    assert live.lookup(NAME) == Restarting("v")
    assert live.process_died(OLD, reason) == []


def test_all_names_of_one_process_go_with_it(live: NameTable) -> None:
    """A process may have several names."""
    live.register(OTHER_NAME, SUP, OLD)
    assert live.keys(OLD) == [NAME, OTHER_NAME]

    live.process_died(OLD, KILLED)

    assert live.keys(OLD) == []
    assert live.lookup(OTHER_NAME) == Restarting(None)


def test_a_dead_owner_without_processes_leaves_nothing(table: NameTable) -> None:
    """No ghost keeps a name."""
    table.claim(NAME, SUP, 1)
    table.claim(OTHER_NAME, SUP, 2)
    table.process_died(SUP, KILLED)

    assert table.count() == 0


def test_what_a_watch_sees_waits_for_the_reason_of_a_living_owner(table: NameTable) -> None:
    """A pidfd knows that a process ended, its supervisor knows why."""
    table.register(("session", "s1"), ROOT, SUP)
    table.register(NAME, SUP, OLD)
    table.monitor(1, SUP, "app")

    assert table.process_vanished(SUP, Killed()) == []

    effects = table.process_died(SUP, Shutdown("gave up"))

    assert sent(effects) == [Notify("app", Down(1, SUP, Shutdown("gave up")))]


def test_a_whole_tree_that_dies_at_once_is_freed_without_any_notice(table: NameTable) -> None:
    """Only the watches speak, in any order: the inner ones first here."""
    table.register(("session", "s1"), ROOT, SUP)
    table.register(NAME, SUP, OLD)
    table.monitor(1, SUP, "app")

    assert table.process_vanished(SUP, Killed()) == []
    assert table.process_vanished(ROOT, Killed()) == [
        Notify("app", Down(1, SUP, Killed())),
        Watch(OLD),
    ]
    assert table.process_vanished(OLD, Killed()) == []
    assert table.count() == 0


def test_a_vanished_process_ends_when_its_owner_lets_go_without_a_word(table: NameTable) -> None:
    """The notice was lost; the release says enough."""
    table.register(("session", "s1"), ROOT, SUP)
    table.register(NAME, SUP, OLD)
    table.process_vanished(SUP, Killed())
    table.release(("session", "s1"), ROOT)

    assert table.lookup(("session", "s1")) == NotFound()
    assert table.process_died(SUP, Normal()) == []


def test_an_owner_that_dies_leaves_none_of_several_names_of_one_dead_process(
    live: NameTable,
) -> None:
    """One of them released before, the other one not."""
    live.register(OTHER_NAME, SUP, OLD)
    live.release(OTHER_NAME, SUP)
    live.process_vanished(OLD, Killed())
    assert live.count() == 2

    live.process_died(SUP, KILLED)

    assert live.count() == 0


def test_a_vanished_process_that_unregisters_late_is_not_waited_for(table: NameTable) -> None:
    """Its last message was under way when it died."""
    table.register(("session", "s1"), ROOT, SUP)
    table.claim(NAME, SUP, 1)
    table.process_vanished(SUP, Killed())
    table.unregister(("session", "s1"), SUP)

    assert table.lookup(NAME) == NotFound()


def test_a_claim_waits_while_a_vanished_owner_is_not_told_of(table: NameTable) -> None:
    """A restarted supervisor is not refused for what its predecessor left."""
    table.register(("session", "s1"), ROOT, SUP)
    table.claim(NAME, SUP, 1)
    table.process_vanished(SUP, Killed())

    assert sent(table.claim(NAME, NEXT_SUP, 1)) == []
    assert sent(table.register(("session", "s1"), ROOT, NEXT_SUP)) == [
        Notify(NEXT_SUP, NameGranted(NAME, 1))
    ]


# ----- look-ups ---------------------------------------------------------------


def test_a_waiting_look_up_is_answered_when_the_process_is_there(live: NameTable) -> None:
    """A call by name waits for a restart within its own deadline."""
    assert live.await_live(NAME, "now") == [AnswerLookUp("now", Live(OLD, "v"))]
    live.process_died(OLD, KILLED)
    assert live.await_live(NAME, "later") == []
    assert live.await_live(NAME, "cancelled") == []
    live.cancel_wait("cancelled")

    assert live.register(NAME, SUP, NEW) == [AnswerLookUp("later", Live(NEW, "v"))]


def test_a_waiting_look_up_is_answered_when_the_name_is_free(table: NameTable) -> None:
    """Nobody waits for a process that will not come."""
    assert table.await_live(NAME, "now") == [AnswerLookUp("now", NotFound())]
    table.claim(NAME, SUP, 1)
    table.await_live(NAME, "later")

    assert table.process_died(SUP, KILLED) == [AnswerLookUp("later", NotFound())]


def test_a_waiting_look_up_stays_with_a_name_that_changes_hands(table: NameTable) -> None:
    """An inner supervisor was killed and its successor starts the same children."""
    table.register(("session", "s1"), ROOT, SUP)
    table.claim(NAME, SUP, 1)
    table.await_live(NAME, "later")
    table.process_vanished(SUP, Killed())
    table.claim(NAME, NEXT_SUP, 2)

    assert table.process_died(SUP, KILLED) == [Notify(NEXT_SUP, NameGranted(NAME, 2))]
    assert table.register(NAME, NEXT_SUP, NEW) == [AnswerLookUp("later", Live(NEW))]


def test_keys_values_count_and_select_show_held_names_in_claim_order(live: NameTable) -> None:
    """What Elixir's registry offers for looking around."""
    live.claim(("state", "s2"), SUP, 3, value="w")
    live.claim(("manager", "s2"), ROOT, 1)

    assert live.keys(OLD) == [NAME]
    assert live.values(NAME) == ["v"]
    assert live.values(("state", "s3")) == []
    assert live.count() == 3
    assert live.count("manager") == 2
    assert live.select(lambda entry: entry.owner == SUP) == [
        Entry(NAME, SUP, 1, value="v", ref=OLD),
        Entry(("state", "s2"), SUP, 3, value="w"),
    ]


# ----- listeners and monitors ---------------------------------------------------


def test_listeners_hear_of_every_process_that_comes_and_goes(table: NameTable) -> None:
    """Of crashes too, which Elixir's do not hear of."""
    table.subscribe("listener")
    heard = [
        *table.claim(NAME, SUP, 1),
        *table.register(NAME, SUP, OLD),
        *table.unregister(NAME, OLD),
        *table.register(NAME, SUP, NEW),
        *table.process_died(NEW, KILLED),
    ]
    table.unsubscribe("listener")
    unheard = table.register(NAME, SUP, ref("manager", 3))

    assert [send.message for send in sent(heard) if send.to == "listener"] == [
        NameRegistered(NAME, OLD, None),
        NameUnregistered(NAME, OLD),
        NameRegistered(NAME, NEW, None),
        NameDown(NAME, NEW, KILLED),
    ]
    assert unheard == []


def test_a_dead_process_hears_and_waits_for_nothing_any_more(live: NameTable) -> None:
    """Its subscription and its monitors go with it."""
    live.subscribe(OLD)
    live.monitor(1, SUP, OLD)
    live.process_died(OLD, KILLED)

    assert live.register(NAME, SUP, NEW) == []
    assert live.process_died(SUP, KILLED) == [Watch(NEW)]


def test_a_watcher_that_is_no_process_of_ours_can_be_dropped(live: NameTable) -> None:
    """An app that is gone monitors nothing."""
    live.subscribe("app")
    live.monitor(1, OLD, "app")
    live.watcher_died("app")

    assert live.process_died(OLD, KILLED) == []


def test_a_monitored_stranger_is_watched_because_nobody_else_would_tell(table: NameTable) -> None:
    """Dead or alive, exactly one `Down` follows."""
    assert table.monitor(1, OLD, "app") == [Watch(OLD)]
    assert table.monitor(2, OLD, "app") == []
    table.demonitor(2, "app")

    assert table.process_vanished(OLD, NoProcess()) == [Notify("app", Down(1, OLD, NoProcess()))]
    assert table.monitor(3, OLD, "app") == [Notify("app", Down(3, OLD, NoProcess()))]


def test_a_registered_process_is_not_watched_for_its_monitors(live: NameTable) -> None:
    """Its owner tells, and knows the reason."""
    assert live.monitor(1, OLD, "app") == []
