"""Changing what a child is started with, while it runs."""

from __future__ import annotations

from jidocode.base.refs import ActorRef
from jidocode.errors import ChildNotFoundError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.machine import SendError, SendReply
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.machine import (
    ChildGone,
    ChildReady,
    Claim,
    KeeperEffect,
    NameClaimed,
    RegistryUp,
    RequestReceived,
    Spawn,
)
from jidocode.otp.supervision.management import GetChildSpec, UpdateChild
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop

CALLER = Caller("somebody", 1)
SPEC = ChildSpec(id="a", start=Start(GenServer, 1), name=("k", "a"), value="old")


class One(Supervisor):
    """One child."""

    def init(self) -> tuple[Flags, list[ChildSpec]]:
        """Return it."""
        return Flags(), [SPEC]


def running() -> SupervisorLoop:
    """Return a supervisor whose one child runs."""
    loop = SupervisorLoop(One(), ActorRef("supervisor", 1, 1))
    loop.start(Start(One), 0.0, registry_up=True)
    loop.handle(NameClaimed(1), 0.0)
    loop.handle(ChildReady(1, ActorRef("a", 1, 2)), 0.0)
    return loop


def update(loop: SupervisorLoop, request: UpdateChild) -> list[KeeperEffect]:
    return loop.handle(RequestReceived(CALLER, request), 1.0)


def test_the_new_start_counts_from_the_next_start_on() -> None:
    """The running process is left alone."""
    loop = running()
    effects = update(loop, UpdateChild("a", start=Start(GenServer, 2)))
    after_death = loop.handle(ChildGone(1, -9), 2.0)

    assert SendReply(CALLER, None) in effects
    assert not any(isinstance(effect, Spawn) for effect in effects)
    (spawn,) = (effect for effect in after_death if isinstance(effect, Spawn))
    assert spawn.spec.start == Start(GenServer, 2)


def test_the_new_value_is_told_to_the_registry_and_to_its_successors() -> None:
    """By claiming the name again."""
    loop = running()
    claim = Claim(1, ("k", "a"), "new", ActorRef("a", 1, 2))

    assert claim in update(loop, UpdateChild("a", value="new"))
    assert claim in loop.handle(RegistryUp(), 2.0)


def test_what_is_not_given_is_kept() -> None:
    """Either half."""
    loop = running()
    update(loop, UpdateChild("a", value="new"))
    update(loop, UpdateChild("a", start=Start(GenServer, 2)))
    (reply,) = loop.handle(RequestReceived(CALLER, GetChildSpec("a")), 1.0)

    assert isinstance(reply, SendReply)
    assert isinstance(reply.value, ChildSpec)
    assert (reply.value.value, reply.value.start) == ("new", Start(GenServer, 2))


def test_an_unknown_child_is_refused() -> None:
    """By name."""
    (refusal,) = update(running(), UpdateChild("b"))

    assert isinstance(refusal, SendError)
    assert isinstance(refusal.error, ChildNotFoundError)
