"""Servers of coroutines, in a module that child processes can import."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from jidocode.otp import (
    AsyncGenServer,
    Caller,
    ChildSpec,
    Ignore,
    NoReply,
    Refuse,
    Reply,
    Shutdown,
    Stop,
    Timeout,
    management,
)
from jidocode.otp.server.results import CallResult, InitResult, Result


async def _leave() -> None:
    sys.exit(3)


class Desk(AsyncGenServer):
    """Does what a call's first word says; notes its life in a log file."""

    kind: ClassVar[str] = "desk"

    async def init(self, log: Path | None = None, how: Any = "ready") -> InitResult:
        self.log = log
        self.seen: list[object] = []
        self.gates: dict[str, asyncio.Event] = {}
        await asyncio.sleep(0)
        match how:
            case "raise":
                raise ValueError("init was told to raise")
            case "ignore":
                return Ignore()
            case "stop":
                return Stop(Shutdown("no"))
            case "exit":
                sys.exit(4)
            case ("call", target):
                self.seen.append(await self.call(target, "pid"))
                self.seen.append(await self.whereis(target))
            case "then":
                return NoReply(then="first")
            case _:
                pass
        return None

    def note(self, text: str) -> None:
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(text + "\n")

    async def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case "which_children":
                return Reply(management.which_children(self, ("group", "group")))
            case ("ask", "which_children"):
                return Reply(await self.ask(management.which_children, ("group", "group")))
            case "pid":
                return Reply(os.getpid())
            case "seen":
                return Reply(list(self.seen))
            case ("echo", value):
                return Reply(value)
            case ("wait", str() as gate):
                self.note(f"waits {gate}")
                try:
                    await self.gates.setdefault(gate, asyncio.Event()).wait()
                finally:
                    self.note(f"leaves {gate}")
                return Reply(gate)
            case ("open", str() as gate):
                self.gates.setdefault(gate, asyncio.Event()).set()
                return Reply(None)
            case ("call", target, request, timeout):
                try:
                    return Reply(await self.call(target, request, timeout=timeout))
                except Exception as error:  # noqa: BLE001 - whatever it is
                    return Refuse(error)
            case ("give up", target, request, float() as seconds):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self.call(target, request)
                return Reply(None)
            case ("gather", target, int() as count):
                calls = (self.call(target, ("echo", number)) for number in range(count))
                return Reply(await asyncio.gather(*calls))
            case ("whereis", name):
                return Reply(await self.whereis(name))
            case ("stream", int() as count):
                for number in range(count):
                    self.announce(number)
                    await asyncio.sleep(0)
                return Reply(None)
            case "raise":
                raise RuntimeError("told to")
            case "exit":
                sys.exit(3)
            case "exit apart":
                self.apart = asyncio.create_task(_leave())
                return Reply("soon")
            case "cancel":
                raise asyncio.CancelledError
            case "nothing":
                return None  # type: ignore[return-value] # on purpose
            case "stop":
                return Stop(Shutdown("asked to"), reply="stopping")
            case "then":
                return Reply(1, then="later")
            case "idle":
                return Reply(1, timeout=0.05)
            case "subprocess":
                process = await asyncio.create_subprocess_exec("true")
                return Reply(await process.wait())
            case "fork":
                pid = os.fork()
                if pid == 0:
                    return Reply("from the fork")
                _, status = await asyncio.to_thread(os.waitpid, pid, 0)
                return Reply(status)
            case _:
                return await super().handle_call(request, caller)

    async def handle_cast(self, request: Any) -> Result:
        self.seen.append(request)
        if request == "raise":
            raise RuntimeError("told to")
        if request == "block":
            time.sleep(1000)  # noqa: ASYNC251 - on purpose
        return None

    async def handle_info(self, message: Any) -> Result:
        if isinstance(message, Timeout):
            self.note("idle")
        else:
            self.seen.append(message)
        return None

    async def handle_continue(self, then: Any) -> Result:
        self.seen.append(then)
        return None

    async def terminate(self, reason: Any) -> None:
        self.note(f"terminate {reason}")
        await asyncio.sleep(0)
        self.note("done")


def desk(child_id: str, *args: Any, **options: Any) -> ChildSpec:
    """Return the spec of a `Desk`, registered as `("desk", child_id)`."""
    return Desk.child_spec(*args, id=child_id, name=("desk", child_id), **options)
