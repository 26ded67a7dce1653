"""Every error that jidocode raises.

JidocodeError
├── InvalidSettingError         a setting, or a source of settings, breaks a rule (also ValueError)
├── InvalidTimeError            an argument that takes seconds has got none (also ValueError)
├── HostError                   the processes under the app
│   ├── HostStartError          they could not be started
│   ├── HostExitedError         they are gone
│   └── AttachError             those of another process, which cannot be attached to
│       ├── SystemNotFoundError no live system is called so (also LookupError)
│       ├── SystemNameTakenError a live system is called so already; carries its process
│       └── ReadOnlyError       this process is there to look only (also PermissionError)
├── CallError                   one call to one process
│   ├── CallTimeoutError        no answer in time (also TimeoutError)
│   ├── StreamStalledError      parts of the answer were not read for too long
│   ├── NoProcessError          nobody runs under that name
│   ├── ActorExitedError        it exited before it answered; carries the reason
│   └── HandlerError            its handler raised; carries the remote traceback
├── RegistryNotRunningError     the registry itself is down: never read as "not found"
├── SupervisorError             a supervisor refused
│   ├── InvalidChildSpecError   (also ValueError)
│   ├── StartFailedError        init of a child failed
│   ├── AlreadyStartedError     that id or name runs already
│   ├── AlreadyPresentError     that id has a spec already, without a process
│   ├── ChildRunningError       the child must be stopped first
│   ├── ChildRestartingError    the child is between two starts
│   ├── ChildNotFoundError      (also LookupError)
│   └── MaxChildrenError
├── InvalidToolError            a tool breaks a rule (also ValueError)
├── InvalidMcpServerError       an `McpServer` breaks a rule (also ValueError)
├── PolicyDeniedError           a tool was not allowed to; carries the reason (also PermissionError)
├── AlreadyRegisteredError      a registry of the app's has another process under that key
├── NotRegisteredError          it has not that process there (also LookupError)
├── SessionError                a coding session
│   ├── SessionNotFoundError    (also LookupError)
│   ├── InvalidSessionIdError   (also ValueError)
│   ├── InvalidSessionError     a record breaks one or more rules (also ValueError)
│   ├── InvalidRequestError     a request to a session's process breaks a rule (also ValueError)
│   │   ├── NotTextError        a file is no text in the encoding it should have
│   │   ├── FileTooLargeError   a file is larger than what is read at once; carries size and limit
│   │   ├── FolderTooLargeError a folder holds more than one request removes or copies
│   │   ├── FileChangedError    a file is not the one that was read; carries its hash
│   │   ├── ToolCallRunningError a call with that id is being made; carries the id
│   │   └── EditMismatchError   what an edit replaces is not there as often as it says
│   ├── SnapshotError           snapshots of a project cannot be written or read
│   │   └── NoSnapshotError     there is none, or none with that id (also LookupError)
│   ├── EventGapError           an event that was asked for is not there any more
│   ├── SessionLimitError       carries current and max
│   ├── SessionExistsError
│   ├── ProjectAlreadyOpenError
│   ├── ProjectGoneError        the folder of an open session was deleted; carries its path
│   ├── RateLimitedError        carries retry_after
│   ├── CommandError            a command of a session
│   │   ├── CommandStartError   its program could not be executed
│   │   │   └── ProgramNotFoundError (also FileNotFoundError)
│   │   ├── CommandFailedError  it ended with something else than 0; carries the result
│   │   ├── CommandRunningError it has not ended in time (also TimeoutError)
│   │   ├── CommandLimitError   as many run as may; carries the limit
│   │   ├── ConfinementError    it cannot be confined as it should be here
│   │   ├── OutputCutError      some of its output was cut out; carries how much
│   │   └── NoCommandError      none has that id, or none any more (also LookupError)
│   ├── McpServerError          an MCP server has failed, or does not answer; carries its name
│   └── AgentError              the agent of a session, and its model
│       ├── AgentBusyError      a turn is under way already
│       ├── InvalidModelError   a model cannot be made so (also ValueError)
│       └── ModelError          it did not answer as it should; carries status and retry_after
│           ├── ModelAuthenticationError its server does not know the key
│           ├── ModelRequestError its server does not take the request
│           │   └── ContextOverflowError the conversation is longer than it can read
│           ├── ModelUnavailableError it cannot answer now, and has not begun to
│           └── ModelInterruptedError its answer broke off, or is none
├── BoundaryError               a path leaves the project (also PermissionError)
│   └── ProtectedPathError      it is one that others execute later; carries the path
└── JournalError                the durable record of a session
    ├── JournalLockedError      another process has it open
    ├── JournalVersionError     a newer version wrote it
    ├── JournalDamagedError     it cannot be read
    └── JournalWriteError       it cannot be written now; reads go on
        └── JournalLostError    somebody did something to it while its session is open

All of them pickle: an error that crosses a process keeps its type, attributes and
message. Each class says its message once, as a sentence over its attributes. Whatever
these are, it is bounded, printable, and on one line; only what has no attributes, and
quotes a whole text, has more of them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, ClassVar

from jidocode.base.exits import failure, path_text
from jidocode.base.text import line, printable, quote, word

if TYPE_CHECKING:
    from jidocode.base.exits import ExitReason
    from jidocode.base.refs import ActorRef
    from jidocode.session.commands.result import CommandResult


def _shown(name: str, value: object) -> object:
    """Return the attribute *name* as a sentence shows it: an id as a word, a text on one line."""
    if not isinstance(value, str):
        return value
    return word(value) if name.endswith("_id") else line(value)


class JidocodeError(Exception):
    """Anything that jidocode raises on purpose."""

    _sentence: ClassVar[str] = ""
    """The message, with the attributes in braces; empty if the arguments are the message."""

    def __str__(self) -> str:
        return f"{self.message}; {self._advice}" if self._advice else self.message

    @property
    def _advice(self) -> str:
        """What an app calls then, if anything helps: in `str`, for whoever writes the app."""
        return ""

    @property
    def message(self) -> str:
        """One sentence for a person, who may have nothing but a command line."""
        if self._sentence:
            return self._sentence.format_map(
                {name: _shown(name, vars(self)[name]) for name in vars(self)}
            )
        return printable(" ".join(str(arg) for arg in self.args))

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError and its kin have a reduce of their own that would win otherwise.
        return (type(self), self.args)


class InvalidSettingError(JidocodeError, ValueError):
    """A setting breaks a rule, or a source of settings cannot be read; nothing was started.

    *setting* is its name, *problem* what was expected and what came, *origin*
    where the value stands: a keyword argument, a variable, a file and its key.
    """

    _sentence = "{setting} {problem} ({origin})"

    def __init__(self, setting: str, problem: str, origin: str = "keyword argument") -> None:
        super().__init__(setting, problem, origin)
        self.setting = setting
        self.problem = problem
        self.origin = origin


class InvalidTimeError(JidocodeError, ValueError):
    """An argument that takes a time in seconds has got something else; nothing was done.

    *argument* is its name, *problem* what was expected and what came.
    """

    _sentence = "{argument} {problem}"

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(argument, problem)
        self.argument = argument
        self.problem = problem


class HostError(JidocodeError):
    """The processes under the app are not there, or not ours."""


class HostStartError(HostError):
    """The host process could not be started; nothing is left running."""


class HostExitedError(HostError):
    """The host process is gone, and with it all sessions.

    What a journal holds survives; start a new `SessionSystem` to go on.
    """


class AttachError(HostError):
    """A system that another process has started cannot be attached to, or not so."""


class SystemNotFoundError(AttachError, LookupError):
    """No live system of this user has the *name*: it was not started, or has ended.

    *names* are those that live ones have.
    """

    def __init__(self, name: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(name, names)
        self.name = name
        self.names = names

    @property
    def message(self) -> str:
        """One sentence for a person."""
        shown = ", ".join(line(name) for name in self.names[:10])
        more = f", and {len(self.names) - 10} more" if len(self.names) > 10 else ""  # noqa: PLR2004 - as above
        others = f"there is {shown}{more}" if self.names else "there is none at all"
        return f"no system of this user is called {line(self.name)}: {others}"


class SystemNameTakenError(AttachError):
    """A live system of this user has the *name*; *pid* is its app, 0 if that cannot be seen."""

    _sentence = "a system called {name} was started by process {pid} already"

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name, pid)
        self.name = name
        self.pid = pid


class ReadOnlyError(AttachError, PermissionError):
    """This process has attached to the system to look at it, and this may change something."""

    _sentence = "this process is attached to the system to look only"


class CallError(JidocodeError):
    """A call to a process did not bring an answer."""


class CallTimeoutError(CallError, TimeoutError):
    """No answer within the deadline; the process may still be at work on it.

    A late answer is dropped (OTP gen_server: call).
    """

    def __init__(self, target: str, timeout: float) -> None:
        super().__init__(target, timeout)
        self.target = target
        self.timeout = timeout

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return f"{line(self.target)} did not answer within {round(self.timeout, 3):g} s"


class StreamStalledError(CallError):
    """Whoever called by `call_stream` read no part for too long; the process sends no more.

    Attributes:
        timeout: How many seconds it has waited.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        self.timeout = timeout

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return f"no part of the answer was read for {round(self.timeout, 3):g} s"


