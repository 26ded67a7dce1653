"""What is drawn of foreign text: no character of it means anything to a terminal.

A model's answer is cleaned before it is read as Markdown, so that what is left out shows as such;
and what was drawn is cleaned once more, for Markdown has characters by number, `&#12;`, too. Links
are shown with where they lead: a terminal's own links (OSC 8) hide that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Heading, Markdown
from rich.segment import Segment
from rich.text import Text

from jidocode.cli.chat.markdown import PARSER
from jidocode.cli.chat.text import fit


class _Heading(Heading):
    """One at the left, where answers in a terminal have it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        self.text.justify = "left"
        yield self.text


class _Markdown(Markdown):
    elements: ClassVar = {**Markdown.elements, "heading_open": _Heading}


def markdown(text: str) -> RenderableType:
    """Return *text*, in Markdown, to be drawn."""
    drawn = _Markdown("", code_theme="ansi_dark", hyperlinks=False)
    drawn.parsed = PARSER.parse(fit(text))
    return drawn


def plain(text: str, style: str = "") -> Text:
    """Return *text* to be drawn as it is."""
    return Text(fit(text), style=style)


class Safe:
    """Draws what it is given, without what is unprintable; its last lines only, if told so."""

    def __init__(self, drawn: RenderableType, last: int | None = None) -> None:
        self._drawn = drawn
        self._last = last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._drawn, options.update(height=None), pad=False)
        while len(lines) > 1 and not "".join(part.text for part in lines[0]).strip():
            lines.pop(0)  # as lists have one, in Markdown
        for line in lines if self._last is None else lines[-self._last :]:
            yield from _trimmed([*_clean(line)])
            yield Segment.line()


def _trimmed(line: list[Segment]) -> list[Segment]:
    """Return *line* without the blanks at its end, which would wrap in a narrower terminal."""
    while line and not (line[-1].style and line[-1].style.bgcolor):
        text, style, control = line.pop()
        if control or text.rstrip():
            line.append(Segment(text.rstrip(), style, control))
            break
    return line


def _clean(line: list[Segment]) -> Iterator[Segment]:
    for text, style, control in line:
        if control or text.isprintable():
            yield Segment(text, style, control)
        else:  # they have no width: what is drawn keeps its shape
            yield Segment("".join(each for each in text if each.isprintable()), style)
