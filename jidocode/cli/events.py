"""`jidocode events`: what runs in a system, and what happens in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from jidocode.cli.options import attach, explain_end, json_option, open_session, system_option

if TYPE_CHECKING:
    from jidocode.system.events import Event, EventStream
    from jidocode.system.system import SessionSystem

# The fields of a fact that say more than whom it is about.
_DETAILS = (
    *("os_pid", "ref", "reason", "recovered_after", "restarting", "on_request", "missed"),
    *("error", "value", "paths", "model", "stop_reason", "usage"),
)

_SHORT = 8


@click.command("events", short_help="Show which processes run and what changes.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--session", help="Only those of this open session, an id or a name.")
@system_option
@json_option
def command(session: str | None, system_name: str, *, follow: bool, as_json: bool) -> None:
    """Show which processes run; with --follow also every change, as it happens.

    It ends when the system does, or the session, or by Ctrl-C. With --json each is a line.
    """
    from jidocode.cli.output import print_json

    with attach(system_name) as system:
        session_id = open_session(system, session).id if session is not None else None
        if not follow:
            for each in _running(system, session_id):
                if as_json:
                    print_json(each)
                else:
                    click.echo(_running_line(each))
            return
        with system.events(session_id) as stream:
            _follow(stream, as_json=as_json)
            explain_end(system, system_name)


def _follow(stream: EventStream, *, as_json: bool) -> None:
    from jidocode.cli.output import print_json

    dropped = 0
    for event in stream:
        if stream.dropped > dropped:
            lost, dropped = stream.dropped - dropped, stream.dropped
            click.echo(f"{lost} events came too fast and are lost", err=True)
        if as_json:
            print_json(as_data(event))
        else:
            click.echo(as_line(event))


def _running_data(session_id: str | None, child_id: str, os_pid: int) -> dict[str, Any]:
    return {
        "event": "Running",
        "session_id": session_id,
        "child_id": child_id,
        "os_pid": os_pid,
    }


def _running_line(data: dict[str, Any]) -> str:
    from jidocode.base.text import line

    session, child_id = _short(data["session_id"]), line(data["child_id"])
    return f"{'':8}  {data['event']:16}  {session}  {child_id}  pid {data['os_pid']}"


def _short(session_id: str | None) -> str:
    """Return how an id begins, which tells sessions apart, as wide for what is in none."""
    return f"{(session_id or '')[:_SHORT]:{_SHORT}}"


def _running(system: SessionSystem, session_id: str | None) -> list[dict[str, Any]]:
    from jidocode.system.overview import overview

    return [
        _running_data(process.session_id, process.id, process.pid)
        for _, process in overview(system).lines()
        if process.pid is not None and session_id in (None, process.session_id)
    ]


def as_data(event: Event) -> dict[str, Any]:
    """Return *event* as JSON has it."""
    from jidocode.cli.output import plain
    from jidocode.otp.supervision.events import ChildRunning

    if isinstance(event.fact, ChildRunning):
        return _running_data(event.session_id, event.fact.child_id, event.fact.ref.os_pid)
    fact = plain(event.fact)
    fields = cast("dict[str, Any]", fact) if isinstance(fact, dict) else {"text": fact}
    return {
        "event": type(event.fact).__name__,
        "session_id": event.session_id,
        "at": event.at.isoformat(),
        **fields,
    }


def as_line(event: Event) -> str:
    """Return *event* for people."""
    from jidocode.base.text import line, quote
    from jidocode.otp.supervision.events import ChildRunning
    from jidocode.session.conversation.blocks import Usage

    fact = event.fact
    if isinstance(fact, ChildRunning):
        return _running_line(as_data(event))
    at = event.at.astimezone().strftime("%H:%M:%S")
    said = [at, f"{type(fact).__name__:16}", _short(event.session_id)]
    child_id = getattr(fact, "child_id", None)
    if child_id is not None:
        said.append(line(str(child_id)))
    for name in _DETAILS:
        value = getattr(fact, name, None)
        match value:
            case None | False | "":
                continue
            case True:
                said.append(name.replace("_", " "))
            case float():
                said.append(f"recovered after {value * 1000:.1f} ms")
            case int():
                said.append(f"{'pid' if name == 'os_pid' else name} {value}")
            case Usage():
                read, told = value.input_tokens, value.output_tokens
                said.append(f"{read} tokens read, {told} said, {value.seconds:.1f} s")
            case _:
                said.append(quote(value) if name == "value" else line(str(value)))
    return "  ".join(said)
