"""`jidocode sessions`: the sessions that have a journal, open or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.options import (
    ProjectFolder,
    archive,
    archived_id,
    attach,
    complete_session,
    config_option,
    json_option,
    open_session,
    resumable_id,
    session_argument,
    system_option,
    system_with,
)

if TYPE_CHECKING:
    from jidocode.session.journal.catalogue import Resumable
    from jidocode.session.record import Session

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return *value* if a session can be called so."""
    from jidocode.errors import InvalidSessionError
    from jidocode.session.record import validate_name

    del ctx, param
    try:
        return value if value is None else validate_name(value)
    except InvalidSessionError as error:
        raise click.BadParameter(error.message) from error


@click.group("sessions", short_help="List and keep sessions and their journals.")
def command() -> None:
    """List, show, create, resume, stop, fork, export, delete and prune sessions.

    They are those of the state directory, which the settings say; no system has to run, except
    to create, resume or stop one.
    """


@command.command("list")
@click.option("--project", type=click.Path(path_type=Path), help="Only those of this folder.")
@config_option
@json_option
def list_(project: Path | None, config: Path | None, *, as_json: bool) -> None:
    """List the sessions, the last one written to first."""
    from jidocode.cli.output import print_json

    found = archive(config).find_all(project)
    if project is not None and not found and not project.exists():
        said = f"there is no folder {project}, and no session of one"
        raise click.BadParameter(said, param_hint="'--project'")
    if as_json:
        print_json(found)
    else:
        _print(found)


@command.command()
@session_argument
@config_option
@json_option
def show(session: str, config: Path | None, *, as_json: bool) -> None:
    """Show what is known of a session."""
    from jidocode.base.text import line
    from jidocode.cli.output import moment, print_json, size

    journals = archive(config)
    found = journals.find(archived_id(journals, session))
    if as_json:
        print_json(found)
        return
    record = found.session
    rows = {
        "id": found.session_id,
        "name": record.name if record else "cannot be read",
        "project": record.project_path if record else "cannot be read",
        "language": (record.language if record else None) or "-",
        "created": moment(record.created_at) if record else "-",
        "written to": moment(found.modified_at),
        "changes": str(found.last_seq),
        "size": size(found.size),
        "state": _state(found),
    }
    for key, value in rows.items():
        click.echo(f"{key:11} {line(value)}")


@command.command(short_help="Open a session for a project.")
@click.argument("project", type=ProjectFolder())
@click.option("--name", callback=_name, help="The folder's name by default.")
@system_option
@json_option
def create(project: Path, name: str | None, system_name: str, *, as_json: bool) -> None:
    """Open a session for the folder PROJECT, in a system that runs; print its id."""
    with attach(system_name, read_only=False) as system:
        record = system.create_session(project, name=name).session
    _print_id(record, as_json=as_json)


@command.command(short_help="Open a session again.")
@session_argument
@click.option(
    "--project",
    type=ProjectFolder(),
    help="Where its project is now, if it was moved.",
)
@system_option
@json_option
def resume(session: str, project: Path | None, system_name: str, *, as_json: bool) -> None:
    """Open a session again, in a system that runs."""
    with attach(system_name, read_only=False) as system:
        session_id = resumable_id(system, session)
        record = system.resume_session(session_id, project_path=project).session
    _print_id(record, as_json=as_json)


@command.command(short_help="Stop an open session.")
@session_argument
@system_option
def stop(session: str, system_name: str) -> None:
    """Stop an open session of a system that runs; it can be resumed."""
    with attach(system_name, read_only=False) as system:
        system.stop_session(open_session(system, session).id)


@command.command(short_help="Begin a session with a copy of another one.")
@session_argument
@click.option("--upto", type=click.IntRange(min=1), help="The last change to copy.")
@click.option("--name", callback=_name, help="That of the other one by default.")
@config_option
@json_option
def fork(
    session: str, upto: int | None, name: str | None, config: Path | None, *, as_json: bool
) -> None:
    """Begin a new session with a copy of the conversation of another one; print its id."""
    from jidocode.errors import InvalidRequestError

    found = archive(config)
    try:
        record = found.fork(archived_id(found, session), upto_seq=upto, name=name)
    except InvalidRequestError as error:
        raise click.BadParameter(error.message, param_hint="'--upto'") from error
    _print_id(record, as_json=as_json)


