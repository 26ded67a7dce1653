"""What may be asked of any supervisor in a tree, as functions (OTP: supervisor).

The first argument is who asks: an application, or a server of the tree itself. The second
is the supervisor, by name or by `ActorRef`. Every function waits for the answer as a call
does, *timeout* seconds at most, and raises what a call raises. Those that start or stop
wait as long as that takes by default, for the spec of a child bounds it (OTP: infinity).
"""

from __future__ import annotations

from jidocode.base.refs import ActorRef, Target
from jidocode.otp.asking import Asks, ask
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.management import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import Child, ChildSpec, as_spec

__all__ = [
    "Asks",
    "count_children",
    "delete_child",
    "get_childspec",
    "restart_child",
    "start_child",
    "terminate_child",
    "which_children",
]


def which_children(
    asks: Asks, supervisor: Target, *, timeout: float | None = None
) -> tuple[ChildInfo, ...]:
    """Return the children of *supervisor* in start order."""
    children: tuple[ChildInfo, ...] = ask(asks, supervisor, WhichChildren(), timeout)
    return children


def count_children(asks: Asks, supervisor: Target, *, timeout: float | None = None) -> ChildCounts:
    """Return how many children *supervisor* has, by what they are."""
    counts: ChildCounts = ask(asks, supervisor, CountChildren(), timeout)
    return counts


def get_childspec(
    asks: Asks, supervisor: Target, child_id: str, *, timeout: float | None = None
) -> ChildSpec:
    """Return the spec of a child.

    Raises:
        ChildNotFoundError: No child has that id.
    """
    spec: ChildSpec = ask(asks, supervisor, GetChildSpec(child_id), timeout)
    return spec


def start_child(
    asks: Asks, supervisor: Target, child: Child, *, timeout: float = INFINITY
) -> ActorRef | None:
    """Start one more child; None if its `init` ignored.

    *child* is its spec, or a class whose `child_spec` needs no arguments.

    Raises:
        AlreadyStartedError: A child with that id, or a process with its name, runs; `ref` is
            that process. One that is being started or restarted is waited for.
        AlreadyPresentError: There is a stopped child with that id.
        MaxChildrenError: A dynamic supervisor has as many as it may.
        StartFailedError: Its `init` failed; the spec is not kept.
        InvalidChildSpecError: The spec breaks a rule.
        CallError: It cannot be pickled.
    """
    ref: ActorRef | None = ask(asks, supervisor, StartChild(as_spec(child)), timeout)
    return ref


def terminate_child(
    asks: Asks, supervisor: Target, child_id: str, *, timeout: float = INFINITY
) -> None:
    """Stop a child by its shutdown rule, and wait until it and all below it are dead.

    Its spec is kept, unless it is temporary or the supervisor a dynamic one. Any number may ask
    for it at once: all that do while it ends are answered when it has. A static supervisor
    answers whoever comes later, too, if it has kept the spec.

    Raises:
        ChildNotFoundError: No child has that id, or none any more.
    """
    ask(asks, supervisor, TerminateChild(child_id), timeout)


def restart_child(
    asks: Asks, supervisor: Target, child_id: str, *, timeout: float = INFINITY
) -> ActorRef | None:
    """Start a stopped child again; None if its `init` ignored.

    Raises:
        ChildNotFoundError: No child has that id. A dynamic supervisor forgets those that
            have stopped: start them anew.
        ChildRunningError: It runs.
        ChildRestartingError: Its supervisor is at it already.
        StartFailedError: Its `init` failed.
    """
    ref: ActorRef | None = ask(asks, supervisor, RestartChild(child_id), timeout)
    return ref


def delete_child(
    asks: Asks, supervisor: Target, child_id: str, *, timeout: float = INFINITY
) -> None:
    """Forget the spec of a stopped child; raises as `restart_child`.

    A dynamic supervisor has done so already.
    """
    ask(asks, supervisor, DeleteChild(child_id), timeout)
