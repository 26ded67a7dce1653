"""Whatever is forked in here is in a pid namespace: for who tries out what holds there."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar, cast

from jidocode.errors import ConfinementError
from jidocode.session.confinement.confinement import Prepared
from jidocode.session.confinement.namespaces import Obstacle, be_init, explain, leave, make_users
from jidocode.session.confinement.view import view

_Value = TypeVar("_Value")


def run_apart(action: Callable[[], _Value]) -> _Value:
    """Call *action* in a fork whose own children are in a new pid namespace; return its result.

    For a process with one thread. What *action* leaves running is killed.

    Raises:
        ConfinementError: There are no namespaces for us here.
        Exception: What *action* raised.
    """
    try:
        users = make_users()
    except Obstacle as obstacle:
        raise ConfinementError(explain(obstacle)) from obstacle
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            outcome = _call(action, users, writing)
            with open(writing, "wb") as answer:  # noqa: PTH123 - it has no path
                answer.write(pickle.dumps(outcome))
        finally:
            os._exit(0)
    os.close(writing)
    os.close(users)
    with open(reading, "rb") as answer:  # noqa: PTH123 - as above
        data = answer.read()
    os.waitpid(pid, 0)
    value, error = pickle.loads(data) if data else (None, ConfinementError("it was ended"))
    if error is not None:
        raise error
    return cast("_Value", value)


def _call(
    action: Callable[[], _Value], users: int, answer: int
) -> tuple[_Value | None, Exception | None]:
    try:
        leave(users)
        reading, keeping = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(keeping)
            os.close(answer)
            be_init(reading)
        os.close(reading)
        try:
            return action(), None
        finally:
            os.close(keeping)
            os.waitpid(pid, 0)
    except Obstacle as obstacle:
        return None, ConfinementError(explain(obstacle))
    except Exception as error:  # noqa: BLE001 - raised where the result is waited for
        return None, error


def confine_apart(prepared: Prepared, project: str, temporary: str, folder: int) -> None:
    """Do in a child what `Prepared.apply` does, with all that the tier namespaces adds.

    Args:
        prepared: What it may do.
        project: The session's project.
        temporary: What is to be its `/tmp`.
        folder: What is to be its current folder, opened before.

    Raises:
        ConfinementError: The kernel refused a step; the child must execute nothing.
    """
    try:
        world = view(prepared.confinement, project, temporary)
        prepared.seal.apply(world.enter(folder, None, lambda _: None))
    except Obstacle as obstacle:
        raise ConfinementError(explain(obstacle)) from obstacle
    except (OSError, ValueError) as error:
        raise ConfinementError(f"the kernel does not confine it: {error}") from error
