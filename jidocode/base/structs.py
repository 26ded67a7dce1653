"""What only travels, or lives inside a machine, and carries what must not be printed."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from msgspec import Struct

from jidocode.base.records import text_of


class Discreet(Struct, frozen=True):
    """The base of structs that carry what must not be printed.

    Attributes:
        hidden: The fields that are left out of the text.
    """

    hidden: ClassVar[Collection[str]] = ()

    def __repr__(self) -> str:
        return text_of(self, (name for name in self.__struct_fields__ if name not in self.hidden))
