"""Operations: what may be asked of a session's processes, and how the asking travels.

An operation is a function whose first argument is what a server holds: a method of
the holder (`Project.read_file`), or a plain function where the holder has none. That
function is its declaration: name, arguments, types, answer and docstring are read off
it, by the client for people and type checkers, and by whatever else is to be made of
operations. What travels is a `Request`: the operation's name and the arguments. The
server looks the name up in its `Operations`, and answers nothing that is not in there.

How to add one: name the function in the process's `OPERATIONS`
(`manager/operations.py`, `state/operations.py`), and give the clients' common base one line,
`read_file = remote(Project.read_file)`. A method that does more than ask, such as making a
fresh id, returns a `Question` below `asked`, or is a `Script` of several below `scripted`.

A process has two clients with the same methods, one that waits (`Client`) and one that is
awaited (`AsyncClient`). What they ask is written once, in their common base; the type of
each method depends on the client that has it (`Remote`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping
from datetime import datetime
from functools import update_wrapper, wraps
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from jidocode.base import stepwise
from jidocode.base.stop import Stop
from jidocode.base.structs import Discreet
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError, JournalError, SessionError
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.record import Session

_Holder = TypeVar("_Holder")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


# ----- asking -----------------------------------------------------------------


class Request(Discreet, Generic[_Result], frozen=True):
    """One use of an operation, on its way to a server. Its text shows no argument.

    Attributes:
        operation: The name of it.
        args: The arguments by place, without the holder; they must pickle.
        kwargs: The arguments by name; they must pickle.
    """

    hidden = ("args", "kwargs")

    operation: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it


def request(
    operation: Callable[Concatenate[Any, _Arguments], _Result],
    /,
    *args: _Arguments.args,
    **kwargs: _Arguments.kwargs,
) -> Request[_Result]:
    """Return the request to carry out *operation* with these arguments."""
    return Request(operation.__name__, args, kwargs)


class Channel(Protocol):
    """The way to a process: sends a request and returns its answer, or raises.

    Without *timeout* (seconds) the default of the system counts. *stop* ends the
    waiting from another thread, with `Stopped`.
    """

    def __call__(  # noqa: D102 - the class says it
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result: ...


class AsyncChannel(Protocol):
    """The way to a process for coroutines: as a `Channel`, but awaited.

    What is *shielded* is asked to its end, though whoever awaits it is cancelled.
    """

    def __call__(  # noqa: D102 - the class says it
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
        shielded: bool = False,
    ) -> Coroutine[Any, Any, _Result]: ...


class Client:
    """A process as others see it: its methods ask over a channel, and wait."""

    _is_awaited = False

    def __init__(self, channel: Channel) -> None:
        """Ask over *channel*."""
        self._channel = channel

    def _carry_out(self, script: Script[_Result]) -> _Result:
        return carry_out(script, self._channel)


class AsyncClient:
    """A process as coroutines see it: its methods ask over a channel, and are awaited."""

    _is_awaited = True

    def __init__(self, channel: AsyncChannel) -> None:
        """Ask over *channel*."""
        self._channel = channel

    def _carry_out(self, script: Script[_Result]) -> Coroutine[Any, Any, _Result]:
        return carry_out_async(script, self._channel)


class Remote(Generic[_Arguments, _Result]):
    """What type checkers take a client's method for: an `AsyncClient` has one to be awaited."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, client: None, owner: object) -> Callable[..., Any]: ...

        @overload
        def __get__(self, client: Client, owner: object) -> Callable[_Arguments, _Result]: ...

        @overload
        def __get__(
            self, client: AsyncClient, owner: object
        ) -> Callable[_Arguments, Coroutine[Any, Any, _Result]]: ...

        def __get__(self, client: object, owner: object) -> Callable[..., Any]: ...


