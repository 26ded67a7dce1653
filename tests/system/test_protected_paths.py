"""What commands do to protected paths: found, told, and undone if the settings say so."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jidocode import (
    Allow,
    Deny,
    EventStream,
    ProtectedPathError,
    ProtectedPathsChanged,
    SessionHandle,
    SessionSystem,
    ToolRequest,
    accept_edits,
    allow_all,
)
from jidocode.testing import PATIENCE, eventually, kill

Opens = Callable[..., SessionHandle]


@pytest.fixture(autouse=True)
def scratch_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scratch folders are made."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))


@pytest.fixture
def repository(project: Path) -> Path:
    """The project, as a repository with a hook of its own and a commit."""
    git(project, "init", "-q", "-b", "main")
    git(project, "config", "user.name", "A")
    git(project, "config", "user.email", "a@example.org")
    hook = project / ".git/hooks/commit-msg"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    (project / ".git/hooks/link").symlink_to("commit-msg")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "one")
    return project


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def open_session(tmp_path: Path, repository: Path) -> Iterator[Opens]:
    """Opens a session on the repository, in a system with settings."""
    systems: list[SessionSystem] = []

    def open_it(**settings: object) -> SessionHandle:
        system = SessionSystem(state_dir=tmp_path / "state", **settings)  # type: ignore[arg-type]
        systems.append(system)
        return system.create_session(repository)

    yield open_it
    for system in systems:
        system.close()


def protected(root: Path) -> dict[str, tuple[int, bytes]]:
    """What is in the protected folders: kinds, permissions, contents."""
    found: dict[str, tuple[int, bytes]] = {}
    tops = [root / ".git/hooks", root / ".git/config", root / ".envrc", root / ".vscode"]
    for path in [each for top in tops for each in (top, *sorted(top.rglob("*")))]:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        content = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else content
        found[str(path.relative_to(root))] = (mode, content)
    return found


def next_change(events: EventStream) -> ProtectedPathsChanged:
    while event := events.get(PATIENCE):
        if isinstance(event.fact, ProtectedPathsChanged):
            return event.fact
    pytest.fail("nothing was told")


HOOK = ".git/hooks/commit-msg"
WAYS: list[tuple[str, str, set[str]]] = [
    ("new", "echo evil > .git/hooks/pre-commit", {".git/hooks/pre-commit"}),
    ("written", f"echo evil >> {HOOK}", {HOOK}),
    ("renamed over", f"echo evil > x; chmod +x x; mv x {HOOK}", {HOOK}),
    ("hard link", f"ln -f README.md {HOOK}", {HOOK}),
    ("symlink", f"ln -sf ../../README.md {HOOK}", {HOOK}),
    ("another link", "ln -sf nowhere .git/hooks/link", {".git/hooks/link"}),
    ("a link becomes a file", "rm .git/hooks/link; echo > .git/hooks/link", {".git/hooks/link"}),
    ("mode", f"chmod -x {HOOK}", {HOOK}),
    ("mode, so that it cannot be read", f"chmod 0 {HOOK}", {HOOK}),
    ("mode of the folder", "chmod 700 .git/hooks", {".git/hooks"}),
    ("removed", f"rm {HOOK}", {HOOK}),
    ("all removed", "rm -r .git/hooks", {".git/hooks"}),
    ("a fifo", f"rm {HOOK}; mkfifo {HOOK}", {HOOK}),
    ("a folder in its place", f"rm {HOOK}; mkdir -p {HOOK}/a/b; mkfifo {HOOK}/a/p", {HOOK}),
    (
        "the folder is a link",
        "mv .git/hooks h; echo evil > h/x; ln -s ../h .git/hooks",
        {".git/hooks"},
    ),
    ("the folder is a file", "rm -r .git/hooks; echo evil > .git/hooks", {".git/hooks"}),
    ("more than is looked at", "mkdir h; cd h; touch $(seq 1100); mv * ../.git/hooks", set()),
    ("git config", "git config core.fsmonitor ./evil", {".git/config"}),
    ("git remote", "git remote add origin https://example.org/x", {".git/config"}),
    ("the repository is another one", "mv .git g; git init -q; git config a.b c", {".git/config"}),
    ("the repository is a link", "mv .git g; ln -s g .git", {".git"}),
    ("the repository is elsewhere", "mv .git src/g; echo gitdir: src/g > .git", {".git"}),
    ("envrc", "echo evil > .envrc", {".envrc"}),
    ("a folder", "mkdir -p .vscode/a; echo evil > .vscode/tasks.json", {".vscode"}),
    ("two", "echo evil > .envrc; rm .git/config", {".envrc", ".git/config"}),
    ("who has started it is gone", "sh -c 'echo evil > .envrc; kill -9 $PPID'", {".envrc"}),
    ("by who stays behind", "(setsid sh -c 'sleep 0.05; echo evil > .envrc' &)", {".envrc"}),
]


def put_back(repository: Path, kept: Path) -> None:
    """Make *repository* what it was; while no command runs that is nobody's change."""
    root = str(repository)
    for line in (["find", root, "-mindepth", "1", "-delete"], ["cp", "-a", f"{kept}/.", root]):
        subprocess.run(line, check=True)


