"""Strangers knock at every port of a system: with nothing, with noise, with half a greeting.

Nobody of the system ends of it, and every call brings the right answer meanwhile.
"""

from __future__ import annotations

import os
import random
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

from checkers import (
    MARK,
    BrokenPromiseError,
    Ledger,
    Said,
    census,
    check_on_loopback,
    listening_ports,
)

from jidocode import SessionSystem

FLOOD = 150
"""Connections at once, at most."""


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Visit all ports in each round, and call in the middle of it."""
    project = folder / "shop"
    project.mkdir()
    (project / "file").write_text("right")
    ledger = Ledger()
    visits = calls = 0
    ports: dict[int, str] = {}
    with SessionSystem(state_dir=folder / "state") as system:
        session = system.create_session(project)
        lives = {child.id: child.ref for child in session.which_children()}
        tree = str(system.tree())
        while time.monotonic() < until:
            ports = listening_ports(census(f"{MARK}={os.environ[MARK]}"))
            check_on_loopback(ports)
            if not ports:
                raise BrokenPromiseError("nothing listens: this attack sees no port of the system")
            strangers = _visit(plan, sorted(ports))
            visits += len(strangers)
            for _ in range(5):
                calls += 2
                message_id = uuid.uuid4().hex
                ledger.try_message(message_id, message_id)
                said = session.state.append_message("user", message_id, message_id=message_id)
                ledger.acknowledge(Said(said.seq, said.id, said.content))
                if (text := session.manager.read_text("file").text) != "right":
                    raise BrokenPromiseError(f"a call had the wrong answer: {text!r}")
            for stranger in strangers:
                stranger.close()
        if {child.id: child.ref for child in session.which_children()} != lives:
            raise BrokenPromiseError(f"a process has ended of strangers; before: {lives}")
        if str(system.tree()) != tree:
            raise BrokenPromiseError(f"the tree has changed: {tree}; now: {system.tree()}")
    return f"{visits} visits to {len(ports)} ports, {calls} calls, all answered rightly"


def _visit(plan: random.Random, ports: list[int]) -> list[socket.socket]:
    """Return connections, open or not, that have said what a stranger may say."""
    crowd = [plan.choice(ports)] * plan.randint(0, FLOOD) if plan.random() < 0.3 else ports
    strangers: list[socket.socket] = []
    for port in crowd:
        stranger = socket.socket()
        stranger.settimeout(0.02)  # the kernel may drop what does not knock, and never say so
        strangers.append(stranger)
        if len(crowd) > len(ports):
            stranger.setblocking(False)  # noqa: FBT003 - the standard library has it so
        with suppress(OSError):
            stranger.connect(("127.0.0.1", port))
            greeting = stranger.recv(plan.choice([0, 4096])) if plan.random() < 0.5 else b""
            stranger.sendall(_noise(plan, greeting))
        if plan.random() < 0.5:
            stranger.close()
    return strangers


def _noise(plan: random.Random, greeting: bytes) -> bytes:
    return plan.choice(
        [
            b"",
            greeting,  # what the listener has said itself
            greeting[: len(greeting) // 2],
            plan.randbytes(plan.randint(1, 200)),
            b"\0" * 4096,
            b"\xff" * 64,  # a length that is as large as can be
            b"GET / HTTP/1.1\r\n\r\n",
            plan.randbytes(1_000_000),
        ]
    )
