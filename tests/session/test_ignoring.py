"""What searches leave out, held against git itself on random trees."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from jidocode.session.project.entries import Ground
from jidocode.session.project.files import Project
from jidocode.session.project.search import MAX_FILES, glob

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["a", "b", "ab", "a.c", "b.c", "foo", "bar", "foo.c", "build", ".x", "a b", "ä", "[a]", "-"]
PARTS = [
    *["*", "**", "?", "*.c", "a*", "*b", "[ab]", "[!a]", "[^b]", "[a-c]*", "[]a]", "[z-a]", "[a"],
    *["f?o", "foo*", "**foo", "fo**", "a**b", "[[:alpha:]]", "[[:nope:]]", "[a-]", "[--b]", "***"],
    *[
        "\\a",
        "\\*",
        "a\\",
        "[\\a]",
        "[a\\]]",
        "foo ",
        "foo\\ ",
        "{a,b}",
        "[[:alpha:]-]",
        "[!/]",
        "[a/]",
    ],
]


def git(folder: Path, *args: str) -> bytes:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nowhere",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
    }
    command = ["git", "-C", str(folder), *args]
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout


def random_rule(chance: random.Random) -> str:
    parts = [chance.choice([*NAMES, *PARTS]) for _ in range(chance.choice([1, 1, 1, 2, 2, 3]))]
    rule = "/".join(parts)
    rule = chance.choice(["", "", "", "/", "!", "!", "!/", "#", "\\!", " "]) + rule
    return rule + chance.choice(["", "", "", "/", "/", " ", "\t", "\r", "//", "/**", "/*"])


def random_tree(chance: random.Random, folder: Path) -> None:
    folders = [folder]
    for _ in range(chance.randint(3, 12)):
        below = chance.choice(folders) / chance.choice(NAMES)
        below.mkdir(exist_ok=True)
        folders.append(below)
    for _ in range(chance.randint(5, 40)):
        file = chance.choice(folders) / chance.choice(NAMES)
        if not file.exists():
            file.write_text("x")
    for below in chance.sample(folders, chance.randint(1, 3)):
        rules = "\n".join(random_rule(chance) for _ in range(chance.randint(1, 6)))
        (below / ".gitignore").write_text(chance.choice(["", "\ufeff"]) + rules)
    if chance.random() < 0.5:
        rules = "\n".join(random_rule(chance) for _ in range(3))
        (folder / ".git" / "info" / "exclude").write_text(rules)


def all_files(folder: Path) -> list[str]:
    with Project(str(folder)) as project, Ground(project.boundary) as ground:
        found = glob(ground, "**", limit=MAX_FILES, seconds=60)
    assert found.truncated is None
    return list(found.paths)


@pytest.mark.parametrize("seed", range(8))
def test_all_files_are_those_that_git_lists(tmp_path: Path, seed: int) -> None:
    """In random trees with random rules, nested, with what git itself gets wrong."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    for number in range(15):
        folder = tmp_path / str(number)
        folder.mkdir()
        git(folder, "init", "-q", "--template=")
        (folder / ".git" / "info").mkdir(exist_ok=True)
        random_tree(chance, folder)
        listed = git(folder, "ls-files", "-coz", "--exclude-standard").split(b"\0")

        assert set(map(os.fsencode, all_files(folder))) == set(listed) - {b""}, number