class NoProcessError(CallError):
    """Nobody runs under that name (OTP: noproc)."""

    _sentence = "no process for {target}"

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


class ActorExitedError(CallError):
    """The process exited before it answered.

    Raised as soon as the death is known, never after the call's timeout.
    *reason* is the best reason known.
    """

    _sentence = "{target} exited before it answered: {reason}"

    def __init__(self, target: str, reason: ExitReason) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason


class HandlerError(CallError):
    """The handler of the call raised, and its process ended for it.

    *error* is the type's name and the message, *remote_traceback* the
    traceback as text. The supervisor decides about the restart.
    """

    _sentence = "the handler of {target} raised {error}"

    def __init__(self, target: str, error: str, remote_traceback: str = "") -> None:
        super().__init__(target, error, remote_traceback)
        self.target = target
        self.error = error
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        if not self.remote_traceback:
            return self.message
        where = f"In the process of {line(self.target)}:"
        return f"{self.message}\n\n{where}\n{printable(self.remote_traceback)}"


class RegistryNotRunningError(JidocodeError):
    """The process registry is not running, so nothing can be said about a name.

    Never reported as "not found" (Elixir Registry: unknown registry).
    """

    def __init__(self, detail: str = "the process registry is not running") -> None:
        super().__init__(detail)


