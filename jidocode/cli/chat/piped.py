"""One prompt without a terminal: what is said goes to the standard output, as it comes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from jidocode.base.text import line
from jidocode.cli.chat.asking import unasked
from jidocode.cli.chat.ending import leave
from jidocode.cli.chat.text import fit, subject_of
from jidocode.cli.output import plain, print_json
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import TurnResult
from jidocode.session.agent.model import TextDelta
from jidocode.session.agent.retrying import ModelRetry
from jidocode.session.conversation.changes import ToolResult

if TYPE_CHECKING:
    from jidocode.session.agent.messages import TurnEvent
    from jidocode.system.handle import SessionHandle


def talk(session: SessionHandle, said: str, policy: str, *, as_json: bool) -> int:
    """Prompt once, print what happens, and return the exit status."""
    turn = session.agent.prompt(said, policy=unasked(policy))
    printer = _Printer()
    show = partial(_print_data, session.id) if as_json else printer.show
    try:
        for event in turn:
            show(event)
        result = turn.result()
    except BaseException as error:  # a signal, or nobody reads any more
        left = leave(turn)
        if as_json and left is not None and isinstance(error, SystemExit):
            _print_data(session.id, left)
        raise
    if as_json:
        _print_data(session.id, result)
    else:
        printer.end_line()
    if result.ok:
        return 0
    if not as_json:
        why = f": {result.error}" if result.error is not None else ""
        click.ClickException(line(f"{result.outcome.value}{why}")).show()
    return 1


def _print_data(session_id: str, event: TurnEvent | TurnResult) -> None:
    print_json({"event": type(event).__name__, "session_id": session_id, **plain(event)})


class _Printer:
    """Prints text to the standard output, and a line for each call to the standard error."""

    def __init__(self) -> None:
        self._calls: dict[str, str] = {}
        self._held = ""
        self._at_start = True

    def show(self, event: TurnEvent) -> None:
        match event:
            case TextDelta(text=text):
                text = self._held + text
                self._held = "\r" if text.endswith("\r") else ""  # is there a line feed next?
                text = fit(text.removesuffix("\r"))
                click.echo(text, nl=False)
                self._at_start = text.endswith("\n") if text else self._at_start
            case CalledTool():
                self.end_line()
                name = f"{event.name} {subject_of(event)}".rstrip()
                self._calls[event.id] = name
                click.echo(line(name), err=True)
            case ModelRetry():
                self.end_line()
                click.echo(line(event.message), err=True)
            case ToolResult(is_error=True):
                first = event.content.partition("\n")[0]
                name = self._calls.get(event.call_id, "call")  # one that was not made has none
                click.echo(line(f"{name}: {first}"), err=True)
            case _:
                pass

    def end_line(self) -> None:
        """End the line, unless it is empty."""
        if not self._at_start:
            click.echo()
            self._at_start = True
