"""The package from outside: its public names, its layers, its documents."""

from __future__ import annotations

import collections.abc
import inspect
import os
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, get_args

import pytest
from msgspec import Struct

import jidocode
import jidocode.errors
import jidocode.otp
import jidocode.testing
from jidocode import (
    AsyncEventStream,
    AsyncSessionHandle,
    AsyncSessionSystem,
    AsyncStateClient,
    Change,
    EventStream,
    SessionChildren,
    SessionHandle,
    SessionSystem,
    StateClient,
)
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import JidocodeError
from jidocode.otp import Application
from jidocode.session.manager.client import ManagerMethods
from jidocode.session.state.client import StateMethods

ROOT = Path(__file__).parents[1]
MODULES = [jidocode, jidocode.otp, jidocode.testing]


def exported(module: ModuleType) -> list[str]:
    """Return the public names of *module*; made at run time, so not for a checker."""
    names: list[str] = vars(module)["__all__"]
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_lists_what_exists(module: ModuleType) -> None:
    """No name is missing or doubled."""
    names = exported(module)

    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_no_public_name_is_thespian() -> None:
    """The actor system stays inside the host."""
    for module in MODULES:
        for name in exported(module):
            assert "thespian" not in getattr(getattr(module, name), "__module__", "")


SESSIONS = (
    SessionSystem,
    SessionHandle,
    StateClient,
    StateMethods,
    ManagerMethods,
    EventStream,
    AsyncSessionHandle,
    AsyncStateClient,
    AsyncEventStream,
)


def methods(*owners: type) -> Iterator[Callable[..., Any]]:
    """Yield what an app calls."""
    for owner in owners:
        for name, value in vars(owner).items():
            method = value.fget if isinstance(value, property) else value
            if inspect.isfunction(method) and not name.startswith("_") and name != "put":
                yield method
    yield SessionSystem.__init__
    yield SessionChildren.__call__


def classes_in(annotated: object) -> set[type]:
    """Return the package's classes in the annotations of a function or a class."""
    names = (
        {"os": os, "TracebackType": TracebackType}
        | vars(collections.abc)
        | {
            name: getattr(module, name)
            for module in (jidocode.otp, jidocode)
            for name in exported(module)
        }
    )
    waiting = list[Any](typing.get_type_hints(annotated, localns=names).values())
    classes = set[type]()
    for hint in waiting:
        waiting += getattr(hint, "__args__", ())
        if inspect.isclass(hint) and hint.__module__.startswith("jidocode."):
            classes.add(hint)
    return classes


def test_whatever_an_app_passes_and_gets_can_be_imported() -> None:
    """From the package itself; what is inside of it from there or from `jidocode.otp`."""
    direct = set[type]().union(*map(classes_in, methods(*SESSIONS)))
    trees = map(classes_in, [*methods(Application, AsyncSessionSystem), jidocode.otp.start])
    reached = [*direct.union(*trees), *get_args(Change)]
    for each in reached:
        if issubclass(each, (Struct, Record)):
            reached += classes_in(each) - set(reached)

    assert {each.__name__ for each in direct} - {*exported(jidocode), "Startable"} == set()
    public = {*exported(jidocode), *exported(jidocode.otp), "BrutalKill"}  # its one value is
    assert {each.__name__ for each in reached} - public == set()


def errors() -> set[str]:
    """Return the names of all errors."""
    return {
        name
        for name, value in vars(jidocode.errors).items()
        if inspect.isclass(value) and issubclass(value, JidocodeError)
    }


def test_every_error_can_be_imported_from_the_package() -> None:
    """Whoever calls may have to catch it."""
    assert errors() - set(exported(jidocode)) == set()


def test_every_error_is_in_the_tree_of_the_module_docstring() -> None:
    """And nothing else is."""
    drawn = set(re.findall(r"\b\w+Error\b", (jidocode.errors.__doc__ or "").split("\n\n")[1]))
    foreign = {"TimeoutError", "ValueError", "LookupError", "PermissionError", "FileNotFoundError"}

    assert drawn - foreign == errors()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("a\nb", r"'a\nb'"),
        (b"\0", r"b'\x00'"),
        (7, "7"),
        (10**1000, "an int of 3322 bits"),
        ([1], "a value of type list"),
    ],
)
def test_foreign_values_are_shown_in_one_bounded_line(value: object, text: str) -> None:
    """Whatever they are."""
    assert quote(value) == text


def test_a_huge_value_is_shown_short() -> None:
    """A megabyte does not reach a log."""
    assert len(quote("x" * 1_000_000)) < 100


def test_errors_survive_the_journey_between_processes() -> None:
    """With type, message and attributes."""
    error = jidocode.SessionLimitError(9, 10)
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), copy.current, copy.max) == (type(error), str(error), 9, 10)
    assert isinstance(jidocode.CallTimeoutError("x", 1.0), TimeoutError)
    assert isinstance(jidocode.BoundaryError("x"), PermissionError)
    assert isinstance(jidocode.SessionNotFoundError("x"), LookupError)


