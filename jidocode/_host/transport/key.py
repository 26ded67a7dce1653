"""The key of a system: what each of its processes proves to the others."""

from __future__ import annotations

import os

KEY_BYTES = 32


def new_key() -> bytes:
    """Return the key of a new system: 256 random bits."""
    return os.urandom(KEY_BYTES)
