"""Commands: the process that runs programs for a session.

It is started at first use and is temporary: its end ends nobody else, all its commands end
with it, and the next use starts it again. Whatever ends it, the host kills all that is below it.

Two threads: the one of every server takes the requests in, and hands them to that of the
event loop, which does all the rest. So requests are answered while commands run. A third one
removes what others have left behind, and ends with that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any, ClassVar

from jidocode.base.exits import Crashed, ExitReason
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import crash_reason
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply
from jidocode.session.commands import limits
from jidocode.session.commands.environment import base_environment
from jidocode.session.commands.limits import CommandRules
from jidocode.session.commands.loop import EventLoop
from jidocode.session.commands.operations import OPERATIONS, Later, list_commands
from jidocode.session.commands.sandbox import Sandbox
from jidocode.session.commands.scratch import Scratch, place_of_scratch, remove_abandoned
from jidocode.session.commands.spawner import start_spawner
from jidocode.session.commands.table import CommandTable
from jidocode.session.commands.watch import ProtectedPaths
from jidocode.session.confinement.worktree import worktree_paths
from jidocode.session.idle import HowIdle, Use
from jidocode.session.journal.place import watch_path
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.holding import open_held
from jidocode.session.project.protection import ProtectionRules
from jidocode.session.record import Session
from jidocode.session.requests import Request

END_SECONDS = 1.0
"""How long commands may take to be gone after SIGKILL, when the session stops."""


def _only_looks(request: object) -> bool:
    """Whether *request* is which commands there are, which `jidocode top` asks again and again."""
    return isinstance(request, Request) and request.operation == list_commands.__name__


class Commands(GenServer):
    """The server: one `CommandTable`.

    A refusal (`SessionError`, `BoundaryError`, OSError) goes to the caller, and the
    server goes on; anything else ends it.
    """

    kind: ClassVar[str] = "commands"

    def init(
        self,
        session: Session,
        rules: CommandRules,
        state_dir: str | None = None,
        protection: ProtectionRules | None = None,
        closed: Sequence[str] = (),
    ) -> None:
        """Pin the project folder of *session* (called by the host, first).

        Its commands cannot read *state_dir* nor the folders *closed*, and what they do to what
        *protection* names is announced as `ProtectedPathsChanged`.

        Raises:
            BoundaryError: Another folder stands there, and the session's supervisor has none.
            OSError: None is there, idem; or there can be no scratch folder, or no more processes.
        """
        self._process, self._spawner = start_spawner()  # it begins, while we do
        self._use = Use()
        self._boundary = Boundary(
            session.project_path,
            key=session.project_key,
            elsewhere=lambda: open_held(self, session.project_key),
        )
        place = place_of_scratch(os.environ)
        self._scratch = Scratch(place)
        environment = base_environment(os.environ, self._scratch.path)
        self._loop = EventLoop()
        private = (*closed, *([] if state_dir is None else [state_dir]))
        self._sandbox = Sandbox(self._boundary, self._scratch.path, private, rules)
        worktree = next(iter(worktree_paths(self._boundary.root)[1]), None)
        self._protected = ProtectedPaths(
            self._boundary,
            protection or ProtectionRules(),
            self.announce,
            worktree=worktree,
            note=None if state_dir is None else watch_path(state_dir, session.id),
        )
        self._table = CommandTable(
            self._loop,
            self._spawner,
            self._boundary,
            environment,
            self._sandbox,
            self._protected,
        )
        self._loop.watch(self._spawner, self._lose_spawner)
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        self._thread.start()
        threading.Thread(
            target=remove_abandoned, args=(place,), name="removal", daemon=True
        ).start()

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Have *request* answered."""
        if isinstance(request, HowIdle):
            self._loop.call_soon(partial(self._tell_how_idle, caller))
            return NoReply()
        if not _only_looks(request):
            self._use.note()
        if not isinstance(request, Request):
            return super().handle_call(request, caller)
        self._loop.call_soon(partial(self._carry_out, request, caller))
        return NoReply()

    def terminate(self, reason: ExitReason) -> None:
        """End all commands, and remove the scratch folder."""
        del reason
        gone: Future[Future[None]] = Future()
        self._loop.call_soon(lambda: gone.set_result(self._table.close(limits.CLOSE_GRACE_SECONDS)))
        try:
            if self._thread.is_alive():
                seconds = limits.CLOSE_GRACE_SECONDS + END_SECONDS
                gone.result(seconds).result(seconds)
        except FutureTimeoutError:
            pass  # the host kills them
        self._loop.call_soon(self._loop.stop)
        self._thread.join()
        self._spawner.close()
        self._process.wait()
        self._loop.close()
        self._sandbox.close()
        self._protected.close()
        self._boundary.close()
        self._scratch.remove()

    # In the thread of the event loop

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException as error:  # noqa: BLE001 - it is the end of the server
            self.stop(crash_reason(error))

    def _carry_out(self, request: Request[Any], caller: Caller) -> None:
        try:
            result = OPERATIONS.answer(request, self._table)
        except Later as later:
            later.future.add_done_callback(partial(self._settle, caller))
            return
        match result or super().handle_call(request, caller):
            case Reply(value=value):
                self.reply(caller, value)
            case Refuse(error=error):
                self.refuse(caller, error)
            case _:
                pass

    def _tell_how_idle(self, caller: Caller) -> None:
        if any(command.result is None for command in self._table):
            self._use.note()
            self.reply(caller, 0.0)
        else:
            self.reply(caller, self._use.idle_seconds())

    def _settle(self, caller: Caller, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self.reply(caller, future.result())
        elif isinstance(error, Exception):
            self.refuse(caller, error)

    def _lose_spawner(self) -> None:
        """End: nobody could be started, and what a runner leaves would be nobody's to kill."""
        self._loop.unwatch(self._spawner)
        self.stop(Crashed("the process that forks the runners of its commands has ended"))
