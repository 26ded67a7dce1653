"""What was found in force, right by right, as an app gets it."""

from __future__ import annotations

from attrs import frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import ConfinementError

KERNEL = "kernel"
NAMESPACES = "namespaces"
"""The name of a tier that this version does not have yet."""


@frozen(eq=False, repr=False)
class Denial(Record):
    """One thing that a command must not be able to do, and what came of the try.

    Attributes:
        what: The thing, as one would do it.
        held: Whether it was denied.
        outcome: How: the system's message, or what happened instead.
    """

    what: str
    held: bool
    outcome: str


@frozen(eq=False, repr=False)
class ConfinementReport(Record):
    """What holds commands, or a Manager, here, as found by trying; `str` of it is a table.

    Attributes:
        denials: All that was tried, in the order in which it was.
        landlock_abi: The kernel's version of Landlock.
        bubblewrap: Whether bubblewrap is there and starts, in a few words.
    """

    denials: tuple[Denial, ...]
    landlock_abi: int
    bubblewrap: str

    @property
    def missing(self) -> tuple[str, ...]:
        """What a command could do though it should not."""
        return tuple(denial.what for denial in self.denials if not denial.held)

    @property
    def tier(self) -> str | None:
        """The strongest tier that is wholly in force: "kernel", or None."""
        return KERNEL if self.denials and not self.missing else None

    def require(self, tier: str) -> None:
        """Do nothing if *tier* is in force.

        Raises:
            ConfinementError: It is not, or there is no tier of that name.
        """
        if tier == KERNEL and self.tier == KERNEL:
            return
        if tier == KERNEL:
            raise ConfinementError(
                f"tier kernel is not in force here: a command could {', '.join(self.missing)}"
            )
        if tier == NAMESPACES:
            raise ConfinementError(
                "there is no tier namespaces in this version "
                f"(bubblewrap on this machine: {self.bubblewrap})"
            )
        raise ConfinementError(f"there is no tier {quote(tier)}, only kernel")

    def __str__(self) -> str:
        width = max((len(denial.what) for denial in self.denials), default=0)
        lines = [
            f"{'denied' if denial.held else 'OPEN  '}  {denial.what:{width}}  {denial.outcome}"
            for denial in self.denials
        ]
        tier = self.tier or "none"
        head = f"tier {tier}, Landlock ABI {self.landlock_abi}, bubblewrap: {self.bubblewrap}"
        return "\n".join((head, *lines))
