"""A child does what a child should not do; nobody but itself, or its session, ends of it.

Whatever it has done, it is back soon, and what it has started is gone with it.
"""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path

from checkers import BrokenPromiseError, check_nothing_left
from villains import DEEDS, MARK_OF_DEED, Villain

from jidocode import ChildSpec, Flags, JidocodeError, SessionHandle, SessionSystem, Strategy
from jidocode.otp import Start

PATIENCE = 15.0
"""Seconds until a villain is back: it may have to be found out by its heartbeat."""


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Have a villain do something in each round, and look at everybody else."""
    for name in ("shop", "hideout"):
        (folder / name).mkdir()
    done: list[str] = []
    villain = ChildSpec(id="villain", start=Start(Villain), heartbeat=0.5)
    flags = Flags(strategy=Strategy.ONE_FOR_ONE, max_restarts=1000)
    with SessionSystem(state_dir=folder / "state", heartbeat=0.5, preload=["villains"]) as system:
        shop = system.create_session(folder / "shop")
        hideout = system.create_session(folder / "hideout", children=[villain], strategy=flags)
        others = _others(system)
        while time.monotonic() < until:
            deed, token = plan.choice(list(DEEDS)), uuid.uuid4().hex
            done.append(deed)
            with suppress(JidocodeError):
                hideout.call("villain", ["do", deed, token], timeout=3)
            try:
                shop.state.append_message("user", "hello")
                shop.manager.list_directory()
            except JidocodeError as error:
                raise BrokenPromiseError(f"{deed}: another session suffers: {error}") from error
            _wait_until_back(hideout, deed)
            _end(system, hideout)
            _wait_until_back(hideout, deed)
            try:
                check_nothing_left(f"{MARK_OF_DEED}={token}")
            except BrokenPromiseError as broken:
                raise BrokenPromiseError(f"{deed}: {broken}") from broken
            if (now := _others(system)) != others:
                raise BrokenPromiseError(f"{deed}: others have ended; {others} have become {now}")
    return f"{len(done)} misdeeds of {len(set(done))} kinds; nobody else ended, nothing was left"


def _others(system: SessionSystem) -> dict[str, int]:
    """Return the pids of all but the villain."""
    found: dict[str, int] = {}
    waiting = [("", system.tree())]
    for path, node in waiting:
        waiting += [(f"{path}/{node.id}", child) for child in node.children]
        if node.ref and node.id != "villain":
            found[f"{path}/{node.id}"] = node.ref.os_pid
    return found


def _end(system: SessionSystem, hideout: SessionHandle) -> None:
    """Kill the villain: with it goes what it has started."""
    ref = system.get_process(hideout.id, "villain")
    with suppress(ProcessLookupError):
        os.kill(ref.os_pid, signal.SIGKILL)


def _wait_until_back(hideout: SessionHandle, deed: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        question = uuid.uuid4().hex
        try:
            answer = hideout.call("villain", question, timeout=1)
        except JidocodeError as error:
            if time.monotonic() > deadline:
                raise BrokenPromiseError(
                    f"{deed}: the child does not come back: {error}"
                ) from error
            time.sleep(0.01)
        else:
            if answer != question:
                raise BrokenPromiseError(f"{deed}: {question} was answered by {answer!r:.80}")
            return