@pytest.fixture
def kept(repository: Path) -> Path:
    """A copy of the repository."""
    copy = repository.parent / "kept"
    subprocess.run(["cp", "-a", repository, copy], check=True)
    return copy


def test_what_commands_change_is_in_the_result_and_told(
    open_session: Opens, repository: Path, kept: Path
) -> None:
    session = open_session()
    events = session.events()
    for name, line, paths in WAYS:
        result = session.run(line)
        assert paths <= set(result.protected_changes), (name, result.stderr)
        assert result.undone_changes == ()
        told: set[str] = set()
        while told != set(result.protected_changes):  # a look may come in the midst of them
            event = next_change(events)
            told.update(event.paths)
            assert event.commands == (result.id,)
            assert ".git" not in repr(result) + repr(event)
        put_back(repository, kept)
    assert session.run("true").protected_changes == ()


def test_what_commands_change_is_undone(open_session: Opens, repository: Path, kept: Path) -> None:
    before = protected(repository)
    session = open_session(protected_changes="refuse")
    for name, line, paths in WAYS:
        result = session.run(line)
        assert paths <= set(result.protected_changes), (name, result.stderr)
        assert result.undone_changes == result.protected_changes, name
        assert protected(repository) == before, name
        assert git(repository, "log", "--format=%s") == "one\n", name
        assert (repository / "README.md").read_text() == "# Shop\n\nSells things.\n", name
        assert (repository / "README.md").stat().st_mode == (kept / "README.md").stat().st_mode
        assert not list(repository.rglob(".jidocode-*.tmp"))
        assert all(os.path.lexists(repository / path) for path in result.set_aside), name
        assert session.run("true").protected_changes == (), name
        put_back(repository, kept)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("mkdir .vscode; mv .git/objects .git/refs .git/HEAD .vscode/", ".git"),
        ("mkdir -p .vscode/a/b; mv src .vscode/a/b", "src"),
        ("mv .git/objects .git/hooks/", ".git"),
        ("mv README.md .envrc", "README.md"),
        ("mv README.md .git/config", "README.md"),
        (f"mv README.md {HOOK}", "README.md"),
        ("ln README.md .git/hooks/x; rm README.md", "README.md"),
    ],
)
def test_what_a_command_moves_to_a_protected_path_is_set_aside(
    open_session: Opens, repository: Path, line: str, kept: str
) -> None:
    """It may be all that somebody has."""

    def contents() -> set[bytes]:
        paths = [repository / kept, *repository.glob(".jidocode-undone-*")]
        files = [each for path in paths for each in (path, *path.rglob("*")) if each.is_file()]
        return {each.read_bytes() for each in files}

    before, texts = protected(repository), contents()
    session = open_session(protected_changes="refuse")
    events = session.events()
    result = session.run(line)
    assert result.ok, result.stderr
    assert result.undone_changes == result.protected_changes != ()
    assert protected(repository) == before
    assert texts <= contents()
    assert result.set_aside
    assert all((repository / path).exists() for path in result.set_aside)
    assert next_change(events).set_aside == result.set_aside


