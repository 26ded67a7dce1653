"""A server that holds locks of a registry."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

from actors import wait_for
from registrants import UNIQUE

from jidocode.otp import Caller, ChildSpec, GenServer, NoReply, Refuse, Reply, Restart, registry
from jidocode.otp.server.results import CallResult


class Locker(GenServer):
    """Notes `in` and `out` in *log*, each with its own id, when it is in a block with a lock.

    `(key, gate)` stays in until there is a file *gate*, and raises there if its name is
    `raise`; `None` does not stay. A third item are the options of the lock. `("thread", ...)`
    does the same in a thread.
    """

    kind: ClassVar[str] = "locker"

    def init(self, child_id: str, log: Path) -> None:
        self.child_id, self.log = child_id, log

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("thread", *rest):
                threading.Thread(target=self.answer, args=(caller, rest), daemon=True).start()
            case _:
                self.answer(caller, request)
        return NoReply()

    def answer(self, caller: Caller, request: Any) -> None:
        outcome = self.outcome_of(*request)
        match outcome:
            case Reply(value):
                self.reply(caller, value)
            case Refuse(error):
                self.refuse(caller, error)

    def outcome_of(
        self, key: Any, gate: Path | None, options: dict[str, float] | None = None
    ) -> Reply | Refuse:
        try:
            with registry.lock(self, UNIQUE, key, **options or {}):
                self.note("in")
                if gate is not None:
                    wait_for(gate)
                self.note("out")
                if gate is not None and gate.name == "raise":
                    int("on purpose")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            return Refuse(error)
        return Reply("done")

    def note(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{text} {self.child_id}\n")


def locker(child_id: str, log: Path) -> ChildSpec:
    """Return the spec of a `Locker`, whose name is `("locker", child_id)`."""
    return Locker.child_spec(
        child_id, log, id=child_id, name=("locker", child_id), restart=Restart.TEMPORARY
    )
