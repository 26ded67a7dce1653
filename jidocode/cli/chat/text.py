"""Foreign text made fit for a terminal, and what a call of a tool is about, in words."""

from __future__ import annotations

import json

from jidocode.base.text import line, visible
from jidocode.session.agent.message import CalledTool
from jidocode.session.tools.arguments import shown_object

_SPACES = {ord(each): " " for each in "\xa0\u1680\u2007\u202f\u205f\u3000"}


def fit(text: str) -> str:
    """Return *text* with its lines, spaces for tabs, and nothing unprintable."""
    plain = text.replace("\r\n", "\n").replace("\t", "    ").translate(_SPACES)
    return visible(plain)


def subject_of(call: CalledTool) -> str:
    """Return what *call* is about: its first argument, on one line."""
    first = next(iter(shown_object(call.arguments).values()), "")
    return line(first if isinstance(first, str) else json.dumps(first))
