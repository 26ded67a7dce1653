"""`jidocode tree`: the live tree of a system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jidocode.cli.options import attach, json_option, system_option

if TYPE_CHECKING:
    from jidocode.system.overview import ProcessOverview

HEAD = ("NAME", "STATUS", "PID", "RESTARTS", "UPTIME", "MEMORY", "LAST EXIT")


@click.command("tree")
@system_option
@json_option
def command(system_name: str, *, as_json: bool) -> None:
    """Show the processes of a system, asked how they are."""
    from jidocode.cli.output import print_json, print_table
    from jidocode.system.overview import overview

    with attach(system_name) as system:
        found = overview(system)
    if as_json:
        print_json(found)
    else:
        print_table(HEAD, [row(drawn, process) for drawn, process in found.lines()])


def row(drawn: str, process: ProcessOverview) -> tuple[str, ...]:
    """Return what is shown of *process*, behind the lines that are *drawn* before it."""
    from jidocode.cli.output import duration, size

    name = f"{process.session_name} " if process.session_name else ""
    return (
        f"{drawn}{name}{process.id}",
        process.status,
        str(process.pid or "-"),
        str(process.restarts),
        duration(process.uptime),
        size(process.memory),
        str(process.last_exit or ""),
    )
