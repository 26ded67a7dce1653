"""Whose it is what has begun and not ended: if that process dies, nobody will end it.

It is no part of what a journal keeps: if State itself dies, all that was open is ended.
"""

from __future__ import annotations

from typing import Literal

from jidocode.base.refs import ActorRef
from jidocode.session.arguments import require_ref

Owned = tuple[Literal["message", "call"], str]
"""What has an owner: of which sort it is, and its id."""


class Owners:
    """The owners of streamed messages and of tool calls."""

    def __init__(self) -> None:
        self._owned: dict[ActorRef, dict[Owned, None]] = {}
        self.new: list[ActorRef] = []
        """Owners that nobody watches yet; whoever does takes them out."""
        self.makers: dict[str, str] = {}
        """Who makes the calls of tools that have no result, as far as they have said so."""

    @staticmethod
    def check(owner: object) -> None:
        """Refuse what is no owner."""
        if owner is not None:
            require_ref("an owner", owner)

    def note(
        self, owner: ActorRef | None, kind: Literal["message", "call"], record_id: str
    ) -> None:
        """Note that *owner* has begun something."""
        if owner is None:
            return
        if owner not in self._owned:
            self._owned[owner] = {}
            self.new.append(owner)
        self._owned[owner][kind, record_id] = None

    def ended(self, kind: Literal["message", "call"], record_id: str) -> None:
        """Note that it has ended."""
        for owned in self._owned.values():
            owned.pop((kind, record_id), None)
        if kind == "call":
            self.makers.pop(record_id, None)

    def of(self, owner: ActorRef) -> list[Owned]:
        """Return what *owner* has begun and not ended, oldest first."""
        return list(self._owned.get(owner, ()))

    def forget(self, owner: ActorRef) -> None:
        """Forget an owner that is gone."""
        self._owned.pop(owner, None)
