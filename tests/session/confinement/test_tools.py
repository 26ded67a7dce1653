"""Real programs under the rules of a session: what works, and what is closed to them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from confined import Place, make_place

from jidocode import CommandLimits, Ports
from jidocode.session.confinement.confinement import prepare
from jidocode.session.confinement.rules import session_confinement

GIT = {
    "GIT_TERMINAL_PROMPT": "0",
    **{f"GIT_{who}_NAME": "somebody" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "somebody@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@needs("git")
def test_git(place: Place) -> None:
    done = place.run(
        [
            "sh",
            "-exc",
            (
                "git init -q . && echo text > file && git add . && git commit -qm first;"
                "git checkout -qb other; echo more >> file; git commit -qam second;"
                "git checkout -q -; git merge -q other; git stash list; git tag one;"
                "git worktree add -q tree; git -C tree log --oneline; git worktree remove tree;"
                "git gc -q; git fsck --strict; git clone -q . copy; git log --oneline | wc -l"
            ),
        ],
        env=GIT,
    )

    assert done.stdout.endswith("2\n")


@needs("git")
def test_git_in_a_linked_worktree(tmp_path: Path, tier: str) -> None:
    """Commits go to the repository, which is closed otherwise: no hook, no configuration."""
    main, linked = tmp_path / "main", tmp_path / "project"
    main.mkdir()
    for argv in (
        ("init", "-q"),
        ("commit", "-q", "--allow-empty", "-m", "first"),
        ("worktree", "add", "-q", str(linked), "-b", "own"),
    ):
        subprocess.run(["git", *argv], cwd=main, env=os.environ | GIT, check=True)
    moved = tmp_path / "elsewhere"
    linked.rename(moved)
    place = make_place(tmp_path, tier)  # it makes a folder of its own of that name
    place.project.rmdir()
    moved.rename(place.project)
    place = Place(
        place.project,
        place.scratch,
        place.outside,
        place.secret,
        session_confinement(place.project, place.scratch),
        tier,
    )

    place.run(
        [
            "sh",
            "-exc",
            (
                "echo text > file; git add .; git commit -qm second; git commit -q --amend -m 2;"
                "git switch -q -c next; echo more >> file; git stash -q;"
                "git stash pop -q;"
                "git commit -qam third; git tag one; git switch -q own; git merge -q next;"
                "git rebase -q HEAD~1; git reset -q --hard HEAD; git status; git log --oneline"
            ),
        ],
        env=GIT,
    )
    common = main / ".git"
    done = place.run(
        [
            *("sh", "-c"),
            (
                f"echo x > {common}/hooks/pre-commit; echo x >> {common}/config;"
                f"echo x > {main}/new;"
                f"echo x > {common}/HEAD; ls {main}; git config user.name x; git pack-refs --all"
            ),
        ],
        env=GIT,
        fails=True,
    )

    # In namespaces the folder around the repository is one of its own /tmp.
    refusals = 5 if tier == "namespaces" else 7
    assert len(re.findall("Permission denied|Read-only", done.stdout)) == refusals, done.stdout
    assert sorted(path.name for path in main.iterdir()) == [".git"]
    log = subprocess.check_output(["git", "log", "--format=%s", "own"], cwd=main, text=True)
    assert log == "third\n2\nfirst\n"


@needs("gcc", "make")
def test_a_compiler_and_make(place: Place) -> None:
    (place.project / "main.c").write_text(
        "#include <stdio.h>\n#include <pthread.h>\n"
        "static void *work(void *x) { return x; }\n"
        "int main(void) { pthread_t t; pthread_create(&t, 0, work, 0); pthread_join(t, 0);\n"
        ' return puts("hello") < 0; }\n'
    )
    (place.project / "Makefile").write_text(
        "all: main\n\t./main\nmain: main.c\n\t$(CC) -g -O2 -pthread -o $@ $<\n"
    )

    assert place.run(["make", "-j2"]).stdout.endswith("hello\n")


def wheel(folder: Path) -> Path:
    """Make a wheel, by hand: nothing has to be fetched for it."""
    path = folder / "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", "answer = 42\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n")
    return path


def test_python_with_a_virtual_environment_pip_and_pytest(place: Place) -> None:
    package = wheel(place.project)
    (place.project / "test_tiny.py").write_text(
        "import tiny, tempfile, subprocess, sys\n"
        "def test_answer(tmp_path):\n    assert tiny.answer == 42\n"
        "def test_starts():\n    assert subprocess.check_output([sys.executable, '-c', ''])==b''\n"
    )
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"

    # With a pip of its own it takes half a minute.
    place.run([base, "-m", "venv", "--without-pip", "env"])
    pip = [sys.executable, "-m", "pip", "--python", "env/bin/python", "install", "-q", "--no-index"]
    place.run([*pip, package])
    done = place.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:jidocode.testing", "test_tiny.py"],
        env={"PYTHONPATH": str(next(place.project.glob("env/lib/*/site-packages")))},
    )

    assert "2 passed" in done.stdout


def test_what_of_multiprocessing_works(place: Place) -> None:
    """Processes and pipes do; whatever takes a semaphore needs a /dev/shm, which all share.

    In namespaces each command has one of its own.
    """
    pipes = """
