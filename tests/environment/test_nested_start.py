"""Where no system may be started: in a process of a system, whatever brought it there."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from pathlib import Path

import pytest
from apps import BOUND, Outcome, run_app
from odd import Starter

from jidocode import CallError, SessionSystem
from jidocode.otp import ChildSpec
from jidocode.testing import eventually

SHOP = (
    BOUND
    + """
from jidocode import SessionSystem
from servers import Worker

system = SessionSystem(state_dir=os.environ["STATE"], start_timeout=10.0, call_timeout=20.0)

class Till(Worker):
    kind = "till"
"""
)
"""The natural layout of a small web app: the module that holds the system holds a child, too."""

MAIN = """
import sys, time
sys.path.insert(0, sys.argv[1])
import shop
from jidocode.otp import ChildSpec
begun = time.monotonic()
try:
    session = shop.system.create_session(
        sys.argv[2], children=[ChildSpec(id="till", start=shop.Till)]
    )
except Exception as error:
    print(type(error).__name__, error)
else:
    print("works", session.call("till", ("echo", 1)))
print(time.monotonic() - begun)
again = shop.system.create_session(sys.argv[2])
print(again.manager.project_root())
shop.system.close()
"""


def _run(folder: Path, project: Path, code: str, *, shop: str = SHOP) -> tuple[Outcome, int]:
    """Run an app around a module `shop` in *folder*; return also how often that was imported."""
    (folder / "shop.py").write_text(shop)
    starts = folder / "starts"
    env = {"STARTS": str(starts), "STATE": str(folder / "state"), "PYTHONSAFEPATH": None}
    outcome = run_app(code, folder, project, env=env, cwd=folder, timeout=40)
    return outcome, len(starts.read_text().split())


def _advises(text: str) -> bool:
    """Whether an error says what was done, and what to do instead."""
    return "SessionSystem" in text and bool(re.search("process of a (?:running )?system", text))


def test_a_module_that_starts_a_system_and_holds_a_child(project: Path, tmp_path: Path) -> None:
    """Its child's process does not start another system: an error says where to start one."""
    outcome, starts = _run(tmp_path, project, MAIN)
    assert outcome.stdout.startswith("StartFailedError"), outcome
    error, seconds, root = outcome.stdout.splitlines()

    assert _advises(error), error
    assert "import" in error
    assert "shop" in error
    assert float(seconds) < 5
    assert root == str(project)
    assert starts <= 3
    assert outcome.most <= 15
    assert (outcome.status, outcome.left) == (0, 0)


def test_a_module_that_starts_a_system_and_is_preloaded(project: Path, tmp_path: Path) -> None:
    """The host does not start a second one: the start of the first fails, and says why."""
    code = f"""
        import sys, time
        sys.path.insert(0, {str(tmp_path)!r})
        from jidocode import HostStartError
        begun = time.monotonic()
        try:
            import shop
        except HostStartError as error:
            print(error)
        print(time.monotonic() - begun)
    """
    shop = SHOP.replace("start_timeout", "preload=['shop'], start_timeout")
    outcome, starts = _run(tmp_path, project, code, shop=shop)
    error, seconds = outcome.stdout.splitlines()

    assert _advises(error), error
    assert float(seconds) < 5
    assert starts <= 2
    assert (outcome.status, outcome.left) == (0, 0)


def test_a_module_that_imports_one_that_starts_a_system(project: Path, tmp_path: Path) -> None:
    """As `routes.py` imports `app.py`."""
    (tmp_path / "tills.py").write_text(
        "import shop\nfrom servers import Worker\nclass Till(Worker):\n    kind = 'till'\n"
    )
    code = MAIN.replace("import shop\n", "import shop, tills\n").replace("shop.Till", "tills.Till")
    outcome, starts = _run(tmp_path, project, code)
    error = outcome.stdout.splitlines()[0]

    assert _advises(error), error
    assert starts <= 3
    assert (outcome.status, outcome.left) == (0, 0)


def test_a_module_that_catches_the_error_goes_on_without_a_system(
    project: Path, tmp_path: Path
) -> None:
    """So it is an ordinary exception, and one of ours."""
    guarded = SHOP.replace("system = SessionSystem(", "try:\n  system = SessionSystem(").replace(
        "call_timeout=20.0)", "call_timeout=20.0)\nexcept JidocodeError: system = None"
    )
    guarded = guarded.replace("import SessionSystem", "import JidocodeError, SessionSystem")
    outcome, starts = _run(
        tmp_path, project, MAIN.replace("sys.argv[2])\nprint", '".")\nprint'), shop=guarded
    )

    assert outcome.stdout.startswith("works 1"), outcome
    assert starts <= 3  # the app, the session's supervisor, the child
    assert outcome.left == 0


