"""What a registry is asked, and what it answers and tells."""

from __future__ import annotations

from collections.abc import Hashable
from uuid import UUID

from attrs import field, frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.base.structs import Discreet


@frozen(eq=False, repr=False)
class Entry(Record):
    """One process under one key.

    Attributes:
        key: The key.
        ref: The process.
        value: What it keeps beside itself; not printed.
    """

    key: Hashable = field(repr=False)
    ref: ActorRef
    value: object = field(default=None, repr=False)


@frozen(eq=False, repr=False)
class Registered(Record):
    """To a listener: *entry* is new in *registry* (Elixir Registry: `:register`)."""

    registry: ActorRef
    entry: Entry


@frozen(eq=False, repr=False)
class Unregistered(Record):
    """To a listener: *entry* is no longer in *registry*.

    Its process has unregistered or is dead; Elixir does not tell of the dead.
    """

    registry: ActorRef
    entry: Entry


class Register(Discreet, frozen=True):
    """Put *ref*, who asks, under *key*."""

    hidden = ("key", "value")

    key: Hashable
    ref: ActorRef
    value: object = None


class Unregister(Discreet, frozen=True):
    """Take *ref*, who asks, from *key*."""

    hidden = ("key",)

    key: Hashable
    ref: ActorRef


class UpdateValue(Discreet, frozen=True):
    """Change what *ref*, who asks, keeps beside itself under *key*."""

    hidden = ("key", "value")

    key: Hashable
    ref: ActorRef
    value: object


class Listen(Struct, frozen=True):
    """Tell *ref*, who asks, of all that comes and goes."""

    ref: ActorRef


class Unlisten(Struct, frozen=True):
    """Tell *ref*, who asks, no more."""

    ref: ActorRef


class Lock(Discreet, frozen=True):
    """Answered, with the registry, when *ref*, who asks, holds the lock on *key*.

    That lasts until `Release` or its end.
    """

    hidden = ("key",)

    key: Hashable
    ref: ActorRef
    token: UUID


class Release(Struct, frozen=True):
    """Cast by whoever asked for a lock with *token*: it is not wanted any more."""

    token: UUID


class LookUp(Discreet, frozen=True):
    """Answered with the entries under *key*."""

    hidden = ("key",)

    key: Hashable


class Keys(Struct, frozen=True):
    """Answered with the keys of *ref*."""

    ref: ActorRef


class Entries(Struct, frozen=True):
    """Answered with all entries."""


class Count(Struct, frozen=True):
    """Answered with the number of entries."""


class PutMeta(Discreet, frozen=True):
    """Keep *value* beside the registry under *key*; None deletes it."""

    hidden = ("key", "value")

    key: Hashable
    value: object


class GetMeta(Discreet, frozen=True):
    """Answered with what is kept beside the registry under *key*."""

    hidden = ("key",)

    key: Hashable


OwnRequest = Register | Unregister | UpdateValue | Listen | Unlisten | Lock
"""What a process may say of itself alone."""
