"""`jidocode acp`: an agent for editors that speak the Agent Client Protocol."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.model import base_url_option, model_option, model_spec
from jidocode.cli.options import complete_system, config_option

if TYPE_CHECKING:
    from jidocode.session.agent.spec import ModelSpec
    from jidocode.system.asynchronous.system import AsyncSessionSystem


@click.command("acp")
@click.option(
    "--attach",
    "system_name",
    metavar="NAME",
    help="Work in that system, as `serve` names it, with its model.",
    shell_complete=complete_system,
)
@model_option
@base_url_option
@click.option(
    "--other-model",
    "others",
    metavar="MODEL",
    multiple=True,
    help="One more of the same server, for the editor to choose from; may be given again.",
)
@config_option
def command(
    *,
    system_name: str | None,
    model: str | None,
    base_url: str | None,
    others: Sequence[str],
    config: Path | None,
) -> None:
    """Be an agent for an editor, which starts this command and talks to it (ACP).

    It has a system of its own, which ends with the editor; or it works in one that others work
    in, too. What it logs goes to the standard error.
    """
    if system_name is not None and config is not None:
        raise click.UsageError("--config is for a system of its own, without --attach")
    spec = model_spec(model, base_url) if system_name is None else None
    if system_name is None and spec is None:
        raise click.UsageError("it needs a model: --model, or the variable JIDOCODE_MODEL")

    from jidocode.bridges.acp.serving import run
    from jidocode.bridges.pipes import Pipes

    pipes = Pipes.claim()  # before anything is started that might print

    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    logger.enable("jidocode")
    run(_system(system_name, spec, config), others, pipes)


def _system(name: str | None, spec: ModelSpec | None, config: Path | None) -> AsyncSessionSystem:
    from jidocode.system.asynchronous.system import AsyncSessionSystem
    from jidocode.system.settings import Settings

    if name is not None:
        return AsyncSessionSystem.attach(name)
    return AsyncSessionSystem(Settings.load(config), model=spec)