import multiprocessing as m
def work(end):
    end.send(sum(end.recv()))
if __name__ == "__main__":
    m.set_start_method(START)
    ours, theirs = m.Pipe()
    process = m.Process(target=work, args=(theirs,))
    process.start()
    ours.send([1, 2])
    print("sum", ours.recv())
    process.join()
"""
    pool = """
import multiprocessing as m
if __name__ == "__main__":
    with m.Pool(2) as pool:
        print(pool.map(abs, [-1, 2]))
"""
    for start in ("fork", "spawn"):
        (place.project / "pipes.py").write_text(pipes.replace("START", repr(start)))
        assert place.run([sys.executable, "pipes.py"]).stdout == "sum 3\n"
    (place.project / "pool.py").write_text(pool)
    if place.tier == "namespaces":
        assert place.run([sys.executable, "pool.py"]).stdout == "[1, 2]\n"
        return
    closed = place.run([sys.executable, "pool.py"], fails=True)
    assert "PermissionError" in closed.stdout

    wider = session_confinement(place.project, place.scratch, write=["/dev/shm"])  # noqa: S108 - what it says
    opened = Place(place.project, place.scratch, place.outside, place.secret, wider)
    assert opened.run([sys.executable, "pool.py"]).stdout == "[1, 2]\n"


def test_asyncio_and_its_subprocesses(place: Place) -> None:
    code = """
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("echo", "hello", stdout=-1)
    print((await process.communicate())[0].decode(), end="")
    print(await asyncio.to_thread(lambda: "thread"))
asyncio.run(main())
"""
    assert place.run([sys.executable, "-Ic", code]).stdout == "hello\nthread\n"


@needs("node", "npm")
def test_node_and_npm(place: Place) -> None:
    package = place.project / "package"
    package.mkdir()
    (package / "package.json").write_text('{"name": "tiny", "version": "1.0.0", "main": "i.js"}')
    (package / "i.js").write_text("module.exports = 42\n")
    (place.project / "app.js").write_text(
        "const {execSync, fork} = require('child_process');\n"
        "console.log(require('tiny'), execSync('echo child').toString().trim());\n"
        "process.memoryUsage(); require('os').cpus();\n"
        "if (process.send) process.send('hello');\n"
        "else fork(__filename).on('message', m => console.log('message', m));\n"
    )
    options = ["--offline", "--no-audit", "--no-fund", "--loglevel=error"]

    place.run(["npm", "init", "-y", "--silent"])
    place.run(["npm", "pack", "--silent", "./package"])
    place.run(["npm", "install", *options, "./tiny-1.0.0.tgz"])
    done = place.run(["node", "app.js"])

    assert "42 child" in done.stdout
    assert "message hello" in done.stdout


@needs("cargo")
def test_cargo_in_the_users_home(tmp_path: Path) -> None:
    """Which is closed: the app grants its programs, and names where they are."""
    programs = Path(shutil.which("cargo") or "").parent
    rustup = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    granted = [each for each in (programs, rustup) if each.is_dir()]
    place = make_place(tmp_path, read=granted)
    words = {
        "PATH": f"{programs}:/usr/bin:/bin",
        "RUSTUP_HOME": str(rustup),
        "CARGO_HOME": str(place.scratch / "cargo"),
    }
    place.run(["cargo", "init", "-q", "--name", "tiny", "--vcs", "none"], env=words)
    done = place.run(["cargo", "run", "-q", "--offline"], env=words)
    assert done.stdout == "Hello, world!\n"
    closed = Place(
        place.project,
        place.scratch,
        place.outside,
        place.secret,
        session_confinement(place.project, place.scratch),
    )
    if not programs.is_relative_to("/usr"):
        with pytest.raises(PermissionError):
            closed.run([programs / "cargo", "--version"], env=words)


@needs("uv")
def test_uv(tmp_path: Path) -> None:
    uv = Path(shutil.which("uv") or "")
    place = make_place(tmp_path, read=[uv])
    package = wheel(place.project)
    environment = {"UV_CACHE_DIR": str(place.scratch / "uv"), "UV_OFFLINE": "1"}
    place.run([uv, "venv", "-q", "--python", sys.executable, "env"], env=environment)
    place.run([uv, "pip", "install", "-q", "--python", "env/bin/python", package], env=environment)
    done = place.run(["env/bin/python", "-c", "import tiny; print(tiny.answer)"])
    assert done.stdout == "42\n"


@needs("java")
def test_java(place: Place) -> None:
    (place.project / "Main.java").write_text(
        "public class Main { public static void main(String[] a) throws Exception {"
        ' System.out.println(new Thread(() -> {}).getState() + " " +'
        ' new ProcessBuilder("true").start().waitFor()); } }\n'
    )
    if shutil.which("javac") is None:
        assert "openjdk" in place.run(["java", "-version"]).stdout.lower()
        return
    assert place.run(["java", "Main.java"]).stdout == "NEW 0\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to set it up")
def test_a_project_of_another_user_where_the_app_is_root(place: Place) -> None:
    """As in a container, with a project of the machine around it."""
    file = place.project / "file"
    file.write_text("text")
    for path in (file, place.project):
        os.chown(path, 12345, 12345)
        path.chmod(0o700)

    assert (
        place.run(["sh", "-ec", "echo more >> file; echo > new; cat file"]).stdout == "textmore\n"
    )


@needs("tar")
def test_an_archive(place: Place) -> None:
    """Unpacked by root it would give files away to their owners, which nobody may."""
    (place.outside / "file").write_text("text")
    archive = place.project / "a.tar"
    subprocess.run(
        ["tar", "--owner=1234", "--group=1234", "-cf", archive, "-C", place.outside, "file"],
        check=True,
    )

    place.run(["tar", "--no-same-owner", "-xf", archive])

    assert (place.project / "file").read_text() == "text"
    if os.getuid() == 0:
        done = place.run(["tar", "-xf", archive], fails=True)
        assert "Cannot change ownership" in done.stdout


def test_pseudo_terminals(place: Place) -> None:
    code = """
