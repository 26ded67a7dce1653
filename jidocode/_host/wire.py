"""What travels between our processes, inside the transport's frames.

Requests, messages and answers are pickled on their own: one that cannot be
read at the other end is an error for its sender, and for nobody else. What
carries them is written by hand (`encode`), for it makes up most of the traffic,
and comes in no other form. All else, such as news about a child (`otp.supervision.life`)
or the tree (`otp.supervision.events`) and what Thespian itself sends, is pickled as it is;
what is ours is what its class says, or it is not taken.
The app knows nothing of Thespian, so whatever reaches an app is one of ours.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from jidocode._host.handlers import is_a_handlers
from jidocode._host.transport.address import Address
from jidocode._host.transport.frames import MAX_BODY, Body
from jidocode.base.exits import ExitReason
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import describe, quote
from jidocode.errors import CallError

SERVER_SHELL = "jidocode._host.actor.server_shell", "ServerShell"
SUPERVISOR_SHELL = "jidocode._host.actor.supervisor_shell", "SupervisorShell"
"""An actor's shell, by what it runs: its module, which the host has imported, and its name."""


class Call(Struct):
    """A request whose sender waits for an `Answer` with the same id.

    *reader* is its process if that reads parts of the answer, too, and 0 if not.
    """

    request_id: int
    payload: Body
    reader: int = 0


class Part(Struct):
    """A part of the answer to come, to the reader of a `Call` with the same id."""

    request_id: int
    payload: Body


class Grant(Struct, frozen=True):
    """From a reader of parts: as many of them as *limit* may be sent in all."""

    request_id: int
    limit: int


class Hangup(Struct, frozen=True):
    """From a reader of parts: it wants neither parts nor an answer any more."""

    request_id: int


class Cast(Struct):
    """A request that nobody waits for."""

    payload: Body


class Info(Struct):
    """Any other message."""

    payload: Body


class Ping(Struct, frozen=True):
    """Are you there? Answered by the shell, between two messages, with a `Pulse`."""

    request_id: int


class Answer(Struct):
    """The answer to a `Call` or a `Ping`; *failed* if the payload is an error to raise."""

    request_id: int
    failed: bool
    payload: Body
    last: bool = False
    """Whether its sender ends with it, and answers no more: who asks again means the next one."""


class Heartbeat(Struct, frozen=True):
    """From a supervisor: give a sign of life; answered with `otp.children.PulseHeard`."""


class News(Struct, frozen=True):
    """From a server, registered as *name*, to the app: something that it wants to be known."""

    name: Name | None
    payload: bytes


class StopOrder(Struct, frozen=True):
    """From a supervisor: stop with *reason*."""

    reason: ExitReason


class RegistryAt(Struct, frozen=True):
    """From a supervisor: the registry is *ref* now."""

    ref: ActorRef


class Fork(Struct, frozen=True):
    """From a supervisor to the host: start a child with *order*, a pickled `SpawnOrder`."""

    incarnation: int
    order: bytes
    supervises: bool


class Forked(Struct, frozen=True):
    """From the host to a supervisor: that child is a process now; None if it could not be.

    *problem* says why not.
    """

    incarnation: int
    os_pid: int | None
    problem: str = ""


class Kill(Struct, frozen=True):
    """From a supervisor to the host: kill that child."""

    incarnation: int


class RootReady(Struct, frozen=True):
    """From the root of the tree to the app: everything below it has started."""

    ref: ActorRef


class RootExited(Struct, frozen=True):
    """From the root of the tree, or the host, to the app: the root is gone, or could not start."""

    incarnation: int
    reason: ExitReason
    restarting: bool


class DirectoryState(Struct, frozen=True):
    """What an app knows of the tree, as data; see `client.directory`.

    Attributes:
        places: Each process, the root first, with its supervisor, its id there, and its name.
        names: Who runs under which name.
        expected: The names whose processes are being replaced, and by whom.
        leaving: Those that are about to end.
        deaths: Those that ended lately, and why.
        ends: How the last process under a name ended, where none runs.
    """

    places: dict[ActorRef, tuple[ActorRef, str, Name | None]]
    names: dict[Name, ActorRef]
    expected: dict[Name, ActorRef]
    leaving: set[ActorRef]
    deaths: dict[ActorRef, ExitReason]
    ends: dict[Name, ExitReason]


class Pulse(Struct, frozen=True):
    """How a process is, by its own account.

    Attributes:
        ref: The process itself.
        uptime: Seconds since its `init` was done.
        memory: Bytes of memory that are its own, shared with no other process;
            None if it cannot tell.
        calls: How many calls it has been sent.
        problem: Why it cannot do all that it is for; None if it can.
    """

    ref: ActorRef
    uptime: float
    memory: int | None
    calls: int
    problem: str | None = None


