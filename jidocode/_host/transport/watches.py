"""Other descriptors that a process waits for, beside its connections: deaths, above all.

A descriptor of a process (pidfd) is readable when that process is dead. What
then happens is no matter of the transport's, so it comes at its place among the
messages, and not in the middle of receiving them.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from jidocode._host.transport.poller import ONCE, READ, Poller

OnReady = Callable[[], object]


class Watches:
    """Descriptors of a process, each with what to call when it is readable.

    For the run loop alone. Whoever watches a descriptor owns it, and ends the
    watch before it closes the descriptor.
    """

    # Why not simply call back when the poller says so.
    #
    # A number says nothing about a file. The poller reports up to 64 descriptors at a
    # time; the first callback may close the second one, and open another file, or a
    # connection, under its number. To take that for a death would be to bury a living
    # process. So a report is only a reason to look: the kernel is asked again when the
    # callbacks' turn has come, and each is called only if it still is the one that
    # watches this number.
    #
    # All that are ready are told at once, before any later message is handled. What
    # follows from a death may already be among the messages (a supervisor says that it
    # has started somebody else), and a process that hears of it before it hears of the
    # death would act on a state that has never been.
    #
    # A report comes once (ONCE), until it was told. Who only sends for a while, and
    # handles no messages, would spin otherwise.

    def __init__(self, poller: Poller, deliver: Callable[[OnReady], object]) -> None:
        """Wait with *poller*; hand what is to be called, behind all messages, to *deliver*."""
        self._poller = poller
        self._deliver = deliver
        self._callbacks: dict[int, OnReady] = {}
        self._look = select.poll()
        self._reported: set[int] = set()

    def add(self, descriptor: int, callback: OnReady) -> None:
        """Call *callback* whenever *descriptor* is readable.

        Raises:
            OSError: It cannot be watched.
        """
        self._poller.register(descriptor, READ | ONCE, lambda _events: self._report(descriptor))
        self._look.register(descriptor, select.POLLIN)
        self._callbacks[descriptor] = callback

    def remove(self, descriptor: int) -> None:
        """Watch *descriptor* no longer; unknown ones are fine."""
        if self._callbacks.pop(descriptor, None) is not None:
            self._reported.discard(descriptor)
            self._look.unregister(descriptor)
            self._poller.unregister(descriptor)

    def _report(self, descriptor: int) -> None:
        if not self._reported:
            self._deliver(self._tell)
        self._reported.add(descriptor)

    def _tell(self) -> None:
        reported, self._reported = self._reported, set()
        ready = [(fd, self._callbacks[fd]) for fd, _events in self._look.poll(0)]
        for descriptor, callback in ready:
            if self._callbacks.get(descriptor) is callback:
                callback()
        for descriptor in reported & self._callbacks.keys():
            self._poller.modify(descriptor, READ | ONCE)