import os, pty
def read(fd):
    data = os.read(fd, 1000)
    return data
pty.spawn(["/bin/sh", "-c", "tty; test -t 0 && echo terminal; echo x > /dev/tty"], read)
"""
    output = place.run([sys.executable, "-Ic", code]).stdout

    assert "/dev/pts/" in output
    assert "terminal" in output
    assert "x" in output.splitlines()[-1]


@needs("bash")
def test_a_shell(place: Place) -> None:
    done = place.run(
        [
            "bash",
            "-euc",
            (
                "diff <(echo same) <(echo same); echo err > /dev/stderr; cat /dev/null > file;"
                "echo one | tee /dev/full >/dev/null || true; head -c 4 /dev/urandom | wc -c;"
                "mktemp > /dev/null; (sleep 0.01 & wait); ulimit -c; ps aux | wc -l >/dev/null;"
                "cat <<< here; id -un; date > /dev/null; nproc > /dev/null; getent passwd root"
            ),
        ]
    )

    assert "here" in done.stdout
    assert "4\n" in done.stdout


@needs("gcc")
def test_a_sanitizer_without_a_limit_of_memory(tmp_path: Path) -> None:
    """It reserves more addresses than there is memory; the limit counts them."""
    place = make_place(tmp_path, limits=CommandLimits(data=None))
    (place.project / "main.c").write_text("int main(int n, char **v) { return v[0][9999999]; }\n")
    place.run(["gcc", "-fsanitize=address", "-o", "main", "main.c"])

    done = place.run(["./main"], fails=True)

    assert "ERROR: AddressSanitizer" in done.stdout
    assert "failed to" not in done.stdout


@needs("gdb", "gcc")
def test_a_debugger_where_it_is_granted(tmp_path: Path, tier: str) -> None:
    place = make_place(tmp_path, tier, ptrace=True)
    (place.project / "main.c").write_text("int main(void) { return 7; }\n")
    place.run(["gcc", "-g", "-o", "main", "main.c"])
    commands = ["-batch", "-nx", "-ex", "break main", "-ex", "run", "-ex", "bt", "-ex", "continue"]

    done = place.run(["gdb", *commands, "./main"], env={"DEBUGINFOD_URLS": ""})

    assert "main () at main.c:1" in done.stdout
    assert "exited with code 07" in done.stdout


def test_a_server_on_a_granted_port_that_the_app_reaches(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    (place.project / "index.html").write_text("hello")
    listening = place.with_network(Ports(listen=(port,)))
    argv = [sys.executable, "-Im", "http.server", "--bind", "127.0.0.1", str(port)]
    with (
        prepare(listening.confinement) as prepared,
        subprocess.Popen(
            argv,
            cwd=place.project,
            env=place.environment(),
            preexec_fn=prepared.apply,  # noqa: PLW1509 - the child has one thread
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server,
    ):
        try:
            answer = fetch(port)
        finally:
            server.kill()

    assert answer.endswith(b"hello")


def fetch(port: int) -> bytes:
    """Ask the server, as soon as it is there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                with client.makefile("rb") as answer:
                    return answer.read()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
