"""Servers whose answers come in parts, in a module that child processes can import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from actors import wait_for

from jidocode.otp import (
    AsyncGenServer,
    Caller,
    CallStream,
    ChildSpec,
    GenServer,
    NoReply,
    Reply,
    Start,
)
from jidocode.otp.server.results import CallResult


class Streamer(GenServer):
    """Sends numbers, and reads what others send; each part that was sent is a dot in its log."""

    kind: ClassVar[str] = "streamer"

    def init(self, log: Path) -> None:
        self.log = log

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case "pid":
                return Reply(os.getpid())
            case ("count", int() as count):
                return Reply(self.count(caller, count))
            case ("count slowly", int() as count, float() as pause):
                return Reply(self.count(caller, count, pause=pause))
            case ("blocks", int() as count, int() as size):
                return Reply(sum(self.send_part(caller, (n, bytes(size))) for n in range(count)))
            case ("fork and close", target, asked):
                return Reply(self.fork_and_close(self.call_stream(target, asked)))
            case ("count in a thread", int() as count):
                self.in_thread(lambda: self.reply(caller, self.count(caller, count)))
                return NoReply()
            case ("count and die", int() as count):
                self.count(caller, count)
                os.kill(os.getpid(), signal.SIGKILL)
                return Reply()
            case ("count and raise", int() as count):
                self.count(caller, count)
                raise ValueError("told to")
            case ("count until", int() as count, Path() as gate):
                self.count(caller, count)
                wait_for(gate)
                return Reply("done")
            case ("impatiently", float() as timeout):
                return Reply(self.count(caller, 1000, timeout=timeout))
            case ("impatiently in a thread", float() as timeout):
                self.in_thread(lambda: self.count(caller, 1000, timeout=timeout))
                return NoReply()
            case "a lambda":
                self.send_part(caller, lambda: None)
                return Reply()
            case ("send", part):
                return Reply(self.send_part(caller, part))
            case ("reply, and send", part):
                self.reply(caller, "early")
                self.log.write_text(str(self.send_part(caller, part)))
                return NoReply()
            case _:
                return self.read(request, caller)

    def read(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("read", target, asked):
                stream = self.call_stream(target, asked)
                return Reply((list(stream), stream.result()))
            case ("read in a thread", target, asked):
                stream = self.call_stream(target, asked)
                self.in_thread(lambda: self.reply(caller, (list(stream), stream.result())))
                return NoReply()
            case ("pass on", target, asked):
                for part in self.call_stream(target, asked):
                    self.send_part(caller, part)
                return Reply("passed on")
            case ("read one", target, asked):
                with self.call_stream(target, asked) as stream:
                    return Reply(next(stream))
            case ("read one and die", target, asked):
                next(self.call_stream(target, asked))
                os.kill(os.getpid(), signal.SIGKILL)
                return Reply()
            case ("begin in a thread", target, asked):
                self.in_thread(lambda: self.reply(caller, self.all_of(target, asked)))
                return NoReply()
            case _:
                return super().handle_call(request, caller)

    def all_of(self, target: Any, asked: Any) -> object:
        stream = self.call_stream(target, asked)
        return list(stream), stream.result()

    def count(self, caller: Caller, count: int, pause: float = 0.0, **options: Any) -> int:
        """Send numbers; return how many were wanted."""
        for number in range(count):
            time.sleep(pause)
            if not self.send_part(caller, number, **options):
                return number
            with self.log.open("ab") as log:
                log.write(b".")
        return count

    def fork_and_close(self, stream: CallStream) -> object:
        """Close a stream in a fork; return how the fork ended, and what was read here."""
        pid = os.fork()
        if pid == 0:
            try:
                stream.close()
            except BaseException:  # noqa: BLE001 - whatever it is
                os._exit(1)
            os._exit(0)
        return os.waitpid(pid, 0)[1], list(stream)

    def in_thread(self, work: Any) -> None:
        threading.Thread(target=work, daemon=True).start()


class AsyncStreamer(AsyncGenServer):
    """The same in coroutines."""

    kind: ClassVar[str] = "streamer"

    async def init(self, log: Path) -> None:
        self.log = log

    async def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("count", int() as count):
                for number in range(count):
                    if not await self.send_part(caller, number):
                        return Reply(number)
                    with self.log.open("ab") as log:
                        log.write(b".")
                return Reply(count)
            case "pid":
                return Reply(os.getpid())
            case _:
                return await super().handle_call(request, caller)


def streamer(child_id: str, log: Path, cls: Any = Streamer) -> ChildSpec:
    """Return the spec of one, registered as `("streamer", child_id)`."""
    return ChildSpec(id=child_id, start=Start(cls, log), name=("streamer", child_id))
