"""Run jobs in a pool of workers, and kill every part of it with SIGKILL meanwhile.

There is no session here: `otp.start` runs any supervision tree. What the tree consists of
stands in `pool.py`.

Run it as `python examples/worker_pool.py`.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from pool import COLLECTOR, NUMBERS, WORKERS, Pool, worker

from jidocode import CallError
from jidocode.otp import ActorRef, AlreadyStartedError, Application, management, registry, start

SIZE = 4


def staff(app: Application) -> None:
    """Have as many workers as there should be."""
    for number in range(SIZE):
        with suppress(AlreadyStartedError):
            management.start_child(app, WORKERS, worker(number))


def work(app: Application, jobs: set[int]) -> dict[int, int]:
    """Return the results of *jobs*, whatever dies meanwhile."""
    done: dict[int, int] = {}
    submitted = None
    while missing := jobs - done.keys():
        try:
            staff(app)
            collector = app.whereis(COLLECTOR)
            if collector != submitted:  # a new one knows of no jobs
                app.call(COLLECTOR, ("submit", missing))
                submitted = collector
            results = app.call(COLLECTOR, "results")
            done |= {job: results[job] for job in jobs & results.keys()}
        except CallError:
            pass  # somebody has just died: what is missing is asked for again
        time.sleep(0.01)
    return done


with start(Pool) as app:
    staff(app)
    print(app.tree())
    victims: dict[str, Callable[[], ActorRef]] = {
        "worker 2": lambda: registry.lookup(app, NUMBERS, 2)[0].ref,
        "the collector": lambda: app.monitor(COLLECTOR).ref,
        "the supervisor of workers": lambda: app.monitor(WORKERS).ref,
        "the registry": lambda: app.monitor(NUMBERS).ref,
    }
    for batch, (name, find) in enumerate(victims.items()):
        jobs = set(range(100 * batch, 100 * batch + 100))
        app.call(COLLECTOR, ("submit", jobs))
        victim = find()
        os.kill(victim.os_pid, signal.SIGKILL)
        results = work(app, jobs)
        right = all(results[job] == job * job for job in jobs)
        print(f"kill -9 {victim.os_pid} ({name}): {len(results)} of 100 jobs done, right: {right}")
    print("workers:", management.count_children(app, WORKERS).active)