class SupervisorError(JidocodeError):
    """A supervisor refused a request."""


class InvalidChildSpecError(SupervisorError, ValueError):
    """A child spec, or a supervisor's flags, break a rule; nothing was started."""


class StartFailedError(SupervisorError):
    """A child could not be started; what was started before it is stopped again.

    *child_id* is that of the child that was to be started, *reason* the exit reason of its start.
    If that is a supervisor, one below it may be to blame (OTP: failed_to_start_child): *path*
    are the ids from *child_id* down to the one that failed, and *cause* is its exit reason, with
    the traceback if it raised. For a child that failed itself, they are (*child_id*,) and *reason*.
    """

    def __init__(self, child_id: str, reason: ExitReason) -> None:
        super().__init__(child_id, reason)
        self.child_id = child_id
        self.reason = reason
        self.path, self.cause = failure(child_id, reason)

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return f"child {path_text(self.path)} could not be started: {self.cause}"


class AlreadyStartedError(SupervisorError):
    """A child with that id, or a process with that name, runs already.

    *ref* is that process, which lived when this was decided; so "start it, or get it" is one call.
    """

    _sentence = "{child_id} is already started: {ref}"

    def __init__(self, child_id: str, ref: ActorRef) -> None:
        super().__init__(child_id, ref)
        self.child_id = child_id
        self.ref = ref


class InvalidToolError(JidocodeError, ValueError):
    """A tool, or what one returned, breaks a rule."""


class PolicyDeniedError(JidocodeError, PermissionError):
    """A call of a tool was not allowed; nothing was done.

    *tool* is its name, *reason* what the policy said.
    """

    _sentence = "{tool} was not allowed: {reason}"

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(tool, reason)
        self.tool = tool
        self.reason = reason


class AlreadyRegisteredError(JidocodeError):
    """A registry whose keys are unique has a process under that key (`jidocode.otp.registry`).

    *key* is the key in words, *ref* the process.
    """

    _sentence = "{ref} is registered under {key}"

    def __init__(self, key: str, ref: ActorRef) -> None:
        super().__init__(key, ref)
        self.key = key
        self.ref = ref


