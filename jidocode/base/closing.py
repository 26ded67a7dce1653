"""`Closing`: whatever is closed at the end of a `with` block, or of an `async with` block."""

from __future__ import annotations

from typing import Self


class Closing:
    """The base of what has a `close`, and can be used as a context manager."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of what it holds."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncClosing:
    """The base of what has an `aclose`, and can be used as an async context manager."""

    __slots__ = ()

    async def aclose(self) -> None:
        """Let go of what it holds."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
