"""A server that registers itself, and hears what others do."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from jidocode.otp import (
    ActorRef,
    Application,
    Caller,
    ChildSpec,
    GenServer,
    Name,
    Refuse,
    Registry,
    Reply,
    Restart,
    registry,
)
from jidocode.otp.registry import Registered, Unregistered
from jidocode.otp.server.results import CallResult, Result

UNIQUE, SHARED = ("registry", "unique"), ("registry", "shared")


class Registrant(GenServer):
    """Registers under *keys* of the unique registry, and does what it is told with any."""

    kind: ClassVar[str] = "registrant"

    def init(self, *keys: str) -> None:
        self.heard: list[object] = []
        for key in keys:
            registry.register(self, UNIQUE, key, os.getpid())

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("parts", int() as count):
                for number in range(count):
                    self.send_part(caller, number)
                return Reply("end")
            case (str() as operation, where, *args):
                try:
                    return Reply(getattr(registry, operation)(self, where, *args))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
                    return Refuse(error)
            case "heard":
                return Reply(list(self.heard))
            case "pid":
                return Reply(os.getpid())
            case _:
                return super().handle_call(request, caller)

    def handle_info(self, message: Any) -> Result:
        match message:
            case Registered(_, entry):
                self.heard.append(("+", entry.key, entry.value))
            case Unregistered(_, entry):
                self.heard.append(("-", entry.key, entry.value))
            case _:
                self.heard.append(message)
        return None


def registrant(child_id: str, *keys: str, restart: Restart = Restart.PERMANENT) -> ChildSpec:
    """Return the spec of a `Registrant`, whose name is `("registrant", child_id)`."""
    return Registrant.child_spec(*keys, id=child_id, name=("registrant", child_id), restart=restart)


def registries() -> list[ChildSpec]:
    """Return the specs of a registry of each kind, `UNIQUE` and `SHARED`."""
    return [
        Registry.child_spec("unique", id="unique", name=UNIQUE),
        Registry.child_spec("duplicate", id="shared", name=SHARED),
    ]


def ref_of(app: Application, name: Name) -> ActorRef:
    """Return the process that runs under *name*."""
    ref = app.whereis(name)
    assert ref is not None
    return ref
