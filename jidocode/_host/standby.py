"""Standby processes: forked ahead of their turn, so that the next child starts at once.

A supervisor starts its children strictly one after the other, but making a
process takes longer than most `init`s. So the process of the child that is next
is forked while the one before it is still starting, or is still being stopped,
and waits. Nothing of the child has run until its turn comes.
"""

from __future__ import annotations

import os
import pickle

import attrs

from jidocode._host import processes
from jidocode._host.wire import SpawnOrder
from jidocode.otp.refs import ActorRef
from jidocode.otp.specs import ChildSpec


@attrs.frozen(eq=False)
class Standby:
    """A process that waits for its turn, seen from its supervisor.

    Attributes:
        spec: What it will run.
        process: The process.
        go: The pipe on which it is told to begin.
    """

    spec: ChildSpec
    process: processes.ChildProcess
    go: int

    def release(self, incarnation: int, registry: ActorRef | None) -> None:
        """Let it begin; if it has died meanwhile, its death is noticed like any other."""
        try:
            os.write(self.go, pickle.dumps((incarnation, registry)))
        except BrokenPipeError:
            pass
        finally:
            os.close(self.go)

    def discard(self) -> None:
        """Kill it: its turn will not come."""
        os.close(self.go)
        self.process.kill()
        self.process.wait()
        self.process.close()


def await_turn(order: SpawnOrder) -> SpawnOrder | None:
    """Wait until the supervisor says that it is this process's turn; None if it never is."""
    if order.turn is None:
        return order
    told = os.read(order.turn, 65_536)
    os.close(order.turn)
    if not told:
        return None
    incarnation, registry = pickle.loads(told)
    return attrs.evolve(order, incarnation=incarnation, registry=registry, turn=None)
