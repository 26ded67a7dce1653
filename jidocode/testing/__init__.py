"""A pytest plugin for apps that use jidocode: a system, ways to hurt it, and what needs no process.

Loaded by pytest itself wherever jidocode is installed. For tests with real
processes there are the fixture `session_system`, `kill`, `pause` and functions
that wait for what follows; for tests without any, `FakeChild` runs one
`GenServer` in the test's own process, and `FakeClock` is its time.

Nothing here sleeps for a fixed time. What waits takes its *timeout* in seconds
and raises AssertionError when it is over.

General layout: `waiting`, `faults` (kill, pause), `leftovers`, `clock` and `child`
(the two fakes). Names are imported when they are used: a project's own pytest
loads this plugin in each of its runs, whether its tests use it or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

try:
    import pytest
except ImportError as error:
    raise ImportError("jidocode.testing needs pytest: pip install pytest") from error

if TYPE_CHECKING:
    from jidocode.system.system import SessionSystem
    from jidocode.testing.child import FakeCall as FakeCall, FakeChild as FakeChild
    from jidocode.testing.clock import FakeClock as FakeClock
    from jidocode.testing.faults import kill as kill, pause as pause
    from jidocode.testing.leftovers import is_alive as is_alive, nothing_left as nothing_left
    from jidocode.testing.waiting import (
        PATIENCE as PATIENCE,
        eventually as eventually,
        wait_for_exit as wait_for_exit,
        wait_for_restart as wait_for_restart,
    )
else:
    from jidocode.base.lazy import lazy_names

    names = """
        jidocode.testing.child
            FakeCall FakeChild
        jidocode.testing.clock
            FakeClock
        jidocode.testing.faults
            kill pause
        jidocode.testing.leftovers
            is_alive nothing_left
        jidocode.testing.waiting
            PATIENCE eventually wait_for_exit wait_for_restart
    """
    # Without its `__dir__`: pytest looks at each name that a plugin lists.
    __getattr__, _, __all__ = lazy_names(__name__, names)
    __all__ += ["session_system"]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Have jidocode be imported while tests run as it is elsewhere.

    pytest rewrites the assertions of every package that has a plugin, and parses each module for
    that in whatever thread imports it. On Python 3.11 two threads that parse at once may fail
    (CPython gh-106905), and there are no assertions here that a test could show.
    """
    hook = getattr(early_config.pluginmanager, "rewrite_hook", None)
    getattr(hook, "_must_rewrite", set[str]()).discard("jidocode")


@pytest.fixture
def session_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSystem]:
    """A running system with default settings and a state directory of its own.

    It is closed after the test, which fails if then a process of the system
    is left, or any other process or descriptor that the test has opened.
    """
    from jidocode.system.system import SessionSystem  # noqa: PLC0415 - see above
    from jidocode.testing.leftovers import is_running, nothing_left, processes_below  # noqa: PLC0415 - idem
    from jidocode.testing.waiting import eventually  # noqa: PLC0415 - idem

    with nothing_left():
        with SessionSystem(state_dir=tmp_path_factory.mktemp("jidocode")) as system:
            yield system
            below = processes_below(system.host_pid)
        # Not only what hangs below this process: an orphan has left its place in the tree.
        eventually(lambda: not any(map(is_running, below)), "the end of the system's processes")
