"""What only tier namespaces holds, and what it says where it is not possible."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confined import Place, make_place, require_tier, why_no_namespaces
from limits import run_unshared

from jidocode import ConfinementError, FullNetwork, Ports
from jidocode.session.confinement import namespaces
from jidocode.session.confinement.apart import run_apart
from jidocode.session.confinement.confinement import Confinement
from jidocode.session.confinement.namespaces import STEPS, Obstacle, explain
from jidocode.session.confinement.orders import git_orders
from jidocode.session.confinement.probe import probe
from jidocode.session.confinement.report import IN_FORCE
from jidocode.session.confinement.view import view

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
GIT = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path, "namespaces")


def test_everything_is_denied_here(tmp_path: Path) -> None:
    require_tier("namespaces")

    report = probe(str(tmp_path), apart=True)

    assert (report.tier, report.missing, report.namespaces) == ("namespaces", (), IN_FORCE)
    report.require("namespaces")
    report.require("kernel")
    assert [one.what for one in report.denials if "namespace of" in one.what] == [
        f"share the app's namespace of {what}"
        for what in ("users", "processes", "mounts", "network", "shared memory", "names")
    ]
    assert list(tmp_path.iterdir()) == []


@as_root
def test_everything_is_denied_to_who_has_no_privileges() -> None:
    require_tier("namespaces")
    code = """
import os
from jidocode.session.confinement.kernel import prctl
from jidocode.session.confinement.probe import probe
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.chdir("/")
prctl(4, 1)  # dumpable, as who was started as nobody is: its /proc is its own
report = probe("/tmp", apart=True)
print(report.tier, report.missing, flush=True)
os._exit(0)  # nobody's exit handlers, which could write nothing now
"""
    done = subprocess.run(
        [sys.executable, "-Ic", code], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("namespaces ()\n", "")


def test_nothing_is_there_but_what_is_granted(place: Place) -> None:
    script = """
found = set()
for folder, folders, files in os.walk("/"):
    if folder in ("/proc", "/sys", "/usr", "/opt", "/dev/pts", argv[0], argv[1]):
        folders.clear()
        continue
    found |= {os.path.join(folder, name) for name in files}
results["files"] = sorted(found)
results["processes"] = sorted(name for name in os.listdir("/proc") if name.isdigit())
results["terminals"] = os.listdir("/dev/pts")
results["parent"] = os.getppid()
"""
    results = place.script(script, place.project, place.scratch)

    granted = [
        *(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")),
        *(f"/dev/{name}" for name in ("ptmx", "console", "stdin", "stdout", "stderr")),
        *place.confinement.read,
    ]
    named = re.compile("|".join(f"{re.escape(path)}(/.*)?" for path in granted))
    links = {"/etc/localtime", "/etc/mtab", "/etc/os-release"}  # to what is granted
    strangers = [name for name in results["files"] if not named.fullmatch(name)]
    assert {name for name in strangers if not Path(name).is_symlink()} - links == set()
    assert results["processes"] == ["1", "2"]
    assert results["terminals"] == ["ptmx"]
    assert results["parent"] == 0


def test_the_first_process_cannot_be_reached_into(place: Place) -> None:
    """It sees all folders of the machine, as whatever is not confined does."""
    script = """
for name in ("root", "cwd", "exe", "fd/0", "ns/mnt"):
    results["follow " + name] = attempt(os.readlink, "/proc/1/" + name)
for name in ("root", "cwd", "map_files"):
    results["list " + name] = attempt(os.listdir, "/proc/1/" + name)
for name in ("environ", "maps", "mem", "root/etc/passwd"):
    results["read " + name] = attempt(open, "/proc/1/" + name)
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
    results[f"signal {number}"] = attempt(os.kill, 1, number)
