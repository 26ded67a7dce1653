"""`jidocode doctor`, `tree`, and what holds for all commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell import COMMAND, SECONDS, data, environment, jidocode

from jidocode import Completion, SessionHandle, SessionSystem, Usage
from jidocode.cli.output import print_json
from jidocode.testing import eventually

HEAVY = ("attrs", "msgspec", "rich", "loguru", "thespian", "jidocode.system", "asyncio")


@pytest.mark.parametrize("completes", [False, True])
def test_help_imports_nothing_but_click(*, completes: bool) -> None:
    """Whatever a command needs is imported when it is carried out: it has to feel instant."""
    words = {"_JIDOCODE_COMPLETE": "bash_complete", "COMP_WORDS": "jidocode do", "COMP_CWORD": "1"}
    code = (
        "import sys; sys.argv = ['jidocode', '--help']\n"
        "from jidocode.__main__ import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        env=environment(**(words if completes else {})),
    )

    assert done.stderr.strip() == "[]"
    assert "doctor" in done.stdout


def test_errors_are_a_sentence() -> None:
    """And a status: 1 for what is the case, 2 for wrong arguments."""
    assert jidocode("tree", "--system", "nobody", status=1).startswith(
        "Error: no system of this user"
    )
    assert jidocode("tree", "--system", "no name", status=1).count("\n") == 1
    assert "no such option" in jidocode("tree", "--nonsense", status=2).lower()
    assert "no such command" in jidocode("nonsense", status=2).lower()


def test_the_shell_completes_commands() -> None:
    """By click's own."""
    said = jidocode(_JIDOCODE_COMPLETE="bash_complete", COMP_WORDS="jidocode do", COMP_CWORD="1")

    assert said.split() == ["plain,doctor"]


@pytest.fixture
def path_with_jidocode(tmp_path: Path) -> str:
    """A `PATH` in which `jidocode` is the one that is tested."""
    program = tmp_path / "jidocode"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jidocode "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def shell_says(words: list[str], served: str, path: str) -> list[str]:
    """Return the lines that a shell prints which is to complete what it is asked."""
    if not shutil.which(words[0]):
        pytest.skip(f"there is no {words[0]}")
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
        env=environment(NAME=served[:-1], PATH=path),
    )
    return done.stdout.splitlines()


def test_bash_completes_commands_options_and_systems(served: str, path_with_jidocode: str) -> None:
    """As it does when one presses the key."""
    script = """
    eval "$(_JIDOCODE_COMPLETE=bash_source jidocode)"
    for line in "jidocode se" "jidocode logs --f" "jidocode tree --system $NAME"; do
        COMP_WORDS=($line) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
        _jidocode_completion jidocode
        echo "${COMPREPLY[@]}"
    done
    """
    said = shell_says(["bash", "-c", script], served, path_with_jidocode)

    assert said == ["serve sessions", "--follow", served]


def test_fish_completes_commands_options_and_systems(served: str, path_with_jidocode: str) -> None:
    """By the script that it reads once; a tab stands between a word and what it means."""
    script = """
    _JIDOCODE_COMPLETE=fish_source jidocode | source
    complete -C "jidocode se"
    complete -C "jidocode logs --f"
    complete -C "jidocode tree --system $NAME"
    """
    said = shell_says(["fish", "--no-config", "-c", script], served, path_with_jidocode)

    assert [line.split("\t")[0] for line in said] == ["serve", "sessions", "--follow", served]


