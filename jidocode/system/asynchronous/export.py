"""`AsyncExport`: the changes of a session, as a thread reads them from its journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Self

from jidocode.system.asynchronous.waiting import in_thread

_AT_ONCE = 256
"""Changes that are read at once."""


class AsyncExport:
    """Every change of a session as a JSON object, oldest first: read them by `async for`."""

    def __init__(self, begin: Callable[[], Iterator[dict[str, Any]]]) -> None:
        """Read what *begin* yields."""
        self._begin = begin
        self._source: Iterator[dict[str, Any]] | None = None
        self._page: deque[dict[str, Any]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if not self._page:
            await in_thread(self._read)
        if not self._page:
            raise StopAsyncIteration
        return self._page.popleft()

    def _read(self) -> None:
        if self._source is None:
            self._source = self._begin()
        self._page.extend(islice(self._source, _AT_ONCE))