class NotRegisteredError(JidocodeError, LookupError):
    """The process *ref* is not registered under the key that is *key* in words."""

    _sentence = "{ref} is not registered under {key}"

    def __init__(self, key: str, ref: ActorRef) -> None:
        super().__init__(key, ref)
        self.key = key
        self.ref = ref


class AlreadyPresentError(SupervisorError):
    """The supervisor has a spec for that id already, without a running process."""

    _sentence = "child {child_id} is already present, but not running"

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id


class ChildRunningError(SupervisorError):
    """The child runs; stop it first."""

    _sentence = "child {child_id} is running"

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id


class ChildRestartingError(SupervisorError):
    """The child is between two starts."""

    _sentence = "child {child_id} is restarting"

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id


class ChildNotFoundError(SupervisorError, LookupError):
    """The supervisor has no child with that id."""

    _sentence = "no child {child_id}"

    def __init__(self, child_id: str) -> None:
        super().__init__(child_id)
        self.child_id = child_id


class MaxChildrenError(SupervisorError):
    """The dynamic supervisor has as many children as it may have."""

    _sentence = "all {max_children} places for children are taken"

    def __init__(self, max_children: int) -> None:
        super().__init__(max_children)
        self.max_children = max_children


class SessionError(JidocodeError):
    """Something about a coding session."""


class SessionNotFoundError(SessionError, LookupError):
    """No session with that id, path or name.

    *ended* is how it ended, if it was open in this life of the system, and is known.
    """

    def __init__(self, wanted: str, ended: ExitReason | None = None) -> None:
        super().__init__(wanted, ended)
        self.wanted = wanted
        self.ended = ended

    @property
    def message(self) -> str:
        """One sentence for a person."""
        why = "" if self.ended is None else f": it has ended ({self.ended})"
        return f"no session {line(self.wanted)}{why}"

    @property
    def _advice(self) -> str:
        return "" if self.ended is None else "if it has a journal, resume_session opens it again"


class InvalidSessionIdError(SessionError, ValueError):
    """A session id is not a lower-case UUID4 string."""


class InvalidSessionError(SessionError, ValueError):
    """A session record breaks one or more rules; nothing was started.

    *reasons* are the broken rules, one sentence each, in a fixed order.
    *codes* are their short names, in the same order (`path_not_found`, ...).
    """

    def __init__(self, codes: tuple[str, ...], reasons: tuple[str, ...]) -> None:
        super().__init__(codes, reasons)
        self.codes = codes
        self.reasons = reasons

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return line("; ".join(self.reasons))


class InvalidRequestError(SessionError, ValueError):
    """A request to a Manager or State breaks a rule; nothing was changed."""


class NotTextError(InvalidRequestError):
    """A file is no text in that encoding; nothing was changed, and its bytes can be had.

    *path* is the file in its project, quoted; *encoding* what it was taken for.
    """

    _sentence = "{path} is no {encoding} text: {problem}"

    def __init__(self, path: str, encoding: str, problem: str) -> None:
        super().__init__(path, encoding, problem)
        self.path = path
        self.encoding = encoding
        self.problem = problem


class FileTooLargeError(InvalidRequestError):
    """A file is larger than what is read or copied at once; nothing was changed.

    *path* is the file in its project, quoted; *size* and *limit* are bytes.
    """

    _sentence = "{path} has {size} bytes, and at most {limit} are taken at once"

    def __init__(self, path: str, size: int, limit: int) -> None:
        super().__init__(path, size, limit)
        self.path = path
        self.size = size
        self.limit = limit


class ToolCallRunningError(InvalidRequestError):
    """A call of a tool with that id is being made, and is not made twice; *call_id* is the id."""

    _sentence = "the tool call {call_id} is being made already"

    def __init__(self, call_id: str) -> None:
        super().__init__(call_id)
        self.call_id = call_id


class FolderTooLargeError(InvalidRequestError):
    """A folder holds more than one request removes or copies; nothing was changed.

    *path* is the folder in its project, quoted; *limit* counts what is in it, at any depth.
    """

    _sentence = "{path} holds more than {limit} files and folders"

    def __init__(self, path: str, limit: int) -> None:
        super().__init__(path, limit)
        self.path = path
        self.limit = limit


