"""How much the commands of a session may be, and for how long."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.limits import CommandLimits

MAX_ARGUMENT = 2**17 - 1
"""Bytes of one argument, or of one variable with its name: the kernel's own limit."""
MAX_ARGUMENTS = 2**20
"""Bytes of all arguments and variables together."""
MAX_INPUT = 2**24
"""Bytes of input that a command has not read yet."""
MIN_OUTPUT = 2**10
MAX_OUTPUT = 2**26
"""Bytes of output that may be asked to be kept, of each stream."""
MAX_SAVED = 2**30
"""Bytes of output that are saved into a file."""
MAX_CHUNK = 2**20
"""Bytes of output that are read at once."""
MAX_WAIT = 60.0
"""Seconds that one question may wait for output."""
MAX_NUMBER = 2**64 - 1
"""What the offset and the number of a reader may be."""
MAX_FOLLOWERS = 100
"""Who may follow one stream of a command at once."""
HOLD_SECONDS = 10.0
"""How long a command waits for who follows its output, from his last answer on."""
FIRST_HOLD_SECONDS = 2.0
"""The same from its start on, for whoever has started it and is about to read."""
MAX_ENDED = 100
"""Commands that have ended and are remembered."""
MAX_ENDED_OUTPUT = 2**24
"""Bytes of their output and arguments, all together; the last one's are kept in any case."""

GRACE_SECONDS = 2.0
"""From SIGTERM to SIGKILL, when a command's time is over or somebody cancels it."""
CLOSE_GRACE_SECONDS = 1.0
"""The same, when the session stops."""


SandboxMode = Literal["auto", "require:kernel", "require:namespaces", "off"]
"""How commands are confined; see `Settings.sandbox`."""


@frozen(eq=False, repr=False, kw_only=True)
class CommandRules(Record):
    """What the settings say about commands; see `Settings`.

    Attributes:
        max_commands: How many may run at once in a session.
        timeout: Seconds that `run` gives a command unless it is told otherwise.
        output_limit: Bytes of each stream that are kept unless it is told otherwise.
        sandbox: How commands are confined.
        read: Absolute paths that every command may read and execute.
        write: Absolute paths that every command may change, too.
        limits: What each process may use of the machine unless it is told otherwise.
    """

    max_commands: int = 32
    timeout: float = 120.0
    output_limit: int = 2**20
    sandbox: SandboxMode = "auto"
    read: tuple[str, ...] = field(default=(), converter=absolute_paths, repr=False)
    write: tuple[str, ...] = field(default=(), converter=absolute_paths, repr=False)
    limits: CommandLimits = field(factory=CommandLimits)
