"""The command itself: what it is told, which session it opens, and in which form it talks."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidocode.cli.ending import heed_no_signal
from jidocode.cli.model import base_url_option, model_option, model_spec
from jidocode.cli.options import (
    ProjectFolder,
    attach,
    complete_session,
    complete_system,
    config_option,
    json_option,
    resumable_id,
)
from jidocode.cli.streams import are_a_terminal

if TYPE_CHECKING:
    from jidocode.session.agent.spec import ModelSpec
    from jidocode.system.handle import SessionHandle
    from jidocode.system.system import SessionSystem

_ASK = "ask"
_READ_ONLY = "read-only"


@click.command("chat")
@click.argument("project", type=ProjectFolder(), required=False)
@click.option("--new", is_flag=True, help="Begin a new conversation.")
@click.option(
    "--session",
    help="Go on with that one: an id or a name.",
    shell_complete=complete_session,
)
@click.option(
    "--system",
    "system_name",
    help="Join that system; the session stays open in it.",
    shell_complete=complete_system,
)
@model_option
@base_url_option
@config_option
@click.option(
    "--policy",
    type=click.Choice([_ASK, _READ_ONLY, "accept-edits", "allow-all"]),
    help="What it may do unasked; on a terminal it asks, otherwise it only reads.",
)
@json_option
def command(  # noqa: PLR0913 - they are options
    *,
    project: Path | None,
    new: bool,
    session: str | None,
    system_name: str | None,
    model: str | None,
    base_url: str | None,
    config: Path | None,
    policy: str | None,
    as_json: bool,
) -> None:
    """Talk with a language model that works on PROJECT, the current folder by default.

    It goes on with the project's last conversation. Ctrl-C cancels what it does, Ctrl-D ends the
    chat. If the standard input is no terminal, all of it is one prompt, and the status is 0 if
    that was answered. The key of the model's server is in OPENAI_API_KEY.
    """
    if session is not None and (project is not None or new):
        raise click.UsageError("--session says which conversation; leave out PROJECT and --new")
    told = [name for name in ("model", "base_url", "config") if _is_typed(name)]
    if system_name is not None and told:
        option = told[0].replace("_", "-")
        raise click.UsageError(f"--{option} is for a system of its own, without --system")
    is_terminal = are_a_terminal() and not as_json
    if policy == _ASK and not is_terminal:
        raise click.UsageError("--policy ask needs a terminal")
    policy = policy or (_ASK if is_terminal else _READ_ONLY)
    said = "" if is_terminal else _all_of_stdin()
    with _system(system_name, config, model, base_url) as system:
        handle = _opened(system, project, session, new=new)
        if system_name is None and model and handle.session.config.model not in (None, model):
            handle.update_config({"model": model})
        try:
            if is_terminal:
                from jidocode.cli.chat.terminal import Chat

                Chat(handle, policy, name=model).run()
            else:
                from jidocode.cli.chat.piped import talk

                raise click.exceptions.Exit(talk(handle, said, policy, as_json=as_json))
        finally:
            heed_no_signal()


def _is_typed(name: str) -> bool:
    """Whether that option stands on the command line, and not in the environment."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


_MAX_PROMPT = 8_000_000
"""Bytes of a prompt that are read at most; State takes a million characters."""


def _all_of_stdin() -> str:
    said = sys.stdin.buffer.read(_MAX_PROMPT).decode("utf-8", "replace").strip()
    if not said:
        raise click.ClickException("there is no prompt on the standard input")
    return said


@contextmanager
def _system(
    name: str | None, config: Path | None, model: str | None, base_url: str | None
) -> Generator[SessionSystem]:
    """Give the system called *name*, or one of its own."""
    if name is not None:
        with attach(name, read_only=False) as system:
            if system._running.tooling.model is None:  # noqa: SLF001 - nothing public says it yet
                raise click.ClickException(
                    f"system {name} has no model: start it by `jidocode serve --model MODEL`"
                )
            yield system
        return
    from jidocode.system.settings import Settings
    from jidocode.system.system import SessionSystem

    spec = _require(model_spec(model, base_url))
    with SessionSystem(Settings.load(config), model=spec) as system:
        yield system


def _require(spec: ModelSpec | None) -> ModelSpec:
    """Return *spec*; say what is missing if there is none, or not what it needs."""
    if spec is None:
        raise click.ClickException(
            "which model? Name it by --model or JIDOCODE_MODEL; its server is that of OpenAI, or "
            "what --base-url or OPENAI_BASE_URL says, and its key is in OPENAI_API_KEY"
        )
    if find_spec("openai") is None:  # nothing here imports it, but the model's process will
        raise ModuleNotFoundError(name="openai")
    return spec


def _opened(
    system: SessionSystem, project: Path | None, session: str | None, *, new: bool
) -> SessionHandle:
    if session is not None:
        session_id = resumable_id(system, session)
        if system.session_running(session_id):
            return system.get_session(session_id)
        return system.resume_session(session_id)
    folder = project or Path(os.curdir)
    return system.create_session(folder) if new else system.open_session(folder)