class FileChangedError(InvalidRequestError):
    """A file is not the one that the caller has read; nothing was changed.

    *path* is the file in its project, quoted; *sha256* is that of its bytes now, in
    hexadecimal, None if there is no file. Read it again before it is changed.
    """

    def __init__(self, path: str, sha256: str | None) -> None:
        super().__init__(path, sha256)
        self.path = path
        self.sha256 = sha256

    @property
    def message(self) -> str:
        """One sentence for a person."""
        if self.sha256 is None:
            return f"{line(self.path)} is not there"
        return f"{line(self.path)} is not what it was: its SHA-256 is {word(self.sha256)} now"


class EditMismatchError(InvalidRequestError):
    """What an edit replaces is not in the file as often as the edit says; nothing was changed.

    *path* is the file in its project, quoted; *edit* the number of the edit in its request,
    counted from 1; *matches* how often its text is there, *expected* how often it should be.
    *lines* are the numbers of the first lines in which it begins. *nearest* shows those
    lines; if there is none, the lines that are most like what was looked for. It is the
    project's own text, bounded, each line with its number, as `FileSlice` shows them.
    """

    _sentence = "edit {edit} of {path} matches {matches} times, not {expected}"

    def __init__(  # noqa: PLR0913, PLR0917 - the data of one refusal
        self,
        path: str,
        edit: int,
        matches: int,
        expected: int,
        lines: tuple[int, ...],
        nearest: str,
    ) -> None:
        super().__init__(path, edit, matches, expected, lines, nearest)
        self.path = path
        self.edit = edit
        self.matches = matches
        self.expected = expected
        self.lines = lines
        self.nearest = nearest


class SnapshotError(SessionError):
    """Snapshots cannot be written, for the disk is full; or are damaged; or there can be none."""


class NoSnapshotError(SnapshotError, LookupError):
    """The session has no snapshot with the id *snapshot*; or, if that is None, none at all."""

    def __init__(self, snapshot: int | None) -> None:
        super().__init__(snapshot)
        self.snapshot = snapshot

    @property
    def message(self) -> str:
        """One sentence for a person."""
        if self.snapshot is None:
            return "no snapshot was taken in this session yet"
        return f"there is no snapshot {quote(self.snapshot)}, or it is not kept any more"


class EventGapError(SessionError):
    """The event after *after_seq* is not there any more, or never was.

    Read what the State holds, and go on after *resume_after*.
    """

    def __init__(self, after_seq: int, resume_after: int) -> None:
        super().__init__(after_seq, resume_after)
        self.after_seq = after_seq
        self.resume_after = resume_after

    @property
    def message(self) -> str:
        """One sentence for a person."""
        after = quote(self.after_seq)
        return f"no event follows {after}; events are known after {self.resume_after}"


class SessionLimitError(SessionError):
    """As many sessions are open as may be."""

    _sentence = "{current} of {max} sessions are open"

    def __init__(self, current: int, max: int) -> None:  # noqa: A002 - as the field is called
        super().__init__(current, max)
        self.current = current
        self.max = max


class SessionExistsError(SessionError):
    """A session with that id is open."""

    _sentence = "session {session_id} is already open"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


class ProjectAlreadyOpenError(SessionError):
    """Another session has that project directory open, under whatever path.

    Or, if *nested*, one directory lies inside the other. If that session is open in another
    system that has the same `Settings.state_dir`, *pid* is one of its processes, if it can be
    seen from here; systems that have each a `state_dir` of their own do not know of each other.
    """

    def __init__(self, session_id: str, nested: bool = False, pid: int | None = None) -> None:  # noqa: FBT001, FBT002 - an error is pickled by position
        super().__init__(session_id, nested, pid)
        self.session_id = session_id
        self.nested = nested
        self.pid = pid

    @property
    def message(self) -> str:
        """One sentence for a person."""
        session = f"session {word(self.session_id)}"
        where = (
            ""
            if self.pid is None
            else (f" in another system (process {self.pid}), which has the same state_dir")
        )
        if self.nested:
            return (
                f"the project lies inside, or around, the one of {session}{where}"
                "; the setting allow_nested permits that"
            )
        return f"the project is already open in {session}{where}"

    @property
    def _advice(self) -> str:
        is_here = self.pid is None and not self.nested
        return "open_session returns that one" if is_here else ""


