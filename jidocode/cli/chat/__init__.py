"""`jidocode chat`: a conversation in the terminal with a model that works on a project."""

from __future__ import annotations

from jidocode.cli.chat.command import command

__all__ = ["command"]