@pytest.mark.parametrize("how", ["-m", "script"])
def test_an_app_that_is_its_main_module(project: Path, tmp_path: Path, how: str) -> None:
    """A child of it is refused where it is made, for no process can import it."""
    shop = SHOP + textwrap.dedent("""
        import sys
        from jidocode.otp import ChildSpec
        try:
            system.create_session(sys.argv[1], children=[ChildSpec(id="till", start=Till)])
        except Exception as error:
            print(type(error).__name__, error)
        print(system.create_session(sys.argv[1]).manager.project_root())
        system.close()
    """)
    (tmp_path / "shop.py").write_text(shop)
    starts = tmp_path / "starts"
    env = {"STARTS": str(starts), "STATE": str(tmp_path / "state")}
    program = ["-m", "shop"] if how == "-m" else ["shop.py"]
    outcome = run_app("", project, interpreter=[sys.executable, *program], env=env, cwd=tmp_path)
    error, root = outcome.stdout.splitlines()

    assert "__main__" in error
    assert root == str(project)
    assert len(starts.read_text().split()) == 1
    assert (outcome.status, outcome.left) == (0, 0)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_of_multiprocessing_do_not_multiply(
    project: Path, tmp_path: Path, method: str
) -> None:
    """They import the app's main module again: what starts a system there is told so."""
    main = SHOP + textwrap.dedent(f"""
        import multiprocessing, sys

        def work(number):
            return number

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            process = context.Process(target=work, args=(1,))
            process.start()
            process.join(20)
            print(process.exitcode)
            print(system.create_session(sys.argv[1]).manager.project_root())
            system.close()
    """)
    (tmp_path / "main.py").write_text(main)
    starts = tmp_path / "starts"
    env = {"STARTS": str(starts), "STATE": str(tmp_path / "state")}
    outcome = run_app("", project, interpreter=[sys.executable, "main.py"], env=env, cwd=tmp_path)
    status, root = outcome.stdout.splitlines()

    assert status == "1"
    assert "SessionSystem" in outcome.stderr
    assert "__main__" in outcome.stderr
    assert root == str(project)
    assert (outcome.status, outcome.left) == (0, 0)


@pytest.mark.parametrize("where", ["here", "in a fork"])
def test_a_callback_that_starts_a_system_is_told_so(
    system: SessionSystem, project: Path, where: str
) -> None:
    """At once, and nothing was started."""
    session = system.create_session(project, children=[ChildSpec(id="starter", start=Starter)])
    begun = time.monotonic()
    try:
        said = session.call("starter", where, timeout=20)
    except CallError as error:
        said = str(error)

    assert _advises(str(said)), said
    assert time.monotonic() - begun < 10  # of twenty


def test_a_program_that_a_child_runs_may_start_a_system(
    system: SessionSystem, project: Path
) -> None:
    """It is no process of a system: the tests of a project that uses jidocode, say."""
    session = system.create_session(project, children=[ChildSpec(id="starter", start=Starter)])
    program = (
        "from jidocode import SessionSystem\n"
        "with SessionSystem(durability='memory') as system: print(system.list_sessions())\n"
    )

    assert session.call("starter", ("program", program), timeout=20) == "[]\n"


def test_a_child_that_cannot_be_imported_is_not_tried_for_ever(
    project: Path, tmp_path: Path
) -> None:
    """A module that begins to start a system later fails its children's restarts, and that ends."""
    late = SHOP.replace(
        "system = Session", 'if os.path.exists("late"): SessionSystem()\nsystem = Session'
    )
    late = late.replace("system = Session", "system = None if 'till' in os.environ else Session")
    (tmp_path / "tills.py").write_text(
        BOUND + "import sys\n"
        "from jidocode import SessionSystem\n"
        "if os.path.exists(os.environ['STATE'] + '.late'): SessionSystem()\n"
        "from servers import Worker\n"
        "class Till(Worker):\n    kind = 'till'\n"
    )
    code = """
        import os, sys, signal
        sys.path.insert(0, sys.argv[1])
        import tills
        from jidocode import SessionNotFoundError, SessionSystem
        from jidocode.otp import ChildSpec, GaveUp
        with SessionSystem(state_dir=os.environ["STATE"]) as system:
            events = system.events()
            till = ChildSpec(id="till", start=tills.Till)
            session = system.create_session(sys.argv[2], children=[till])
            open(os.environ["STATE"] + ".late", "w").close()
            os.kill(system.get_process(session.id, "till").os_pid, signal.SIGKILL)
            while not isinstance((event := events.get(20)).fact, GaveUp):
                pass
            print(event.fact.reason)
    """
    outcome, starts = _run(tmp_path, project, code, shop=late)

    assert _advises(outcome.stdout), outcome
    assert starts <= 12
    assert (outcome.status, outcome.left) == (0, 0)


def test_systems_beside_each_other_are_fine(project: Path) -> None:
    """In the app, one after the other and at the same time."""
    with SessionSystem(durability="memory") as one, SessionSystem(durability="memory") as two:
        assert one.create_session(project).session.name == "shop"
        eventually(lambda: two.list_sessions() == [])
