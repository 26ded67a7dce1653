"""`Seal`: what a process is confined by, ready to be sent to it.

It is applied between fork and exec in a process that has imported next to nothing: so here
is nothing but numbers, bytes and system calls.
"""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from typing import NamedTuple

from jidocode.session.confinement.kernel import call, prctl
from jidocode.session.confinement.privileges import (
    DAC_OVERRIDE,
    drop_capabilities,
    forbid_new_privileges,
)

_RESTRICT_SELF = 446
_SET_SECCOMP = 22
_MODE_FILTER = 2


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Seal(NamedTuple):
    """A confinement, but for the descriptor of its Landlock rules.

    Attributes:
        limits: Arguments for `resource.setrlimit`.
        program: The filter of system calls.
        capabilities: Which are kept, if they are held.
    """

    limits: tuple[tuple[int, tuple[int, int]], ...]
    program: bytes
    capabilities: int = DAC_OVERRIDE

    def steps(self, ruleset: int) -> tuple[tuple[str, Callable[[], object]], ...]:
        """Return what confines this process for good, step by step, each with its name.

        *ruleset* is the descriptor of the Landlock rules. The process must have one thread.
        Each step raises OSError or ValueError if the kernel refuses it.
        """
        # The filter is the last one: it must not have to let through what sets up the others.
        return (
            ("set limits", self._set_limits),
            ("drop privileges", lambda: drop_capabilities(self.capabilities)),
            ("forbid new privileges", forbid_new_privileges),
            ("enforce Landlock rules", lambda: call(_RESTRICT_SELF, ruleset, 0)),
            ("install a filter of system calls", self._filter),
        )

    def apply(self, ruleset: int) -> None:
        """Take all steps; raises as they do, and then nothing may be executed."""
        for _, step in self.steps(ruleset):
            step()

    def _set_limits(self) -> None:
        for kind, values in self.limits:
            resource.setrlimit(kind, values)

    def _filter(self) -> None:
        instructions = ctypes.create_string_buffer(self.program, len(self.program))
        address = ctypes.addressof(instructions)
        prctl(_SET_SECCOMP, _MODE_FILTER, _FilterProgram(len(self.program) // 8, address))
