"""`McpServer`: how a server of the Model Context Protocol is reached, as the app says it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import cast

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidMcpServerError
from jidocode.otp.seconds import is_seconds

MAX_NAME_LENGTH = 100
"""Characters in the name of a server."""
MAX_PREFIX_LENGTH = 24
"""Characters of it before the names of its tools, of which models take 64 in all."""
MAX_SERVERS = 32
"""Servers of one session."""
_FOREIGN = re.compile(r"[^a-zA-Z0-9]+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidMcpServerError(f"args must be a list of str, not {quote(value)}")
    return tuple(cast("Iterable[str]", value))


def _named(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidMcpServerError(
            f"env and headers are mappings of names to texts, not {quote(value)}"
        )
    return dict(cast("Mapping[str, str]", value))


@frozen(eq=False, repr=False, kw_only=True)
class McpServer(Record):
    """A server of the Model Context Protocol: a program that is started, or an address.

    Its text shows no argument, variable, address or header, for each may hold a secret.

    Attributes:
        name: For people and models; what the names of its tools begin with is made of it.
        command: The program, which speaks on its standard input and output.
        args: Its arguments, which other users of the machine can see.
        env: Variables that it has beside the few that it has anyway.
        url: The address of a server that speaks streamable HTTP.
        headers: What each request to it has in its head.
        confine: Whether the program is confined as the session's commands are: to the project, and
            without network.
        timeout: Seconds in which it has to be ready, and to do each call.

    Raises:
        InvalidMcpServerError: It breaks a rule; or there is not either a *command* or a *url*.
    """

    name: str
    command: str | None = field(default=None, repr=False)
    args: Sequence[str] = field(default=(), converter=_texts, repr=False)
    env: Mapping[str, str] = field(factory=dict[str, str], converter=_named, repr=False)
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_named, repr=False)
    confine: bool = False
    timeout: float = 60.0

    def __attrs_post_init__(self) -> None:
        _check_name(self.name)
        if (self.command is None) == (self.url is None):
            raise InvalidMcpServerError(f"{self._called} has either a command or a url")
        if not is_seconds(self.timeout) or not self.timeout:
            raise InvalidMcpServerError(
                f"the timeout of {self._called} must be seconds > 0, not {quote(self.timeout)}"
            )
        if self.url is None:
            self._check_program()
        else:
            self._check_address(self.url)

    @property
    def prefix(self) -> str:
        """What the names of its tools begin with, before two underscores."""
        plain = _FOREIGN.sub("_", self.name).strip("_")
        if plain and len(plain) <= MAX_PREFIX_LENGTH:
            return plain
        import hashlib  # noqa: PLC0415 - few names are long, and all apps wait for imports

        mark = hashlib.sha256(self.name.encode()).hexdigest()[:6]
        cut = plain[: MAX_PREFIX_LENGTH - len(mark) - 1].rstrip("_")  # two are the end of it
        return f"{cut}_{mark}".lstrip("_")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown to anybody."""
        return (*self.env.values(), *self.headers.values())

    @property
    def _called(self) -> str:
        return f"the MCP server {quote(self.name)}"

    def _check_program(self) -> None:
        variables: Mapping[object, object] = dict(self.env.items())  # callers may ignore the types
        if self.headers:
            raise InvalidMcpServerError(f"{self._called} is a program, which gets no headers")
        words: tuple[object, ...] = (self.command, *self.args)
        for each in words:
            if not isinstance(each, str) or "\0" in each:
                raise InvalidMcpServerError(f"command and args of {self._called} must be str")
        if not self.command:
            raise InvalidMcpServerError(f"the command of {self._called} is empty")
        for name, value in variables.items():
            if not isinstance(name, str) or not isinstance(value, str) or not name:
                raise InvalidMcpServerError(f"env of {self._called} must be names and texts")
            if "=" in name or "\0" in name + value:
                raise InvalidMcpServerError(f"env of {self._called} has no variable like that")

    def _check_address(self, url: object) -> None:
        heads: Mapping[object, object] = dict(self.headers.items())
        if self.args or self.env or self.confine:
            raise InvalidMcpServerError(
                f"{self._called} has a url: it is no program with args, env or confine"
            )
        from jidocode.base.addresses import is_web_address  # noqa: PLC0415 - as above

        if not is_web_address(url):
            raise InvalidMcpServerError(f"the url of {self._called} must be http:// or https://")
        for name, value in heads.items():
            if not isinstance(name, str) or not _HEADER.fullmatch(name):
                raise InvalidMcpServerError(f"a header of {self._called} has no valid name")
            if not isinstance(value, str) or not value.isprintable() or not value.isascii():
                raise InvalidMcpServerError(
                    f"the header {name} of {self._called} must be one line of ASCII"
                )


def _check_name(name: object) -> None:
    good = isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()
    if not good or not cast("str", name).strip():
        raise InvalidMcpServerError(
            f"the name of an MCP server is 1 to {MAX_NAME_LENGTH} printable characters, "
            f"not {quote(name)}"
        )


def check_servers(servers: Iterable[object]) -> tuple[McpServer, ...]:
    """Return *servers*, which this Python can reach.

    Raises:
        InvalidMcpServerError: One is none, two have the same prefix, or there are too many.
        ImportError: The package that speaks with them is not installed.
    """
    checked: dict[str, McpServer] = {}
    for server in servers:
        if not isinstance(server, McpServer):
            raise InvalidMcpServerError(f"an MCP server must be an McpServer, not {quote(server)}")
        other = checked.get(server.prefix)
        if other is not None:
            raise InvalidMcpServerError(
                f"the tools of two MCP servers would begin with {server.prefix}__: "
                f"{quote(other.name)} and {quote(server.name)}"
            )
        checked[server.prefix] = server
    if len(checked) > MAX_SERVERS:
        raise InvalidMcpServerError(f"a session has {MAX_SERVERS} MCP servers at most")
    if checked and importlib.util.find_spec("mcp") is None:
        raise ImportError("MCP servers need the mcp package: pip install 'jidocode[mcp]'")
    if checked:  # now, where it may take its time: later a loop would be held up
        import_module("jidocode.session.mcp.server")
        import_module("jidocode.session.mcp.tools")
    return tuple(checked.values())