def test_git_and_snapshots_leave_out_what_was_set_aside(
    open_session: Opens, repository: Path
) -> None:
    """It would be committed, or be removed when the project goes back to how it was."""
    (repository / ".gitignore").write_text("data\n")
    (repository / "data").mkdir()
    (repository / "data/only").write_text("one")
    session = open_session(protected_changes="refuse")
    before = session.take_snapshot()
    (kept,) = session.run("mv data .vscode").set_aside
    assert kept.endswith("-.vscode")
    assert ".jidocode" not in git(repository, "status", "--porcelain")
    reverted = session.revert(to=before)
    assert (reverted.restored, reverted.removed) == ((), ())
    assert (repository / kept / "only").read_text() == "one"
    session.run("find . -name .gitignore -delete")
    session.revert(to=before)
    assert (repository / kept / "only").read_text() == "one"
    (kept,) = session.run("echo evil >> .git/hooks/commit-msg").set_aside
    assert (repository / kept).parent.joinpath(".gitignore").exists()
    assert kept.endswith("-.git+hooks+commit-msg")


def test_undoing_does_not_leave_the_project_whatever_is_swapped(
    open_session: Opens, repository: Path, tmp_path: Path
) -> None:
    """Folders on the way to what is undone change places with symlinks to the outside."""
    outside = tmp_path / "outside"
    (outside / "hooks").mkdir(parents=True)
    for name in ("config", "hooks/commit-msg", "hooks/precious", "precious"):
        (outside / name).write_text("keep")
    before = {path: path.lstat().st_ctime_ns for path in sorted(outside.rglob("*"))}
    racer = (
        "import ctypes, os, sys\n"
        "rename = ctypes.CDLL(None).renameat2\n"
        "a, b = sys.argv[1].encode(), sys.argv[2].encode()\n"
        "print('on', flush=True)\n"
        "while True:\n"
        "    rename(-100, a, -100, b, 2)\n"
        "    try:\n"
        "        open('.git/hooks/commit-msg', 'a').write('evil')\n"
        "        open('.git/hooks/precious', 'a').write('evil')\n"
        "        open('.git/config', 'a').write('#')\n"
        "    except OSError:\n"
        "        pass\n"
    )
    (repository / "swap1").symlink_to(outside)
    (repository / "swap2").symlink_to(outside / "hooks")
    session = open_session(protected_changes="refuse")
    racers = [
        session.commands.start(["python3", "-c", racer, *names])
        for names in ((".git", "swap1"), (".git/hooks", "swap2"))
    ]
    for each in racers:
        eventually(each.output().__next__, "the racer")
    # Each time is a race; that there was one shows when something was changed, and is undone.
    changes = [bool(session.run("true").protected_changes) for _ in range(60)]
    if not any(changes):
        eventually(lambda: session.run("true").protected_changes, "a change that is undone")
    for each in racers:
        each.cancel()
    assert (repository / ".git/HEAD").is_file()
    assert {path: path.lstat().st_ctime_ns for path in sorted(outside.rglob("*"))} == before
    assert session.run("true").ok


def test_what_is_no_change_is_not_told(open_session: Opens, repository: Path) -> None:
    session = open_session()
    line = (
        f"touch {HOOK} .git/config; cp .git/config c; mv c .git/config; echo x > Makefile; "
        "git add .; git commit -qm two; git gc -q; mkdir -p sub; mv .git g; mv g .git; "
        "echo > .envrc; rm .envrc"
    )
    result = session.run(line)
    assert result.ok, result.stderr
    assert result.protected_changes == ()
    (repository / ".envrc").write_text("the user's own, between two commands")
    assert session.run("true").protected_changes == ()
    assert session.run("cat .envrc").ok


