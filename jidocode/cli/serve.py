"""`jidocode serve`: a system in the foreground, for other processes to attach."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.model import base_url_option, model_option, model_spec
from jidocode.cli.options import config_option

if TYPE_CHECKING:
    from jidocode.system.system import SessionSystem


def _name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return *value* if a system can be called so."""
    from jidocode._host.attach.place import require_name
    from jidocode.errors import InvalidSettingError

    del ctx, param
    try:
        return require_name(value)
    except InvalidSettingError as error:
        raise click.BadParameter(error.problem) from error


def _seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    from jidocode.otp.seconds import is_seconds

    del ctx, param
    if value is not None and not is_seconds(value):
        raise click.BadParameter("must be seconds, 1e9 at most")
    return value


@click.command("serve", short_help="Run a system in the foreground for others to attach.")
@click.option(
    "--name", default="default", show_default=True, callback=_name, help="By which others attach."
)
@config_option
@model_option
@base_url_option
@click.option(
    "--idle-timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=_seconds,
    help="Seconds after which it ends if nobody is attached; never by default.",
)
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="Where your own modules are, those of children among them.",
)
def command(  # noqa: PLR0913 - they are options
    *,
    name: str,
    config: Path | None,
    model: str | None,
    base_url: str | None,
    idle_timeout: float | None,
    app_dir: str,
) -> None:
    """Run a system in the foreground, until SIGTERM, for others to attach.

    In Python: SessionSystem.attach("NAME"). Sessions live on while your app is reloaded, and
    all its workers share them.
    """
    from loguru import logger

    from jidocode.system.serving import serve
    from jidocode.system.settings import Settings

    sys.path.insert(0, str(Path(app_dir).resolve()))
    logger.enable("jidocode")

    def tell(system: SessionSystem) -> None:
        pids = f"pid {os.getpid()}, host pid {system.host_pid}"
        click.echo(f"system {name} is ready ({pids})")

    serve(
        name,
        Settings.load(config),
        model=model_spec(model, base_url),
        idle_timeout=idle_timeout,
        on_ready=tell,
    )
