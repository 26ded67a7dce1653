"""What a turn looks like: what is finished is printed, and below it the rest, again and again.

The rest is never higher than the terminal, so nothing flickers, and all that was printed is in the
terminal's own scrollback, once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from jidocode.base.text import line
from jidocode.cli.chat.calls import coloured, heading, outcome
from jidocode.cli.chat.markdown import Flow
from jidocode.cli.chat.safe import Safe, markdown, plain
from jidocode.cli.chat.text import subject_of
from jidocode.cli.output import duration
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.model import ReasoningDelta, TextDelta
from jidocode.session.agent.retrying import ModelRetry
from jidocode.session.conversation.changes import ToolResult

if TYPE_CHECKING:
    from jidocode.cli.chat.asking import Proposal
    from jidocode.session.agent.messages import TurnEvent, TurnResult

_MIN_SECONDS = 0.08
"""Between two drawings."""
_SHARE = 3
"""How many times as long as a drawing takes it is not drawn then, so that much text is no storm."""
_FRAME_ROWS = 4
_MAX_ROWS = 16


class Screen:
    """Draws one turn after the other."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._flow = Flow()
        self._thinks = False
        self._calls: dict[str, CalledTool] = {}
        self._proposed: str | None = None
        self._live: Live | None = None
        self._began = 0.0
        self._draw_at = 0.0
        self.status = ""
        """What is said to be going on."""

    # ----- a turn

    def start(self) -> None:
        """A turn begins."""
        self._calls.clear()
        self._proposed = None
        self._began = time.monotonic()
        self.status = ""
        self.go_on()

    def pause(self) -> None:
        """Draw nothing below what is printed, so that somebody can type there."""
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()
            self._live = None

    def go_on(self) -> None:
        """Draw again."""
        self._live = Live(self._below(), console=self._console, auto_refresh=False, transient=True)
        self._live.start(refresh=True)

    def end(self, result: TurnResult | None) -> None:
        """The turn has ended so."""
        self._finish_text()
        self.pause()
        if result is not None:
            self.say(_summary(result), style="dim" if result.ok else "yellow")

    def say(self, text: str, style: str = "") -> None:
        """Print one line of ours."""
        self._console.print(Safe(Text(line(text), style=style)))

    # ----- what happens in it

    def take(self, event: TurnEvent) -> None:
        """Show *event*."""
        match event:
            case TextDelta(text=text):
                self._add(text, thinks=False)
            case ReasoningDelta(text=text) if text:
                self._add(text, thinks=True)
            case CalledTool():
                self._finish_text()
                self._calls[event.id] = event
            case ToolResult():
                self._show_result(event)
            case ModelRetry():
                self._finish_text()
                self.say(event.message, style="dim")
            case _:
                pass

    def propose(self, proposal: Proposal) -> None:
        """Show what is about to be done, if it is allowed."""
        request = proposal.request
        self._finish_text()
        shown: list[RenderableType] = [heading(request.tool, request.subject)]
        if proposal.diff:
            shown.append(coloured(proposal.diff))
        self._print(Group(*shown))
        self._proposed = request.call_id

    def refresh(self) -> None:
        """Draw, unless that was a moment ago."""
        began = time.monotonic()
        if self._live is None or began < self._draw_at:
            return
        if whole := self._flow.take():
            self._print_text(whole)
        self._live.update(self._below(), refresh=True)
        now = time.monotonic()
        self._draw_at = now + max(_MIN_SECONDS, _SHARE * (now - began))

    def _show_result(self, result: ToolResult) -> None:
        unknown = CalledTool(result.call_id, "call", "")  # it makes no sense, and was not made
        call = self._calls.pop(result.call_id, unknown)
        said = outcome(call, result)
        if self._proposed == result.call_id:
            self._proposed = None
            if call.name == "edit_file" and not result.is_error:
                said = said.split("\n")[0]  # what it changes was shown
            self._print(said, gap=False)
        else:
            head = heading(call.name, subject_of(call), failed=result.is_error)
            self._print(Group(head, said))

    # ----- text

    def _add(self, text: str, *, thinks: bool) -> None:
        if thinks is not self._thinks:
            self._finish_text()
            self._thinks = thinks
        self._flow.add(text)

    def _finish_text(self) -> None:
        if whole := self._flow.finish():
            self._print_text(whole)

    def _print_text(self, text: str) -> None:
        if text.strip():
            self._print(self._styled(text.strip("\n")))

    def _styled(self, text: str) -> RenderableType:
        return plain(text, "dim italic") if self._thinks else markdown(text)

    def _print(self, drawn: RenderableType, *, gap: bool = True) -> None:
        if self._live is not None:
            self._live.update(self._below())
        space = [Text("")] if gap else []
        self._console.print(*space, Safe(drawn))

    # ----- what is drawn again and again

    def _below(self) -> RenderableType:
        rows = max(1, min(_MAX_ROWS, self._console.height - _FRAME_ROWS))
        parts: list[RenderableType] = [Text("")]
        if self._flow.rest.strip():
            parts.append(Safe(self._styled(self._flow.rest), rows))
        parts.append(Safe(self._status_line(), 1))
        return Group(*parts)

    def _status_line(self) -> Text:
        what = self.status or _running(self._calls)
        seconds = duration(time.monotonic() - self._began)
        return Text(
            f"{what} {seconds}, Ctrl-C cancels", style="dim", no_wrap=True, overflow="ellipsis"
        )


def _running(calls: Mapping[str, CalledTool]) -> str:
    names = [f"{call.name} {subject_of(call)}" for call in calls.values()]
    return line(", ".join(names)) if names else "..."


def _summary(result: TurnResult) -> str:
    used = result.usage
    cached = f" ({used.cached_tokens:,} cached)" if used.cached_tokens else ""
    answers = "1 answer" if used.calls == 1 else f"{used.calls} answers"
    tokens = f"{used.input_tokens:,} tokens in{cached}, {used.output_tokens:,} out"
    said = f"{tokens}, {answers}, {used.seconds:.1f} s"
    if result.ok:
        return said
    why = f": {result.error}" if result.error is not None else ""
    return f"{result.outcome.value}{why} ({said})"
