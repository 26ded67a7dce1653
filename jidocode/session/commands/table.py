"""`CommandTable`: all commands of a session, those that run and those that ended lately.

All of it happens in the thread of the event loop.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

from jidocode.base.text import quote
from jidocode.errors import CommandError, CommandLimitError, InvalidRequestError, NoCommandError
from jidocode.session.commands import limits
from jidocode.session.commands.channel import Channel
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.commands.loop import EventLoop, Timer
from jidocode.session.commands.program import order_for, write_order
from jidocode.session.commands.running import RunningCommand
from jidocode.session.commands.sandbox import Sandbox
from jidocode.session.commands.saving import SavedOutput
from jidocode.session.commands.spawner import request_runner
from jidocode.session.commands.streams import Streams
from jidocode.session.commands.wanted import Wanted, check_wanted
from jidocode.session.commands.watch import ProtectedPaths
from jidocode.session.confinement.confinement import Prepared
from jidocode.session.project.boundary import Boundary

STANDBY_DELAY = 0.1
"""Seconds until another runner is forked, unless a command ends before that."""
LOOK_SECONDS = 2.0
"""How often the protected paths are looked at while a command runs."""
GO = b"!"
"""The word that comes with an order."""


class CommandTable:
    """What a session's commands are started with, and who they are."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that commands need
        self,
        loop: EventLoop,
        spawner: Channel,
        boundary: Boundary,
        environment: Mapping[str, str],
        sandbox: Sandbox,
        protected: ProtectedPaths,
    ) -> None:
        """Start commands by *spawner*, with *environment*, in *sandbox*, inside *boundary*.

        What they do to *protected* paths stands in their results.
        """
        self._loop = loop
        self._spawner = spawner
        self._boundary = boundary
        self._environment = environment
        self._sandbox = sandbox
        self._protected = protected
        self._looks = False
        self._limits = sandbox.rules
        self._commands: dict[str, RunningCommand] = {}
        self._standby: Channel | None = None
        self._standby_timer: Timer | None = None
        self._closing: Future[None] | None = None
        self.prepare_standby()

    def __iter__(self) -> Iterator[RunningCommand]:
        return iter(self._commands.values())

    @property
    def default_timeout(self) -> float:
        """Seconds that `run` gives a command unless it is told otherwise."""
        return self._limits.timeout

    @property
    def scratch(self) -> str:
        """The scratch folder of the session."""
        return self._sandbox.scratch

    @property
    def sandbox_mode(self) -> SandboxMode:
        """How commands are to be confined."""
        return self._limits.sandbox

    def find(self, command_id: object) -> RunningCommand:
        """Return the command with that id.

        Raises:
            NoCommandError: There is none.
        """
        command = self._commands.get(command_id) if isinstance(command_id, str) else None
        if command is None:
            raise NoCommandError(command_id if isinstance(command_id, str) else quote(command_id))
        return command

    def start(self, wanted: Wanted) -> RunningCommand:
        """Start a command.

        Raises:
            InvalidRequestError: Something about it breaks a rule, or its id is taken.
            ProjectGoneError: The project was deleted.
            BoundaryError: Its folder is not in the project.
            OSError: Its folder cannot be reached, or its output not saved.
            CommandLimitError: As many run as may.
            ConfinementError: It cannot be confined.
            CommandError: The session stops.
        """
        check_wanted(wanted)
        if wanted.id in self._commands:
            raise InvalidRequestError("there is a command with that id")
        if self._closing is not None:
            raise CommandError("the commands of the session are being ended")
        if sum(command.result is None for command in self) >= self._limits.max_commands:
            raise CommandLimitError(self._limits.max_commands)
        gone = self._boundary.gone()
        if gone is not None:
            raise gone
        prepared = self._sandbox.prepared(wanted)
        folder = self._boundary.open_directory(wanted.cwd)
        try:
            saved = None
            if wanted.save_output is not None:
                saved = SavedOutput(wanted.save_output, self._boundary.root)
            return self._start(wanted, folder, saved, prepared)
        finally:
            os.close(folder)

    def _start(
        self, wanted: Wanted, folder: int, saved: SavedOutput | None, prepared: Prepared | None
    ) -> RunningCommand:
        with contextlib.ExitStack() as undo:
            if saved is not None:
                undo.callback(saved.discard)
            if wanted.tty is not None:
                streams = Streams.terminal(wanted.tty)
            else:
                streams = Streams.pipes(has_input=wanted.stdin is not None, merge=wanted.merge)
            undo.callback(streams.close)
            self._protected.begin(wanted.id)
            undo.callback(self._protected.forget, wanted.id)
            channel = self._send_order(wanted, folder, streams, prepared)
            undo.pop_all()
        streams.close_theirs()
        command = RunningCommand(
            self._loop,
            wanted,
            channel,
            streams,
            output_limit=wanted.output_limit or self._limits.output_limit,
            saved=saved,
            on_free=self._keep_standby,
            on_build=os.close if prepared is None else prepared.keep_built,
            changes=lambda: self._protected.end(wanted.id),
            on_end=lambda: self._note_end(wanted.id),
        )
        self._commands[wanted.id] = command
        if not self._looks:
            self._looks = True
            self._loop.call_later(LOOK_SECONDS, self._look)
        if self._standby is None and self._standby_timer is None:
            self._standby_timer = self._loop.call_later(STANDBY_DELAY, self.prepare_standby)
        return command

    def _look(self) -> None:
        """Look at the protected paths as long as a command runs."""
        self._looks = self._protected.look()
        if self._looks:
            self._loop.call_later(LOOK_SECONDS, self._look)

    def _send_order(
        self, wanted: Wanted, folder: int, streams: Streams, prepared: Prepared | None
    ) -> Channel:
        variables = self._environment
        if wanted.tty is not None:
            variables = {**variables, "TERM": "xterm"}
        world = self._sandbox.world(wanted, prepared)
        order = order_for(wanted, variables, prepared, world, tty=streams.is_tty)
        file = write_order(order)
        try:
            descriptors = [file, folder, *streams.theirs]
            if prepared is not None and order.world is None:
                descriptors.append(prepared.ruleset)
            elif prepared is not None and prepared.built is not None:
                descriptors.append(prepared.built)
            channel = self._take_standby()
            if channel is not None and channel.send(GO, descriptors):
                return channel
            if channel is not None:  # it was killed while it waited
                channel.close()
            channel = self._request_runner()
            if channel is None:
                raise CommandError("the commands of the session have no spawner any more")
            with contextlib.ExitStack() as undo:
                undo.callback(channel.close)
                channel.send(GO, descriptors)
                undo.pop_all()
        finally:
            os.close(file)
        return channel

    # Runners that stand by

    def prepare_standby(self) -> None:
        """Have a runner forked for the next command, unless one stands by."""
        if self._standby_timer is not None:
            self._standby_timer.cancel()
            self._standby_timer = None
        if self._standby is not None or self._closing is not None:
            return
        channel = None
        with contextlib.suppress(OSError):  # no descriptor is left; the next command asks itself
            channel = self._request_runner()
        if channel is not None:
            self._keep_standby(channel)

    def _keep_standby(self, channel: Channel) -> None:
        """Keep the runner at *channel* for the next command, unless one stands by."""
        if self._standby is not None or self._closing is not None:
            channel.close()
            return
        self._standby = channel
        # What it says before it has an order is that it ends.
        self._loop.watch(channel, self._drop_standby)

    def _request_runner(self) -> Channel | None:
        return request_runner(self._spawner, apart=self._sandbox.uses_namespaces)

    def _take_standby(self) -> Channel | None:
        channel, self._standby = self._standby, None
        if channel is not None:
            self._loop.unwatch(channel)
        return channel

    def _drop_standby(self) -> None:
        channel = self._take_standby()
        if channel is not None:
            channel.close()

    # Ends

    def _note_end(self, command_id: str) -> None:
        command = self._commands[command_id]
        if command.result is None:  # it was not even started
            self._protected.forget(command_id)
            del self._commands[command_id]
        else:  # the latest at the end
            self._commands[command_id] = self._commands.pop(command_id)
            self._forget_oldest()
        self.prepare_standby()
        if self._closing is not None and all(each.result is not None for each in self):
            self._closing.set_result(None)

    def _forget_oldest(self) -> None:
        ended = [command for command in self if command.result is not None]
        kept = sum(command.kept for command in ended)
        for number, command in enumerate(ended[:-1]):
            if len(ended) - number <= limits.MAX_ENDED and kept <= limits.MAX_ENDED_OUTPUT:
                break
            kept -= command.kept
            del self._commands[command.wanted.id]

    def close(self, grace: float) -> Future[None]:
        """End all commands within *grace* seconds; return a future of that."""
        self._drop_standby()
        self._closing = Future()
        running = [command for command in self if command.result is None]
        for command in running:
            command.cancel()
            command.end(grace)
        if not running:
            self._closing.set_result(None)
        return self._closing