def test_what_was_written_a_moment_ago_is_not_taken_for_the_same(
    open_session: Opens, repository: Path
) -> None:
    """Of the same size, in the same tick of the clock, by a mapping that says no time."""
    session = open_session()
    program = (
        "import mmap, sys, time\n"
        f"file = open('{HOOK}', 'r+b')\n"
        "memory = mmap.mmap(file.fileno(), 0)\n"
        "for byte in b'ab':\n"
        "    memory[-1] = byte\n"
        "    print(chr(byte), flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    events = session.events()
    writer = session.commands.start(["python3", "-c", program], stdin="")
    eventually(lambda: writer.read().text == "a\n", "the first byte")
    session.run("true")
    assert next_change(events).paths == (HOOK,)
    written = (repository / HOOK).stat().st_ctime_ns
    eventually(lambda: time.time_ns() - written > 2e8, "the kernel's clock")
    session.run("true")
    writer.write("\n")
    eventually(lambda: writer.read().text == "a\nb\n", "the second byte")
    assert (repository / HOOK).stat().st_ctime_ns == written
    session.run("true")
    assert next_change(events).paths == (HOOK,)
    writer.cancel()
    for text in ("1", "2", "3"):
        assert session.run(f"printf {text} > .envrc").protected_changes == (".envrc",)


def test_what_changes_while_several_run_is_theirs_all(
    open_session: Opens, repository: Path
) -> None:
    session = open_session()
    events = session.events()
    server = session.commands.start("read line", stdin="")
    assert session.run("echo evil > .envrc").protected_changes == (".envrc",)
    assert set(next_change(events).commands) > {server.id}
    (repository / ".vscode").mkdir()
    told = next_change(events)  # now and then, while any runs
    assert (told.paths, told.commands) == ((".vscode",), (server.id,))
    server.close_stdin()
    assert server.wait(PATIENCE).protected_changes == (".envrc", ".vscode")


def test_a_command_that_is_ended_is_looked_at_too(open_session: Opens) -> None:
    session = open_session(protected_changes="refuse")
    result = session.run("echo evil > .envrc; sleep 100", timeout=1)
    assert result.timed_out
    assert result.undone_changes == (".envrc",)
    handle = session.commands.start("echo evil > .envrc; echo done; sleep 100")
    eventually(lambda: handle.read().text, "its output")
    assert handle.cancel().undone_changes == (".envrc",)


def test_while_one_runs_changes_are_undone_too(open_session: Opens, repository: Path) -> None:
    session = open_session(protected_changes="refuse")
    server = session.commands.start("echo evil > .envrc; read line", stdin="")
    events = session.events()
    eventually(lambda: not (repository / ".envrc").exists(), "it to be undone")
    assert next_change(events).undone == (".envrc",)
    assert server.cancel().undone_changes == (".envrc",)


STORM = """
import itertools, os
os.fork()
for number in itertools.count():
    try:
        os.makedirs(f".vscode/{os.getpid()}.{number}")
    except OSError:
        pass
"""


def test_who_makes_more_than_can_be_undone_ends_in_time_all_the_same(
    open_session: Opens, repository: Path
) -> None:
    """Else nobody would look at its deadline any more."""
    session = open_session(protected_changes="refuse")
    (repository / "storm.py").write_text(STORM)
    began = time.monotonic()
    result = session.run([sys.executable, "-I", "storm.py"], timeout=2.5)
    assert result.timed_out
    assert {path.partition("/")[0] for path in result.protected_changes} == {".vscode"}
    assert time.monotonic() - began < 60  # it would not end
    assert session.run("true").ok
    assert result.set_aside
    subprocess.run(["find", repository, "-mindepth", "1", "-delete"], check=True)


def test_what_cannot_be_undone_is_said(open_session: Opens, repository: Path) -> None:
    folder = repository / ".vscode"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(2_000_000))
    session = open_session(protected_changes="refuse")
    result = session.run("echo x >> .vscode/large; echo x > .vscode/small")
    assert set(result.protected_changes) == {".vscode/large", ".vscode/small"}
    assert result.undone_changes == (".vscode/small",)
    result = session.run("rm -rf .git; mkdir .git")
    assert set(result.protected_changes) == {".git", ".git/config", ".git/hooks"}
    assert result.undone_changes == (".git/config", ".git/hooks")
    assert (repository / HOOK).exists()
    result = session.run("rm -rf .git")  # a repository cannot be made again
    assert set(result.protected_changes) == {".git", ".git/config", ".git/hooks"}
    assert result.undone_changes == ()
    assert session.run("true").protected_changes == ()