def remote(
    operation: Callable[Concatenate[Any, _Arguments], _Result],
) -> Remote[_Arguments, _Result]:
    """Return the method of a client that asks for *operation*.

    It has the operation's arguments, types and docstring; the operation itself is its
    `__wrapped__`.
    """

    @wraps(operation)
    def ask_for(client: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Any:
        # The answer, or a coroutine that comes to it: whichever the channel returns.
        answer = client._channel(request(operation, *args, **kwargs))  # noqa: SLF001 - this is a method of it
        return _named(answer, client, operation)

    # The holder is the server's; in its place the client has itself.
    ask_for.__annotations__ = {
        name: hint for name, hint in operation.__annotations__.items() if name != "holder"
    }
    signature = inspect.signature(operation)
    _holder, *others = signature.parameters.values()
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    ask_for.__signature__ = signature.replace(parameters=[itself, *others])  # type: ignore[attr-defined] # what `help` and editors show
    return cast("Remote[_Arguments, _Result]", ask_for)


class Question(Discreet, Generic[_Result], frozen=True):
    """A request, with *timeout* seconds for its answer; the system's default if that is None."""

    request: Request[_Result]
    timeout: float | None = None


def asked(
    method: Callable[Concatenate[Any, _Arguments], Question[_Result]],
) -> Remote[_Arguments, _Result]:
    """Return the method of a client that asks the question that *method* returns."""

    def ask_for(client: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Any:
        question = method(client, *args, **kwargs)
        answer = client._channel(question.request, timeout=question.timeout)  # noqa: SLF001 - this is a method of it
        return _named(answer, client, method)

    return _described(ask_for, method)


# ----- asking more than once ----------------------------------------------------


Script = Generator[Question[Any], Any, _Result]
"""What a method of a client asks, step by step: it yields questions, is sent the answers or has
the errors raised in it, and returns its result."""


def scripted(
    method: Callable[Concatenate[Any, _Arguments], Script[_Result]],
) -> Remote[_Arguments, _Result]:
    """Return the method of a client that carries out the script that *method* returns."""

    def carry_out_script(
        client: Any, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Any:
        answer = client._carry_out(method(client, *args, **kwargs))  # noqa: SLF001 - this is a method of it
        return _named(answer, client, method)

    return _described(carry_out_script, method)


def _named(answer: Any, client: Any, method: Callable[..., Any]) -> Any:
    """Return *answer*; if it is a coroutine, with the name that Python says if nobody awaits it."""
    if client._is_awaited:  # noqa: SLF001 - for the methods of it
        answer.__qualname__ = f"{type(client).__name__}.{method.__name__}"
    return answer


def ask(question: Question[_Result]) -> Script[_Result]:
    """Ask *question*, and return the answer."""
    answer: _Result = yield question
    return answer


def _described(
    made: Callable[..., Any], method: Callable[Concatenate[Any, _Arguments], object]
) -> Remote[_Arguments, Any]:
    """Have `help` and editors show *made* as *method*, with the answer that it comes to."""
    update_wrapper(made, method)
    del made.__wrapped__  # type: ignore[attr-defined] # it is no operation
    hints = method.__annotations__
    answer = hints["return"].partition("[")[2].removesuffix("]")
    made.__annotations__ = {**hints, "return": answer}
    signature = inspect.signature(method)
    made.__signature__ = signature.replace(return_annotation=answer)  # type: ignore[attr-defined] # idem
    return cast("Remote[_Arguments, Any]", made)


def carry_out(script: Script[_Result], channel: Channel, stop: Stop | None = None) -> _Result:
    """Carry out *script* over *channel*, and wait for each answer until *stop*."""
    options = {} if stop is None else {"stop": stop}  # a channel may have one of its own
    return stepwise.carry_out(
        script, lambda each: channel(each.request, timeout=each.timeout, **options)
    )


async def carry_out_async(
    script: Script[_Result], channel: AsyncChannel, stop: Stop | None = None
) -> _Result:
    """Carry out *script* over *channel*, and await each answer until *stop*.

    What it asks after it was cancelled is asked to the end.
    """
    shielded = False

    async def answer(each: Question[Any]) -> object:
        nonlocal shielded
        try:
            return await channel(each.request, timeout=each.timeout, stop=stop, shielded=shielded)
        except BaseException as error:
            shielded = shielded or not isinstance(error, Exception)
            raise

    return await stepwise.carry_out_async(script, answer)


# ----- answering --------------------------------------------------------------


class Operations(Generic[_Holder]):
    """All that a server does on request with what it holds: an allow-list.

    Whatever else a holder has, its other methods among it, is out of reach.

    Attributes:
        by_name: The functions, in the order in which they are listed.
    """

    def __init__(self, *operations: Callable[Concatenate[_Holder, ...], object]) -> None:
        self.by_name: Mapping[str, Callable[..., object]] = MappingProxyType(
            {operation.__name__: operation for operation in operations}
        )

    def answer(self, request: object, holder: _Holder) -> Reply | Refuse | None:
        """Carry *request* out, and return the reply or refusal; None if it is not for us.

        Failures that are part of the contract are refusals, after which the server goes
        on: `SessionError`, `JournalError`, OSError and with it `BoundaryError`; and a
        TypeError for arguments that the operation does not take. Any other exception is
        raised: a crash.
        """
        if not isinstance(request, Request):
            return None
        operation = self._find(request.operation)
        if operation is None:
            return None
        try:
            return Reply(operation(holder, *request.args, **request.kwargs))
        except (SessionError, JournalError, OSError) as error:
            return Refuse(error)
        except TypeError:
            # Whose mistake? Wrong arguments are the caller's, and must not end the server.
            # They are looked at only now: it would cost each call several microseconds.
            misfit = _misfit(operation, request.args, request.kwargs)
            if misfit is None:
                raise
            return Refuse(TypeError(f"{request.operation}(): {misfit}"))

    def _find(self, name: object) -> Callable[..., object] | None:
        return self.by_name.get(name) if isinstance(name, str) else None


def _misfit(operation: Callable[..., object], args: Any, kwargs: Any) -> TypeError | None:
    """Return what is wrong with the arguments of *operation*, None if it takes them."""
    try:
        inspect.signature(operation).bind(None, *args, **kwargs)
    except TypeError as error:
        return error
    return None


# ----- what every process of a session is asked -------------------------------


class SessionHolder(Protocol):
    """Whatever keeps the record of its session."""

    @property
    def session(self) -> Session:
        """The record."""
        ...

    @session.setter
    def session(self, session: Session) -> None: ...


def get_session(holder: SessionHolder) -> Session:
    """Return the session's record, as this process has it."""
    return holder.session


def update_session(
    holder: SessionHolder, session: Session, since: datetime | None = None
) -> Session:
    """Take *session* for the record, unless there is a later one; return the one that counts.

    Its id and project cannot change. If it was made of the record of *since*, and there is a later
    one than that by now, it is not taken: it knows nothing of what another app has changed.

    Raises:
        InvalidRequestError: It is no record of this session and project, or *since* no time.
        InvalidSessionError: Its name or another value breaks a rule.
    """
    if since is not None and not _is_time(since):
        raise InvalidRequestError(f"since must be a time in UTC, not {quote(since)}")
    if since is None or holder.session.updated_at <= since:
        holder.session = later(session, holder.session)
    return holder.session


def _is_time(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def later(given: object, current: Session) -> Session:
    """Return the later of two records of the same session.

    Raises:
        InvalidRequestError: *given* is no record, or of another session or project.
        InvalidSessionError: It breaks a rule.
    """
    if not isinstance(given, Session):
        raise InvalidRequestError(f"a session's record must be a Session, not {quote(given)}")
    if _identity(given) != _identity(current):
        raise InvalidRequestError("the record is of another session or project")
    return max(current, given.validate_values(), key=lambda session: session.updated_at)


def _identity(session: Session) -> tuple[object, ...]:
    return (session.id, session.project_path, session.project_key)


SESSION_OPERATIONS: Operations[SessionHolder] = Operations(get_session, update_session)
