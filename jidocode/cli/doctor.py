"""`jidocode doctor`: whether jidocode works here, found by trying it."""

from __future__ import annotations

from pathlib import Path

import click

from jidocode.cli.options import config_option, json_option


@click.command("doctor", short_help="Try what jidocode needs here and say what is missing.")
@config_option
@json_option
def command(config: Path | None, *, as_json: bool) -> None:
    """Try what jidocode needs here; say what is missing, and what to do.

    The exit status is 1 if something is missing that the settings need.
    """
    from jidocode.cli.output import print_json, print_table
    from jidocode.system.diagnosis import diagnose
    from jidocode.system.settings import Settings

    findings = diagnose(Settings.load(config))
    if as_json:
        print_json(findings)
    else:
        print_table(
            ("STATUS", "WHAT", "FOUND"),
            [(each.status, each.about, each.found) for each in findings],
        )
        for each in findings:
            if each.advice:
                click.echo(f"\n{each.about}: {each.advice}")
    if any(each.status == "missing" for each in findings):
        raise click.exceptions.Exit(1)
