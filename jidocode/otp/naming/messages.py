"""What is said to the process registry, and what it says.

Requests are calls and casts to a `RegistryServer`; the rest is what it answers and what
it sends. Supervisors claim names and register processes under them, processes ask for
names and watch each other, listeners hear of all that comes and goes. What is kept
beside a name is a user's, and not printed.
"""

from __future__ import annotations

from collections.abc import Hashable

from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.base.structs import Discreet

ROOT: Name = ("root", "jidocode")
"""What the root of every tree is known as in the app; no registry has it."""
RESERVED_KINDS = ("root", "system")
"""The kinds of names that are the library's own."""
ROOT_KIND = "application"
"""The kind of the root of every tree."""
REGISTRY: Name = ("system", "registry")
"""The name of the process registry of every tree."""

# ----- from supervisors -----------------------------------------------------------


class ClaimName(Discreet, frozen=True):
    """*name* is for the start *incarnation* of a child of *owner*.

    Answered with `NameGranted` or `NameRefused`: when it is known who has the name.
    """

    hidden = ("value",)

    name: Name
    owner: ActorRef
    incarnation: int
    value: object = None


class OneLife(Discreet, frozen=True):
    """The value of a `ClaimName` for a process that is never restarted: *value* is what is kept.

    Its name is free as soon as it is dead, whatever its supervisor does.
    """

    hidden = ("value",)

    value: object = None


class RegisterName(Struct, frozen=True):
    """*ref*, a child of *owner*, runs under *name* (said again to a registry that lost it)."""

    name: Name
    owner: ActorRef
    ref: ActorRef


class ReleaseName(Struct, frozen=True):
    """*owner* will not use *name* again."""

    name: Name
    owner: ActorRef


class ReportComplete(Struct, frozen=True):
    """*owner* has claimed and registered all that is its own."""

    owner: ActorRef


# ----- from watchers ----------------------------------------------------------------


class MonitorProcess(Struct, frozen=True):
    """*watcher* wants one `Down` with *token* when *target* dies."""

    token: int
    target: ActorRef
    watcher: ActorRef


class DemonitorProcess(Struct, frozen=True):
    """*watcher* does not want the `Down` with *token* any more."""

    token: int
    watcher: ActorRef


# ----- questions --------------------------------------------------------------------


class LookUp(Struct, frozen=True):
    """Answered at once with `Live`, `Restarting` or `NotFound`.

    A registry that takes over from a dead one says `NotFound` only after a moment.
    """

    name: Name


class AwaitLive(Struct, frozen=True):
    """Answered with `Live` once a process runs under *name*, `NotFound` if nobody holds it.

    It is not *dead* that is meant: whoever asks knows better, and waits for the next one.
    A registry that takes over from a dead one says `NotFound` only after a moment.
    """

    name: Name
    dead: ActorRef | None = None


class WhereIs(Discreet, frozen=True):
    """Asked of a `Registry` of the app's own: answered with who is under *key*, None if nobody.

    Refused with TypeError where several may be.
    """

    hidden = ("key",)

    key: Hashable


class Entries(Struct, frozen=True):
    """Answered with the entries of all held names, of one *kind* if given, in claim order."""

    kind: str | None = None


class Keys(Struct, frozen=True):
    """Answered with the names under which *ref* runs, in claim order."""

    ref: ActorRef


class Count(Struct, frozen=True):
    """Answered with the number of held names, of one *kind* if given."""

    kind: str | None = None


# ----- from any process ----------------------------------------------------------------


class Subscribe(Struct, frozen=True):
    """*listener* wants to hear `NameRegistered`, `NameUnregistered` and `NameDown` of all names."""

    listener: ActorRef


class Unsubscribe(Struct, frozen=True):
    """*listener* wants to hear no more."""

    listener: ActorRef


# ----- answers to a look-up ----------------------------------------------------------


class Live(Discreet, frozen=True):
    """*ref* runs under the name. It may have died a moment ago."""

    hidden = ("value",)

    ref: ActorRef
    value: object = None


class Restarting(Discreet, frozen=True):
    """The name is held, and no process runs under it at the moment."""

    hidden = ("value",)

    value: object = None


class NotFound(Struct, frozen=True):
    """Nobody holds the name."""


# ----- to supervisors ----------------------------------------------------------------


class NameGranted(Struct, frozen=True):
    """The name is yours, for the start that *incarnation* counts."""

    name: Name
    incarnation: int


class NameReserved(Struct, frozen=True):
    """No child of yours may have the name."""

    name: Name
    incarnation: int


class NameRefused(Struct, frozen=True):
    """The name is taken by *holder* (OTP: `already_started`).

    That is None if the holder has no process, where one that runs already has lost its name.
    """

    name: Name
    incarnation: int
    holder: ActorRef | None


# ----- to listeners ------------------------------------------------------------------


class NameRegistered(Discreet, frozen=True):
    """*ref* runs under the name (Elixir Registry: `:register`)."""

    hidden = ("value",)

    name: Name
    ref: ActorRef
    value: object


class NameUnregistered(Struct, frozen=True):
    """*ref* gave the name up, and may live on (Elixir Registry: `:unregister`)."""

    name: Name
    ref: ActorRef


class NameDown(Struct, frozen=True):
    """*ref* died under the name, of whatever cause.

    Elixir's registry does not tell its listeners of crashes; this one does.
    """

    name: Name
    ref: ActorRef
    reason: ExitReason
