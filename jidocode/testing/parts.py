"""The parts of an answer that a test gives to a `FakeChild`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, cast

from jidocode._host import wire
from jidocode.errors import CallError


class FakeParts:
    """The answer that *on_call* gives: by a generator, in parts that its result follows."""

    def __init__(self, target: str, on_call: Callable[[], object]) -> None:
        self._target = target
        self._parts = _run(on_call)
        self._outcome: wire.Answer | None = None

    def next_part(self, seconds: float) -> Any:
        """Return the next part; see `PartSource`."""
        del seconds  # all of them are there
        if self._outcome is None:
            try:
                part = wire.answer(0, next(self._parts))
            except StopIteration as end:
                self._outcome = wire.answer(0, end.value)
            except Exception as error:  # noqa: BLE001 - whatever the test raises is the refusal
                self._outcome = wire.refusal(0, error)
            else:
                return self._read(part)
        self.answer()
        raise StopIteration

    def answer(self) -> Any:
        """Return the answer."""
        assert self._outcome is not None  # noqa: S101 - the parts have ended with it
        return self._read(self._outcome)

    def cancel(self) -> None:
        """Want no more."""
        self._parts.close()
        error = CallError(f"the call to {self._target} was cancelled")
        self._outcome = self._outcome or wire.refusal(0, error)

    def _read(self, answer: wire.Answer) -> Any:
        return wire.content_of(answer.payload, self._target, failed=answer.failed)


def _run(on_call: Callable[[], object]) -> Generator[object, None, object]:
    answer = on_call()
    if isinstance(answer, Generator):
        parts = cast("Generator[object, None, object]", answer)
        return (yield from parts)
    return answer
