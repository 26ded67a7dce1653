"""Our binding of Landlock, beside another one, and what the kernel makes of the rules."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import landlockpy
import pytest
from attrs import evolve
from confined import SCRIPT_START, Place, make_place

from jidocode import ConfinementError, FullNetwork, Ports
from jidocode.session.confinement import landlock, seccomp
from jidocode.session.confinement.confinement import Confinement, prepare
from jidocode.session.confinement.kernel import call

ABIS = range(landlockpy.flags.LATEST_ABI + 1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


@pytest.mark.parametrize("abi", ABIS)
def test_each_abi_has_the_rights_that_the_other_binding_knows(abi: int) -> None:
    assert landlock.file_rights(abi) == int(landlockpy.fs_for_abi(abi))
    assert landlock.network_rights(abi) == int(landlockpy.net_for_abi(abi))
    assert landlock.scopes(abi) == int(landlockpy.scope_for_abi(abi))


def test_what_an_old_kernel_leaves_open_is_said() -> None:
    assert [len(landlock.unenforced(abi)) for abi in range(1, 9)] == [3, 3, 2, 2, 1, 0, 0, 0]
    assert "send signals" in landlock.unenforced(5)[0]


def test_the_abi_is_that_of_the_other_binding() -> None:
    assert landlock.find_abi() == landlockpy.abi_version()


TRIES = """
inside, outside = argv
def read(path):
    with open(path): pass
def write(path):
    os.close(os.open(path, os.O_WRONLY))
def make(path, flags=os.O_CREAT | os.O_WRONLY):
    os.close(os.open(path, flags, 0o600))
for name, folder in {"inside": inside, "outside": outside}.items():
    for what, action in {
        "read": lambda: read(folder + "/file"),
        "write": lambda: write(folder + "/file"),
        "list": lambda: os.listdir(folder),
        "make": lambda: make(folder + "/made"),
        "truncate": lambda: os.truncate(folder + "/file", 1),
        "mkdir": lambda: os.mkdir(folder + "/folder"),
        "rmdir": lambda: os.rmdir(folder + "/empty"),
        "symlink": lambda: os.symlink("x", folder + "/symlink"),
        "fifo": lambda: os.mkfifo(folder + "/fifo"),
        "device": lambda: os.mknod(folder + "/device", 0o20600, os.makedev(1, 3)),
        "disk": lambda: os.mknod(folder + "/disk", 0o60600, os.makedev(254, 0)),
        "socket": lambda: os.mknod(folder + "/socket", 0o140600),
        "rename": lambda: os.rename(folder + "/file", folder + "/sub/renamed"),
        "link": lambda: os.link(folder + "/other", folder + "/sub/linked"),
        "unlink": lambda: os.unlink(folder + "/other"),
        "chdir": lambda: os.chdir(folder),
        "stat": lambda: os.stat(folder + "/sub"),
        "execute": lambda: subprocess.run([folder + "/program"], close_fds=False),
    }.items():
        results[name + " " + what] = attempt(action)
results["out"] = attempt(os.rename, inside + "/sub", outside + "/sub2")
results["null"] = attempt(write, "/dev/null")
results["tcp"] = attempt(lambda: socket.create_connection(("127.0.0.1", 9)))
results["signal"] = attempt(os.kill, os.getppid(), 0)
"""

SCRIPT_WITH_THE_OTHER = """
import landlockpy as l
r = l.Ruleset(scoped=l.Scope(3))
fs = l.AccessFS
file = fs(sum((fs.EXECUTE, fs.WRITE_FILE, fs.READ_FILE, fs.TRUNCATE, fs.IOCTL_DEV)))
import json, sys
rules = json.loads(sys.argv.pop(1))
for path, access in rules:
    r.allow_path(path, fs(access) if os.path.isdir(path) else fs(access) & file)
