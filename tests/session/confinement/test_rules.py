"""What a session's command is granted, as data."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confined import Place, make_place

from jidocode import CommandLimits, FullNetwork, InvalidRequestError, NoNetwork, Ports
from jidocode.session.confinement import rules
from jidocode.session.confinement.confinement import Confinement
from jidocode.session.confinement.limits import resource_limits
from jidocode.session.confinement.rules import session_confinement
from jidocode.session.confinement.worktree import worktree_paths


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def test_it_is_the_project_the_scratch_folder_and_the_system(place: Place) -> None:
    confinement = place.confinement

    assert confinement.write == (str(place.project), str(place.scratch))
    assert "/usr" in confinement.read
    assert "/etc/passwd" in confinement.read
    assert sys.base_prefix in confinement.read
    assert confinement.network == NoNetwork()
    assert confinement.limits == CommandLimits()
    assert not confinement.ptrace
    assert "/dev/null" in confinement.devices


def test_nothing_that_is_granted_holds_a_home_or_a_secret(place: Place) -> None:
    """Neither beneath a granted path, nor above one that is."""
    granted = [Path(path) for path in (*place.confinement.read, *place.confinement.write)]
    secrets = [
        *("/", "/root", "/home", "/etc", "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl"),
        *("/etc/ssl/private", "/etc/sudoers", "/var", "/var/run/docker.sock", "/run", "/tmp"),  # noqa: S108 - a name
        *("/dev", "/dev/shm", "/dev/sda", "/dev/mem", "/dev/kmsg", "/sys", "/boot"),  # noqa: S108 - a name
        *(str(Path.home()), str(place.outside), str(place.project.parent)),
    ]

    assert {
        secret for secret in secrets for path in granted if Path(secret).is_relative_to(path)
    } == set()


def test_symlinks_are_followed_once(place: Place) -> None:
    link = place.project.parent / "link"
    link.symlink_to(place.outside)

    confinement = session_confinement(place.project, place.scratch, read=[link])

    assert str(place.outside) in confinement.read
    assert str(link) not in confinement.read


def test_more_can_be_granted(place: Place) -> None:
    confinement = session_confinement(
        place.project, place.scratch, read=[place.outside], write=[place.secret], ptrace=True
    )

    assert str(place.outside) in confinement.read
    assert str(place.secret) in confinement.write
    assert confinement.ptrace


def test_what_must_stay_closed_is_never_granted(place: Place) -> None:
    """Such as the state directory of an app that keeps it in the project."""
    state = place.project / "state"
    link = place.outside / "link"
    link.symlink_to(place.project)

    for closed in (state, place.project, link / "x"):
        with pytest.raises(InvalidRequestError, match="must stay closed"):
            session_confinement(place.project, place.scratch, closed=[closed])
    with pytest.raises(InvalidRequestError, match="must stay closed"):
        session_confinement(
            place.project, place.scratch, read=[place.outside], closed=[place.secret]
        )
    session_confinement(place.project, place.scratch, closed=[place.outside])


@pytest.mark.parametrize("prefix", ["/", "/nonexistent", "/tmp"])  # noqa: S108 - a name
def test_a_prefix_that_is_none_is_not_granted(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python embedded in a program can have any."""
    for name in ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, name, prefix)

    assert prefix not in rules.python_prefixes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"read": "/usr"},
        {"read": ["relative"]},
        {"read": [""]},
        {"write": [b"/usr"]},
        {"write": ["/nul\0"]},
        {"write": ["/\ud800"]},
        {"read": ["/" + "x" * 5000]},
        {"read": ["/x"] * 1001},
        {"read": None},
        {"closed": ["relative"]},
        {"network": "none"},
        {"network": Ports},
        {"limits": 5},
        {"ptrace": "no"},
    ],
    ids=lambda wrong: repr(wrong)[:40],
)
def test_what_is_no_rule_is_refused(place: Place, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        session_confinement(place.project, place.scratch, **wrong)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("port", [0, -1, 65536, True, "443", 4.0, None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InvalidRequestError, match="port must be an int from 1 to 65535"):
        Ports(connect=(port,))
    with pytest.raises(InvalidRequestError):
        Ports(listen=port)


@pytest.mark.parametrize("limit", [-1, 2**63, True, "1", 1.0])
def test_what_is_no_limit_is_refused(limit: Any) -> None:
    for name in ("core", "file_size", "data", "descriptors", "cpu", "processes"):
        with pytest.raises(InvalidRequestError, match="a limit must be None or an int"):
            CommandLimits(**{name: limit})


def test_a_confinement_travels(place: Place) -> None:
    for network in (NoNetwork(), Ports((443,), (8000,)), FullNetwork()):
        confinement = place.with_network(network).confinement
        assert pickle.loads(pickle.dumps(confinement)) == confinement


def test_limits_are_never_raised() -> None:
    """Not above what the app has: it would be refused, or, for root, granted."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (50, 100))\n"
        "from jidocode import CommandLimits\n"
        "from jidocode.session.confinement.limits import resource_limits\n"
        "print(dict(resource_limits(CommandLimits(descriptors=500)))[resource.RLIMIT_NOFILE])"
    )
    done = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, check=True)

    assert done.stdout == "(100, 100)\n"
    none = CommandLimits(core=None, file_size=None, data=None, descriptors=None)
    assert resource_limits(none) == ()


def test_limits_hold(tmp_path: Path) -> None:
    limits = CommandLimits(file_size=1000, descriptors=20, data=200 * 2**20, cpu=1)
    place = make_place(tmp_path, limits=limits)
    script = """
def raise_limit():
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (9, 9))
    except ValueError:
        raise PermissionError(errno.EPERM, "")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open("file", "wb", buffering=0) as file:
    file.write(bytes(1000))
    results["file"] = attempt(file.write, b"x")
results["open"] = attempt(lambda: [os.dup(0) for _ in range(30)])
try:
    bytearray(400 * 2**20)
except MemoryError:
    results["memory"] = "none left"
mapped = mmap.mmap(-1, 2**30, mmap.MAP_SHARED)
results["core"] = resource.getrlimit(resource.RLIMIT_CORE)
results["cpu"] = resource.getrlimit(resource.RLIMIT_CPU)
results["raise"] = attempt(raise_limit)
"""

    assert place.script(script) == {
        "file": "EFBIG",
        "open": "EMFILE",
        "memory": "none left",
        "core": [0, 0],
        "cpu": [1, 6],
        "raise": "EPERM",
    }
    burning = place.run([sys.executable, "-Sc", "while True: pass"], fails=True)
    assert burning.returncode == -24  # SIGXCPU


def git(*arguments: object, cwd: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        **{
            f"GIT_{who}_{what}": "x"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    subprocess.run(
        ["git", *map(str, arguments)], cwd=cwd, env=environment, check=True, capture_output=True
    )


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    """Make a repository with a linked worktree; return the worktree."""
    main = tmp_path / "main"
    main.mkdir()
    git("init", "-q", cwd=main)
    (main / "file").write_text("text\n")
    git("add", ".", cwd=main)
    git("commit", "-qm", "first", cwd=main)
    git("worktree", "add", "-q", tmp_path / "linked", cwd=main)
    return tmp_path / "linked"


def test_a_linked_worktree_has_what_a_commit_needs(worktree: Path) -> None:
    common = worktree.parent / "main" / ".git"

    assert worktree_paths(str(worktree)) == (
        (str(common),),
        tuple(str(common / name) for name in ("worktrees/linked", "objects", "refs", "logs")),
    )


def test_a_worktree_that_git_has_moved_is_one(worktree: Path) -> None:
    moved = worktree.parent / "moved"
    git("worktree", "move", worktree, moved, cwd=worktree.parent / "main")

    assert worktree_paths(str(moved)) != ((), ())


def test_a_project_that_names_any_folder_gets_nothing(worktree: Path, tmp_path: Path) -> None:
    """The file `.git` is the project's; what it names must know of it."""
    common = tmp_path / "main" / ".git"
    marker = worktree / ".git"
    home = tmp_path / "home" / "worktrees" / "x"
    home.mkdir(parents=True)

    for text in (
        *(f"gitdir: {home}\n", f"gitdir: {common}\n", f"gitdir: {common}/worktrees\n"),
        *("gitdir: \n", "gitdir: /\n", "gitdir: /\0\n", "nothing", "", "gitdir: a\ngitdir: b\n"),
        "gitdir: " + "x" * 10_000,
    ):
        marker.write_text(text)
        assert worktree_paths(str(worktree)) == ((), ()), text[:50]
    marker.unlink()
    assert worktree_paths(str(worktree)) == ((), ())
    marker.mkdir()
    assert worktree_paths(str(worktree)) == ((), ())
    marker.rmdir()
    os.mkfifo(marker)
    assert worktree_paths(str(worktree)) == ((), ())


def test_a_worktree_of_somebody_else_is_not_lent(worktree: Path, tmp_path: Path) -> None:
    thief = tmp_path / "thief"
    thief.mkdir()
    (thief / ".git").write_text((worktree / ".git").read_text())

    assert worktree_paths(str(thief)) == ((), ())


def test_a_repository_made_of_symlinks_opens_nothing(place: Place) -> None:
    """A project can hold all that a repository has, and have it lead elsewhere."""
    fake = place.project / "fake" / "worktrees" / "x"
    fake.mkdir(parents=True)
    (fake / "gitdir").write_text(f"{place.project}/.git\n")
    (place.project / ".git").write_text(f"gitdir: {fake}\n")
    (place.project / "fake" / "objects").symlink_to(place.outside)

    confinement = session_confinement(place.project, place.scratch)

    assert str(place.project / "fake" / "objects") in confinement.write
    wider = make_like(place, confinement)
    done = wider.run(["sh", "-c", f"echo > {place.outside}/new; cat {place.secret}"], fails=True)
    assert done.stdout.count("Permission denied") == 2
    assert list(place.outside.iterdir()) == [place.secret]


def make_like(place: Place, confinement: Confinement) -> Place:
    return Place(place.project, place.scratch, place.outside, place.secret, confinement)