def test_importing_the_package_is_quiet_and_starts_nothing() -> None:
    """No output, no thread, no change of the environment."""
    code = (
        "import os, threading; before = dict(os.environ)\n"
        "import jidocode\n"
        "assert dict(os.environ) == before and threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


def test_other_platforms_are_refused_in_one_sentence() -> None:
    """Before anything is imported that only Linux has."""
    code = "import sys; sys.platform = 'win32'; sys.modules['fcntl'] = None; import jidocode"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("\nImportError: jidocode runs on Linux so far, not on win32\n")


def code_in(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def run(script: Path, *command: str) -> str:
    """Run *script* in its folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, *command, str(script)],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0), done.stdout + done.stderr
    return done.stdout


def test_the_code_in_the_readme_runs(tmp_path: Path) -> None:
    """As it stands, and prints what stands below it."""
    first, own = code_in("README.md")
    readme = (ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(readme)
    (tmp_path / "counter.py").write_text(own)
    script = tmp_path / "script.py"
    script.write_text(first)

    assert f"```text\n{run(script)}```" in readme
    script.write_text(
        "from counter import Counter\nfrom jidocode import SessionSystem\n"
        "from jidocode.otp import ChildSpec\n"
        "with SessionSystem() as system:\n"
        "    children = [ChildSpec(id='counter', start=Counter)]\n"
        "    session = system.create_session('.', children=children)\n"
        "    print(session.call('counter', 'anything'))\n"
    )
    assert run(script) == "1\n"


def test_the_code_about_embedding_runs(tmp_path: Path) -> None:
    """A web app, an asyncio app, one with gevent, and a test."""
    web, loop, greenlets, orderly, test = code_in("docs/embedding.md")
    for name, text, expected in (
        ("web.py", web, '{"messages": "1"}\n'),
        ("loop.py", loop, "True 1\n"),
        ("greenlets.py", greenlets, "True\n"),
        ("orderly.py", orderly, ""),
    ):
        script = tmp_path / name
        script.write_text(text)

        assert run(script) == expected
    script = tmp_path / "test_app.py"
    script.write_text(test)
    assert "1 passed" in run(script, "-m", "pytest", "-p", "jidocode.testing", "-q")


def test_the_code_about_trees_runs(tmp_path: Path) -> None:
    """All of it in a row, and prints what stands below its parts."""
    page = (ROOT / "docs/trees.md").read_text()
    parts: list[str] = []
    for block in code_in("docs/trees.md"):
        if file := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / file[1]).write_text(block)
        else:
            parts.append(block)
    script = tmp_path / "script.py"
    script.write_text("".join(parts))
    stock = (tmp_path / "stock_pool.py").read_text().removeprefix("# stock_pool.py\n")

    assert (ROOT / "examples/stock_pool.py").read_text().endswith(f"\n\n{stock}")
    assert run(script) == "".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL))


def test_the_code_about_files_runs(tmp_path: Path) -> None:
    """All of it in a row, and prints what stands below its parts."""
    page = (ROOT / "docs/files.md").read_text()
    script = tmp_path / "script.py"
    script.write_text("".join(code_in("docs/files.md")) + "system.close()\n")

    assert run(script) == "".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL))


def test_the_code_about_searches_runs(tmp_path: Path) -> None:
    """And prints what stands below it."""
    (block,) = code_in("docs/search.md")
    script = tmp_path / "script.py"
    script.write_text(block)

    assert f"```text\n{run(script)}```" in (ROOT / "docs/search.md").read_text()


def test_the_code_about_sessions_runs(tmp_path: Path) -> None:
    """All of it in a row, and prints what stands below its parts."""
    *parts, reviewer, build = code_in("docs/sessions.md")
    shown_output = re.findall(
        r"```text\n(.*?)```", (ROOT / "docs/sessions.md").read_text(), re.DOTALL
    )
    (tmp_path / "reviewer.py").write_text(reviewer)
    script = tmp_path / "script.py"
    script.write_text("".join([*parts, build]))

    assert run(script) == "".join(shown_output)


def test_the_code_about_tools_runs(tmp_path: Path) -> None:
    """All of it in a row, and prints what stands below its parts."""
    page = (ROOT / "docs/tools.md").read_text()
    script = tmp_path / "script.py"
    script.write_text("".join(code_in("docs/tools.md")))

    assert run(script) == "".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL))


@pytest.mark.parametrize("name", ["commands", "metrics", "processes", "snapshots"])
def test_the_code_of_a_page_runs(tmp_path: Path, name: str) -> None:
    """All of it in a row, and prints what stands below its parts."""
    page = (ROOT / f"docs/{name}.md").read_text()
    script = tmp_path / "script.py"
    script.write_text("".join(code_in(f"docs/{name}.md")))

    assert run(script) == "".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL))


def test_the_code_about_asyncio_runs(tmp_path: Path) -> None:
    """And prints what stands below it; the app is served by tests of its own."""
    program, _ = code_in("docs/asyncio.md")
    script = tmp_path / "script.py"
    script.write_text(program)

    assert f"```text\n{run(script)}```" in (ROOT / "docs/asyncio.md").read_text()


@pytest.mark.parametrize("page", ["original.md", "otp-coverage.md", "review.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    """A page that says what shows a behaviour does not grow stale."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text("utf-8")))
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    tests = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}

    assert named
    assert named - tests == set()


def test_every_place_that_the_architecture_names_exists() -> None:
    """Each file, and each room with a sentence that says what happens in it."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = Path(jidocode.__file__).parent
    files = {name.removeprefix("jidocode/") for name in re.findall(r"`([\w/]+\.py)`", page)}
    rooms = {path.parent for path in package.rglob("*.py")} - {package}
    drawn = set(re.findall(r"`([\w/]+)`", page))

    assert {file for file in files if not (package / file).exists()} == set()
    assert {str(room.relative_to(package)) for room in rooms} - drawn == set()
    for room in rooms:
        assert (room / "__init__.py").read_text("utf-8").startswith('"""'), room


def test_public_modules_are_there_without_an_import_of_their_own() -> None:
    """As in any package that imports its modules; and nothing else shows."""
    code = (
        "import jidocode\n"
        "jidocode.errors.BoundaryError, jidocode.otp.Start, jidocode.testing\n"
        "assert set(dir(jidocode)) == {*jidocode.__all__, 'errors', 'otp', 'testing'}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (done.stderr, done.returncode) == (b"", 0)
