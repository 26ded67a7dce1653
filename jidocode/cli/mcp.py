"""`jidocode mcp`: the tools of a session for clients of the Model Context Protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.ending import heed_no_signal
from jidocode.cli.options import ProjectFolder, attach, config_option, open_session

if TYPE_CHECKING:
    from jidocode.bridges.mcp.offer import Offer
    from jidocode.system.handle import SessionHandle


@click.command("mcp")
@click.argument("project", type=ProjectFolder(), required=False)
@click.option("--system", "system_name", help="Use an open session of that system.")
@click.option("--session", help="Which one: its id or name; with --system only.")
@config_option
@click.option(
    "--policy",
    type=click.Choice(["read-only", "accept-edits", "allow-all"]),
    default="read-only",
    show_default=True,
    help="What clients may do.",
)
@click.option(
    "--http",
    "port",
    type=click.IntRange(0, 65535),
    help="Listen on this port of 127.0.0.1, 0 for any; standard input and output otherwise.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --http: holds the token, for your eyes only; or set JIDOCODE_MCP_TOKEN.",
)
def command(  # noqa: PLR0913 - they are options
    *,
    project: Path | None,
    system_name: str | None,
    session: str | None,
    config: Path | None,
    policy: str,
    port: int | None,
    token_file: Path | None,
) -> None:
    """Give a session's tools to an editor or another program that speaks MCP.

    It opens a session for PROJECT, the current folder by default, and everything ends with it;
    or it uses one that is open already. A client starts it, and is served until it is gone; or
    clients connect over HTTP.
    """
    if (system_name is None) is not (session is None):
        raise click.UsageError("--system and --session go together")
    if system_name is not None and (project is not None or config is not None):
        raise click.UsageError("PROJECT and --config are for a system of its own, without --system")
    if token_file is not None and port is None:
        raise click.UsageError("--token-file is for --http")
    serve = _over_stdio() if port is None else _over_http(port, token_file)

    from jidocode.bridges.mcp.offer import Access, Offer

    with _opened(project, config, system_name, session) as handle:
        try:
            serve(Offer(handle, Access(policy)))
        finally:
            heed_no_signal()


@contextmanager
def _opened(
    project: Path | None, config: Path | None, system_name: str | None, session: str | None
) -> Generator[SessionHandle]:
    from jidocode.system.settings import Settings
    from jidocode.system.system import SessionSystem

    if system_name is not None and session is not None:
        with attach(system_name, read_only=False) as system:
            yield open_session(system, session)
    else:
        with SessionSystem(Settings.load(config)) as system:
            yield system.create_session(project or Path())


def _over_stdio() -> Callable[[Offer], None]:
    from jidocode.bridges.mcp.stdio import serve_stdio
    from jidocode.bridges.pipes import Pipes

    pipes = Pipes.claim()  # before anything is started that might print
    return lambda offer: serve_stdio(offer, pipes)


def _over_http(port: int, token_file: Path | None) -> Callable[[Offer], None]:
    from jidocode.bridges.mcp.http import address, listen, serve_http
    from jidocode.bridges.mcp.token import make_token, take_token

    known = take_token(token_file, os.environ)
    token = known or make_token()
    sock = listen(port)

    def serve(offer: Offer) -> None:
        click.echo(f"listening on {address(sock)}", err=True)
        if known is None:
            click.echo(f"token: {token}", err=True)
        serve_http(offer, sock, token)

    return serve
