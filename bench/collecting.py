"""A request that has a session's process run a full garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Callable


class Collect:
    """Collects as it is unpickled, with nothing imported for it; refused by whoever gets it."""

    def __reduce__(self) -> tuple[Callable[[], int], tuple[()]]:
        return gc.collect, ()
