"""What holds this very process, found by trying it where it stands.

It is for a process that has confined itself and goes on working. So a try may leave nothing
behind, whatever comes of it: neither a file nor another program in the place of this one.
"""

from __future__ import annotations

import os

from jidocode.session.confinement.landlock import find_abi
from jidocode.session.confinement.report import ConfinementReport
from jidocode.session.confinement.tries import HERE, Place, attempt


def try_here() -> ConfinementReport:
    """Try what this process must not be able to do; return what came of each try."""
    place = Place(inside="", outside="/", port=0, abstract="", pid=os.getppid(), namespaces={})
    denials = tuple(attempt(what, action, place) for what, action in HERE)
    return ConfinementReport(denials, find_abi(), "not asked")
