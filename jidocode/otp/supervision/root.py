"""`Root`: the top of every tree, with the registry as its first child."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from jidocode.base.text import word
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import REGISTRY, RESERVED_KINDS, ROOT_KIND
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.supervision.specs import (
    ChildSpec,
    Flags,
    Start,
    check_children,
    pack_children,
)
from jidocode.otp.supervision.strategy import Strategy
from jidocode.otp.supervision.supervisor import Supervisor

FLAGS = Flags(strategy=Strategy.ONE_FOR_ONE)


class Root(Supervisor):
    """The top of a tree: the registry, then what the app wants, each restarted alone.

    One for one, because supervisors report to a new registry what runs;
    restarting the others with it would throw away what is well.
    """

    kind: ClassVar[str] = ROOT_KIND

    @classmethod
    def start_with(
        cls,
        children: Iterable[object],
        system: Sequence[ChildSpec] | None = None,
        *,
        heartbeat: float | None = None,
    ) -> Start:
        """Return how the root is started over the library's own *system*, and *children*.

        The first of *system* is a registry. By default there is a plain one with *heartbeat*, and
        nothing else.

        Raises:
            InvalidChildSpecError: The children break a rule, have a name that is reserved, or
                cannot be pickled.
        """
        own = system or [RegistryServer.child_spec(name=REGISTRY, heartbeat=heartbeat)]
        specs = check_children([*own, *children], FLAGS)
        for spec in specs[len(own) :]:
            # Their names are claimed while they start, and they would run without.
            if spec.name is not None and spec.name[0] in RESERVED_KINDS:
                raise InvalidChildSpecError(f"the name of child {word(spec.id)} is reserved")
        pack_children(specs)  # else only the host would find out
        return Start(cls, specs)

    def init(self, children: Sequence[ChildSpec]) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return the children (called by the host, first)."""
        return FLAGS, children