r.restrict()
"""


def folder_for_tries(folder: Path) -> Path:
    """Make what the tries need."""
    folder.mkdir()
    for name in ("file", "other"):
        (folder / name).write_text(name)
    for name in ("sub", "empty"):
        (folder / name).mkdir()
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o700)
    return folder


def test_it_answers_as_the_other_binding_does(tmp_path: Path) -> None:
    """The same rules by both, the same tries under both."""
    results: list[dict[str, str]] = []
    for binding in ("ours", "theirs"):
        top = tmp_path / binding
        top.mkdir()
        folders = [folder_for_tries(top / name) for name in ("in", "out")]
        place = make_place(top)
        confinement = evolve(place.confinement, write=(str(folders[0]),), devices=("/dev/null",))
        if binding == "ours":
            results.append(evolve(place, confinement=confinement).script(TRIES, *map(str, folders)))
            continue
        rules = [
            *((path, landlock.READ) for path in confinement.read),
            *((path, landlock.WRITE) for path in confinement.write),
            *((path, landlock.DEVICE) for path in confinement.devices),
        ]
        code = f"import os{SCRIPT_WITH_THE_OTHER}{SCRIPT_START}{TRIES}report()"
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(rules), *map(str, folders)],
            capture_output=True,
            text=True,
            check=True,
            cwd=top,
        )
        results.append(json.loads(done.stdout.partition("RESULTS")[2]))

    ours, theirs = results
    assert ours == theirs
    assert {what for what, answer in ours.items() if answer == "done"} == {
        *(f"inside {what}" for what in ("read", "write", "list", "make", "truncate", "mkdir")),
        *(f"inside {what}" for what in ("rmdir", "symlink", "fifo", "socket", "rename", "link")),
        *(f"inside {what}" for what in ("unlink", "chdir", "stat", "execute")),
        *("outside stat", "outside chdir", "null"),
    }


def test_a_folder_that_is_moved_keeps_its_rights(place: Place) -> None:
    """And what takes its name has none."""
    with prepare(place.confinement) as prepared:
        (place.project / "mine").write_text("")
        place.project.rename(place.outside / "moved")
        place.project.mkdir()
        (place.project / "new").write_text("")
        paths = place.outside / "moved" / "mine", place.project / "new"
        codes = [
            subprocess.run(
                ["/bin/cat", path],
                preexec_fn=prepared.apply,
                cwd="/",
                capture_output=True,
                check=False,
            ).returncode
            for path in paths
        ]

    assert codes == [0, 1]


def test_a_path_with_a_symlink_grants_nothing_and_is_reported(place: Place) -> None:
    """Whoever may write in a folder could lay one there that leads to anything."""
    link = place.project / "link"
    link.symlink_to(place.outside)
    missing, through = str(place.project / "missing"), str(link / "secret")
    confinement = Confinement(read=(*place.confinement.read, missing, through, str(link)))

    with prepare(confinement) as prepared:
        assert prepared.skipped == (missing, through, str(link))
    done = evolve(place, confinement=confinement).run(
        ["cat", place.secret], cwd=Path("/"), fails=True
    )
    assert "Permission denied" in done.stdout


def test_rights_of_folders_are_left_out_for_a_file(place: Place) -> None:
    """A rule with them would be refused by the kernel."""
    file = place.outside / "file"
    file.write_text("text")
    wider = evolve(
        place.confinement, write=(*place.confinement.write, str(file)), read=place.confinement.read
    )

    done = evolve(place, confinement=wider).run(
        ["sh", "-c", f"cat {file}; echo more > {file}; cat {file}; cat {place.secret}"], fails=True
    )

    assert done.stdout.startswith("textmore\n")
    assert "Permission denied" in done.stdout


def test_it_works_in_who_is_confined_already(place: Place) -> None:
    """And adds to it: nothing that was denied is granted again."""
    wider = evolve(place.confinement, read=(*place.confinement.read, str(place.outside)))
    with prepare(place.confinement) as outer, prepare(wider) as inner:

        def both() -> None:
            outer.apply()
            inner.apply()

        done = subprocess.run(
            ["/bin/sh", "-c", f"cat {place.secret}; echo here > here; cat here"],
            preexec_fn=both,
            cwd=place.project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )

    assert "Permission denied" in done.stdout
    assert done.stdout.endswith("here\n")


def test_one_confinement_too_many_is_an_error(place: Place) -> None:
    """The kernel stacks 16; who is not confined must execute nothing."""
    with prepare(place.confinement) as prepared:

        def many() -> None:
            for _ in range(17):
                call(446, prepared.ruleset, 0)

        with pytest.raises(subprocess.SubprocessError):
            subprocess.run(["/bin/true"], preexec_fn=many, check=False)

        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                for _ in range(17):
                    prepared.apply()
            except ConfinementError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(writing)
        text = os.read(reading, 1000).decode()
        os.close(reading)
    assert (
        text == f"the kernel does not enforce Landlock rules: [Errno 7] {os.strerror(errno.E2BIG)}"
    )


def test_ports_that_are_granted_are_open_and_others_are_not(place: Place) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as open_one,
        socket.create_server(("127.0.0.1", 0)) as closed_one,
        socket.create_server(("127.0.0.1", 0)) as freed,
    ):
        ports: list[Any] = [each.getsockname()[1] for each in (open_one, closed_one, freed)]
        freed.close()
        script = """
