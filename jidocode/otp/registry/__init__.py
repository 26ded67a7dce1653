"""Registries in an app's own tree: keys, and the processes that registered under them.

A `Registry` is a server like any other, under one's own supervisor; the process registry,
which knows the names of specs, has nothing to do with it (Elixir: Registry). The functions
here ask one. Their first argument is who asks, an application or a server of the tree; the
second is the registry, by name or by `ActorRef`. They wait for the answer as a call does,
and raise what a call raises, and TypeError for a key that cannot be one of a dict.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from typing import Any, Protocol

from jidocode.base.refs import ActorRef, Target
from jidocode.base.text import quote
from jidocode.errors import CallTimeoutError
from jidocode.otp.asking import Asks, ask
from jidocode.otp.registry.messages import (
    Count,
    Entries,
    Entry,
    GetMeta,
    Keys,
    Listen,
    Lock,
    LookUp,
    PutMeta,
    Register,
    Registered,
    Release,
    Unlisten,
    Unregister,
    Unregistered,
    UpdateValue,
)
from jidocode.otp.registry.server import Registry
from jidocode.otp.server.commands import CALL_TIMEOUT

__all__ = [
    "Entry",
    "Registered",
    "Registry",
    "Unregistered",
    "count",
    "dispatch",
    "entries",
    "get_meta",
    "keys",
    "listen",
    "lock",
    "lookup",
    "put_meta",
    "register",
    "unlisten",
    "unregister",
    "update_value",
    "values",
]


class Process(Asks, Protocol):
    """A server, which can register itself."""

    ref: ActorRef


class Locks(Process, Protocol):
    """A server, which can hold a lock."""

    def cast(self, target: Target, request: object) -> None:
        """Send *request* to the `handle_cast` of *target*."""
        ...


class Sends(Asks, Protocol):
    """Whoever can call processes and send to them."""

    def send(self, target: Target, message: object) -> None:
        """Send *message* to the `handle_info` of *target*."""
        ...


# What a process says of itself


def register(process: Process, registry: Target, key: Hashable, value: object = None) -> None:
    """Put *process* under *key*, with *value* beside it, until it ends or unregisters.

    Where keys are unique a process that is dead holds none. Register in `init`: then every
    life of a process does.

    Raises:
        AlreadyRegisteredError: Keys are unique, and the key has another process, or this one.
    """
    ask(process, registry, Register(_sound(key), process.ref, value))


def unregister(process: Process, registry: Target, key: Hashable) -> None:
    """Take *process* from *key*; fine if it is not there."""
    ask(process, registry, Unregister(_sound(key), process.ref))


def update_value(process: Process, registry: Target, key: Hashable, value: object) -> None:
    """Change what is beside *process* under *key*, everywhere if it is there several times.

    Raises:
        NotRegisteredError: It is not under that key.
    """
    ask(process, registry, UpdateValue(_sound(key), process.ref, value))


def listen(process: Process, registry: Target) -> None:
    """Have `Registered` and `Unregistered` sent to the `handle_info` of *process* from now on."""
    ask(process, registry, Listen(process.ref))


def unlisten(process: Process, registry: Target) -> None:
    """Have no more sent to *process*; what is under way may still come."""
    ask(process, registry, Unlisten(process.ref))


@contextmanager
def lock(
    process: Locks, registry: Target, key: Hashable, *, timeout: float = CALL_TIMEOUT
) -> Generator[None]:
    """Hold the lock on *key* while the block runs (Elixir: Registry.lock).

        with registry.lock(self, ("registry", "jobs"), "the key"):
            ...

    Of all blocks with one key, in all processes and threads of the tree, one runs at a time;
    who waits comes in turn. It is left when the block ends, however it does, and when the
    process does, by SIGKILL as well. The keys of locks and of processes have nothing to do
    with each other.

    It is no lock against the process itself failing to end it: a block within a block with
    the same key waits for itself. And it lasts as long as the registry: if that dies, the next
    one knows nothing of who is in a block, and lets the next one in.

    Args:
        process: A server.
        registry: Of either kind of keys.
        key: Any key of a dict.
        timeout: Seconds to wait for it, `INFINITY` to wait for ever. Meanwhile the server
            handles nothing, as in a call.

    Raises:
        CallTimeoutError: It is not free in time; it is not waited for any more.
        ActorExitedError: The registry died while it was waited for.
    """
    token = uuid.uuid4()
    request = Lock(_sound(key), process.ref, token)
    holder: Target = registry
    try:
        # The very process that has given it is told of its end: for that nobody is looked up.
        holder = _take(process, registry, request, timeout)
        yield
    finally:
        process.cast(holder, Release(token))


def _take(process: Locks, registry: Target, request: Lock, timeout: float) -> ActorRef:
    try:
        giver: ActorRef = ask(process, registry, request, timeout)
    except CallTimeoutError as error:
        lock = f"the lock on {quote(request.key)} in {error.target}"
        raise CallTimeoutError(lock, timeout) from None
    return giver


# What anybody may ask


def lookup(asks: Asks, registry: Target, key: Hashable) -> list[Entry]:
    """Return who is under *key*, in the order in which they registered."""
    found: list[Entry] = ask(asks, registry, LookUp(_sound(key)))
    return found


def values(asks: Asks, registry: Target, key: Hashable, ref: ActorRef) -> list[Any]:
    """Return what *ref* keeps beside itself under *key*, once for each time it is there."""
    return [entry.value for entry in lookup(asks, registry, key) if entry.ref == ref]


def keys(asks: Asks, registry: Target, ref: ActorRef) -> list[Hashable]:
    """Return the keys of *ref*, one for each time it is there, in the order it registered."""
    found: list[Hashable] = ask(asks, registry, Keys(ref))
    return found


def entries(asks: Asks, registry: Target) -> list[Entry]:
    """Return all there is; choose from it what is wanted (Elixir: Registry.select)."""
    found: list[Entry] = ask(asks, registry, Entries())
    return found


def count(asks: Asks, registry: Target) -> int:
    """Return how many entries there are."""
    number: int = ask(asks, registry, Count())
    return number


def dispatch(sends: Sends, registry: Target, key: Hashable, message: object) -> int:
    """Send *message* to all under *key*; return how many there are (Elixir: Registry.dispatch)."""
    found = lookup(sends, registry, key)
    for entry in found:
        sends.send(entry.ref, message)
    return len(found)


def put_meta(asks: Asks, registry: Target, key: Hashable, value: object) -> None:
    """Keep *value* beside the registry itself; it is lost when the registry restarts."""
    ask(asks, registry, PutMeta(_sound(key), value))


def get_meta(asks: Asks, registry: Target, key: Hashable) -> Any:
    """Return what `put_meta` kept, None if nothing."""
    return ask(asks, registry, GetMeta(_sound(key)))


def _sound(key: Hashable) -> Hashable:
    hash(key)  # in the caller's line
    return key
