"""Run jobs in a pool of workers, and kill every part of it with SIGKILL meanwhile.

There is no session here: `otp.start` runs any supervision tree. What the tree consists of
stands in `pool.py`, and the same with the standard library alone in `stock_pool.py`.

Run it as `python examples/worker_pool.py`.
"""

import os
import signal
import time
from contextlib import suppress

from pool import COLLECTOR, NUMBERS, POOL, WORKERS, Pool, worker

from jidocode import CallError
from jidocode.otp import ActorRef, AlreadyStartedError, Application, management, registry, start

SIZE = 4


def staff(app: Application) -> None:
    """Have as many workers as there should be."""
    for number in range(SIZE):
        with suppress(AlreadyStartedError):
            management.start_child(app, WORKERS, worker(number))


def running(app: Application) -> dict[str, ActorRef]:
    """Return who runs in the pool now."""
    children = [child for each in (POOL, WORKERS) for child in management.which_children(app, each)]
    return {child.id: child.ref for child in children if child.ref}


def work(app: Application, jobs: set[int], victim: ActorRef) -> dict[int, int]:
    """Return the results of *jobs* when the pool is whole again, without *victim*."""
    done: dict[int, int] = {}
    submitted = None
    while True:
        missing = jobs - done.keys()
        try:
            staff(app)
            collector = app.whereis(COLLECTOR)
            if collector != submitted:  # a new one knows of no jobs
                app.call(COLLECTOR, ("submit", missing))
                submitted = collector
            results = app.call(COLLECTOR, "results")
            done |= {job: results[job] for job in jobs & results.keys()}
            is_whole = registry.count(app, NUMBERS) == SIZE and victim not in running(app).values()
            if is_whole and jobs == done.keys():
                return done
        except CallError:
            pass  # somebody has just died: what is missing is asked for again
        time.sleep(0.01)


with start(Pool.child_spec(name=POOL)) as app:
    staff(app)
    print(app.tree())
    for batch, child_id in enumerate(("worker 2", "collector", "registry", "workers")):
        jobs = set(range(100 * batch, 100 * batch + 100))
        before = running(app)
        victim = before[child_id]
        app.call(COLLECTOR, ("submit", jobs))
        os.kill(victim.os_pid, signal.SIGKILL)
        results = work(app, jobs, victim)
        right = all(results[job] == job * job for job in jobs)
        print(f"kill -9 ({child_id}): {len(results)} of {len(jobs)} jobs done, right: {right}")
        new = sorted(each for each, ref in running(app).items() if ref != before.get(each))
        print(f"new: {', '.join(new)}; registered: {registry.count(app, NUMBERS)}")
