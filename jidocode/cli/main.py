"""`jidocode`: finds the command that is meant, and imports no other one.

A command is a module beside this one, with the same name, and a `command` in it. What it raises of
ours is shown as one sentence, and the exit status is 1.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import click

from jidocode.errors import JidocodeError

COMMANDS = ("serve",)


class Commands(click.Group):
    """All commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        del ctx
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the one with that name, if there is one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f"jidocode.cli.{cmd_name}").command)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out a command; show what it raises of ours as a sentence."""
        try:
            return super().invoke(ctx)
        except JidocodeError as error:
            raise click.ClickException(error.message) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jidocode")
def command() -> None:
    """Supervised, process-isolated coding sessions."""
