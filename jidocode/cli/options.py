"""What several commands are told: which system, which settings, which session, in which form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

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


system_option = click.option(
    "--system",
    "system_name",
    default="default",
    show_default=True,
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


session_argument = click.argument("session", metavar="SESSION", shell_complete=complete_session)
"""An id, which a shell completes; where the session is open, its name is enough."""


def archive(config: Path | None) -> Archive:
    """Return the journals of systems with the settings of *config* and the environment."""
    from jidocode.system.archive import Archive
    from jidocode.system.settings import Settings

    return Archive(Settings.load(config))


def attach(name: str, *, read_only: bool = True) -> SessionSystem:
    """Return the system called *name*, to look at it unless said otherwise."""
    from jidocode.system.system import SessionSystem

    return SessionSystem.attach(name, read_only=read_only)


def open_session(system: SessionSystem, word: str) -> SessionHandle:
    """Return the open session whose id, or else name, is *word*."""
    from jidocode.session.record import is_session_id

    return system.get_session(word) if is_session_id(word) else system.find_session(name=word)