@command.command(short_help="Print a session as lines of JSON or as Markdown.")
@session_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "markdown"]),
    default="jsonl",
    show_default=True,
    help="Every change, or what was said.",
)
@config_option
def export(session: str, form: str, config: Path | None) -> None:
    """Print all changes of a session as lines of JSON, or its conversation as Markdown."""
    from jidocode.cli.output import print_json
    from jidocode.system.transcript import as_markdown

    found = archive(config)
    changes = found.export(archived_id(found, session))
    if form == "jsonl":
        for change in changes:
            print_json(change)
    else:
        for paragraph in as_markdown(changes):
            click.echo(paragraph.encode("utf-8", "replace"))


@command.command(short_help="Delete sessions that are not open.")
@click.argument(
    "sessions", metavar="SESSION...", nargs=-1, required=True, shell_complete=complete_session
)
@config_option
def delete(sessions: Sequence[str], config: Path | None) -> None:
    """Delete sessions that are not open: their journals, and their snapshots.

    `sessions stop` ends one that is open. One that cannot be deleted does not keep the others;
    the status is 1 then.
    """
    from jidocode.errors import JidocodeError, JournalLockedError

    found, problems = archive(config), list[str]()
    for session in sessions:
        try:
            session_id = archived_id(found, session)
            try:
                found.delete(session_id)
            except JournalLockedError as error:
                problems.append(_where_open(session_id) or error.message)
        except (JidocodeError, click.ClickException) as error:
            problems.append(error.message)
    _fail(problems)


def _where_open(session_id: str) -> str | None:
    """Say in which system a session is open, and how to end it; None if in none with a name."""
    name = system_with(session_id)
    if name is None:
        return None
    return (
        f"session {session_id} is open in system {name}: "
        f"`jidocode sessions stop {session_id} --system {name}` ends it"
    )


def _fail(problems: Sequence[str]) -> None:
    """End with status 1, if there are any; each is a sentence."""
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _age(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    del ctx, param
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,6})([smhdw])", value)
    if match is None:
        raise click.BadParameter("must be a number and one of s, m, h, d, w, such as 30d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    del ctx, param
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", value)
    if match is None:
        raise click.BadParameter("must be a number of bytes, or one of K, M, G, such as 500M")
    return int(match[1]) * _SIZES[match[2]]


@command.command(short_help="Delete the oldest sessions that are not open.")
@click.option("--older-than", callback=_age, help="Those not written to for so long, such as 30d.")
@click.option("--keep", type=click.IntRange(min=0), help="All but so many, the latest ones.")
@click.option("--max-size", callback=_bytes, help="Until all have so many bytes, such as 500M.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@config_option
@json_option
def prune(  # noqa: PLR0913 - what can be said on the command line
    older_than: timedelta | None,
    keep: int | None,
    max_size: int | None,
    config: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete the oldest sessions that are not open, by any of the rules; list them.

    What counts is when the journal was last written to, and its size, without snapshots.
    """
    from jidocode.cli.output import print_json
    from jidocode.errors import JournalError, JournalLockedError, SessionNotFoundError
    from jidocode.system.pruning import superfluous

    if older_than is None and keep is None and max_size is None:
        raise click.UsageError("say what is too old, too many or too large")
    found = archive(config)
    chosen = superfluous(
        found.find_all(),
        now=datetime.now(UTC),
        older_than=older_than,
        keep=keep,
        max_size=max_size,
    )
    deleted: list[Resumable] = []
    problems: list[str] = []
    for each in chosen:
        try:
            if not dry_run:
                found.delete(each.session_id)
        except (JournalLockedError, SessionNotFoundError):  # opened, or deleted, meanwhile
            continue
        except JournalError as error:
            problems.append(error.message)
        else:
            deleted.append(each)
    if as_json:
        print_json(deleted)
    else:
        _print(deleted)
    _fail(problems)


def _state(found: Resumable) -> str:
    if found.locked_by is not None:
        return f"open (pid {found.locked_by})"
    return "damaged" if found.damaged else "closed"


def _print(found: Sequence[Resumable]) -> None:
    from jidocode.cli.output import moment, print_table, size

    print_table(
        ("ID", "NAME", "PROJECT", "CHANGES", "SIZE", "WRITTEN TO", "STATE"),
        [
            (
                each.session_id,
                each.session.name if each.session else "-",
                each.session.project_path if each.session else "-",
                str(each.last_seq),
                size(each.size),
                moment(each.modified_at),
                _state(each),
            )
            for each in found
        ],
    )


def _print_id(record: Session, *, as_json: bool) -> None:
    """Print which session it is; as JSON, all of its record."""
    from jidocode.cli.output import print_json

    if as_json:
        print_json(record)
    else:
        click.echo(record.id)
