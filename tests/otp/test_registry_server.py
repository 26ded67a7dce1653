"""The registry's process: what it answers, and whom it tells, without a process."""

from __future__ import annotations

from typing import Any

import pytest
from recorder import Recorded

from jidocode.base.exits import Killed
from jidocode.base.refs import ActorRef, Name
from jidocode.otp import Start
from jidocode.otp.naming.messages import (
    REGISTRY,
    AwaitLive,
    ClaimName,
    Count,
    Entries,
    Keys,
    Live,
    LookUp,
    NameDown,
    NameRegistered,
    NameReserved,
    NotFound,
    RegisterName,
    ReleaseName,
    Restarting,
    Subscribe,
    Unsubscribe,
)
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.naming.table import Entry
from jidocode.otp.server.machine import (
    CallReceived,
    CastReceived,
    SendAfter,
    SendInfo,
    SendReply,
    TimerFired,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.events import ChildExited, ChildStarted

ROOT = ActorRef("application", 1, 98)
OWNER = ActorRef("supervisor", 1, 100)
CHILD = ActorRef("worker", 1, 101)
OTHER = ActorRef("worker", 2, 102)
LISTENER = ActorRef("listener", 3, 103)
NAME = ("worker", "a")


class Asked:
    """A registry server, and what it sends."""

    def __init__(self, incarnation: int = 1) -> None:
        self.loop = Recorded(RegistryServer(), ActorRef("registry", incarnation, 1))
        self.began = self.loop.start(Start(RegistryServer))

    def ask(self, request: object) -> Any:
        (reply,) = self.loop.handle(CallReceived(Caller("caller", 1), request))
        assert isinstance(reply, SendReply)
        return reply.value

    def tell(self, *requests: object) -> list[Any]:
        return [effect for each in requests for effect in self.loop.handle(CastReceived(each))]

    def describe(self, *requests: object) -> list[object]:
        """Return what the listener is told of *requests*."""
        effects = self.tell(*requests)
        sent = [effect for effect in effects if isinstance(effect, SendInfo)]
        return [effect.message for effect in sent if effect.target == LISTENER]


def died(ref: ActorRef) -> ChildExited:
    return ChildExited(supervisor=OWNER, child_id="a", ref=ref, reason=Killed(9), name=NAME)


def test_names_are_found_counted_and_listed() -> None:
    """By name, by process and by kind."""
    registry = Asked()
    registry.tell(ClaimName(NAME, OWNER, 1, "value"))

    assert registry.ask(LookUp(NAME)) == Restarting("value")
    registry.tell(RegisterName(NAME, OWNER, CHILD))
    assert registry.ask(LookUp(NAME)) == Live(CHILD, "value")
    assert registry.ask(Keys(CHILD)) == [NAME]
    assert [registry.ask(Count(kind)) for kind in (None, "worker", "other")] == [1, 1, 0]
    assert registry.ask(Entries()) == [Entry(NAME, OWNER, 1, value="value", ref=CHILD)]
    registry.tell(died(CHILD), ReleaseName(NAME, OWNER))
    assert registry.ask(Count()) == 0


@pytest.mark.parametrize(
    "name", [("system", "registry"), ("system", "x"), ("root", "jidocode")], ids=" ".join
)
def test_names_of_the_system_are_for_children_of_the_root(name: Name) -> None:
    """Whatever way they are claimed, and only those that there are."""
    registry = Asked()
    refused = SendInfo(OWNER, NameReserved(name, 1))

    assert registry.tell(ClaimName(name, OWNER, 1)) == [refused]
    assert registry.tell(RegisterName(name, OWNER, CHILD)) == [refused]
    started = ChildStarted(supervisor=OWNER, child_id="a", ref=CHILD, name=name)
    assert registry.tell(started) == [refused]
    registry.tell(ClaimName(name, ROOT, 1))
    found = Restarting() if name == REGISTRY else NotFound()
    assert registry.ask(LookUp(name)) == found
    registry.tell(ClaimName(REGISTRY, ROOT, 1))
    second = ActorRef("application", 2, 99)
    assert registry.tell(ClaimName(REGISTRY, second, 1)) == [
        SendInfo(second, NameReserved(REGISTRY, 1))
    ]


def test_listeners_hear_of_crashes_until_they_unsubscribe() -> None:
    """Unlike in Elixir, where a crash sends nothing."""
    registry = Asked()
    told = registry.describe(
        Subscribe(LISTENER),
        ClaimName(NAME, OWNER, 1, "value"),
        RegisterName(NAME, OWNER, CHILD),
        died(CHILD),
    )

    assert told == [NameRegistered(NAME, CHILD, "value"), NameDown(NAME, CHILD, Killed(9))]
    assert registry.describe(Unsubscribe(LISTENER), RegisterName(NAME, OWNER, OTHER)) == []


def found(registry: Asked, *requests: object) -> list[object]:
    """Return what those are told who wait for a process, over *requests*."""
    return [effect.value for effect in registry.tell(*requests) if isinstance(effect, SendReply)]


def await_live(registry: Asked) -> list[object]:
    effects = registry.loop.handle(CallReceived(Caller("caller", 1), AwaitLive(NAME)))
    return [effect.value for effect in effects if isinstance(effect, SendReply)]


def test_who_waits_for_a_name_that_nobody_has_is_told_at_once() -> None:
    """By the first registry, which has been told of all names."""
    assert await_live(Asked()) == [NotFound()]


def test_a_registry_that_takes_over_does_not_know_of_all_names_at_first() -> None:
    """Who waits for one is told when its supervisor has said it again, or after a while."""
    registry = Asked(incarnation=3)
    (timer,) = [effect for effect in registry.began if isinstance(effect, SendAfter)]
    fired = TimerFired(timer.token, timer.message)

    assert await_live(registry) == []
    assert found(registry, ClaimName(NAME, OWNER, 1)) == []
    assert found(registry, RegisterName(NAME, OWNER, CHILD)) == [Live(CHILD)]
    assert await_live(registry) == [Live(CHILD)]
    assert found(registry, died(CHILD), ReleaseName(NAME, OWNER)) == []
    assert await_live(registry) == []
    effects = registry.loop.handle(fired)
    assert [each.value for each in effects if isinstance(each, SendReply)] == [NotFound()]
    assert await_live(registry) == [NotFound()]