class ProjectGoneError(SessionError):
    """The project folder was deleted while its session is open; nothing was done.

    *path* is where it was, *replaced* whether something else is there now: that is another
    folder, even if it has the same files. The conversation goes on. To go on with another
    folder, stop the session and resume it, with *project_path*.
    """

    def __init__(self, path: str, replaced: bool) -> None:  # noqa: FBT001 - an error is pickled by position
        super().__init__(path, replaced)
        self.path = path
        self.replaced = replaced

    @property
    def message(self) -> str:
        """One sentence for a person."""
        now = ", and something else stands there now" if self.replaced else ""
        return (
            f"the project folder {quote(self.path)} was deleted while its session is open{now}; "
            "to go on with another one, stop the session and resume it there"
        )


class RateLimitedError(SessionError):
    """Sessions are created too fast; try again after *retry_after* seconds."""

    _sentence = "too many attempts to create a session; retry after {retry_after:.3g} s"

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class CommandError(SessionError):
    """Something about a command of a session."""


class CommandStartError(CommandError):
    """A command could not be started: its program cannot be executed, or no process is left.

    *program* is what was to run, *problem* what the kernel says, *number* its error number.
    """

    _sentence = "{program} cannot be executed: {problem}"

    def __init__(self, program: str, problem: str, number: int) -> None:
        super().__init__(program, problem, number)
        self.program = program
        self.problem = problem
        self.number = number


class ProgramNotFoundError(CommandStartError, FileNotFoundError):
    """There is no such program; in a shell line that is exit code 127 instead."""

    def __init__(self, program: str) -> None:
        super().__init__(program, "No such file or directory", errno.ENOENT)
        self.args = (program,)
        self.errno = errno.ENOENT


_LINE = ("/bin/sh", "-c")
"""How a line for the shell begins, as an argv."""


class CommandFailedError(CommandError):
    """A command that had to succeed (`check=True`) has not; *result* is how it ended."""

    def __init__(self, result: CommandResult) -> None:
        super().__init__(result)
        self.result = result

    @property
    def message(self) -> str:
        """One sentence for a person, without its arguments and what it has written."""
        result = self.result
        what = "a line for the shell" if result.argv[:2] == _LINE else quote(result.argv[0])
        if result.timed_out:
            how = "was ended when its time was over"
        elif result.signal is not None:
            how = f"was ended by signal {result.signal}"
        else:
            how = f"ended with {result.exit_code}"
        return f"{what} {how} after {result.seconds:.3g} s; `result` has what it wrote"


class CommandRunningError(CommandError, TimeoutError):
    """A command has not ended in the time that somebody waits for it; it runs on."""

    def __init__(self, command_id: str, timeout: float) -> None:
        super().__init__(command_id, timeout)
        self.command_id = command_id
        self.timeout = timeout

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return f"command {word(self.command_id)} has not ended within {round(self.timeout, 3):g} s"


class CommandLimitError(CommandError):
    """As many commands of the session run as may, *max_commands*; nothing was started."""

    _sentence = "all {max_commands} commands that a session may run at once are running"

    def __init__(self, max_commands: int) -> None:
        super().__init__(max_commands)
        self.max_commands = max_commands


class OutputCutError(CommandError):
    """Some of a command's output was cut out before it was read.

    Attributes:
        stream: Which one it was: stdout or stderr.
        cut: How many bytes.
    """

    _sentence = "{cut} bytes of {stream} were cut out before they were read"

    def __init__(self, stream: str, cut: int) -> None:
        super().__init__(stream, cut)
        self.stream = stream
        self.cut = cut


class NoCommandError(CommandError, LookupError):
    """No command of the session has that id; or it ended, and others did after it.

    Or the process that ran it has ended since, and with it all that it ran.
    """

    _sentence = "there is no command {command_id}, or it is not known any more"

    def __init__(self, command_id: str) -> None:
        super().__init__(command_id)
        self.command_id = command_id


class AgentError(SessionError):
    """The agent of a session cannot do what it should."""


class AgentBusyError(AgentError):
    """A turn of this session is under way already; `prompt(queue=True)` waits for its end."""

    _sentence = "a turn of session {session_id} is under way already"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    @property
    def _advice(self) -> str:
        return "queue=True waits for its end"


