"""Which model a system has, as the command line and the environment say it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from jidocode.cli.key import KEY_VARIABLE, given_key

if TYPE_CHECKING:
    from jidocode.session.agent.spec import ModelSpec


def _address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return *value* if a server can be there; it is not shown, for a password may be in it."""
    from jidocode.base.addresses import is_web_address

    del ctx, param
    if value and not is_web_address(value):
        raise click.BadParameter("must be an address such as http://127.0.0.1:8080/v1")
    return value


model_option = click.option(
    "--model",
    envvar="JIDOCODE_MODEL",
    show_envvar=True,
    help="What the agents of its sessions speak with, as the model's server calls it.",
)
base_url_option = click.option(
    "--base-url",
    callback=_address,
    envvar="JIDOCODE_BASE_URL",
    show_envvar=True,
    help=f"Where the model's server is, OPENAI_BASE_URL by default; its key is {KEY_VARIABLE}.",
)


def model_spec(model: str | None, base_url: str | None) -> ModelSpec | None:
    """Return the model of that name; None if there is no name.

    A key goes to the server that it is for and to no other one: that of OpenAI's variables to
    theirs, which its SDK sees to, and ours to *base_url*.
    """
    from jidocode.session.agent.spec import ModelSpec

    if not model:
        return None
    options: dict[str, Any] = {"model": model}
    if base_url:
        options["base_url"] = base_url
        if os.environ.get(KEY_VARIABLE):
            options["api_key"] = given_key
    return ModelSpec(options=options)