"""
    results = place.script(script)

    assert {k: v for k, v in results.items() if v not in ("EACCES", "EPERM")} == {}


def test_the_network_is_shared_only_where_ports_are_granted(place: Place) -> None:
    script = 'results["net"] = os.readlink("/proc/self/ns/net")'
    ours = os.readlink("/proc/self/ns/net")  # noqa: PTH115 - as the script does

    assert place.script(script)["net"] != ours
    for network in (Ports(connect=(1,)), FullNetwork()):
        assert place.with_network(network).script(script)["net"] == ours


def test_a_repository_takes_commits_and_no_orders(place: Place) -> None:
    """Neither by writing its hooks and configuration, nor by putting others in their place."""
    git = place.project / ".git"
    place.run(["git", "init", "-q"])
    before = (git / "config").read_text()
    hooks = sorted(path.name for path in (git / "hooks").iterdir())
    hook = "echo evil > .git/hooks/pre-commit"

    script = (
        "echo text > file && git add . && git commit -qm first && git branch other &&"
        " git checkout -q other && git gc -q && git stash list && echo fine;"
        f"{hook}; chmod u+w .git/hooks; {hook};"
        "git config core.fsmonitor evil; echo evil >> .git/config; ln -sf evil .git/config;"
        "rm -f .git/config; mv .git/config x; mv .git/hooks x; rm -rf .git/hooks;"
        "mv .git old; mkdir .git; ln .git/config link && echo evil >> link;"
        "umount .git/hooks; mount -o remount,rw .git/hooks; true"
    )
    done = place.run(["sh", "-xc", script], env=GIT)

    assert "fine\n" in done.stdout, done.stdout
    assert (git / "config").read_text() == before
    assert sorted(path.name for path in (git / "hooks").iterdir()) == hooks
    assert not (git / "x").exists()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_says_where_the_repository_is_stays(place: Place, kind: str) -> None:
    """A .git that is no folder, and hooks that are a symlink."""
    git = place.project / ".git"
    if kind == "link":
        git.mkdir()
        (place.project / "shared").mkdir()
        (git / "hooks").symlink_to("../shared")
        held = git / "hooks"
    else:
        git.write_text("gitdir: /nowhere\n")
        held = git
    name = held.relative_to(place.project)

    place.run(["sh", "-c", f"rm -f {name}; mv {name} x; ln -sfn evil {name}; echo > new; true"])

    assert (place.project / "new").exists()
    if kind == "link":
        assert held.readlink() == Path("../shared")
    else:
        assert held.read_text() == "gitdir: /nowhere\n"


def test_what_is_not_there_cannot_be_kept_from_coming(place: Place) -> None:
    """As docs/security.md says."""
    place.run(["git", "init", "-q"])
    place.run(["sh", "-c", "echo x > .git/commondir && mkdir -p .git/modules/a/hooks"])

    anchors, read_only = git_orders(str(place.project))
    assert anchors == (f"{place.project}/.git",)
    assert f"{place.project}/.git/commondir" in read_only  # from now on


def test_what_is_in_its_tmp_stays_for_the_next(place: Place) -> None:
    """In the scratch folder; that of the machine it does not see."""
    name = f"jidocode-{os.urandom(8).hex()}"
    place.run(["sh", "-c", f"echo kept > /tmp/{name}"])

    assert place.run(["sh", "-c", f"cat /tmp/{name}"]).stdout == "kept\n"
    assert (place.scratch / name).read_text() == "kept\n"
    assert not Path("/tmp", name).exists()  # noqa: S108 - what it is about


def test_a_writable_folder_that_is_granted_keeps_what_is_only_read_in_it(tmp_path: Path) -> None:
    """Grants add up, as for Landlock: a Python environment in the project can be changed."""
    found = view(
        Confinement(
            read=(str(tmp_path / "project/env"), "/usr", "/usr/lib", "/proc/1/mounts"),
            write=(str(tmp_path / "project"), "/dev/shm"),  # noqa: S108 - a name
        ),
        str(tmp_path / "project"),
        str(tmp_path),
    )
    read, write, _, _, temporary, memory = found.base

    assert read == (b"/usr",)
    assert write == (os.fsencode(tmp_path / "project"), b"/dev/shm")
    assert (temporary, memory) == (os.fsencode(tmp_path), False)


def test_the_root_of_all_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfinementError, match="cannot show"):
        view(Confinement(write=("/",)), "/", str(tmp_path))


def test_a_folder_that_was_exchanged_is_refused(place: Place, tmp_path: Path) -> None:
    """What is open is not what can be seen at its path."""
    folder = place.project / "folder"
    folder.mkdir()

    descriptor = os.open(folder, os.O_PATH)
    try:
        folder.rename(tmp_path / "away")
        folder.mkdir()
        world = view(place.confinement, str(place.project), str(place.scratch))

        def enter() -> int:
            pid = os.fork()
            if not pid:
                try:
                    world.enter(descriptor, None, lambda _: None)
                except OSError as error:
                    os._exit(error.errno or 1)
                finally:
                    os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        assert run_apart(enter) == errno.ESTALE
    finally:
        os.close(descriptor)


def test_all_ends_with_the_first_process(place: Place) -> None:
    """However what it has started leaves its session or its group."""
    mark = f"1000.{os.getpid()}"
    sleep = f"sleep {mark} >/dev/null 2>&1"
    done = place.run(["sh", "-c", f"setsid {sleep} & nohup {sleep} & (setsid {sleep} &); echo $$"])

    assert done.stdout == "2\n"
    assert subprocess.run(["pgrep", "-f", mark], check=False, capture_output=True).returncode == 1


UNABLE = """
import sys, time
from jidocode import ConfinementError
from jidocode.session.confinement.apart import run_apart
limit, value = sys.argv[1:]
with open(f"/proc/sys/{limit}", "w") as file:
    file.write(value)
