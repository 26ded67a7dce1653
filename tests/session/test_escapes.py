"""No operation on files gets out of a project: random trees with symlinks, and a racer.

What is inside is decided by an oracle that shares nothing with the package: `realpath`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings, strategies as st

from jidocode.errors import JidocodeError
from jidocode.session.project.boundary import Tier
from jidocode.session.project.copying import copy
from jidocode.session.project.editing import Edit
from jidocode.session.project.files import Project
from jidocode.session.project.folders import mkdir, move, remove, stat
from jidocode.session.project.rewriting import append_file, edit_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

CANARY = "canary"
"""What stands in each file outside, and is all of it."""


def image(folder: Path) -> dict[str, tuple[int, int, str]]:
    """All that is in *folder*, by path: mode, size, and what is in it or where it leads."""
    found: dict[str, tuple[int, int, str]] = {}
    for base, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(base, name)
            status = path.lstat()
            held = ""
            if path.is_symlink():
                held = str(path.readlink())
            elif path.is_file():
                held = path.read_text()
            found[str(path.relative_to(folder))] = (status.st_mode, status.st_size, held)
    return found


# ----- random trees ---------------------------------------------------------------

NAMES = st.sampled_from(["a", "b"])
PLACES = st.lists(NAMES, min_size=1, max_size=2).map("/".join)
TARGETS = st.sampled_from(
    [
        *("a", "b", "c", "a/b", "b/c", ".", "..", "../..", "../a", "../b/c", "../../a", "a/../b"),
        *("../outside", "../outside/file", "../../outside", "../../outside/a", "../../../outside"),
        *("{outside}", "{outside}/file", "{project}", "{project}/a", "/", "a/", "../outside/"),
        *["../outside", "../outside/a", "../../outside"] * 3,
    ]
)
TREES = st.lists(
    st.tuples(PLACES, st.sampled_from(["file", "folder", "link", "link"]), TARGETS), max_size=8
)
BEHIND = st.sampled_from(["", "/a", "/b", "/file", "/a/file", "/new", "/..", "/../file", "/."])
WHOLE = st.sampled_from(["c", "c/file", "c/e", "new", "c/new"])
PATHS = WHOLE | st.builds(
    "{}{}".format, PLACES | st.sampled_from(["..", ".", "../outside", "c"]), BEHIND
)


def plant(project: Path, outside: Path, tree: list[tuple[str, str, str]]) -> None:
    """Put *tree* into *project*, as far as one thing does not stand in another's way."""
    for place, kind, target in tree:
        path = project / place
        if any(parent.is_symlink() or parent.is_file() for parent in (path, *path.parents)):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir(exist_ok=True)
        elif not path.exists():
            if kind == "file":
                path.write_text("inside")
            else:
                path.symlink_to(target.format(outside=outside, project=project))


OPERATIONS: dict[str, Callable[[Project, str, str], object]] = {
    "stat": lambda project, path, _: stat(project, path),
    "mkdir": lambda project, path, _: mkdir(project, path),
    "remove": lambda project, path, _: remove(project, path),
    "remove all": lambda project, path, _: remove(project, path, recursive=True),
    "move": move,
    "move over": lambda project, path, other: move(project, path, other, overwrite=True),
    "copy": lambda project, path, other: copy(project, path, other, recursive=True),
    "copy over": lambda project, path, other: copy(
        project, path, other, recursive=True, overwrite=True
    ),
    "edit": lambda project, path, _: edit_file(project, path, Edit("inside", "edited")),
    "steal": lambda project, path, _: edit_file(project, path, Edit(CANARY, "gone")),
    "append": lambda project, path, _: append_file(project, path, "more"),
}
BY_NAME = {"stat", "remove", "remove all", "move", "move over", "copy", "copy over"}
"""What is done to a name: a symlink that has it is not followed."""


def is_inside(project: Path, path: str, *, by_name: bool) -> bool:
    """Whether *path* leads to something inside *project*, as `realpath` sees it."""
    whole = os.path.join(project, path)  # noqa: PTH118 - pathlib would drop a "."
    if by_name:
        head, tail = os.path.split(whole)
        real = os.path.join(os.path.realpath(head), tail)  # noqa: PTH118 - idem
    else:
        real = os.path.realpath(whole)
    return real == str(project) or real.startswith(f"{project}/")