class SpawnOrder(Struct, frozen=True):
    """What a new process is told, pickled, by fork or, if it stood by, over a pipe.

    Attributes:
        start: A pickled `Start`: only the new process can tell whether it can be read there.
        shell: The shell to run it in: `SERVER_SHELL` or `SUPERVISOR_SHELL`.
        kind: What the process is, in one word.
        incarnation: Which start of its supervisor it is.
        app: Where the app listens for news.
        name: What it will be registered as, if anything.
        parent: Its supervisor; None for the root.
        registry: The registry, if there is one yet.
        memory_limit: Bytes that the process may have for itself, None for no limit.
    """

    start: bytes
    shell: tuple[str, str]
    kind: str
    incarnation: int
    app: Address
    name: Name | None = None
    parent: Address | None = None
    registry: ActorRef | None = None
    memory_limit: int | None = None


class StartRoot(Struct, frozen=True):
    """From the app to the host: start the root of the tree with *order*."""

    order: SpawnOrder


class Shutdown(Struct, frozen=True):
    """From the app to the host: stop the tree in order, and end."""


class Snapshot(Struct, frozen=True):
    """From the app that has started a system to one that attaches: what is known of the tree."""

    state: DirectoryState


class SystemCloses(Struct, frozen=True):
    """From the app that has started a system to those attached: it is being closed."""


# The first byte of an encoded message; that of a pickle is 0x80.
_CALL, _CAST, _INFO, _ANSWER, _REFUSAL, _PING, _LAST_ANSWER, _LAST_REFUSAL = range(1, 9)
_READERS_CALL, _PART, _GRANT, _HANGUP = range(9, 13)
_ANSWER_TAGS = {
    (False, False): _ANSWER,
    (True, False): _REFUSAL,
    (False, True): _LAST_ANSWER,
    (True, True): _LAST_REFUSAL,
}
_NUMBERED = struct.Struct(">BQ")
_COUNTED = struct.Struct(">BQQ")
_CAST_TAG, _INFO_TAG = bytes([_CAST]), bytes([_INFO])


def encode(message: object) -> bytes:
    """Return *message* as the body of a frame.

    Raises:
        Exception: Whatever pickling it raises.
    """
    match message:
        case Call(reader=0):
            return _NUMBERED.pack(_CALL, message.request_id) + message.payload
        case Call():
            head = _COUNTED.pack(_READERS_CALL, message.request_id, message.reader)
            return head + message.payload
        case Answer():
            tag = _ANSWER_TAGS[message.failed, message.last]
            return _NUMBERED.pack(tag, message.request_id) + message.payload
        case Cast():
            return _CAST_TAG + message.payload
        case Info():
            return _INFO_TAG + message.payload
        case Ping():
            return _NUMBERED.pack(_PING, message.request_id)
        case Part():
            return _NUMBERED.pack(_PART, message.request_id) + message.payload
        case Grant():
            return _COUNTED.pack(_GRANT, message.request_id, message.limit)
        case Hangup():
            return _NUMBERED.pack(_HANGUP, message.request_id)
        case _:
            return pack(message)


def decode(body: Body) -> object:
    """Return the message that *body* carries, which came out of an authenticated frame.

    Raises:
        TypeError: One of its fields is not of its type.
        Exception: It carries none; whatever `unpack` raises.
    """
    tag = body[0]
    if tag == _CALL:
        return Call(_NUMBERED.unpack_from(body)[1], body[_NUMBERED.size :])
    if tag in (_ANSWER, _REFUSAL, _LAST_ANSWER, _LAST_REFUSAL):
        number, failed = _NUMBERED.unpack_from(body)[1], tag in (_REFUSAL, _LAST_REFUSAL)
        return Answer(number, failed, body[_NUMBERED.size :], tag in (_LAST_ANSWER, _LAST_REFUSAL))
    if tag in (_CAST, _INFO):
        return (Cast if tag == _CAST else Info)(body[1:])
    if tag == _PART:
        return Part(_NUMBERED.unpack_from(body)[1], body[_NUMBERED.size :])
    if tag in _BY_TAG:
        return _BY_TAG[tag](body)
    return unpack(body, _check)


def _decode_readers_call(body: Body) -> Call:
    _, number, reader = _COUNTED.unpack_from(body)
    return Call(number, body[_COUNTED.size :], reader)


