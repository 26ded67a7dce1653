"""A server that is a program: confined if asked, and ended with all that it has started.

It has what a command has (`session/commands`): a spawner of its own, which forks, and a runner
above the program, which ends whatever that leaves behind. So it makes no difference who dies: if
the process here is killed, the spawner ends all; if the spawner is, this process ends, and the
host ends what is left; if the runner is, the spawner ends what that has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Sequence

from jidocode.errors import ConfinementError, McpServerError, SessionError
from jidocode.session.commands import words
from jidocode.session.commands.channel import Channel
from jidocode.session.commands.environment import base_environment
from jidocode.session.commands.limits import CommandRules
from jidocode.session.commands.program import Order, order_for, write_order
from jidocode.session.commands.sandbox import Sandbox
from jidocode.session.commands.scratch import Scratch, place_of_scratch
from jidocode.session.commands.spawner import request_runner, start_spawner
from jidocode.session.commands.streams import Streams
from jidocode.session.commands.table import GO
from jidocode.session.commands.wanted import Wanted, check_wanted
from jidocode.session.confinement.confinement import Prepared
from jidocode.session.confinement.namespaces import explain
from jidocode.session.mcp.spec import McpServer
from jidocode.session.project.boundary import Boundary

TAKEN_OVER = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
)
"""What a server that is not confined has of the app's variables."""
CLOSE_SECONDS = 0.5
"""How long it has to end by itself when its input has ended."""
GRACE_SECONDS = 0.5
"""From SIGTERM to SIGKILL, if it does not."""
GONE_SECONDS = 3.0
"""How long is waited for the end of all of it after that; the host ends the rest."""


class Program:
    """A server's program, from its start to the end of all that it has started.

    Attributes:
        streams: Its standard streams.
        ended: Set when it has ended.
        end: How it has ended, in words, as far as that is known.
        problem: Why it could not be started, if it could not.
    """

    def __init__(
        self, server: McpServer, project: Boundary, rules: CommandRules, closed: Sequence[str]
    ) -> None:
        """Start it in *project*; if it is confined, as a command is by *rules*.

        Raises:
            SessionError: It cannot be confined, or something about it breaks a rule.
            OSError: Its folder is gone, or there are no more processes.
        """
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.end = "it has ended"
        self._gone = asyncio.Event()
        self.problem: SessionError | None = None
        self._server = server
        self._undo = contextlib.ExitStack()
        try:
            self._start(project, rules, closed)
        except BaseException:
            self._undo.close()
            raise

    def _start(self, project: Boundary, rules: CommandRules, closed: Sequence[str]) -> None:
        server = self._server
        wanted = Wanted(server.name, (server.command or "", *server.args), env=server.env)
        check_wanted(wanted)
        process, self._spawner = start_spawner()
        self._undo.callback(process.wait)
        self._undo.callback(self._spawner.close)
        prepared, world = None, None
        if server.confine:
            scratch = Scratch(place_of_scratch(os.environ))
            self._undo.callback(scratch.remove)
            sandbox = Sandbox(project, scratch.path, closed, rules)
            self._undo.callback(sandbox.close)
            prepared = sandbox.prepared(wanted)
            world = sandbox.world(wanted, prepared)
            variables = base_environment(os.environ, scratch.path)
        else:
            variables = {name: os.environ[name] for name in TAKEN_OVER if os.environ.get(name)}
        order = order_for(wanted, variables, prepared, world)
        self.streams = Streams.pipes(has_input=True, merge=False)
        self._undo.callback(self.streams.close)
        folder = project.open_directory(".")
        try:
            self._channel = self._send(order, folder, prepared)
        finally:
            os.close(folder)
        self._undo.callback(self._channel.close)
        self.streams.close_theirs()
        self._watch(self._channel, self._hear)
        self._watch(self._spawner, self._lose)

    def _send(self, order: Order, folder: int, prepared: Prepared | None) -> Channel:
        channel = request_runner(self._spawner, apart=order.world is not None)
        if channel is None:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        file = write_order(order)
        try:
            descriptors = [file, folder, *self.streams.theirs]
            if prepared is not None and order.world is None:
                descriptors.append(prepared.ruleset)
            channel.send(GO, descriptors)
        except BaseException:
            channel.close()
            raise
        finally:
            os.close(file)
        return channel

    def _watch(self, channel: Channel, callback: Callable[[], None]) -> None:
        descriptor = channel.fileno()
        self._loop.add_reader(descriptor, callback)
        self._undo.callback(self._loop.remove_reader, descriptor)

    def _hear(self) -> None:
        """Take what the runner says."""
        message, descriptors = self._channel.receive()
        for descriptor in descriptors:
            os.close(descriptor)
        letter, number = words.parse(message) if message else (words.GONE, 0)
        if letter == words.FAILED:
            self.problem = McpServerError(
                self._server.name, f"its program cannot be started: {os.strerror(number)}"
            )
        elif letter == words.OBSTRUCTED:
            self.problem = ConfinementError(explain(words.parse_obstacle(number)))
        elif letter in {words.EXITED, words.DONE}:
            self.end = (
                f"it has ended with status {number}"
                if number >= 0
                else f"signal {-number} has ended it"
            )
        if letter not in {words.STARTED, words.BUILT}:
            self.ended.set()
        if letter not in {words.STARTED, words.BUILT, words.EXITED}:
            self._loop.remove_reader(self._channel.fileno())
            self._gone.set()

    def _lose(self) -> None:
        """Note that the spawner has been killed: what is left is the host's to end."""
        self._loop.remove_reader(self._spawner.fileno())
        self.ended.set()
        self._gone.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until it has ended, *seconds* at most; return whether it has."""
        return await _within(seconds, self.ended)

    async def close(self) -> None:
        """End all of it, and let go of what it had; it has a moment to end by itself."""
        try:
            self.streams.close_input()
            if not await self.wait(CLOSE_SECONDS):
                with contextlib.suppress(BlockingIOError):
                    self._channel.send(words.word(words.END, int(GRACE_SECONDS * 1000)))
            await _within(GONE_SECONDS, self._gone)
        finally:
            self._undo.close()


async def _within(seconds: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
