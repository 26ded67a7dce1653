"""What can be chosen about a tree and about a system, checked before anything starts.

A setting comes from a keyword argument, else from an environment variable,
else from a TOML file that the app names, else it has its default. The `Rule`
of a field says once what its values are, whatever they come from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack, cast

from attrs import field, fields, frozen

from jidocode.base import log
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import InvalidSettingError
from jidocode.otp.supervision.specs import Flags, as_strategy
from jidocode.otp.supervision.strategy import Strategy, StrategyText
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.project.protection import DEFAULT_PATHS, ProtectedChanges
from jidocode.system.rules import (
    COUNT,
    DURABILITY,
    FLAG,
    FOLDER,
    KEPT_SIZE,
    LIMITS,
    MODULES,
    OUTPUT_SIZE,
    PATHS,
    PATTERNS,
    POSITIVE,
    PROGRAM,
    PROTECTED_CHANGES,
    RATE,
    SANDBOX,
    SECONDS,
    STORE_SIZE,
    STRATEGY,
    CreationRate,
    Durability,
    Rule,
    as_folder,
    as_paths,
    as_program,
    as_tuple,
)

PREFIX = "JIDOCODE_"
"""What the names of environment variables begin with: `JIDOCODE_MAX_SESSIONS`."""
NO_SETTINGS = frozenset(
    f"{PREFIX}{name}" for name in ("SYSTEM", "MODEL", "BASE_URL", "API_KEY", "MCP_TOKEN")
)
"""What the command line takes from variables beside the settings."""


class ApplicationOverrides(TypedDict, total=False):
    """The arguments of `ApplicationSettings`, for whatever passes them on; see there."""

    heartbeat: float | None
    event_buffer: int
    preload: Sequence[str]
    python: str | os.PathLike[str] | None
    call_timeout: float
    start_timeout: float
    shutdown: float
    exit_grace: float | None


class SettingsOverrides(ApplicationOverrides, total=False):
    """The arguments of `Settings`, for whatever passes them on; see there."""

    max_sessions: int
    creation_rate: CreationRate | None
    allow_nested: bool
    hard_links: bool
    strategy: Strategy | StrategyText
    max_restarts: int
    max_seconds: float
    state_dir: str | os.PathLike[str] | None
    durability: Durability
    idle_timeout: float | None
    policy_timeout: float
    max_commands: int
    command_timeout: float
    command_output_limit: int
    sandbox: SandboxMode
    command_read: Sequence[str | os.PathLike[str]]
    command_write: Sequence[str | os.PathLike[str]]
    command_limits: CommandLimits
    protected_paths: Sequence[str]
    protected_changes: ProtectedChanges
    snapshots_kept: int
    snapshot_size: int
    snapshot_file_size: int
    snapshot_files: int
    context_tokens: int | None


@frozen(eq=False, repr=False, kw_only=True)
class ApplicationSettings(Record):
    """How a tree of processes behaves; a bad value raises `InvalidSettingError`.

    `ApplicationSettings()` takes its arguments and nothing else; `load` looks
    at a file and at the environment as well.

    Attributes:
        heartbeat: Seconds between probes of each of the system's own processes;
            one that leaves two in a row unanswered, because it hangs or was
            stopped, is killed and restarted. With the host the system ends; a guard that was
            stopped goes on. Host, root and guards are given a second at least. None for no
            probes. 10 by default.
        event_buffer: Events that each stream of `events()` keeps for a slow reader; the
            oldest are dropped and counted beyond it. 1000 by default.
        preload: Modules that the host imports once, before there is any other
            process: those of your own children, and what they import. Each
            process has them from its start then, and shares their memory;
            otherwise a child's process imports them at each of its starts. One
            that cannot be imported is a `HostStartError`. They must not start
            threads, which no fork has. None by default.
        python: The Python that runs the host, and with it all processes: its absolute path; a
            link, such as a virtual environment has, is not followed. It must be of the app's
            version, and finds modules where the app does, then where it does itself. None, the
            default, for the app's own interpreter, `sys.executable`. An app that has none, for
            it is frozen into one program or has Python embedded (uWSGI), must set it, else
            `HostStartError`.
        call_timeout: Seconds that a call waits for its answer unless it says
            otherwise. 5 by default.
        start_timeout: Seconds that the whole system may take to start; then
            `HostStartError`. 30 by default.
        shutdown: Seconds that `close` gives the system to stop in order before
            it is killed. 10 by default.
        exit_grace: Seconds that it has to stop in order if the app ends without `close`: by
            SIGTERM, an exception, `kill -9`. Then it is killed. None, the default, to kill
            it at once, so that nothing is left a second after the app's end.
    """

    heartbeat: float | None = field(default=10.0, validator=SECONDS.or_none())
    event_buffer: int = field(default=1000, validator=POSITIVE)
    preload: Sequence[str] = field(default=(), converter=as_tuple, validator=MODULES)
    python: str | os.PathLike[str] | None = field(
        default=None, converter=as_program, validator=PROGRAM.or_none(), repr=False
    )
    call_timeout: float = field(default=5.0, validator=SECONDS)
    start_timeout: float = field(default=30.0, validator=SECONDS)
    shutdown: float = field(default=10.0, validator=SECONDS)
    exit_grace: float | None = field(default=None, validator=SECONDS.or_none())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **overrides: Unpack[ApplicationOverrides],
    ) -> Self:
        """Return the settings of an app: *overrides*, else variables, else the file.

        Every value is checked, those that another source overrides too. A text
        means the same in a variable and as a TOML string: `"none"` is None,
        `"30/10"` a `CreationRate`, `"one_for_one"` a `Strategy`.

        Args:
            path: A TOML file of settings, at its top level. An unknown key is
                an error, for nothing else has a place in this file.
            environ: The variables, `JIDOCODE_` and the setting's name in
                capitals; None for this process's. One with another name is logged as a warning and
                ignored: the environment belongs to everybody, to newer
                versions and to the app itself too.
            overrides: Settings as the class takes them.

        Raises:
            InvalidSettingError: A value breaks a rule, or the file is no TOML,
                or has an unknown key; it says which and where it stands.
            OSError: The file cannot be read.
            TypeError: There is no setting of that name in *overrides*.
        """
        return cls._load(path, environ, overrides)

    @classmethod
    def _load(
        cls,
        path: str | os.PathLike[str] | None,
        environ: Mapping[str, str] | None,
        overrides: Mapping[str, Any],
    ) -> Self:
        rules = _rules_of(cls)
        values = {} if path is None else _from_file(rules, Path(path))
        found: dict[str, Any] = values | _from_environment(rules, _own_variables(environ))
        return cls(**{**found, **overrides})


@frozen(eq=False, repr=False, kw_only=True)
class Settings(ApplicationSettings):
    """How a `SessionSystem` behaves; a bad value raises `InvalidSettingError`.

    Beside these it has those of `ApplicationSettings`.

    Attributes:
        max_sessions: Sessions that may be open at once; one more is refused
            with `SessionLimitError`. 10 by default.
        creation_rate: How often creating a session may be tried; refused and
            failed attempts count too, one more raises `RateLimitedError`.
            None for no limit. 30 in 10 seconds by default.
        allow_nested: Whether a project may lie inside another open project;
            refused by default, for two sessions would change the same files.
        hard_links: Whether the Manager reads and writes a file of a project that has
            more than one hard link, which may be outside; allowed by default, for
            package managers and copies of repositories make such files. Otherwise it
            is a `BoundaryError`.
        strategy: Who is restarted with a dead child of a session;
            one_for_all by default. A session can be given its own.
        max_restarts: Restarts a session may need within *max_seconds*; one
            more and it gives up. 3 by default.
        max_seconds: The window of *max_restarts*, in seconds. 5 by default.
        state_dir: The folder that holds the journals of all sessions; sessions
            of one folder can be resumed by every later system that has the same.
            `~` is expanded; a relative path starts at the current folder. None,
            the default, for `default_state_dir()`.
        durability: What an acknowledged change survives: `process`, the
            default, the death of any process; `power` a loss of power too, for
            one `fdatasync` per change; `memory` no crash of State, and nothing
            is written to disk.
        idle_timeout: Seconds after which a session is stopped that nobody uses: nobody asks its
            State, Manager or Commands anything but how much there is (`state.statistics`,
            `commands.list`), no command runs, no turn is under way, no message is being
            streamed, and nobody waits for its changes. It can be resumed, without the commands
            that have ended. What the app's own children do counts only as far as they ask
            those. None, the default, for never.
        policy_timeout: Seconds that the policy has to decide about a call of a tool; no
            answer is a denial. 300 by default.
        max_commands: Commands that a session may run at once; one more is refused with
            `CommandLimitError`. 32 by default.
        command_timeout: Seconds after which a command is ended that `run` waits for, unless it
            is told otherwise. 120 by default.
        command_output_limit: Bytes of a command's output that are kept, of each stream, unless
            it is told otherwise: the first half and the last. 1 MiB by default, 1 KiB to 64 MiB.
        sandbox: How commands are confined. `auto`, the default, and `require:kernel`: by the
            kernel, to the project and a scratch folder, without network; where that is not
            possible they are refused with `ConfinementError`. `off`: not at all, so a command
            can do what the app can. `require:namespaces`: in namespaces of their own as well,
            which costs some milliseconds more for each; where they cannot be had, commands are
            refused with `ConfinementError`. A Manager is confined to its project, too, by the
            kernel; where it cannot be, it logs a warning with `auto`, and with `require:...`
            there is no session.
        command_read: Absolute paths that every command may read and execute, too, with all beneath
            them. One that is not there when a command starts is an error. None by default.
        command_write: The same for what every command may change, too. None by default.
        command_limits: What each process of a command may use of the machine, unless the command
            is told otherwise. `CommandLimits()`, which says how much that is, by default.
        protected_paths: Paths of a project that other programs execute later, without being
            asked to: git's hooks and configuration, `.envrc`, what editors start. A pattern
            names a file or a folder with all that is in it, relative to the project and to every
            folder of it, such as `deploy/*.sh`. `docs/security.md` has the default; `()` for
            none.
        protected_changes: What comes of a change of one. `report`, the default: it is said in
            the result, and as an event. `refuse`: the Manager raises `ProtectedPathError`, and
            what a command did is undone, where that is possible, and kept in a folder
            `.jidocode-undone-*` of the project.
        snapshots_kept: Snapshots of its project that a session has; with one more the oldest
            goes. 30 by default.
        snapshot_size: Bytes of contents that a session's snapshots keep, all together. Of what is
            beyond it is only known whether it changes. 1 GiB by default.
        snapshot_file_size: Bytes of a file whose content is kept, 16 MiB at most and by default;
            of a larger one it is only known whether it changes.
        snapshot_files: Files, folders and symlinks in a snapshot; it ends behind so many. 200,000
            by default.
        context_tokens: Tokens that the model of an agent can read. When its server counts four
            fifths of them, the model writes a summary, which it is told from then on instead of
            what was said before. None, the default, for no summaries.
    """

    max_sessions: int = field(default=10, validator=POSITIVE)
    creation_rate: CreationRate | None = field(
        default=CreationRate(30, 10.0), validator=RATE.or_none()
    )
    allow_nested: bool = field(default=False, validator=FLAG)
    hard_links: bool = field(default=True, validator=FLAG)
    strategy: Strategy = field(
        default=Strategy.ONE_FOR_ALL, converter=as_strategy, validator=STRATEGY
    )
    max_restarts: int = field(default=3, validator=COUNT)
    max_seconds: float = field(default=5.0, validator=SECONDS)
    state_dir: str | os.PathLike[str] | None = field(
        default=None, converter=as_folder, validator=FOLDER.or_none(), repr=False
    )
    durability: Durability = field(default="process", validator=DURABILITY)
    idle_timeout: float | None = field(default=None, validator=SECONDS.or_none())
    policy_timeout: float = field(default=300.0, validator=SECONDS)
    max_commands: int = field(default=32, validator=POSITIVE)
    command_timeout: float = field(default=120.0, validator=SECONDS)
    command_output_limit: int = field(default=2**20, validator=OUTPUT_SIZE)
    sandbox: SandboxMode = field(default="auto", validator=SANDBOX)
    command_read: Sequence[str | os.PathLike[str]] = field(
        default=(), converter=as_paths, validator=PATHS, repr=False
    )
    command_write: Sequence[str | os.PathLike[str]] = field(
        default=(), converter=as_paths, validator=PATHS, repr=False
    )
    command_limits: CommandLimits = field(factory=CommandLimits, validator=LIMITS)
    protected_paths: Sequence[str] = field(
        default=DEFAULT_PATHS, converter=as_tuple, validator=PATTERNS, repr=False
    )
    protected_changes: ProtectedChanges = field(default="report", validator=PROTECTED_CHANGES)
    snapshots_kept: int = field(default=30, validator=POSITIVE)
    snapshot_size: int = field(default=2**30, validator=STORE_SIZE)
    snapshot_file_size: int = field(default=2**24, validator=KEPT_SIZE)
    snapshot_files: int = field(default=200_000, validator=POSITIVE)
    context_tokens: int | None = field(default=None, validator=POSITIVE.or_none())

    @classmethod
    def load(  # pyright: ignore[reportIncompatibleMethodOverride] # there are more settings
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **overrides: Unpack[SettingsOverrides],
    ) -> Self:
        """Return the settings of an app; see `ApplicationSettings.load`."""
        return cls._load(path, environ, overrides)

    def session_flags(self, strategy: Strategy | StrategyText | Flags | None) -> Flags:
        """Return the flags of a session's supervisor.

        A strategy alone gets its budget of restarts from here; `Flags` are taken as they are.

        Raises:
            InvalidChildSpecError: *strategy* is neither a `Strategy` nor `Flags`.
        """
        if isinstance(strategy, Flags):
            return strategy
        return Flags(
            strategy=self.strategy if strategy is None else strategy,
            max_restarts=self.max_restarts,
            max_seconds=self.max_seconds,
        )


def default_state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder for state: `$XDG_STATE_HOME/jidocode`, or `~/.local/state/jidocode`.

    A relative `$XDG_STATE_HOME` is ignored (XDG Base Directory Specification).
    """
    environ = os.environ if environ is None else environ
    state_home = Path(environ.get("XDG_STATE_HOME", ""))
    if state_home.is_absolute():
        return state_home / "jidocode"
    return Path(environ.get("HOME") or Path.home(), ".local", "state", "jidocode")


