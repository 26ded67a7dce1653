"""`jidocode`: finds the command that is meant, and imports no other one.

A command is a module beside this one, with the same name, and a `command` in it, which imports
what it needs when it is carried out: all of them are imported to list them. What it raises of
ours, or the system, is shown as one sentence, and the exit status is 1.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, cast

import click

from jidocode.cli.ending import end_unread
from jidocode.cli.options import sentence

COMMANDS = (
    *("acp", "chat", "demo", "doctor", "events", "logs", "mcp", "run", "serve", "sessions"),
    *("top", "tree"),
)


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

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the arguments; some are answered at once, such as `--help`."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            end_unread()

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out a command; show what it raises of ours as a sentence."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            end_unread()
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            said = sentence(error)
            if said is None:
                raise
            raise click.ClickException(said) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jidocode")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Supervised, process-isolated coding sessions."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True