_BY_TAG: dict[int, Callable[[Body], object]] = {
    _PING: lambda body: Ping(_NUMBERED.unpack_from(body)[1]),
    _READERS_CALL: _decode_readers_call,
    _GRANT: lambda body: Grant(*_COUNTED.unpack_from(body)[1:]),
    _HANGUP: lambda body: Hangup(_NUMBERED.unpack_from(body)[1]),
}


def _check(message: object) -> None:
    if isinstance(message, Call | Cast | Info | Answer | Ping | Part | Grant | Hangup):
        raise TypeError(f"a {type(message).__name__} is never pickled")
    require_sound(message)


def pack(value: object) -> bytes:
    """Pickle *value*."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def pack_request(value: object, what: str = "the request") -> bytes:
    """Pickle what a process is asked or told; *what* is what errors call it.

    Raises:
        CallError: It cannot be pickled.
        BaseException: What a signal handler has raised meanwhile.
    """
    try:
        return pack(value)
    except Exception as error:
        if is_a_handlers(error, partial(pack, value)):
            raise
        raise CallError(f"{what} cannot be pickled: {describe(error)}") from error


class UnreadableError(Exception):
    """Says that a payload cannot be read here; its cause is what reading it has raised."""


def unpack(payload: Body, check: Callable[[object], object] | None = None) -> object:
    """Unpickle *payload*, which came out of an authenticated frame, and have *check* look at it.

    Raises:
        UnreadableError: Something that is no `Exception`, such as SystemExit.
        Exception: Whatever else unpickling, or *check*, raises.
    """
    # What a pickle names is imported and called, and that may be anything, `sys.exit` too. Who
    # reads it shall not end for that, which almost nobody who reads expects: a thread that reads
    # for all others, a call in the app, a supervisor.
    try:
        return _load(payload, check)
    except Exception:
        raise
    except BaseException as error:
        raise UnreadableError(describe(error)) from error


def why_unreadable(error: Exception) -> str:
    """Say what has kept `unpack` from reading a payload."""
    return str(error) if isinstance(error, UnreadableError) else describe(error)


def read(payload: Body, check: Callable[[object], object] | None = None) -> object:
    """Do as `unpack`, for whoever asked for *payload*, in whatever thread of the app he is.

    Raises:
        UnreadableError: Unpickling, or *check*, has raised its cause.
        BaseException: What a signal handler has raised meanwhile.
    """
    try:
        return _load(payload, check)
    except BaseException as error:
        if is_a_handlers(error, partial(_load, payload, check)):
            raise
        raise UnreadableError(describe(error)) from error


def _load(payload: Body, check: Callable[[object], object] | None) -> object:
    value = pickle.loads(payload)
    if check is not None:
        check(value)
    return value


def content_of(payload: Body, target: str, *, failed: bool) -> Any:
    """Return what *target* has answered, or raise the error that it has, if it *failed*.

    Raises:
        CallError: The answer cannot be read here.
        Exception: The error.
        BaseException: What a signal handler has raised meanwhile.
    """
    try:
        content = read(payload)
    except UnreadableError as error:
        raise CallError(f"cannot read the reply of {target}: {error}") from error.__cause__
    if not failed:
        return content
    raise error_in(content, f"the error of {target}")


def error_in(content: object, what: str = "the error") -> Exception:
    """Return what a failed answer is to raise: its *content*, unless that is no error here."""
    if isinstance(content, Exception):
        return content
    return CallError(f"{what} cannot be read here: {quote(content)}")


def answer(request_id: int, value: object) -> Answer:
    """Return the answer that carries *value*, or an error if it cannot be sent."""
    try:
        return Answer(request_id, failed=False, payload=_pack_answer(value))
    except BaseException as error:  # noqa: BLE001 - the value's hooks may even exit
        return refusal(request_id, CallError(f"the reply cannot be sent: {describe(error)}"))


def refusal(request_id: int, error: object) -> Answer:
    """Return the answer that makes the caller raise *error*.

    An error that is none, or would not survive the journey, is told as a `CallError`.
    """
    try:
        payload = _pack_answer(error)
        if not isinstance(unpack(payload), Exception):
            raise TypeError("it unpickles as something else")  # noqa: TRY301 - the one way out
    except BaseException:  # noqa: BLE001 - idem
        what = describe(error) if isinstance(error, BaseException) else quote(error)
        payload = pack(CallError(f"refused with an error that cannot be sent: {what}"))
    return Answer(request_id, failed=True, payload=payload)


def _pack_answer(value: object) -> bytes:
    payload = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    if len(payload) > MAX_BODY - _NUMBERED.size:
        raise ValueError(f"it has {len(payload)} bytes, and may have {MAX_BODY - _NUMBERED.size}")
    return payload
