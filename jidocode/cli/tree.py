"""`jidocode tree`: the live tree of a system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jidocode.cli.options import attach, json_option, system_option

if TYPE_CHECKING:
    from jidocode.system.overview import ProcessOverview

HEAD = (
    *("NAME", "STATUS", "PID", "RESTARTS", "UPTIME", "CPU", "MEMORY", "CALLS", "COMMANDS"),
    *("TOKENS", "LAST EXIT"),
)


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
        print_table(HEAD, [_row(drawn, process) for drawn, process in found.lines()])


def _row(drawn: str, process: ProcessOverview) -> tuple[str, ...]:
    """Return what is shown of *process*, behind the lines that are *drawn* before it."""
    from jidocode.cli.output import duration, size, tokens

    name = f"{process.session_name} " if process.session_name else ""
    return (
        f"{drawn}{name}{process.id}",
        process.status,
        str(process.pid or "-"),
        str(process.restarts),
        duration(process.uptime),
        "-" if process.cpu_time is None else f"{process.cpu_time:.2f}s",
        size(process.memory),
        "-" if process.calls is None else str(process.calls),
        "" if process.commands is None else str(process.commands),
        tokens(process.usage),
        str(process.last_exit or ""),
    )