@given(
    tree=TREES,
    name=st.sampled_from(sorted(OPERATIONS)),
    path=PATHS,
    other=PATHS,
    tier=st.sampled_from(list(Tier)),
)
@settings(max_examples=600)
def test_what_is_outside_stays_as_it_is(  # noqa: PLR0913, PLR0917 - all that is drawn
    tmp_path_factory: pytest.TempPathFactory,
    tree: list[tuple[str, str, str]],
    name: str,
    path: str,
    other: str,
    tier: Tier,
) -> None:
    """Whatever leads there; and what is done is done to what the oracle says is inside."""
    base = Path(os.path.realpath(tmp_path_factory.mktemp("base")))
    project, outside = base / "project", base / "outside"
    (outside / "a").mkdir(parents=True)
    (outside / "file").write_text(CANARY)
    (outside / "a" / "file").write_text(CANARY)
    (project / "c" / "e").mkdir(parents=True)
    (project / "c" / "file").write_text("inside")
    plant(project, outside, tree)
    before, inside = image(outside), image(project)
    # An absolute link is refused wherever it leads, and what ends in dots has no name.
    is_plain = (
        os.path.lexists(project / path)
        and is_inside(project, path, by_name=True)
        and path.rpartition("/")[2] not in {".", ".."}
        and not any(held.startswith("/") for _, _, held in inside.values())
    )
    was_inside = is_inside(project, path, by_name=name in BY_NAME)
    with Project(str(project), tier=tier) as pinned:
        try:
            OPERATIONS[name](pinned, path, other)
        except (JidocodeError, OSError):
            event(f"{name} refused")
            done = False
        else:
            event(f"{name} done")
            done = True

    assert image(outside) == before
    assert [each.name for each in base.iterdir() if each not in {project, outside}] == []
    after = image(project)
    assert all(CANARY not in held for _, _, held in after.values())
    assert not any(".jidocode-" in each for each in after)
    if done:
        assert was_inside
    if is_plain and name == "stat":
        assert done
    if not done:  # what is refused leaves no more than folders above a destination
        made = set(after) - set(inside)
        assert all(Path(project, each).is_dir() for each in made)


# ----- under a racer --------------------------------------------------------------

# Exchanges a folder and a file of the project with links that lead out, each by one atomic
# system call, until its standard input ends or as many are done as it is told.
RACER = """
import ctypes, os, select, sys
rename = ctypes.CDLL(None, use_errno=True).renameat2
os.chdir(sys.argv[1])
print("ready", flush=True)
for swaps in range(int(sys.argv[2])):
    for name in (b"d", b"f"):
        if rename(-100, name, -100, b"trap-" + name, 2) and ctypes.get_errno() != 2:
            sys.exit("renameat2 failed")
    if swaps % 64 == 63 and select.select([0], [], [], 0)[0]:
        break
print(swaps, flush=True)
"""


@contextmanager
def racing(project: Path) -> Generator[None]:
    """Have "d" and "f" of *project* swapped with "trap-d" and "trap-f" meanwhile."""
    racer = subprocess.Popen(
        [sys.executable, "-I", "-c", RACER, str(project), str(TURNS * 2_000)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
        yield
    finally:
        swaps, _ = racer.communicate()
    assert racer.returncode == 0
    assert int(swaps) >= 63


TURNS = int(os.environ.get("RACER_TURNS", "250"))
"""As often each of the `attempts` is made; 4,600 are 100,000 tries, and take a minute or three."""


def read(project: Project, path: str) -> None:
    """Read a file; what is outside must not come."""
    assert project.read_text(path).text != CANARY


def attempts(project: Project, number: int) -> list[Callable[[], object]]:
    """What is tried in turn *number*: each name is one that the racer swaps, or below one."""
    new = f"n{number % 5}"
    return [
        lambda: edit_file(project, "d/file", Edit(CANARY, "gone")),
        lambda: edit_file(project, "f", Edit(CANARY, "gone")),
        lambda: edit_file(project, "d/file", Edit("inside", "inside")),
        lambda: append_file(project, f"d/{new}", "inside"),
        lambda: append_file(project, f"d/made{number % 9}/{new}", "inside"),
        lambda: mkdir(project, f"d/made{number % 9}/deep"),
        lambda: copy(project, "d/file", f"copy{number % 5}", overwrite=True),
        lambda: copy(project, "d", f"tree{number % 5}", recursive=True),
        lambda: copy(project, "keep", f"d/{new}", overwrite=True),
        lambda: copy(project, "keep", f"d/e/{new}", overwrite=True),
        lambda: move(project, f"d/{new}", f"d/e/{new}", overwrite=True),
        lambda: move(project, "d/e", "d/e2"),
        lambda: move(project, "d/e2", "d/e"),
        lambda: move(project, f"copy{number % 5}", f"d/{new}", overwrite=True),
        lambda: remove(project, f"d/{new}"),
        lambda: remove(project, f"d/made{number % 9}", recursive=True),
        lambda: remove(project, f"tree{number % 5}", recursive=True),
        lambda: stat(project, "d/file"),
        lambda: read(project, "d/file"),
        lambda: read(project, "f"),
        lambda: project.write_bytes("d/file", b"inside"),
        lambda: project.write_file("f", "inside"),
    ]


@pytest.mark.parametrize("tier", Tier)
def test_no_operation_escapes_while_a_racer_swaps_names(tmp_path: Path, tier: Tier) -> None:
    """Neither is anything outside changed, nor does it come in, in 5,500 tries."""
    folder, outside = tmp_path / "project", tmp_path / "outside"
    for place, text in ((outside, CANARY), (folder / "d", "inside")):
        (place / "e").mkdir(parents=True)
        (place / "file").write_text(text)
        (place / "e" / "file").write_text(text)
    (folder / "f").write_text("inside")
    (folder / "keep").write_text("inside")
    (folder / "trap-d").symlink_to("../outside")
    (folder / "trap-f").symlink_to("../outside/file")
    before = image(outside)
    done = refused = 0
    with Project(str(folder), tier=tier) as project, racing(folder):
        for number in range(TURNS):
            for attempt in attempts(project, number):
                try:
                    attempt()
                    done += 1
                except (JidocodeError, OSError):
                    refused += 1

    assert image(outside) == before
    assert min(done, refused) > 100
    for name, (_, _, held) in image(folder).items():
        assert CANARY not in held
        assert ".jidocode-" not in name
