"""Any process of a system is killed, at any moment, while threads write.

What was acknowledged is there, once and in order, and every call ends in time, with an
answer or an error that says why.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from checkers import MARK, BrokenPromiseError, Ledger, Said, census, check_journal

from jidocode import HostError, JidocodeError, SessionHandle, SessionSystem

DEADLINE = 15.0
"""Seconds: three times as long as a call waits for an answer."""
WRITERS = 3
T = TypeVar("T")
ABOVE_ALL = ("jidocode guard", "jidocode host")
"""Whose end is everybody's."""


class Writer(threading.Thread):
    """Appends messages, each up to three times with the same id, until it is told to stop."""

    def __init__(self, session: SessionHandle, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._session, self._ledger = session, ledger
        self._done = threading.Event()
        self._failure: Exception | None = None
        self._since = time.monotonic()

    def run(self) -> None:
        """Write."""
        try:
            while not self._done.is_set():
                self._write(uuid.uuid4().hex)
        except Exception as error:  # noqa: BLE001 - raised again by `finish`
            self._failure = error

    def _write(self, message_id: str) -> None:
        text = f"text of {message_id}"
        self._ledger.try_message(message_id, text)
        for _ in range(3):
            self._since = time.monotonic()
            with suppress(JidocodeError):
                message = self._session.state.append_message("user", text, message_id=message_id)
                self._ledger.acknowledge(Said(message.seq, message.id, message.content))
                return
            time.sleep(0.01)

    def finish(self) -> None:
        """Check that the last call ends in time, and that no call has ended in a wrong way."""
        self._done.set()
        self.join(max(0.0, self._since + DEADLINE - time.monotonic()) + 1)
        if self.is_alive():
            raise BrokenPromiseError(f"a call has not ended after {DEADLINE:.0f} s")
        if self._failure is not None:
            raise self._failure


class Shop:
    """One project and its session, in whichever system is up."""

    def __init__(self, folder: Path, number: int) -> None:
        self._project = folder / f"shop{number}"
        self._project.mkdir()
        self.id = str(uuid.uuid4())
        self.ledger = Ledger()

    def open(self, system: SessionSystem) -> SessionHandle:
        """Return its session, opened again if it has given up."""
        return self._patiently(system, lambda session: session)

    def _patiently(self, system: SessionSystem, work: Callable[[SessionHandle], T]) -> T:
        """Do something with its session; patient with what is still being restarted."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if not system.session_running(self.id):
                    system.create_session(self._project, session_id=self.id)
                return work(system.get_session(self.id))
            except HostError:
                raise
            except JidocodeError as error:
                if time.monotonic() > deadline:
                    raise BrokenPromiseError(f"a session does not come back: {error}") from error
                time.sleep(0.05)

    def check(self, system: SessionSystem) -> None:
        """Check what its session says that it holds."""
        self.ledger.check(self._patiently(system, self._read))

    @staticmethod
    def _read(session: SessionHandle) -> list[Said]:
        found: list[Said] = []
        while page := session.state.messages(after_seq=found[-1].seq if found else 0):
            found += [Said(message.seq, message.id, message.content) for message in page]
        return found


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Kill some processes in each round; those above all others, too, which ends the system."""
    shops = [Shop(folder, number) for number in range(2)]
    state_dir = folder / "state"
    rounds = systems = 0
    kills: list[int] = []
    while time.monotonic() < until:
        systems += 1
        with SessionSystem(state_dir=state_dir, creation_rate=None) as system, suppress(HostError):
            while time.monotonic() < until:
                rounds += 1
                _round(plan, system, shops, kills)
        for shop in shops:
            check_journal(state_dir / f"{shop.id}.jsonl", shop.ledger)
    told = sum(len(shop.ledger) for shop in shops)
    return f"{rounds} rounds, {len(kills)} kills, {systems} systems, {told} acknowledged, none lost"


def _round(plan: random.Random, system: SessionSystem, shops: list[Shop], kills: list[int]) -> None:
    sessions = [shop.open(system) for shop in shops]
    writers = [
        Writer(session, shop.ledger)
        for session, shop in zip(sessions, shops, strict=True)
        for _ in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    ends_all = plan.random() < 0.2
    for _ in range(plan.randint(1, 6)):
        time.sleep(plan.choice([0.0, 0.005, 0.05, 0.2]))
        victims = [
            pid
            for pid, title in sorted(census(f"{MARK}={os.environ[MARK]}").items())
            if pid != os.getpid() and (ends_all or not title.startswith(ABOVE_ALL))
        ]
        if victims:
            with suppress(ProcessLookupError):
                os.kill(victim := plan.choice(victims), signal.SIGKILL)
                kills.append(victim)
    time.sleep(plan.uniform(0, 0.3))
    for writer in writers:
        writer.finish()
    for shop in shops:
        shop.check(system)
