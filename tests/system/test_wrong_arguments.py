"""Whatever an argument is: an error that says so, to whoever gave it, and nobody ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jidocode import CallError, Edit, JidocodeError, SessionHandle, SessionSystem
from jidocode.base.text import quote

WRONG: tuple[Any, ...] = (
    *(None, 0, 1, -1, True, False, 2**70, 10**5000, 1.5, float("nan"), float("inf"), 1e300),
    *("", "x", "\0", "\ud800", "\udcff", "x" * 5000, "/", "a/../../b", "punycode", "[", "{"),
    *(b"", b"x", bytearray(b"x"), [], [1], ["x"], (), (1, 2), {}, {"a": 1}, {1: "a"}, {"x"}),
    *(object, Ellipsis, range(3), 1j, [[]], {"a": "\ud800"}, {"a\0": "b"}, {"a=b": "c"}),
    Path("nowhere"),
)
"""What is wrong for most arguments, if not for all."""

Call = Callable[[Any], object]


@pytest.fixture
def shop(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionHandle]:
    """A session that has run a command."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with SessionSystem(state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        session.manager.write_file("a.txt", "one\n")
        session.run("true")
        yield session


def pids(session: SessionHandle) -> list[int]:
    return [child.ref.os_pid for child in session.which_children() if child.ref]


def survives(session: SessionHandle, call: Call) -> None:
    """Make the call with each value; what it raises is the caller's to understand."""
    before = pids(session)
    for value in WRONG:
        try:
            call(value)
        except CallError as error:
            pytest.fail(f"{quote(value)}: {error}")
        except (JidocodeError, OSError):
            pass
        except Exception as error:
            error.add_note(f"the argument: {quote(value)}")
            raise
    assert pids(session) == before


def by_name(ask: Callable[..., object], *given: object, names: str) -> dict[str, Call]:
    """Return a call for each of the keywords, which comes on top of what is *given*."""

    def call(name: str) -> Call:
        return lambda value: ask(*given, **{name: value})

    return {f"{ask.__name__} {name}": call(name) for name in names.split()}


def of_commands(session: SessionHandle) -> dict[str, Call]:
    commands = session.commands
    options = (
        "cwd env stdin timeout output_limit merge tty save_output network read write limits ptrace"
    )
    calls: dict[str, Call] = {
        "run": commands.run,
        "run argument": lambda value: commands.run(["true", value]),
        **by_name(commands.run, "true", names=options),
        "get": commands.get,
    }
    return calls


def of_handles(session: SessionHandle) -> dict[str, Call]:
    handle = session.commands.start("trap '' HUP; exec sleep 100", stdin="", tty=True)
    calls: dict[str, Call] = {
        "write": handle.write,
        "resize": lambda value: handle.resize(value, 24),
        "signal": handle.signal,
        **by_name(handle.read, names="offset stream size"),
        "read wait": lambda value: is_long(value) or handle.read(10**6, wait=value),
        "wait": lambda value: is_long(value) or handle.wait(value),
    }
    return calls


def is_long(value: Any) -> bool:
    """Whether a call with this time-out would wait."""
    return value is None or (isinstance(value, (int, float)) and value in {1, 1.5, float("inf")})


def of_files(session: SessionHandle) -> dict[str, Call]:
    files = session.manager
    calls: dict[str, Call] = {
        "path": files.read_file,
        "edit": lambda value: files.edit_file("a.txt", value),
        "old": lambda value: files.edit_file("a.txt", Edit(value, "two")),
        "new": lambda value: files.edit_file("a.txt", Edit("nowhere", value)),
        "expect": lambda value: files.edit_file("a.txt", Edit("nowhere", "two", value)),
        **{
            name: getattr(files, name)
            for name in ("list_directory", "stat", "mkdir", "remove", "validate_path")
        },
        **by_name(files.read_file, "a.txt", names="offset limit"),
        **by_name(files.read_text, "a.txt", names="encoding"),
        **by_name(files.read_bytes, "a.txt", names="offset limit"),
        **by_name(files.write_file, "b.txt", "c", names="encoding newline in_place if_sha256"),
        **by_name(files.append_file, "b.txt", "c", names="encoding if_sha256"),
        **by_name(files.remove, "nowhere", names="recursive limit"),
        "move to": lambda value: files.move("nowhere", value),
        "copy to": lambda value: files.copy("nowhere", value),
        **by_name(files.move, "nowhere", "there", names="overwrite"),
        **by_name(files.copy, "nowhere", "there", names="recursive overwrite limit"),
    }
    return calls


def of_searches(session: SessionHandle) -> dict[str, Call]:
    files = session.manager
    some = "path hidden ignore limit seconds"
    return {
        "glob": files.glob,
        "grep": files.grep,
        **by_name(files.glob, "*", names=f"{some} after"),
        **by_name(files.grep, "x", names=f"{some} after glob context ignore_case per_file"),
        **by_name(files.tree, names=f"{some} depth"),
    }


@pytest.mark.parametrize("area", [of_commands, of_handles, of_files, of_searches])
def test_a_wrong_argument_ends_nobody(
    shop: SessionHandle, area: Callable[[SessionHandle], dict[str, Call]]
) -> None:
    """Not the process that is asked, and not with an error that a mistake of ours would raise."""
    for name, call in area(shop).items():
        try:
            survives(shop, call)
        except BaseException as error:
            error.add_note(f"the call: {name}")
            raise
