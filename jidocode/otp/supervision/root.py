"""`Root`: the top of every tree, with the registry as its first child."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import ClassVar

from jidocode.base.text import describe
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start, check_children
from jidocode.otp.supervision.strategy import Strategy
from jidocode.otp.supervision.supervisor import Supervisor

FLAGS = Flags(strategy=Strategy.ONE_FOR_ONE)


class Root(Supervisor):
    """The top of a tree: the registry, then what the app wants, each restarted alone.

    One for one, because supervisors report to a new registry what runs;
    restarting the others with it would throw away what is well.
    """

    kind: ClassVar[str] = "application"

    @classmethod
    def start_with(
        cls, children: Iterable[object], registry: ChildSpec | None = None, **options: float | None
    ) -> Start:
        """Return how the root is started over *registry*, a plain one by default, and *children*.

        *options* are those of the plain registry's spec.

        Raises:
            InvalidChildSpecError: The children break a rule, or cannot be pickled.
        """
        first = registry or RegistryServer.child_spec(name=REGISTRY, **options)
        start = Start(cls, check_children([first, *children], FLAGS))
        try:
            pickle.dumps(start)
        except Exception as error:
            why = f"the children cannot be pickled: {describe(error)}"
            raise InvalidChildSpecError(why) from error
        return start

    def init(self, children: Sequence[ChildSpec]) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return the children (called by the host, first)."""
        return FLAGS, children
