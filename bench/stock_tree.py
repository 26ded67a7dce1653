"""A bare tree on stock Thespian, of the same shape as a jidocode system.

It does what a careful hand would write first: a supervisor per session that
makes two children and asks each once, and makes both anew when one exits.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from thespian.actors import ActorExitRequest, ActorTypeDispatcher, ChildActorExited

COLLECT = "collect"


class Worker(ActorTypeDispatcher):
    """A child that answers."""

    def receiveMsg_str(self, message: str, sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Answer with the pid."""
        if message == COLLECT:
            gc.collect()
        self.send(sender, os.getpid())


class Supervisor(ActorTypeDispatcher):
    """Two children; when one exits, both are made anew."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.children: dict[str, Any] = {}
        self.pids: dict[str, int] = {}
        self.waiting: Any = None
        self.restarting = False

    def receiveMsg_str(self, message: str, sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Start, collect garbage, or tell what there is."""
        if message == "start":
            self.waiting = sender
            self.make()
        elif message == COLLECT:
            self.send(sender, gc.collect())
        elif len(self.pids) == 2:  # noqa: PLR2004 - two children
            self.send(sender, self.facts())
        else:
            self.send(sender, None)

    def make(self) -> None:
        """Make both children and ask each once."""
        self.pids = {}
        for name in ("manager", "state"):
            self.children[name] = self.createActor(Worker)
            self.send(self.children[name], "ask")

    def receiveMsg_int(self, pid: int, sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Note who has answered; with both, say so."""
        for name, child in self.children.items():
            if child == sender:
                self.pids[name] = pid
        if len(self.pids) == 2 and self.waiting is not None:  # noqa: PLR2004 - two children
            self.send(self.waiting, self.facts())
            self.waiting = None

    def facts(self) -> dict[str, Any]:
        """Return addresses and pids."""
        return {
            "supervisor": self.myAddress,
            **self.children,
            "pids": [self.pids["manager"], self.pids["state"]],
        }

    def receiveMsg_ChildActorExited(self, message: ChildActorExited, sender: Any) -> None:  # noqa: N802 - Thespian's name
        """One for all: stop the other one, and make both when both are gone."""
        del sender
        gone = [name for name, child in self.children.items() if child == message.childAddress]
        for name in gone:
            del self.children[name]
        if gone and self.children:
            for child in self.children.values():
                self.send(child, ActorExitRequest())
        elif gone:
            self.make()


class Root(ActorTypeDispatcher):
    """Makes sessions on demand."""

    def receiveMsg_str(self, message: str, sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Answer with the pid."""
        del message
        self.send(sender, os.getpid())

    def receiveMsg_tuple(self, message: tuple[str, str], sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Make a session's supervisor; it answers for both children."""
        del message
        self.asker = sender
        self.send(self.createActor(Supervisor), "start")

    def receiveMsg_dict(self, facts: dict[str, Any], sender: Any) -> None:  # noqa: N802 - Thespian's name
        """Pass the answer on."""
        del sender
        self.send(self.asker, facts)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    import socket  # noqa: PLC0415 - once

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
