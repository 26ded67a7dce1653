"""`Partitions`: one kind of process several times, each for its share of all keys."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

from attrs import Attribute, evolve, field, frozen

from jidocode.base.records import Record
from jidocode.base.refs import Name
from jidocode.base.text import quote
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.supervision.specs import (
    Child,
    ChildSpec,
    ChildSpecOptions,
    Flags,
    as_spec,
    is_count,
)
from jidocode.otp.supervision.supervisor import Supervisor


def _is_kind(_: object, __: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidChildSpecError(f"kind must be a non-empty str, got {quote(value)}")


def _is_number(_: object, __: Attribute[Any], value: object) -> None:
    if not is_count(value) or value == 0:
        raise InvalidChildSpecError(f"count must be an int > 0, got {quote(value)}")


class PartitionSupervisor(Supervisor):
    """Supervises the processes of `Partitions`, each restarted alone."""

    kind: ClassVar[str] = "partitions"

    def init(
        self, flags: Flags, children: Sequence[ChildSpec]
    ) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return the partitions (called by the host, first)."""
        return flags, children


@frozen(eq=False, repr=False)
class Partitions(Record):
    """*count* processes of one kind, each for its share of all keys (Elixir: PartitionSupervisor).

    One server handles one message at a time; several of them, told apart by a key, as many as
    there are. Make the value once, where both the tree and its users import it:
    `child_spec` starts the processes, and `name_of` says which of them a key belongs to.

    Attributes:
        kind: The first part of their names; the second is the number, from "0" on.
        count: How many there are.
    """

    kind: str = field(validator=_is_kind)
    count: int = field(validator=_is_number)

    @property
    def names(self) -> list[Name]:
        """The names of all of them."""
        return [(self.kind, str(number)) for number in range(self.count)]

    def name_of(self, key: object) -> Name:
        """Return the name of the one that *key* belongs to, always the same.

        An int goes by its remainder; anything else by its `repr`, which so must be the same in
        all processes: text, bytes, tuples of such, refs.
        """
        if not isinstance(key, int):
            key = zlib.crc32(repr(key).encode("utf-8", "backslashreplace"))
        return self.kind, str(key % self.count)

    def child_spec(
        self, child: Child, *, flags: Flags | None = None, **options: Unpack[ChildSpecOptions]
    ) -> ChildSpec:
        """Return the spec of a supervisor of *count* times *child*.

        Args:
            child: What each of them is; it gets its name from here, and learns from that
                (`GenServer.name`) which one it is.
            flags: The supervisor's; the defaults if not given.
            options: The other fields of its `ChildSpec`; `id` is the kind unless given.

        Raises:
            InvalidChildSpecError: A spec breaks a rule, or *child* has a name.
        """
        spec = as_spec(child)
        if spec.name is not None:
            raise InvalidChildSpecError(f"a partition gets its name, and has {quote(spec.name[0])}")
        children = [evolve(spec, id=name[1], name=name) for name in self.names]
        options.setdefault("id", self.kind)
        return PartitionSupervisor.child_spec(flags or Flags(), children, **options)