def test_what_was_changed_when_the_process_was_killed_is_told_by_the_next(
    system: SessionSystem, repository: Path
) -> None:
    """And by nobody if none ran."""
    session = system.create_session(repository)
    assert session.run("true").ok
    kill(system, session, "commands")
    (repository / ".vscode").mkdir()
    events = session.events()
    handle = session.commands.start("read line; echo evil > .envrc; echo done; cat", stdin="")
    handle.write("\n")
    eventually(lambda: handle.read().text, "its output")
    kill(system, session, "commands")
    assert session.run("true").protected_changes == ()
    assert next_change(events) == ProtectedPathsChanged(paths=(".envrc",))
    session.run("true")
    kill(system, session, "commands")
    session.run("echo > .idea")
    assert next_change(events).paths == (".idea",)


def test_a_linked_worktree_stays_one(
    tmp_path: Path, repository: Path, system: SessionSystem
) -> None:
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "-q", str(tree))
    session = system.create_session(tree)
    own = repository / ".git/worktrees/tree"
    line = f"git commit -q --allow-empty -m x; echo /evil > {own}/commondir; echo gitdir: x > .git"
    result = session.run(line)
    assert set(result.protected_changes) == {".git", f"{own}/commondir"}


def test_another_list_and_none(open_session: Opens) -> None:
    session = open_session(protected_paths=["deploy/*.sh"])
    result = session.run("mkdir -p deploy; touch deploy/a.sh deploy/b.txt .envrc")
    assert result.protected_changes == ("deploy/a.sh",)
    assert session.manager.write_file("deploy/a.sh", "x").protected
    assert not session.manager.write_file(".envrc", "x").protected


def test_the_manager_tells_and_refuses(open_session: Opens, repository: Path) -> None:
    session = open_session()
    events = session.events()
    assert session.manager.write_file(".envrc", "x").protected
    assert next_change(events) == ProtectedPathsChanged(paths=(".envrc",))
    assert session.run("true").protected_changes == ()
    assert not session.manager.write_file("README.md", "x").protected
    refusing = session_of_another(open_session, session)
    with pytest.raises(ProtectedPathError, match=r"'\.envrc' is protected"):
        refusing.manager.remove(".envrc")
    assert (repository / ".envrc").exists()


def session_of_another(open_session: Opens, session: SessionHandle) -> SessionHandle:
    session.stop()
    return open_session(protected_changes="refuse")


# ----- tools ---------------------------------------------------------------------


def test_tools_say_it_to_the_model(open_session: Opens) -> None:
    session = open_session(policy=allow_all)
    said = session.tools.call("write_file", {"path": ".envrc", "content": "x"})
    assert said.content.startswith(".envrc was written; it is reported")
    edits = [{"old": "x", "new": "y"}]
    said = session.tools.call("edit_file", {"path": ".envrc", "edits": edits})
    assert "it is reported" in said.content
    said = session.tools.call("run_command", {"command": "echo > .vscode"})
    assert "[changed, for other programs execute it: '.vscode']" in said.content

    session = session_of_another(open_session, session)
    tools = session.tools.under(allow_all)
    said = tools.call("write_file", {"path": ".git/hooks/x", "content": "x"})
    assert said.is_error
    assert "'.git/hooks/x' is protected" in said.content
    said = tools.call("run_command", {"command": "echo > .idea"})
    assert "[undone, for other programs execute it: '.idea']" in said.content
    assert "[what was there is kept: '.jidocode-undone-" in said.content


def test_accepted_edits_are_not_those_of_protected_paths(
    open_session: Opens, repository: Path
) -> None:
    (repository / "link").symlink_to(".git")
    asked: list[ToolRequest] = []

    def ask(request: ToolRequest) -> Allow | Deny:
        asked.append(request)
        return Allow(always="*") if request.subject == ".envrc" else Deny("no")

    session = open_session(policy=accept_edits(ask))
    call = session.tools.call
    assert not call("write_file", {"path": "src/a.py", "content": "x"}).is_error
    assert not asked
    for path in ("link/hooks/x", ".git/config", "src/../.vscode/x"):
        assert call("write_file", {"path": path, "content": "x"}).is_error
        assert asked.pop().protected
    assert not call("write_file", {"path": ".envrc", "content": "x"}).is_error  # all, from now on
    assert asked.pop().protected
    assert call("write_file", {"path": ".vscode/x", "content": "x"}).is_error
    assert len(asked) == 1
