"""What was found in force, right by right, as an app gets it."""

from __future__ import annotations

from attrs import frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import ConfinementError

KERNEL = "kernel"
NAMESPACES = "namespaces"
TIERS = (KERNEL, NAMESPACES)
"""Weaker ones first; each has all that those before it have."""
IN_FORCE = "in force"


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
        namespaces: "in force"; or, where they were not asked for, "could be had" or why not.
    """

    denials: tuple[Denial, ...]
    landlock_abi: int
    namespaces: str

    @property
    def missing(self) -> tuple[str, ...]:
        """What a command could do though it should not."""
        return tuple(denial.what for denial in self.denials if not denial.held)

    @property
    def tier(self) -> str | None:
        """The strongest tier that is wholly in force: "namespaces", "kernel", or None."""
        if not self.denials or self.missing:
            return None
        return NAMESPACES if self.namespaces == IN_FORCE else KERNEL

    def require(self, tier: str) -> None:
        """Do nothing if *tier* is in force.

        Raises:
            ConfinementError: It is not, or there is no tier of that name.
        """
        if tier not in TIERS:
            raise ConfinementError(f"there is no tier {quote(tier)}, only {' and '.join(TIERS)}")
        if not self.denials or self.missing:
            what = ", ".join(self.missing) or "do anything"
            raise ConfinementError(f"tier {tier} is not in force here: a command could {what}")
        if tier == NAMESPACES and self.tier != NAMESPACES:
            raise ConfinementError(f"tier namespaces is not in force: {self.namespaces}")

    def __str__(self) -> str:
        width = max((len(denial.what) for denial in self.denials), default=0)
        lines = [
            f"{'denied' if denial.held else 'OPEN  '}  {denial.what:{width}}  {denial.outcome}"
            for denial in self.denials
        ]
        tier = self.tier or "none"
        head = f"tier {tier}, Landlock ABI {self.landlock_abi}, namespaces: {self.namespaces}"
        return "\n".join((head, *lines))
