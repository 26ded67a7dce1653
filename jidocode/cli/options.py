"""What several commands are told: which system, which settings, which session, in which form."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from jidocode.session.journal.catalogue import Resumable
    from jidocode.system.archive import Archive
    from jidocode.system.handle import SessionHandle
    from jidocode.system.system import SessionSystem


def complete_system(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the names of the live systems of this user."""
    from click.shell_completion import CompletionItem

    from jidocode._host.attach.place import names

    del ctx, param
    return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


_EXTRAS = {"acp": "acp", "rich": "cli", "mcp": "mcp", "mcp_types": "mcp", "openai": "agent"}
"""What brings the packages that a command may miss."""

system_option = click.option(
    "--system",
    "system_name",
    default="default",
    show_default=True,
    envvar="JIDOCODE_SYSTEM",
    show_envvar=True,
    help="As `serve` names it.",
    shell_complete=complete_system,
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file of settings; variables (JIDOCODE_...) count more.",
)


def complete_session(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the sessions that have a journal, by id; none if the journals cannot be read."""
    from click.shell_completion import CompletionItem

    from jidocode.errors import JidocodeError

    del param
    try:
        found = archive(ctx.params.get("config")).find_all()
    except (JidocodeError, OSError):  # the command itself says it, when it is carried out
        return []
    return [
        CompletionItem(each.session_id, help=each.session.name if each.session else None)
        for each in found
        if each.session_id.startswith(incomplete)
    ]


class ProjectFolder(click.Path):
    """A folder that a session can be opened for."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder; one with `..` in it, which a session's cannot have, without that."""
        from jidocode.errors import InvalidSessionError
        from jidocode.session.project.locate import locate_project

        folder = Path(os.fsdecode(super().convert(value, param, ctx)))
        if ".." in folder.parts:
            folder = folder.resolve()
        try:
            locate_project(folder)
        except InvalidSessionError as error:
            self.fail(error.message, param, ctx)
        return folder


session_argument = click.argument("session", metavar="SESSION", shell_complete=complete_session)
"""An id, which a shell completes, or a name."""


def archive(config: Path | None) -> Archive:
    """Return the journals of systems with the settings of *config* and the environment."""
    from jidocode.system.archive import Archive
    from jidocode.system.settings import Settings

    return Archive(Settings.load(config))


def attach(name: str, *, read_only: bool = True) -> SessionSystem:
    """Return the system called *name*, to look at it unless said otherwise."""
    from jidocode.system.system import SessionSystem

    return SessionSystem.attach(name, read_only=read_only)


def system_with(session_id: str) -> str | None:
    """Return the name of the system in which a session is open; None if none with a name has it."""
    from jidocode._host.attach.place import names
    from jidocode.errors import JidocodeError

    for name in names():
        with suppress(JidocodeError), attach(name) as system:  # who does not answer is passed over
            if system.session_running(session_id):
                return name
    return None


def open_session(system: SessionSystem, word: str) -> SessionHandle:
    """Return the open session whose id, or else name, is *word*."""
    return system.get_session(_choose(word, lambda: [_open_ids(system, word)], " is open"))


def resumable_id(system: SessionSystem, word: str) -> str:
    """Return the id of the session of *system*, open or not, whose id or name is *word*."""

    def ids() -> Iterator[list[str]]:
        yield _open_ids(system, word)
        yield _ids(system.list_resumable(), word)

    return _choose(word, ids)


def archived_id(found: Archive, word: str) -> str:
    """Return the id of the session with a journal in *found* whose id or name is *word*."""

    def ids() -> Iterator[list[str]]:
        journals = found.find_all()
        yield _ids((each for each in journals if each.locked_by is not None), word)
        yield _ids(journals, word)

    return _choose(word, ids)


def _open_ids(system: SessionSystem, name: str) -> list[str]:
    return [record.id for record in system.list_sessions() if record.name == name]


def _ids(found: Iterable[Resumable], name: str) -> list[str]:
    return [each.session_id for each in found if each.session and each.session.name == name]


def _choose(word: str, ids: Callable[[], Iterable[list[str]]], which: str = "") -> str:
    """Return *word* if it is an id; else the only id in the first list of *ids* that has any.

    *which* are looked through, says the sentence if there is none.
    """
    from jidocode.base.text import line
    from jidocode.errors import SessionNotFoundError
    from jidocode.session.record import is_session_id

    if is_session_id(word):
        return word
    called = next((each for each in ids() if each), list[str]())
    if not called:
        raise SessionNotFoundError(f"with the id or name {word}{which}")
    if len(called) > 1:
        shown = line(", ".join(called))
        raise click.ClickException(f"{len(called)} sessions are called {line(word)}: {shown}")
    return called[0]


def explain_end(system: SessionSystem, name: str) -> bool:
    """Say how the system called *name* has ended, and return whether it has.

    It is an error unless that was in order.
    """
    from jidocode.errors import HostExitedError

    client = system._running.client  # noqa: SLF001 - only it knows whether that was in order
    try:
        client.check()
    except HostExitedError as error:
        if not client.is_closing:
            raise click.ClickException(f"system {name} has died: {error}") from error
        click.echo(f"system {name} has ended: it was closed", err=True)
        return True
    return False


def sentence(error: Exception) -> str | None:
    """Return what is said of *error*; None of one that is a fault of ours, or a closed pipe."""
    from jidocode.base.text import line
    from jidocode.errors import JidocodeError, ProjectAlreadyOpenError

    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            return f"it needs {package}: pip install 'jidocode[{_EXTRAS[package]}]'"
        if package != "jidocode":
            return line(f"{error}: pip install --upgrade 'jidocode[cli]'")
    if isinstance(error, ProjectAlreadyOpenError) and error.pid is not None:
        name = system_with(error.session_id)
        return error.message if name is None else f"{error.message}: that is system {name}"
    if isinstance(error, JidocodeError):
        return error.message
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        return line(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return None
