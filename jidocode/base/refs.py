"""References to processes.

An `ActorRef` names one life of one process. After a restart the new process
has a new ref, and nothing sent to the old one can reach it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeGuard

from attrs import field, frozen

from jidocode.base.faults import require_sound
from jidocode.base.records import Record
from jidocode.base.text import quote, word

Name = tuple[str, str]
"""A registered name: the kind of process and the id it serves, `("manager", session_id)`."""

LOCAL_NODE = "local"
"""The node of every process so far: the machine that the app runs on."""


def is_name(value: object) -> TypeGuard[Name]:
    """Whether *value* is a pair of str, so that 1, 1.0 and True cannot meet as one name."""
    match value:
        case (str(), str()):
            return isinstance(value, tuple)
        case _:
            return False


def require_name(value: object) -> None:
    """Raise TypeError unless *value* is a name."""
    if not is_name(value):
        raise TypeError(f"a name is a pair of str, not {quote(value)}")


def require_target(value: object) -> None:
    """Raise TypeError unless *value* is a sound `ActorRef`, a name, or a sound `Via`."""
    if is_name(value):
        return
    if not isinstance(value, ActorRef | Via):
        raise TypeError(
            f"it must be an ActorRef, a name (a pair of str), or a Via, not {quote(value)}"
        )
    require_sound(value)


@frozen(eq=False, repr=False)
class ActorRef(Record):
    """One life of one process.

    Attributes:
        kind: What it is, in one word: `manager`, `state`, `supervisor`, ...
        incarnation: Counts the starts that its supervisor has made; a later
            start under the same supervisor has a higher number.
        os_pid: Its process id on its node. Valid while the process lives.
        address: Where its host reaches it; opaque, unique to this life.
        node: The machine that it runs on.
    """

    kind: str
    incarnation: int
    os_pid: int
    address: Hashable = field(default=None, repr=False)
    node: str = LOCAL_NODE

    def __reduce__(self) -> tuple[type[ActorRef], tuple[object, ...]]:
        # Most messages about processes have a ref in them, and to be made anew costs it half
        # of what attrs' own way through Python does.
        return ActorRef, (self.kind, self.incarnation, self.os_pid, self.address, self.node)

    def __str__(self) -> str:
        return f"{word(self.kind)}#{self.incarnation} (pid {self.os_pid})"


@frozen(eq=False, repr=False)
class Via(Record):
    """Whoever has registered itself under *key* in a `Registry` of the app's own.

    To be called, told, or watched as a name is (OTP: `{via, Registry, {registry, key}}`).
    It is looked up each time it is used, which asks the registry first.

    Attributes:
        registry: Whose keys are unique, by name or by `ActorRef`.
        key: The key; not printed.
    """

    registry: ActorRef | Name
    key: Hashable = field(repr=False)


Target = ActorRef | Name | Via
"""Who is meant: one life of a process, or whoever has a name or a registry's key at the time."""


def words_for(target: Target) -> str:
    """Return how errors call *target*."""
    match target:
        case ActorRef():
            return word(target.kind)
        case Via():
            return f"{quote(target.key)} in {words_for(target.registry)}"
        case _:
            return " ".join(map(word, target))
