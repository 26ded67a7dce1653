"""What the app's environment and its users' secrets must not be found in."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps import probe, run_app
from loguru import logger
from odd import Keeper

from jidocode import CallError, SessionSystem, StartFailedError
from jidocode.otp import ChildSpec, Start
from jidocode.testing import eventually, kill, wait_for_restart

SECRET = uuid.uuid4().hex

LOOK = """
import importlib, inspect, os, pkgutil, pydoc, sys, types
import jidocode

def look(name, text):
    if os.environ["SHOP_SECRET"] in text:
        print(name)

modules = [jidocode] + [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(jidocode.__path__, "jidocode.")
]
seen = set()
def walk(name, value, depth=0):
    if id(value) in seen or depth > 4:
        return
    seen.add(id(value))
    if isinstance(value, types.FunctionType):
        look(name, repr((value.__defaults__, value.__kwdefaults__, value.__annotations__)))
        look(name, str(inspect.signature(value)))
    elif isinstance(value, type):
        look(name, repr(inspect.getattr_static(value, "__match_args__", None)))
        for key, part in list(vars(value).items()):
            part = getattr(part, "__func__", getattr(part, "fget", part))
            if isinstance(part, (types.FunctionType, type)):
                walk(f"{name}.{key}", part, depth + 1)
            else:
                look(f"{name}.{key}", repr(part))
    elif not isinstance(value, types.ModuleType):
        look(name, repr(value))

for module in modules:
    for name, value in list(vars(module).items()):
        of_another = getattr(value, "__module__", module.__name__)
        if name != "__builtins__" and str(of_another).startswith("jidocode"):
            walk(f"{module.__name__}.{name}", value)
"""


def test_no_signature_shows_the_environment() -> None:
    """Nor any default, annotation or constant, public or not: tools print them."""
    outcome = run_app(LOOK, env={"SHOP_SECRET": SECRET})

    assert (outcome.status, outcome.stdout) == (0, ""), outcome


def test_help_does_not_show_the_environment() -> None:
    """As anybody reads it, on a screen that others see."""
    code = """
        import pydoc
        for name in ("Settings", "Settings.load", "SessionSystem", "errors", "otp"):
            text = pydoc.render_doc(f"jidocode.{name}")
            assert len(text) > 100, name
            print(text)
    """
    outcome = run_app(code, env={"SHOP_SECRET": SECRET})

    assert outcome.status == 0, outcome
    assert SECRET not in outcome.stdout


def test_the_page_of_every_module_does_not_show_the_environment() -> None:
    """As tools for documentation make them."""
    code = """
        import jidocode, pkgutil, pydoc
        for found in pkgutil.walk_packages(jidocode.__path__, "jidocode."):
            print(pydoc.render_doc(found.name))
    """
    outcome = run_app(code, env={"SHOP_SECRET": SECRET})
    around = re.findall(rf"\n([^\n]*){SECRET}", outcome.stdout)

    assert len(outcome.stdout) > 100_000
    assert [line[:80] for line in around] == []


FAILS = {
    "a bad variable": "Settings.load()",
    "a bad keyword": "Settings.load(max_sessions=0)",
    "an unknown keyword": "Settings.load(max_sesions=1)",
    "a missing file": "Settings.load('/nowhere.toml')",
    "a system": "SessionSystem(Settings.load(max_sessions=1), max_restarts=-1)",
}


@pytest.mark.parametrize("kind", FAILS)
def test_what_reports_an_error_with_its_variables_does_not_show_the_environment(kind: str) -> None:
    """As Sentry, loguru's `diagnose` and pytest do with the locals of every frame."""
    code = f"""
        import sys, traceback
        from jidocode import SessionSystem, Settings
        try:
            {FAILS[kind]}
        except Exception as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            for frame in told.stack:
                if frame.locals and "jidocode" in frame.filename:
                    print(frame.name, frame.locals)
    """
    env = {"SHOP_SECRET": SECRET, "JIDOCODE_MAX_SESSIONS": "none" if "variable" in kind else "7"}
    outcome = run_app(code, env=env)

    assert outcome.status == 0, outcome
    assert SECRET not in outcome.stdout