def test_zsh_completes_commands_options_and_systems(served: str, path_with_jidocode: str) -> None:
    """In a terminal, for it completes nowhere else: the key is pressed in each line."""
    script = """
    zmodload zsh/zpty
    zpty shell zsh -f -i
    wait_for() { zpty -r shell seen "*$1*" }
    zpty -w shell 'PS1="rea""dy "; autoload -U compinit; compinit -u -D'
    wait_for "ready "
    zpty -w shell 'eval "$(_JIDOCODE_COMPLETE=zsh_source jidocode)"; PS1="set"" up "'
    wait_for "set up "
    for line in "jidocode ser:serve" "jidocode logs --f:--follow" "$2:$1"; do
        zpty -w -n shell $'\\025'"${line%%:*}"$'\\t' && wait_for "${line##*:}" && echo "${line##*:}"
    done
    zpty -d shell
    """
    last = f"jidocode tree --system {served[:-1]}"
    words = ["zsh", "-f", "-c", script, "zsh", served, last]
    said = shell_says(words, served, path_with_jidocode)

    assert said == ["serve", "--follow", served]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_completion_for(shell: str) -> None:
    """What a shell is to read once."""
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.skip("click asks bash for its version")
    assert "_jidocode_completion" in jidocode(_JIDOCODE_COMPLETE=f"{shell}_source")


def test_without_rich_there_is_a_hint() -> None:
    """From the one command that needs it."""
    code = (
        "import sys; sys.modules['rich'] = None; sys.argv = ['jidocode', 'top']\n"
        "from jidocode.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        text=True,
        env=environment(),
    )

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pip install 'jidocode[cli]'" in done.stderr


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals(home: Path, no_color: str, *, coloured: bool) -> None:
    """Unless the user wants none."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [*COMMAND, "sessions", "list"], stdout=slave, env=environment(NO_COLOR=no_color)
    ) as process:
        os.close(slave)
        said = os.read(master, 10_000)
        assert process.wait(SECONDS) == 0
    os.close(master)

    assert b"WRITTEN TO" in said
    assert (b"\x1b[" in said) is coloured
    assert not home.exists()


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("--help >/dev/full", 1, "Error: No space left on device\n"),
        ("sessions list >/dev/full", 1, "Error: No space left on device\n"),
        ("sessions list >&-", 0, ""),
        ("sessions list | exec true", 128 + signal.SIGPIPE, ""),
        ("nonsense 2>/dev/full", 1, ""),
    ],
)
def test_output_that_nobody_takes_is_no_traceback(
    home: Path, line: str, status: int, said: str
) -> None:
    """A status says so."""
    del home
    shell = f'set -o pipefail; "$0" -m jidocode {line}'
    ended = subprocess.run(
        ["bash", "-c", shell, sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=environment(),
    )
    assert (ended.returncode, ended.stderr) == (status, said)


def test_colours_can_be_had_and_done_without(home: Path) -> None:
    """By the variables that others have for it."""
    del home
    assert "\x1b[1m" in jidocode("sessions", "list", FORCE_COLOR="1")
    assert "\x1b" not in jidocode("sessions", "list", FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b" not in jidocode("sessions", "list", FORCE_COLOR="1", TERM="dumb")


def test_json_has_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Parsers of other languages refuse NaN."""
    print_json({"rate": float("nan"), "bounds": [float("-inf"), 1.5]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "rate": "nan",
        "bounds": ["-inf", 1.5],
    }


def test_what_cannot_be_imported_is_a_sentence(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "loguru.py").write_text("import no_such_module")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    assert "no_such_module" in jidocode("serve", status=1, PYTHONPATH=path)


# ----- doctor --------------------------------------------------------------------------------


def test_the_doctor_tries_all(home: Path) -> None:
    """A session among it; the status is that of what is missing."""
    found = {each["about"]: each for each in data("doctor")}

    assert found["a session"]["status"] == "ok"
    assert found["tier kernel"]["status"] == "ok"
    assert str(home) in found["journals"]["found"]
    assert "thespian 4" in found["jidocode"]["found"]
    assert not any(each["advice"] for each in found.values() if each["status"] == "ok")


def test_the_doctor_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    """With status 1."""
    (tmp_path / "file").touch()
    (tmp_path / "jidocode").mkdir(mode=0o755)
    other = tmp_path / "thespian-3.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: thespian\nVersion: 3.9\n")
    done = subprocess.run(
        [*COMMAND, "doctor"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(
            JIDOCODE_STATE_DIR=str(tmp_path / "file" / "state"),
            XDG_RUNTIME_DIR=str(tmp_path),
            TMPDIR="/proc",
            PYTHONPATH=os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]]),
        ),
    )

    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    missing = [line.removeprefix("missing").strip() for line in lines if line[:7] == "missing"]
    assert [each.partition("  ")[0] for each in missing] == [
        *("jidocode", "temporary files", "journals", "named systems", "a session"),
    ]
    assert "thespian has to be ==4.0.1" in missing[0]
    assert "journals: Set JIDOCODE_STATE_DIR." in lines
    assert "temporary files: Set TMPDIR." in lines


