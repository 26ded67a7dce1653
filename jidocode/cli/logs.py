"""`jidocode logs`: what the processes of a system have logged, and log."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from jidocode.cli.options import attach, explain_end, json_option, system_option

if TYPE_CHECKING:
    from jidocode.system.logged import Logged
    from jidocode.system.system import SessionSystem

_END_SECONDS = 5.0
_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@click.command("logs", short_help="Show what the processes of a system have logged.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="The last ones.",
)
@system_option
@json_option
def command(lines: int, system_name: str, *, follow: bool, as_json: bool) -> None:
    """Show what the processes of a system have logged last, supervision's own lines among it.

    The system keeps up to 1000 lines. With --follow it ends when the system does, or by Ctrl-C.
    With --json each is a line.
    """
    from jidocode.cli.output import print_json
    from jidocode.system.logged import read_log

    with attach(system_name) if follow else nullcontext() as system:
        for each in read_log(system_name, last=lines, follow=follow):
            if as_json:
                print_json(each)
            else:
                _print(each)
        if system is not None:
            _await_end(system)
            explain_end(system, system_name)


def _await_end(system: SessionSystem) -> None:
    """Wait until it is known how *system* has ended: its log may end a moment before that."""
    end = time.monotonic() + _END_SECONDS
    with system.events() as stream:
        while not stream.closed and (left := end - time.monotonic()) > 0:
            stream.get(left)


def _print(logged: Logged) -> None:
    from jidocode.base.text import line, printable

    if logged.lost:
        click.echo(f"{logged.lost} lines are lost", err=True)
    at = logged.at.astimezone().strftime("%H:%M:%S")
    level = click.style(f"{line(logged.level):8}", fg=_COLOURS.get(logged.level))
    text = [logged.text]
    traceback = logged.extra.get("traceback")
    if isinstance(traceback, str):
        text.append(traceback.rstrip())
    first, *rest = printable("\n".join(text)).split("\n")
    click.echo(f"{at}  {level}  {line(logged.process)} {logged.pid}  {first}")
    for each in rest:
        click.echo(f"    {each}")
