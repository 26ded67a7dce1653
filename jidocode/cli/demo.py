"""`jidocode demo`: a session whose processes are killed, one after the other, and come back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.options import ProjectFolder

if TYPE_CHECKING:
    from jidocode.base.refs import ActorRef
    from jidocode.system.handle import SessionHandle
    from jidocode.system.system import SessionSystem

_PATIENCE = 10.0


@click.command("demo", short_help="Kill every process of a session and see it come back.")
@click.argument(
    "project",
    type=ProjectFolder(),
    default=".",
)
def command(project: Path) -> None:
    """Kill every process of a session for the folder PROJECT, and watch it come back.

    It starts a system of its own, and keeps nothing; nothing in the folder is changed.
    """
    from jidocode.system.system import SessionSystem

    with SessionSystem(durability="memory") as system:
        session = system.create_session(project)
        click.echo(f"{system.tree()}\n")
        for info in session.which_children():
            _kill(system, session, system.get_process(session.id, info.id))
        click.echo(f"\n{system.tree()}")
    click.echo("\nthe system is stopped")


def _kill(system: SessionSystem, session: SessionHandle, victim: ActorRef) -> None:
    """Kill a child with signal 9, and say what becomes of the session."""
    from jidocode.otp import ChildStarted

    with system.events(session.id) as events:
        os.kill(victim.os_pid, signal.SIGKILL)
        waiting = {info.id for info in session.which_children()}
        while waiting:
            event = events.get(_PATIENCE)
            if event is None:
                raise click.ClickException(f"the session did not recover from the end of {victim}")
            if isinstance(event.fact, ChildStarted) and event.fact.child_id in waiting:
                waiting.remove(event.fact.child_id)
                seconds = event.fact.recovered_after or 0.0
                click.echo(
                    f"kill -9 {victim.os_pid} ({victim.kind}): {event.fact.child_id} is back as "
                    f"pid {event.fact.ref.os_pid} after {seconds * 1000:.1f} ms"
                )
    click.echo(f"the session is {session.health_check().status.value}")
