"""A session's Commands, as its app sees them: one client waits, one is awaited."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar, Unpack

from msgspec.structs import replace

from jidocode.errors import CallError, CallTimeoutError, CommandFailedError, SessionError
from jidocode.otp.seconds import INFINITY
from jidocode.session.commands import limits, operations
from jidocode.session.commands.handle import (
    ANSWER_TIME,
    AsyncCommandHandle,
    CommandHandle,
    as_bytes,
)
from jidocode.session.commands.inspection import ANSWER_SECONDS
from jidocode.session.commands.options import CommandOptions
from jidocode.session.commands.result import CommandInfo, CommandResult
from jidocode.session.commands.wanted import (
    DEFAULT_SIZE,
    NO_NETWORK,
    Command,
    Size,
    Wanted,
    as_argv,
)
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.confinement.network import Network
from jidocode.session.confinement.report import ConfinementReport
from jidocode.session.conversation.changes import new_record_id
from jidocode.session.requests import (
    AsyncClient,
    Client,
    Question,
    Script,
    ask,
    asked,
    request,
    scripted,
)

_Result = TypeVar("_Result")


class CommandsMethods:
    """What both clients of a Commands ask."""

    @scripted
    def run(
        self, command: Command, *, check: bool = False, **options: Unpack[CommandOptions]
    ) -> Script[CommandResult]:
        """Run a program to its end, and return how it ended and what it has written.

        It has ended when its main process has. What that has started has 0.2 seconds more,
        and is killed then. A command that is not waited for any more is ended: because of a
        Ctrl-C, because the task was cancelled, or because this process was killed.

        Args:
            command: A str is a line for `/bin/sh`; a sequence of them a program, looked for in
                its PATH, and its arguments.
            check: Whether another exit code than 0 is an error.
            options: See `CommandOptions`.

        Raises:
            CommandFailedError: *check*, and it ended in another way than by exit code 0.
            ProgramNotFoundError, CommandStartError: Its program cannot be executed.
            ConfinementError: It cannot be confined on this machine.
            CommandLimitError: As many commands run as may.
        """
        wanted = replace(_wanted(command, **options), waiter=os.getpid())
        begin = Question(request(operations.run_command, wanted), INFINITY)
        result = yield from _ended_with_its_caller(wanted, begin)
        if check and not result.ok:
            raise CommandFailedError(result)
        return result

    @asked
    def list(self) -> Question[list[CommandInfo]]:
        """Return what is known of all commands, oldest first.

        Of those that have ended, at most 100 are remembered, fewer if their output is long.
        """
        return Question(request(operations.list_commands))

    @asked
    def confinement(self) -> Question[ConfinementReport]:
        """Return what holds the commands of the session, right by right, as found by trying.

        It takes some tenths of a second. With `Settings.sandbox="off"` nothing is tried, and
        nothing holds them.

        Raises:
            ConfinementError: No command can be confined here at all.
        """
        return Question(request(operations.confinement), ANSWER_SECONDS)


class CommandsClient(CommandsMethods, Client):
    """Runs programs for a session, and finds those that run.

    The first use starts the process that runs them, which is called `commands` among the
    session's children. If it dies, its commands are gone, calls under way raise
    `ActorExitedError`, and the next use starts it again. It ends with the session.

    An argument that breaks a rule is an `InvalidRequestError`, a folder that is not in the
    project a `BoundaryError` or an OSError, a project that was deleted a `ProjectGoneError`;
    nothing is started then. Besides that methods raise
    whatever the way to the process raises (`CallError`).
    """

    def start(self, command: Command, **options: Unpack[CommandOptions]) -> CommandHandle:
        """Start a program, and return a handle of it as soon as it is executed.

        Takes, and raises, what `run` does; but if *stdin* is given, `b""` too, more may be
        written by `CommandHandle.write`. So it may at a terminal.
        """
        return CommandHandle(self._channel, self._carry_out(_start(command, **options)))

    def get(self, command_id: str) -> CommandHandle:
        """Return a handle of a command, whoever has started it.

        Raises:
            NoCommandError: None has that id, or none any more.
        """
        self._channel(request(operations.command_info, command_id))
        return CommandHandle(self._channel, command_id)


class AsyncCommandsClient(CommandsMethods, AsyncClient):
    """Runs programs for a session: the methods of `CommandsClient`, to be awaited."""

    async def start(
        self, command: Command, **options: Unpack[CommandOptions]
    ) -> AsyncCommandHandle:
        """Start a program, and return a handle of it; see `CommandsClient.start`.

        If it is cancelled, the program is ended.
        """
        command_id = await self._carry_out(_start(command, **options))
        return AsyncCommandHandle(self._channel, command_id)

    async def get(self, command_id: str) -> AsyncCommandHandle:
        """Return a handle of a command; see `CommandsClient.get`."""
        await self._channel(request(operations.command_info, command_id))
        return AsyncCommandHandle(self._channel, command_id)


def _start(command: Command, **options: Unpack[CommandOptions]) -> Script[str]:
    """Start a program, and return its id."""
    wanted = replace(_wanted(command, **options), keep_stdin=True)
    begin = Question(request(operations.start_command, wanted))
    yield from _ended_with_its_caller(wanted, begin)
    return wanted.id


def _ended_with_its_caller(wanted: Wanted, begin: Question[_Result]) -> Script[_Result]:
    """Ask to *begin* a command; end it if its caller does not wait for the answer any more."""
    try:
        return (yield from ask(begin))
    except GeneratorExit:  # nobody can ask any more
        raise
    except BaseException as error:
        if not isinstance(error, SessionError | CallError) or isinstance(error, CallTimeoutError):
            with suppress(SessionError, CallError):
                seconds = limits.GRACE_SECONDS + ANSWER_TIME
                yield from ask(Question(request(operations.cancel_command, wanted.id), seconds))
        raise


def _wanted(  # noqa: PLR0913 - all but the first are keywords
    command: Command,
    *,
    cwd: str | os.PathLike[str] = ".",
    env: Mapping[str, str | None] | None = None,
    stdin: str | bytes | None = None,
    timeout: float | None = None,
    output_limit: int | None = None,
    merge: bool = False,
    tty: bool | Size = False,
    save_output: str | os.PathLike[str] | None = None,
    network: Network = NO_NETWORK,
    read: Sequence[str | os.PathLike[str]] = (),
    write: Sequence[str | os.PathLike[str]] = (),
    limits: CommandLimits | None = None,
    ptrace: bool = False,
) -> Wanted:
    return Wanted(
        id=new_record_id(),
        argv=as_argv(command),
        cwd=_as_text(cwd),
        env={} if env is None else env,
        stdin=None if stdin is None else as_bytes(stdin),
        timeout=timeout,
        output_limit=output_limit,
        merge=merge,
        tty=_size(tty),
        save_output=None if save_output is None else _as_text(save_output),
        network=network,
        read=absolute_paths(read),
        write=absolute_paths(write),
        limits=limits,
        ptrace=ptrace,
    )


_wanted.__qualname__ = "run() or start"  # as what Python says of an argument that there is not


def _as_text(path: str | os.PathLike[str]) -> str:
    """Return *path* as text; what is none, whoever takes it refuses."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _size(tty: bool | Size) -> Size | None:  # noqa: FBT001 - it is what users give by name
    if isinstance(tty, bool):
        return DEFAULT_SIZE if tty else None
    return tty