def _rules_of(cls: type[ApplicationSettings]) -> dict[str, Rule]:
    """Return what *cls* says of each of its fields, for whoever reads them from text."""
    return {each.name: cast("Rule", each.validator) for each in fields(cls)}


def _from_file(rules: Mapping[str, Rule], path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - few apps have a file, and every start waits for imports

    origin = quote(str(path))
    with path.open("rb") as file:
        try:
            table = tomllib.load(file)
        except ValueError as error:  # no TOML, or no UTF-8
            problem = f"cannot be read as TOML: {quote(str(error))}"
            raise InvalidSettingError("the file", problem, origin) from error
    for key in table.keys() - rules.keys():
        problem = f"is no setting{hint(key, rules)}"
        raise InvalidSettingError(quote(key), problem, f"key in {origin}")
    return {key: rules[key].take(key, given, f"key in {origin}") for key, given in table.items()}


def _own_variables(environ: Mapping[str, str] | None) -> dict[str, str]:
    """Return the variables that are ours.

    The others are nobody's business here: tools that show the locals of a traceback, or
    the defaults of an argument, would print an app's secrets.
    """
    given = os.environ if environ is None else environ
    return {name: text for name, text in given.items() if name.startswith(PREFIX)}


def unknown_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that begin as ours do and are none, each with what may be meant."""
    known = {f"{PREFIX}{name.upper()}" for name in _rules_of(Settings)} | NO_SETTINGS
    others = sorted(_own_variables(environ).keys() - known)
    return {variable: hint(variable, known) for variable in others}


def _from_environment(rules: Mapping[str, Rule], environ: Mapping[str, str]) -> dict[str, Any]:
    for variable, meant in unknown_variables(environ).items():
        log.warning("{} is no setting{}", quote(variable), meant)
    names = {f"{PREFIX}{name.upper()}": name for name in rules}
    return {
        name: rules[name].take(name, environ[variable], f"variable {variable}")
        for variable, name in names.items()
        if variable in environ
    }


def hint(word: str, known: Iterable[str]) -> str:
    """Return which of *known* may be meant by *word*, to end a sentence with."""
    import difflib  # noqa: PLC0415 - as in `_from_file`

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