def test_what_reports_a_failed_start_does_not_show_the_key() -> None:
    """With the locals of every frame, and the attributes of what is in them."""
    code = """
        import traceback
        from jidocode import SessionSystem
        from jidocode._host.daemon import launcher
        launcher.new_key = lambda: KEY
        KEY = b"k" * 32
        try:
            SessionSystem(preload=["no_such_module"])
        except Exception as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            for frame in told.stack:
                if frame.locals and "jidocode" in frame.filename:
                    print(frame.name, frame.locals)
    """
    outcome = run_app(code)

    assert "__init__" in outcome.stdout, outcome.stderr
    assert "k" * 32 not in outcome.stdout
    assert (b"k" * 32).hex() not in outcome.stdout


def test_the_key_is_in_no_command_line_environment_or_file(project: Path, tmp_path: Path) -> None:
    """Of any process, and not in the system's private folder."""
    before = """
        from jidocode._host.daemon import launcher
        launcher.new_key = lambda: b"k" * 32
    """
    use = """
        import psutil, pathlib
        guard = psutil.Process(system.host_pid).parent()
        wanted = (b"k" * 32, (b"k" * 32).hex().encode())
        texts = []
        for process in [guard, *guard.children(recursive=True)]:
            folder = pathlib.Path("/proc", str(process.pid))
            texts += [(folder / name).read_bytes() for name in ("cmdline", "environ")]
        for path in pathlib.Path(os.environ["TMPDIR"]).rglob("*"):
            texts += [str(path).encode(), path.read_bytes() if path.is_file() else b""]
        assert not [text for text in texts for each in wanted if each in text]
    """
    folder = tmp_path / "temporary"
    folder.mkdir()

    probe(project, before=before, use=use, env={"TMPDIR": str(folder)}).works()


# ----- what a child is given ------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """All that is logged, at every level."""
    lines: list[str] = []
    number = logger.add(lambda message: lines.append(repr(message.record)), level=0, catch=False)
    logger.enable("jidocode")
    yield lines
    logger.disable("jidocode")
    logger.remove(number)


def test_what_a_child_is_given_is_shown_nowhere(
    system: SessionSystem, project: Path, lines: list[str]
) -> None:
    """A token, say: not in the log, in events, in the tree, in health or in errors."""
    events = system.events()
    keeper = ChildSpec(id="keeper", start=Start(Keeper, SECRET))
    failing = ChildSpec(id="failing", start=Start(Keeper, token=SECRET, fails=True))
    session = system.create_session(project, children=[keeper])
    with pytest.raises(StartFailedError) as failed:
        session.start_child(failing)
    ref = system.get_process(session.id, "keeper")
    with pytest.raises(CallError) as raised:
        session.call("keeper", "fail")
    wait_for_restart(system, session, "keeper", after=ref)
    down = kill(system, session, "keeper")
    wait_for_restart(system, session, "keeper", after=down.ref)
    shown = [
        repr(failed.value),
        str(failed.value),
        repr(failed.value.reason),
        str(getattr(failed.value.reason, "traceback", "")),
        repr(raised.value),
        str(system.tree()),
        repr(session.health_check()),
        repr(session.which_children()),
        repr(system.system_health()),
        repr(down),
    ]
    eventually(lambda: any("keeper" in line or "failed" in line for line in lines), "the log")
    while (event := events.get(0.1)) is not None:
        shown.append(repr(event))

    assert [text for text in [*shown, *lines] if SECRET in text] == []


@pytest.mark.parametrize("kind", ["start", "spec", "keyword"])
def test_the_text_of_a_spec_does_not_show_what_the_child_is_given(kind: str) -> None:
    """It stands in many a traceback; how many there are, and their names, may be said."""
    start = Start(Keeper, token=SECRET) if kind == "keyword" else Start(Keeper, SECRET)
    value = start if kind != "spec" else ChildSpec(id="keeper", start=start)

    assert "Keeper" in repr(value)
    assert SECRET not in repr(value)


def test_an_unknown_variable_is_named_without_its_value() -> None:
    """In the log of whoever has a secret whose name begins as ours do."""
    code = """
        import sys
        from loguru import logger
        logger.remove()
        logger.add(sys.stdout, format="{message} {extra}")
        logger.enable("jidocode")
        from jidocode import Settings
        Settings.load()
    """
    outcome = run_app(code, env={"JIDOCODE_PASSWORD": SECRET})

    assert "JIDOCODE_PASSWORD" in outcome.stdout
    assert SECRET not in outcome.stdout


def test_the_environment_of_a_test_is_what_it_seems() -> None:
    """Else the tests above would find nothing."""
    code = "import os; print(os.environ)"

    assert SECRET in run_app(code, env={"SHOP_SECRET": SECRET}).stdout
    assert sys.executable
    assert os.environ.get("SHOP_SECRET") is None