open_one, closed_one, free = map(int, argv)
def connect(port):
    socket.create_connection(("127.0.0.1", port)).close()
def listen(port):
    socket.create_server(("127.0.0.1", port)).close()
results["connect"] = attempt(connect, open_one)
results["connect elsewhere"] = attempt(connect, closed_one)
results["connect to the free one"] = attempt(connect, free)
results["listen"] = attempt(listen, free)
results["listen elsewhere"] = attempt(listen, 0)
results["udp"] = attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
results["mptcp"] = attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262)
results["unix"] = attempt(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM)
def fast_open(port):
    with socket.socket() as one:
        one.sendto(b"hello", 0x20000000, ("127.0.0.1", port))
results["fast open"] = attempt(fast_open, closed_one)
def fast_open_message(port):
    with socket.socket() as one:
        one.sendmsg([b"hello"], [], 0x20000000, ("127.0.0.1", port))
results["fast open by a message"] = attempt(fast_open_message, closed_one)
"""
        some = place.with_network(Ports(connect=(ports[0],), listen=(ports[2],)))
        connecting = place.with_network(Ports(connect=(ports[0],)))
        listening = place.with_network(Ports(listen=(ports[2],)))
        full = place.with_network(FullNetwork())
        granted = [
            each.script(script, *map(str, ports)) for each in (some, connecting, listening, full)
        ]

    denied = dict.fromkeys(
        [
            "connect elsewhere",
            "connect to the free one",
            "listen elsewhere",
            "udp",
            "mptcp",
            "unix",
            "fast open",
            "fast open by a message",
        ],
        "EACCES",
    )
    assert granted[0] == {"connect": "done", "listen": "done"} | denied
    assert granted[1] == {"connect": "done", "listen": "EACCES"} | denied
    assert granted[2] == {"connect": "EACCES", "listen": "done"} | denied
    assert granted[3] == {
        **dict.fromkeys(["connect", "connect elsewhere", "listen", "listen elsewhere"], "done"),
        **dict.fromkeys(["udp", "fast open", "fast open by a message"], "done"),
        "connect to the free one": "ECONNREFUSED",
        "mptcp": "EACCES",
        "unix": "EACCES",
    }


def test_a_kernel_without_landlock_confines_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "find_abi", lambda: 0)

    with pytest.raises(ConfinementError, match="no Landlock"):
        prepare(place.confinement)


def test_a_kernel_whose_landlock_has_no_ports_is_refused_when_they_are_wanted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "find_abi", lambda: 3)

    with pytest.raises(ConfinementError, match="knows no ports"):
        prepare(place.with_network(Ports(connect=(443,))).confinement)
    with prepare(place.confinement) as prepared:
        assert len(prepared.unenforced) == 2
    done = place.script('results["tcp"] = attempt(socket.socket)')
    assert done == {"tcp": "EACCES"}


def test_rules_for_an_old_kernel_are_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rights it has: each ABI's mask, on this kernel."""
    for abi in range(1, landlockpy.abi_version() + 1):
        monkeypatch.setattr(landlock, "find_abi", lambda abi=abi: abi)
        done = place.run(["cat", place.secret], fails=True)
        assert "Permission denied" in done.stdout
        place.run(["sh", "-c", "echo > file"])


def test_a_machine_without_a_table_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "this_machine", lambda: "riscv64")

    with pytest.raises(ConfinementError, match="riscv64, only for x86_64 and aarch64"):
        prepare(place.confinement)


def test_nothing_stays_open(place: Place) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers
    for _ in range(3):
        prepare(place.confinement).close()

    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - numbers
