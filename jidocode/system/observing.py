"""Who is told of the calls that this process makes: for figures and traces of them.

Nobody is, as a rule: then a call pays for one look at an empty dict.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Self

from jidocode.base import log
from jidocode.base.text import describe
from jidocode.system.steps import Ask

End = Callable[[object, BaseException | None], object]
"""Is told how a call has ended: its answer, or None; and what it has raised, or None."""
Observer = Callable[[Ask], End]
"""Is told of a call before it is sent, in the thread or the task that makes it."""


class Observers:
    """Those who are told of the calls to one system.

    Attributes:
        active: All of them, by number, in the order in which they came. Changed without a
            lock, as all that threads and signal handlers share (see `_host/sharing.py`).
    """

    __slots__ = ("_numbers", "active")

    def __init__(self) -> None:
        self.active: dict[int, Observer] = {}
        self._numbers = itertools.count()

    def add(self, observer: Observer) -> int:
        """Tell *observer* of each call from now on; return its number."""
        number = next(self._numbers)
        self.active[number] = observer
        return number

    def remove(self, number: int) -> None:
        """Tell that one no more; of a call under way it still hears the end."""
        self.active.pop(number, None)

    def observing(self, step: Ask) -> Observation:
        """Tell of the call *step* at the beginning and at the end of the `with` block."""
        return Observation(list(self.active.values()), step)


class Observation:
    """A call that somebody is told of.

    Attributes:
        answer: What it was answered; whoever makes the call sets it.
    """

    __slots__ = ("_ends", "_observers", "_step", "answer")

    def __init__(self, observers: Sequence[Observer], step: Ask) -> None:
        self.answer: object = None
        self._observers = observers
        self._step = step
        self._ends: list[End] = []

    def __enter__(self) -> Self:
        for observer in self._observers:
            try:
                self._ends.append(observer(self._step))
            except Exception as error:  # noqa: BLE001 - the call is not to fail for who looks on
                _complain(error)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        for end in self._ends:
            try:
                end(self.answer, error)
            except Exception as failure:  # noqa: BLE001 - as above
                _complain(failure)


def _complain(error: Exception) -> None:
    log.warning("who observes calls has failed: {}", describe(error))
