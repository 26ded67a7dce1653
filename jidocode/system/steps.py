"""What services ask of processes, step by step, without knowing how it is waited for.

A method of a service that has to ask a process is a `Plan` (see `base/stepwise.py`).
Whoever carries it out does the waiting: a thread, in `running.py`, or a coroutine, in
`asynchronous/running.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from jidocode._host.deadline import Deadline
from jidocode.base.changes import Changes
from jidocode.base.refs import ActorRef, Name
from jidocode.base.structs import Discreet

T = TypeVar("T")


class Ask(Discreet, frozen=True):
    """Send *request* to *ref*; comes to its answer, or raises as `HostClient.call`.

    *target* is who answers, in words for an error.
    """

    hidden = ("request",)

    ref: ActorRef
    request: object
    deadline: Deadline
    target: str


class Begin(Discreet, frozen=True):
    """Send *request* to *ref*, and wait for nothing; comes to a `PendingCall`."""

    hidden = ("request",)

    ref: ActorRef
    request: object
    deadline: Deadline
    target: str


class BeginStream(Begin, frozen=True):
    """Do the same for a call whose answer comes in parts; comes to a `PendingStream`."""


class AskAll(Discreet, frozen=True):
    """Send *request* to all of *refs* at once; comes to a list of answers and `CallError`s."""

    hidden = ("request",)

    refs: Sequence[ActorRef]
    request: object
    deadline: Deadline


class PingAll(Discreet, frozen=True):
    """Ask all of *refs* at once how they are; comes to a list of `Pulse`s and `CallError`s."""

    refs: Sequence[ActorRef]
    deadline: Deadline


class AwaitName(Discreet, frozen=True):
    """Wait for a process under *name*; comes to its ref.

    To None at *deadline*, or when *give_up* says so after some news.
    """

    name: Name
    deadline: Deadline
    give_up: Callable[[], bool]


class AwaitChange(Discreet, frozen=True):
    """Wait until *look* finds something; comes to that, or to None at *deadline*.

    It looks at once, and whenever *changes* tells.
    """

    changes: Changes
    look: Callable[[], object]
    deadline: Deadline


Step = Ask | Begin | BeginStream | AskAll | PingAll | AwaitName | AwaitChange
Plan = Generator[Step, Any, T]


def await_change(step: AwaitChange) -> object:
    """Do that step in this thread."""
    return step.changes.wait_for(step.look, step.deadline.at)