began = time.monotonic()
try:
    run_apart(lambda: None)
except ConfinementError as error:
    print(time.monotonic() - began < 5, error)
"""


def test_where_namespaces_are_forbidden_the_sentence_says_by_what() -> None:
    """The limit holds for who is in a user namespace below."""
    told = run_unshared(UNABLE, "user/max_user_namespaces", "0")

    assert told.startswith("True tier namespaces is not possible here")
    assert "user.max_user_namespaces is 0" in told
    assert "the setting sandbox='require:kernel'" in told


def test_where_proc_is_covered_as_in_a_container_that_is_said() -> None:
    code = """
import os, subprocess, sys, tempfile, time
subprocess.run(["mount", "-t", "tmpfs", "none", "/proc/sys"], check=True)
from jidocode import ConfinementError
from jidocode.session.confinement.probe import probe
began = time.monotonic()
with tempfile.TemporaryDirectory() as folder:
    try:
        probe(folder, apart=True)
    except ConfinementError as error:
        print(time.monotonic() - began < 5, error)
    print(probe(folder).tier)
"""
    told = run_unshared(code, namespaces=("--mount",))

    assert told.startswith("True"), told
    assert "does not mount a /proc (Operation not permitted; parts of /proc are covered" in told
    assert told.endswith("kernel\n")


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_every_obstacle_is_a_sentence(step: int) -> None:
    text = explain(Obstacle(step, errno.EPERM))

    assert STEPS[step] in text
    assert "Operation not permitted; " in text


def test_an_obstacle_in_a_fork_is_an_error_here(monkeypatch: pytest.MonkeyPatch) -> None:
    if why_no_namespaces():
        pytest.skip(why_no_namespaces())

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(namespaces, "unshare", refuse)
    with pytest.raises(ConfinementError, match=r"user namespace and a pid namespace \(No space"):
        run_apart(lambda: None)


def test_what_an_action_raises_is_raised_here() -> None:
    require_tier("namespaces")

    def fail() -> None:
        raise ValueError("no")

    actions: list[tuple[Callable[[], None], type[Exception]]] = [
        (fail, ValueError),
        (lambda: os._exit(3), ConfinementError),
    ]
    for action, kind in actions:
        with pytest.raises(kind):
            run_apart(action)
