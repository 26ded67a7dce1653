"""The job queue of `worker_pool.py` with the standard library alone, for comparison.

The executor, in the app itself, supervises the workers and collects the results. Which worker
runs in which process stands in a dict, in the process of a `multiprocessing.Manager`.

Run it as `python examples/stock_pool.py`.
"""

import multiprocessing
import os
import time
from collections.abc import Generator, MutableMapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

SIZE = 4
PROCESSES = multiprocessing.get_context("forkserver")
Names = MutableMapping[str, int]


def register(names: Names) -> None:
    """Be known by name (in a worker, before its first job)."""
    names[multiprocessing.current_process().name] = os.getpid()


def square(job: int) -> int:
    """Do one job (in a worker)."""
    time.sleep(0.01)
    return job * job


@contextmanager
def pool() -> Generator[tuple[ProcessPoolExecutor, Names], None, None]:
    """Open a registry and workers, and end them."""
    with PROCESSES.Manager() as manager:
        names = manager.dict()
        with ProcessPoolExecutor(SIZE, PROCESSES, register, (names,)) as executor:
            yield executor, names


def kill(kind: str) -> None:
    """Kill a process of this app with SIGKILL, and wait for its end."""
    victim = next(each for each in multiprocessing.active_children() if kind in each.name)
    victim.kill()
    victim.join()


def work(jobs: set[int], victim: str) -> None:
    """Do *jobs*, kill *victim* meanwhile, and print what became of it all."""
    done: dict[int, int] = {}
    pools = 0
    registered = "nobody knows"
    while missing := jobs - done.keys():
        pools += 1
        try:
            with pool() as (executor, names):
                futures = {executor.submit(square, job): job for job in missing}
                while len(names) < SIZE:
                    time.sleep(0.01)
                if pools == 1:
                    kill(victim)
                for future in as_completed(futures):
                    done[futures[future]] = future.result()
                registered = str(len(names))
        except BrokenProcessPool:
            pass  # all workers are gone: what is missing is begun anew, in another pool
        except OSError as error:
            registered = type(error).__name__  # so is the registry; there is no other one
    right = all(done[job] == job * job for job in jobs)
    print(f"kill -9 ({victim}): {len(done)} of {len(jobs)} jobs done, right: {right}")
    print(f"pools: {pools}, registered: {registered}")


if __name__ == "__main__":
    work(set(range(100)), "ForkServerProcess")
    work(set(range(100)), "SyncManager")