def test_the_doctor_tells_of_variables_that_are_no_settings(home: Path) -> None:
    """As a typo is one; which system is meant is no setting either, and known."""
    said = jidocode("doctor", JIDOCODE_STATE_DR="/tmp/x", JIDOCODE_SYSTEM="shop")  # noqa: S108 - nobody goes there
    [line] = [
        each for each in said.splitlines() if each.startswith("note") and "a variable" in each
    ]
    assert "'JIDOCODE_STATE_DR' is no setting; did you mean JIDOCODE_STATE_DIR?" in line
    assert home.exists()


def test_the_doctor_has_the_settings_of_the_app(tmp_path: Path) -> None:
    """Those that are wrong are a sentence."""
    (tmp_path / "wrong.toml").write_text("nonsense = 1\n")
    (tmp_path / "memory.toml").write_text('durability = "memory"\n')

    assert "nonsense" in jidocode("doctor", "--config", str(tmp_path / "wrong.toml"), status=1)
    found = data("doctor", "--config", str(tmp_path / "memory.toml"))
    assert [each["status"] for each in found if each["about"] == "journals"] == ["note"]


# ----- tree ----------------------------------------------------------------------------------


def test_the_tree_shows_every_process(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """With how it is, what models took, and as data."""
    usage = Usage(input_tokens=12_000, output_tokens=345, cached_tokens=9)
    opened.state.add_usage(Completion(usage=usage))
    drawn = jidocode("tree", "--system", served)
    kinds = ("manager", "state", "session")
    pids = [str(attached.get_process(opened.id, kind).os_pid) for kind in kinds]

    assert all(pid in drawn for pid in pids)
    assert f"shop {opened.id}" in drawn
    assert [line.split()[-1] for line in drawn.splitlines() if opened.id in line] == ["12.3k"]
    assert "\x1b" not in drawn

    root = data("tree", "--system", served)
    sessions = next(each for each in root["children"] if each["id"] == "sessions")
    [session] = sessions["children"]
    assert (session["session_name"], session["status"]) == ("shop", "healthy")
    assert session["usage"]["cached_tokens"] == 9
    assert session["usage"] == root["usage"]
    assert sessions["usage"] is None
    assert [each["id"] for each in session["children"]] == ["manager", "state"]
    assert all(each["memory"] > 0 for each in session["children"])


def test_the_tree_shows_a_restart(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """How often, and why the last one ended."""
    victim = attached.get_state(opened.id)
    os.kill(victim.os_pid, signal.SIGKILL)
    eventually(lambda: attached.whereis(("state", opened.id)) not in (None, victim))
    eventually(lambda: opened.health_check().status.value == "healthy")
    drawn = jidocode("tree", "--system", served)

    [line] = [line for line in drawn.splitlines() if "state" in line]
    assert line.split()[2:5] == ["healthy", str(attached.get_state(opened.id).os_pid), "1"]
    assert "killed by signal 9" in line


def test_too_few_descriptors_are_named() -> None:
    """Before the system is asked: its answers could not be heard."""
    line = 'ulimit -n 12; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND, "tree", "--system", "nobody"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "ulimit -n" in done.stderr
