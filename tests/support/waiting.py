"""The names that tests of the host use for what `jidocode.testing` has."""

from __future__ import annotations

from jidocode.testing import PATIENCE, eventually
from jidocode.testing import is_alive as alive

__all__ = ["PATIENCE", "alive", "eventually"]
