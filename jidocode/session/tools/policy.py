"""Who allows what: a policy is asked before a tool of a session edits or executes.

It protects against mistakes, of a model or of a person, and not against attacks: a command
that was allowed does what it does. What a program can reach at all, the kernel decides.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, overload

from attrs import Attribute, field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.tools.tool import ToolKind


@frozen(eq=False, repr=False, kw_only=True)
class ToolRequest(Record):
    """A call of a tool that has to be allowed.

    Attributes:
        session_id: The session.
        tool: The tool's name.
        kind: What the tool does.
        subject: What the call is about: a command; for a tool of the kind `edit` the file's own
            path in the project, without `..` and symlinks, however the model has spelled it.
        arguments: All that the model said, checked, in its own words; with the defaults of what
            it left out.
        protected: Whether it edits what other programs execute later, such as a git hook
            (`Settings.protected_paths`).
        call_id: The id of the call, for whoever shows the calls of a turn.
        remembered: Whether an `Allow` of this session covers it by its `always`: a person need
            not be asked again.
    """

    session_id: str
    tool: str
    kind: ToolKind
    subject: str = field(repr=False)
    arguments: Mapping[str, Any] = field(repr=False)
    protected: bool = False
    call_id: str = field(default="", repr=False)
    remembered: bool = False


def _text(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{attribute.name} must be a text, not {quote(value)}")


def _optional_text(instance: object, attribute: Attribute[Any], value: object) -> None:
    # What is remembered decides about all later calls, whatever happens to the process.
    if value is not None:
        _text(instance, attribute, value)


@frozen(eq=False, repr=False, kw_only=True)
class Allow(Record):
    """The call is made.

    Attributes:
        always: Later calls of the same tool in this session are `ToolRequest.remembered` if
            their subject is, or matches, this pattern (`fnmatch`: `src/*`, `*`), and nobody
            is asked about them by `ask_unless_remembered` and `accept_edits`. None for this
            call alone. One that has a `*` matches no command with characters in which a shell
            sees the end of one and the beginning of another, and no protected path.
        arguments: All arguments to make it with instead, for what is left out has its default;
            None for those of the request.

    Raises:
        InvalidRequestError: *always* is neither a text nor None.
    """

    always: str | None = field(default=None, repr=False, validator=_optional_text)
    arguments: Mapping[str, Any] | None = field(default=None, repr=False)


@frozen(eq=False, repr=False)
class Deny(Record):
    """The call is not made.

    Attributes:
        reason: Why not, in words that the model is told.

    Raises:
        InvalidRequestError: *reason* is no text.
    """

    reason: str = field(default="no reason was given", repr=False, validator=_text)


Decision = Allow | Deny
"""What a policy says."""

Policy = Callable[[ToolRequest], Decision]
"""Decides whether a call that edits or executes is made."""

AsyncPolicy = Callable[[ToolRequest], Decision | Awaitable[Decision]]
"""Does so for an `AsyncSessionSystem`: a coroutine function, or a function, which has a thread."""


def read_only(request: ToolRequest) -> Decision:
    """Deny all that changes something, remembered or not: the policy where no other is given."""
    del request
    return Deny("no policy here allows it")


def allow_all(request: ToolRequest) -> Decision:
    """Allow everything."""
    del request
    return Allow()


@overload
def ask_unless_remembered(ask: Policy) -> Policy: ...


@overload
def ask_unless_remembered(ask: AsyncPolicy) -> AsyncPolicy: ...


def ask_unless_remembered(ask: AsyncPolicy) -> AsyncPolicy:
    """Return the policy that asks *ask* about all that was not allowed for good before."""

    def decide(request: ToolRequest) -> Decision | Awaitable[Decision]:
        return Allow() if request.remembered else ask(request)

    return decide


@overload
def accept_edits() -> Policy: ...


@overload
def accept_edits(ask: Policy) -> Policy: ...


@overload
def accept_edits(ask: AsyncPolicy) -> AsyncPolicy: ...


def accept_edits(ask: AsyncPolicy = read_only) -> AsyncPolicy:
    """Return the policy that allows what edits files, and asks *ask* about what is not remembered.

    It asks about protected paths, too: to write what somebody else executes is to execute it.
    """
    asks = ask_unless_remembered(ask)

    def decide(request: ToolRequest) -> Decision | Awaitable[Decision]:
        return Allow() if is_plain_edit(request) else asks(request)

    return decide


def is_plain_edit(request: ToolRequest) -> bool:
    """Whether *request* edits a file, and none that other programs execute later."""
    return request.kind is ToolKind.EDIT and not request.protected


_JOINTS = frozenset(";|&<>$`()\n\\\"'")
"""In these a shell sees more than one plain command."""


def matches(pattern: str, kind: ToolKind, subject: str) -> bool:
    """Whether calls about *subject* are allowed for good by *pattern* (see `Allow.always`)."""
    if pattern in {subject, "*"}:
        return True
    if kind is ToolKind.EXECUTE:
        return not _JOINTS & set(subject) and fnmatchcase(subject, pattern)
    # As the boundary reads it, or `src/../.git/config` would be within `src/*`.
    path = posixpath.normpath(subject)
    return not path.startswith(("/", "..")) and fnmatchcase(path, pattern)
