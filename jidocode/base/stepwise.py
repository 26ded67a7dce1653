"""What is done step by step, without knowing how a step is waited for.

Work that has to wait is a generator: it yields a step, is sent what came of it or has the error
raised in it, goes on to the next, and returns its result. Whoever carries it out does the
waiting, in a thread or in a coroutine. So what follows from what is written once for both (httpx
does the same for authentication: `Auth.auth_flow`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def carry_out(work: Generator[S, Any, T], take: Callable[[S], object]) -> T:
    """Carry out *work*: have *take* do each step, and return what comes of it."""
    try:
        step = next(work)
        while True:
            try:
                outcome = take(step)
            except BaseException as error:  # noqa: BLE001 - the work decides what follows from it
                step = work.throw(error)
            else:
                step = work.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result


async def carry_out_async(work: Generator[S, Any, T], take: Callable[[S], Awaitable[object]]) -> T:
    """Carry out *work* as `carry_out`, awaiting each step."""
    try:
        step = next(work)
        while True:
            try:
                outcome = await take(step)
            except BaseException as error:  # noqa: BLE001 - as above
                step = work.throw(error)
            else:
                step = work.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