class InvalidMcpServerError(JidocodeError, ValueError):
    """An `McpServer` breaks a rule, or two of a session cannot be told apart."""


class McpServerError(SessionError):
    """A server of the Model Context Protocol has failed, or does not answer.

    *server* is its name, *problem* what is wrong, without what it was started with.
    """

    _sentence = "the MCP server {server}: {problem}"

    def __init__(self, server: str, problem: str) -> None:
        super().__init__(server, problem)
        self.server = server
        self.problem = problem


class InvalidModelError(AgentError, ValueError):
    """No model can be made of a `ModelSpec`: of its name, or with its options."""


class ModelError(AgentError):
    """A model did not answer as it should, and says of itself why; the agent lives on.

    *problem* is what is wrong, in the words of the model's server if it said any, without keys;
    *status* the server's HTTP status, None if there was none; *retry_after* the seconds after
    which it wants to be asked again, None if it did not say.
    """

    _sentence = "the model failed: {problem}"

    kind: ClassVar[str] = "failed"
    """One word for what went wrong, which is also how the turn ends (`TurnOutcome`)."""

    def __init__(
        self, problem: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(problem, status, retry_after)
        self.problem = problem
        self.status = status
        self.retry_after = retry_after


class ModelAuthenticationError(ModelError):
    """The model's server does not know the key, or does not let it use the model."""

    _sentence = "the model's server does not accept the key: {problem}"
    kind = "authentication"


class ModelRequestError(ModelError):
    """The model's server does not take the request, and would not take it again."""

    _sentence = "the model's server does not take the request: {problem}"
    kind = "bad_request"


class ContextOverflowError(ModelRequestError):
    """The conversation is longer than the model can read."""

    _sentence = "the conversation is longer than the model can read: {problem}"
    kind = "context_overflow"


class ModelUnavailableError(ModelError):
    """The model cannot answer now, and has not begun to: to ask it again is safe.

    It is busy, limits the rate, has an error of its own, or cannot be reached.
    """

    _sentence = "the model cannot answer now: {problem}"
    kind = "unavailable"


class ModelInterruptedError(ModelError):
    """The answer of the model broke off, stalled, or is no answer; what came before is kept."""

    _sentence = "the answer of the model was interrupted: {problem}"
    kind = "interrupted"


class BoundaryError(JidocodeError, PermissionError):
    """A path leads out of the project, to no plain file, or to a name of unfinished files."""


class ProtectedPathError(BoundaryError):
    """A protected path would be changed; nothing was (`Settings.protected_changes`).

    *path* is the one, relative to the project.
    """

    _sentence = (
        "{path} is protected, for other programs execute what stands there, outside of the session;"
        " changes of it are refused"
    )

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class ConfinementError(CommandError):
    """A command, or a Manager, cannot be confined as it should be, on this kernel.

    It was not started, or the session was not. The message says in one sentence what is missing.
    """


class JournalError(JidocodeError):
    """The durable record of a session cannot be read or written."""


class JournalLockedError(JournalError):
    """Another process has the journal open: the session is open elsewhere.

    *pid* is that process, if it can be seen from here: the supervisor of the session, or one
    that reads or changes its journal.
    """

    def __init__(self, problem: str, pid: int | None = None) -> None:
        super().__init__(problem, pid)
        self.problem = problem
        self.pid = pid

    @property
    def message(self) -> str:
        """One sentence for a person."""
        problem = line(self.problem)
        return problem if self.pid is None else f"{problem} by process {self.pid}"


class JournalVersionError(JournalError):
    """A newer version of this library wrote the journal; it was left as it is."""


class JournalDamagedError(JournalError):
    """The journal, or a record of it, cannot be read; it was left as it is."""


class JournalWriteError(JournalError):
    """The journal cannot be written now: a full disk, no permission.

    The change was not made, and nothing that was acknowledged is lost. Reads are
    answered as before; the next change tries again.
    """


class JournalLostError(JournalWriteError):
    """The journal of an open session is not as it was left.

    It was renamed, deleted or replaced, was cut off, or has something at its end that another
    process wrote. So what was acknowledged would not be found any more. Put it back as it
    was, and the session goes on; it never begins with an empty one instead.

    Or the file is gone, or cut off, that keeps the session for its system (`open/<session id>`):
    another system may have it, or its project, or have deleted the journal. Resume it then.
    """
