"""The code on the pages: every block of every page runs, and prints what stands below it.

A page is one program: its blocks of Python in a row, in a process of its own, whose output is
what the blocks of `text` say, in a row. A block that begins with `# name.py`, or another name,
is that file beside the program. A file that no block imports is imported by itself, in the
order of the page, and has the output that stands below it; `test_*.py` is for pytest. Warnings
are errors.

This is no sybil: that runs the blocks in the process of pytest itself, where a block's system
would share its interpreter, its warnings and its folder with all others, a child's class could not
be imported by its process, and what is printed would be compared with nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import jidocode
from jidocode import otp
from jidocode.otp import management, registry, tasks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVED = ROOT / "docs/howto"
"""Whose programs are mostly servers and notebooks: `test_howto.py` runs all of them."""
RUN_ELSEWHERE = {
    ROOT / "docs/models.md": "it asks servers of models: `tests/model/test_aimock.py` has them",
}
"""Pages whose programs another test runs, and why."""

NOT_PROGRAMS = {
    "text": "what a program of the page prints: compared with it",
    "": "a drawing",
    "output": "what something else shows, such as a log",
    "console": "what is typed in a terminal: tests of the command line, and `make`",
    "sh": "idem, without its output",
    "json": "what an editor is told; `tests/bridges` have it start a server so",
    "lua": "what Neovim is told",
    "toml": "settings, of an app or a tool",
    "ini": "settings of systemd or uWSGI",
    "dockerfile": "there is no Docker here",
    "html": "what a browser gets",
    "javascript": "what a browser runs",
    "mermaid": "a diagram",
}
"""The languages of blocks that are not run, and why."""

BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+\.\w+)\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each block."""
    return [(match[1], match[2]) for match in BLOCK.finditer(page.read_text("utf-8"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run(folder: Path, *command: str) -> str:
    """Run Python in *folder*; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0), done.stdout + done.stderr
    return done.stdout


RUN_HERE = [page for page in PAGES if page.parent != SERVED and page not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", RUN_HERE, ids=name_of)
def test_the_code_on_a_page_runs(page: Path, tmp_path: Path) -> None:
    """And prints what the page says."""
    if page.name == "README.md":
        (tmp_path / "README.md").write_text(page.read_text("utf-8"))  # the project of its program
    program, output = "", ""
    files: dict[str, str] = {}
    said: dict[str, str] = {}
    last = ""
    for language, text in blocks(page):
        if file := FILE.match(text):
            last = file[1]
            files[last] = text
            (tmp_path / last).write_text(text)
        elif language == "python":
            last = ""
            program += text
        elif language == "text" and last.endswith(".py"):
            said[last] = text
        elif language == "text":
            output += text

    code = [program, *files.values()]
    tests = [name for name in files if re.fullmatch(r"test_\w+\.py", name)]
    for name in files:
        module = name.removesuffix(".py")
        if module == name or name in tests:
            continue
        if not any(
            re.search(rf"^\s*(from|import) {module}\b", text, re.MULTILINE) for text in code
        ):
            assert run(tmp_path, "-c", f"import {module}") == said.pop(name, "")
    if program:
        (tmp_path / "program.py").write_text(program)
        assert run(tmp_path, "program.py") == output + "".join(said.values())
    else:
        assert (output, said) == ("", {}), "nothing prints that"
    if tests:
        count = sum(files[name].count("def test_") for name in tests)
        assert f"{count} passed" in run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_every_block_is_a_program_or_known_to_be_none() -> None:
    """Python is run; what is not says why."""
    found = {(language, name_of(page)) for page in PAGES for language, _ in blocks(page)}

    assert {where for where in found if where[0] not in {"python", *NOT_PROGRAMS}} == set()
    for page in PAGES:
        assert page.read_text("utf-8").count("```") == 2 * len(blocks(page)), page


def test_the_readmes_own_process_answers(tmp_path: Path) -> None:
    """As the text below its class says."""
    (counter,) = [text for _, text in blocks(ROOT / "README.md") if text.startswith("# counter.py")]
    (tmp_path / "counter.py").write_text(counter)
    (tmp_path / "program.py").write_text(
        "from counter import Counter\nfrom jidocode import SessionSystem\n"
        "from jidocode.otp import ChildSpec\n"
        "with SessionSystem() as system:\n"
        "    children = [ChildSpec(id='counter', start=Counter)]\n"
        "    session = system.create_session('.', children=children)\n"
        "    print(session.call('counter', 'anything'))\n"
    )

    assert run(tmp_path, "program.py") == "1\n"


def test_the_pool_on_the_page_is_the_one_in_the_examples() -> None:
    """Which its own test kills workers of."""
    (stock,) = [
        text.removeprefix("# stock_pool.py\n")
        for _, text in blocks(ROOT / "docs/trees.md")
        if text.startswith("# stock_pool.py\n")
    ]

    assert (ROOT / "examples/stock_pool.py").read_text().endswith(f"\n\n{stock}")


NAMED = re.compile(r"`((?:\w+\.)*\w+)(?:\(.*?\))?`")


def test_every_name_on_the_page_for_those_who_come_from_elsewhere_exists() -> None:
    """In the column that says how it is here, and the one beside it."""
    page = (ROOT / "docs/coming-from.md").read_text("utf-8")
    places = {"otp": otp, "management": management, "registry": registry, "tasks": tasks}
    rows = re.findall(r"^\| [^|]+ \| ([^|]+ \| [^|]+?) ?\|$", page, re.MULTILINE)
    named = {name for row in rows for name in NAMED.findall(row)}
    unknown = set[str]()
    for name in named:
        first, *rest = name.split(".")
        if not rest and not first[0].isupper():
            continue  # the name of an argument
        found: object = places.get(first) or getattr(jidocode, first, getattr(otp, first, None))
        for each in rest:
            fields = getattr(found, "__annotations__", {})
            found = getattr(found, each, fields.get(each))
        if found is None:
            unknown.add(name)

    assert len(named) > 40
    assert unknown - {"SIGKILL"} == set()
