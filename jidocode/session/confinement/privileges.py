"""Who is confined has no privileges of the app's to speak of, not even if the app runs as root."""

from __future__ import annotations

import ctypes

from jidocode.session.confinement.kernel import capget, capset, prctl

_SET_NO_NEW_PRIVS = 38
_VERSION_3 = 0x20080522

# A container's root often works on a project that belongs to a user of the machine around it.
# It can do so by this capability alone: to read and write what belongs to others. Landlock
# decides which files that is about; chown, setuid, mount, raw sockets are no part of it.
DAC_OVERRIDE = 1 << 1

OWNERS = 1 << 0 | 1 << 3
"""CAP_CHOWN and CAP_FOWNER: a file that takes another's place gets its owner and permissions."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """Capabilities 0 to 31, or 32 to 63."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


class _Halves(ctypes.Structure):
    _fields_ = (("low", _Half), ("high", _Half))


def forbid_new_privileges() -> None:
    """Have no program that this process executes gain any: setuid bits are ignored.

    The kernel wants that before it takes rules from who is not root.

    Raises:
        OSError: The kernel refused.
    """
    prctl(_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(kept: int = DAC_OVERRIDE) -> None:
    """Give up all capabilities but those of *kept*, a set of bits, as far as they are held.

    What is executed later has no more, root or not, after `forbid_new_privileges`.

    Raises:
        OSError: The kernel refused.
    """
    header, held = _Header(_VERSION_3, 0), _Halves()
    capget(header, held)
    left = _Half(held.low.effective & kept, held.low.permitted & kept, 0)
    capset(header, _Halves(left, _Half(0, 0, 0)))


def held_capabilities(kept: int = DAC_OVERRIDE) -> bool:
    """Return whether this process has more than `drop_capabilities` leaves."""
    held = _Halves()
    capget(_Header(_VERSION_3, 0), held)
    return bool(held.low.permitted & ~kept or held.high.permitted)
