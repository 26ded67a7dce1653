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
        self._error: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if not self._page and self._error is None:
            await in_thread(self._read)
        if self._page:
            return self._page.popleft()
        error, self._error = self._error, None
        raise StopAsyncIteration if error is None else error

    def _read(self) -> None:
        if self._source is None:
            self._source = self._begin()
        try:
            self._page.extend(islice(self._source, _AT_ONCE))
        except Exception as error:  # noqa: BLE001 - raised when what came before it is read
            self._error = error
