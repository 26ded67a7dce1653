"""The interpreter that the host runs on: which, with what flags, and what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from apps import BOUND, IMPORTS, MAX_START, probe, run_app

from jidocode import HostStartError, SessionSystem, Settings
from jidocode.errors import InvalidSettingError

REFUSED = (HostStartError, InvalidSettingError)

NAMES_IT = r"(^|Error: |setting )python\b"
"""How an error names the setting."""

# ----- which interpreter ------------------------------------------------------------

APP = f"""#!PYTHON
{BOUND}
import sys
sys.executable = __file__
sys.frozen = FROZEN
if not sys.frozen:
    del sys.frozen
import json, time
from jidocode import SessionSystem, Settings
begun = time.monotonic()
try:
    with SessionSystem(Settings.load()) as system:
        session = system.create_session(os.environ["PROJECT"])
        said = session.manager.project_root()
except Exception as error:
    said = f"{{type(error).__name__}}: {{error}}"
sys.stderr.write(json.dumps([os.getpid(), said, time.monotonic() - begun]) + "\\n")
"""


def _bundled(folder: Path, *, frozen: bool) -> Path:
    """Make an app that is one program, which does the same whatever its arguments are."""
    app = folder / "shop-app"
    app.write_text(APP.replace("PYTHON", sys.executable).replace("FROZEN", str(frozen)))
    app.chmod(0o755)
    return app


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "embedded"])
def test_a_bundled_app_does_not_start_itself(
    project: Path, tmp_path: Path, *, frozen: bool
) -> None:
    """It is told what to set; a program that is no Python is started once, if it must be tried."""
    starts = tmp_path / "starts"
    app = _bundled(tmp_path, frozen=frozen)
    env = {"STARTS": str(starts), "PROJECT": str(project)}
    outcome = run_app("", interpreter=[app], env=env)
    lines = [json.loads(line) for line in outcome.stderr.splitlines() if line.startswith("[")]
    assert lines, outcome
    _, said, seconds = lines[-1]

    assert len(starts.read_text().split()) <= (1 if frozen else 2)
    assert said.startswith(("HostStartError", "InvalidSettingError"))
    assert "shop-app" in said
    assert re.search(NAMES_IT, said)
    assert seconds < MAX_START
    assert outcome.left == 0


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "embedded"])
def test_a_bundled_app_names_an_interpreter(project: Path, tmp_path: Path, *, frozen: bool) -> None:
    """By the setting, here from the environment."""
    env = {
        "STARTS": str(tmp_path / "starts"),
        "PROJECT": str(project),
        "JIDOCODE_PYTHON": sys.executable,
    }
    outcome = run_app("", interpreter=[_bundled(tmp_path, frozen=frozen)], env=env)

    assert str(project) in outcome.stderr
    assert len((tmp_path / "starts").read_text().split()) == 1


def _program(folder: Path, text: str, *, mode: int = 0o755) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


NO_PYTHONS = ["/bin/true", "/bin/echo", "/bin/cat", "/nowhere/python", "/", "/etc/passwd"]


@pytest.mark.parametrize("executable", ["", None, *NO_PYTHONS])
def test_a_sys_executable_that_is_no_python(project: Path, executable: str | None) -> None:
    """As under uWSGI and in embedded interpreters: it says what to set."""
    before = f"import sys; sys.executable = {executable!r}"

    probe(project, before=before).says(NAMES_IT, re.escape(executable or "sys.executable"))


@pytest.mark.parametrize("executable", ["", None, "/bin/true"])
def test_the_setting_goes_before_sys_executable(project: Path, executable: str | None) -> None:
    """Whatever that is."""
    before = f"import sys; sys.executable = {executable!r}"

    probe(project, before=before, python=sys.executable).works()


@pytest.mark.parametrize("python", NO_PYTHONS)
def test_a_setting_that_is_no_python_is_refused(project: Path, python: str) -> None:
    """With its value, and the name of the setting."""
    probe(project, python=python).says(NAMES_IT, re.escape(python))


def test_the_setting_may_be_a_path(project: Path) -> None:
    """Or text, or come from a file; it is not resolved, for a link may be a virtual environment."""
    assert Settings(python=Path(sys.executable)).python == Path(sys.executable)
    assert Settings.load(environ={"JIDOCODE_PYTHON": sys.executable}).python == Path(sys.executable)
    with SessionSystem(python=sys.executable) as system:
        assert system.create_session(project).manager.project_root() == str(project)


@pytest.mark.parametrize("python", ["", 7, "a\0b", "relative/python"])
def test_a_bad_setting_is_refused(python: Any) -> None:
    """As any other."""
    with pytest.raises(InvalidSettingError, match="python"):
        Settings(python=python)


def test_an_interpreter_that_hangs(project: Path, tmp_path: Path) -> None:
    """Is named when it was not ready in time."""
    python = _program(tmp_path, "exec sleep 100")
    probe(project, python=python, start_timeout=1.0).says(re.escape(python))


def test_another_version_of_python(project: Path, tmp_path: Path) -> None:
    """Cannot import what was compiled for this one: it says so, and no more than that."""
    fake = _program(tmp_path, "echo 'Python 3.6.0: no module named msgspec' >&2; exit 1")

    probe(project, python=fake).says("no module named msgspec", re.escape(fake))


# ----- its flags --------------------------------------------------------------------

REFLECT = """
from odd import Mirror, facts
session.start_child(Mirror.child_spec(id="mirror"))
theirs, ours = session.call("mirror", "facts"), facts()
differ = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}
assert not differ, f"app's and child's: {differ}"
"""

FLAGS = [
    [],
    ["-O", "-b", "-W", "ignore", "-X", "utf8", "-X", "int_max_str_digits=640", "-X", "shop=open"],
    ["-OO", "-bb", "-W", "error::DeprecationWarning", "-X", "utf8=0", "-X", "faulthandler"],
    ["-O", "-B", "-W", "error", "-X", "dev", "-X", "utf8"],
    ["-W", "error"],
    ["-X", "dev"],
    ["-X", "tracemalloc=1", "-X", "frozen_modules=off"],
    ["-X", "warn_default_encoding"],
    ["-X", "pycache_prefix=FOLDER"],
]
"""Each of those that there are; those that have nothing to do with each other go together."""


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_flags_hold_in_children(project: Path, tmp_path: Path, flags: Sequence[str]) -> None:
    """All those that multiprocessing hands on, and everything works with them."""
    flags = [each.replace("FOLDER", str(tmp_path / "pycache")) for each in flags]

    probe(project, interpreter=[sys.executable, *flags], use=REFLECT).works()


VARIABLES = [
    {
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error::UserWarning,ignore::ImportWarning",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONINTMAXSTRDIGITS": "640",
    },
    {"PYTHONWARNINGS": "error", "PYTHONHASHSEED": "7", "PYTHONFAULTHANDLER": "1"},
    {"PYTHONDEVMODE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    {"PYTHONMALLOC": "debug", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
    {"PYTHONTRACEMALLOC": "1"},
    {"PYTHONPYCACHEPREFIX": "FOLDER"},
    {"PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
]
"""As above."""


@pytest.mark.parametrize("env", VARIABLES, ids=str)
def test_variables_of_the_interpreter_hold_in_children(
    project: Path, tmp_path: Path, env: Mapping[str, str]
) -> None:
    """As in any other process of the app."""
    env = {each: env[each].replace("FOLDER", str(tmp_path / "pycache")) for each in env}

    probe(project, env=env, use=REFLECT).works()


@pytest.mark.parametrize("flags", [["-I"], ["-E"], ["-s"], ["-S"], ["-P"], ["-u"], ["-q"]])
def test_an_app_that_is_isolated(project: Path, flags: Sequence[str]) -> None:
    """It finds its modules by itself, and so do its children."""
    first = f"import sys; sys.path[:0] = {IMPORTS.split(os.pathsep)!r}"

    probe(project, interpreter=[sys.executable, *flags], first=first, use=REFLECT).works()


def test_what_the_interpreter_warns_of_is_not_in_the_way(project: Path) -> None:
    """With warnings as errors, everything that jidocode does is without one."""
    result = probe(project, interpreter=[sys.executable, "-X", "dev", "-W", "error"])

    result.works()
    assert result.outcome.stderr == ""


# ----- what runs at its start -----------------------------------------------------------


def _environment(folder: Path, name: str, text: str) -> Path:
    """Make a virtual environment with a file in its `site-packages`; return its Python."""
    home = folder / "venv"
    venv.create(home, symlinks=True)
    packages = home / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / name).write_text(text)
    (packages / "zz.pth").write_text("\n".join(IMPORTS.split(os.pathsep)))
    return home / "bin" / "python"


PRINTS = {
    "a line": "import sys; sys.stdout.write('hello from the site\\n'); sys.stdout.flush()",
    "half a line": "import sys; sys.stdout.write('hello'); sys.stdout.flush()",
    "an object": 'import os; os.write(1, b\'{"pid": 4194304, "port": 2, "nonce": 3}\\n\')',
    "an error": 'import os; os.write(1, b\'{"error": "none"}\\n\')',
    "bytes": "import os; os.write(1, bytes(range(256)) + b'\\n')",
    "much": "import os; os.write(1, b'x\\n' * 100000)",
    "on standard error": "import sys; sys.stderr.write('hello\\n')",
    "at its end": "import atexit, os; atexit.register(os.write, 1, b'bye\\n')",
}


@pytest.mark.parametrize("kind", PRINTS)
def test_what_is_printed_at_the_start_is_not_in_the_way(
    project: Path, tmp_path: Path, kind: str
) -> None:
    """By whatever is installed in the environment."""
    python = _environment(tmp_path, "sitecustomize.py", PRINTS[kind])

    probe(project, interpreter=[python]).works()


def test_what_a_pth_file_prints_at_the_start_is_not_in_the_way(
    project: Path, tmp_path: Path
) -> None:
    """It runs before `sitecustomize`, and each of its lines by itself."""
    python = _environment(tmp_path, "noise.pth", f"{PRINTS['a line']}\n{PRINTS['an object']}\n")

    probe(project, interpreter=[python]).works()


RAISES = {
    "raises": "raise LookupError('no licence')",
    "reads standard input": "import sys; sys.stdin.read(10)",
    "closes what it can": "import os; os.close(0)",
    "changes the folder": "import os; os.chdir('/')",
    "blocks signals": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())"
    ),
    "starts a thread": "import threading; threading.Thread(target=print, daemon=True).start()",
}


@pytest.mark.parametrize("kind", RAISES)
def test_what_fails_at_the_start_is_not_in_the_way(
    project: Path, tmp_path: Path, kind: str
) -> None:
    """As it is not in the way of the app."""
    python = _environment(tmp_path, "sitecustomize.py", RAISES[kind])

    probe(project, interpreter=[python]).works()


ENDS = {
    "exits": "sys.stderr.write('the licence has run out\\n'); os._exit(3)",
    "is told to exit": "raise SystemExit('the licence has run out')",
    "is killed": "sys.stderr.write('the licence has run out\\n'); os.kill(os.getpid(), 9)",
    "aborts": "sys.stderr.write('the licence has run out\\n'); sys.stderr.flush(); os.abort()",
    "says much": "sys.stderr.write('x' * 100000 + '\\nthe licence has run out\\n'); os._exit(3)",
    "says it in colours": (
        "sys.stderr.write('\\x1b[31mthe licence has run out\\x1b[0m\\n'); os._exit(3)"
    ),
    "prints it": "os.write(1, b'the licence has run out\\n'); os._exit(3)",
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_the_interpreter_said_is_in_the_error(
    project: Path, tmp_path: Path, kind: str
) -> None:
    """When it ended before it was anything: the end of it, in one bounded line."""
    text = f"import os, sys\nif 'HELD' in os.environ:\n    {ENDS[kind]}\n"
    python = _environment(tmp_path, "sitecustomize.py", text)
    result = probe(project, interpreter=[python], before="os.environ['HELD'] = '1'")

    result.says("the licence has run out", "status|signal")
    assert len(result.text) < 5_000
    assert result.text.isprintable()


def test_what_was_said_goes_on_to_standard_error_too(project: Path, tmp_path: Path) -> None:
    """Where the app's user looks for it."""
    text = "import os, sys\nif 'HELD' in os.environ: sys.stderr.write('beware\\n')\n"
    python = _environment(tmp_path, "sitecustomize.py", text)
    result = probe(project, interpreter=[python], before="os.environ['HELD'] = '1'")

    result.works()
    assert "beware" in result.outcome.stderr


# ----- the app's path -----------------------------------------------------------------------


def test_modules_that_shadow_the_standard_library(project: Path, tmp_path: Path) -> None:
    """The app has the true ones already, for it put its folder on its path later."""
    (tmp_path / "till.py").write_text(
        "from servers import Worker\nclass Till(Worker):\n    kind = 'till'\n"
    )
    before = f"""
        import json, os, queue, random, resource, selectors, signal, struct, types, till_names
        for name in till_names.SHADOWED:
            with open(os.path.join({str(tmp_path)!r}, name + ".py"), "w") as file:
                file.write("raise RuntimeError(__file__ + ' is not the one')")
        sys.path.insert(0, {str(tmp_path)!r})
    """
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "till_names.py").write_text(
        "import sys\n"
        "SHADOWED = sorted(sys.stdlib_module_names & sys.modules.keys() - {'__main__'})\n"
    )
    first = f"import sys; sys.path.append({str(tmp_path / 'names')!r})"
    use = """
        from till import Till
        other = system.create_session(sys.argv[1] + "/src", children=[Till.child_spec(id="till")])
        assert other.call("till", ("echo", 1)) == 1
    """

    probe(project, first=first, before=before, use=use, allow_nested=True).works()


ODD_ENTRIES = r"""
    "/nowhere/lib", "/nowhere/lib.zip", "/etc/passwd", "/proc/self/root/proc/self/root",
    "", "lib/shop", "/nowhere/a\nb\"c'd\udcff", "/nowhere/" + "x" * 100_000,
    None, b"/usr/lib", __import__("pathlib").Path("/usr/lib"),
"""


@pytest.mark.parametrize("place", ["0", "len(sys.path)"], ids=["first", "last"])
def test_odd_entries_of_the_path(project: Path, place: str) -> None:
    """Python passes over them, and so do we."""
    before = f"sys.path[{place}:{place}] = [{ODD_ENTRIES}]"

    probe(project, before=before).works()


@pytest.mark.parametrize("entry", ["", "lib", ".", "../lib"])
def test_a_relative_entry_in_a_folder_that_is_gone(
    project: Path, tmp_path: Path, entry: str
) -> None:
    """As after a deployment that replaced the folder of a running app.

    Python itself cannot import what lies beside such an entry any more.
    """
    gone = tmp_path / "gone"
    gone.mkdir()
    before = (
        f"import jidocode.system.handle; os.rmdir({str(gone)!r}); sys.path.insert(0, {entry!r})"
    )

    probe(project, before=before, cwd=gone).works()


def test_many_entries(project: Path) -> None:
    """More than a pipe takes at once."""
    before = "sys.path.extend(f'/nowhere/{number}' * 10 for number in range(5000))"

    probe(project, before=before).works()


# ----- who is who -----------------------------------------------------------------------------


def test_ps_shows_who_is_who(system: SessionSystem, project: Path) -> None:
    """By name and by command line; no program, and no word that is another process's."""
    session = system.create_session(project)
    host = system.host_pid
    guard = int(re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{host}/status").read_text())[0])
    roles = {guard: "guard", host: "host"}
    for kind in ("manager", "state", "session"):
        roles[system.get_process(session.id, kind).os_pid] = kind
    root = system.tree().ref
    assert root is not None
    roles[root.os_pid] = "application"
    said: dict[int, tuple[str, str]] = {}
    for pid in roles:
        columns = ["ps", "-ww", "-o", "comm=,args=", "-p", str(pid)]
        line = subprocess.run(columns, capture_output=True, text=True, check=True).stdout
        comm, _, args = line.strip().partition(" ")
        said[pid] = (comm, args.strip())

    for pid, role in roles.items():
        assert said[pid][0].startswith("jido"), said
        assert role[:9] in said[pid][0], said
    for pid, role in roles.items():
        args = said[pid][1]
        assert role in args, said
        assert "jido" in args, said
        assert "import" not in args, said
    for kind in ("manager", "state", "session"):
        assert session.id in said[system.get_process(session.id, kind).os_pid][1], said


def test_no_program_is_on_a_command_line(system: SessionSystem) -> None:
    """Of any process; nor anything else that needs more than a line."""
    host = system.host_pid
    guard = re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{host}/status").read_text())[0]
    below = Path(f"/proc/{host}/task/{host}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (guard, host, *below)]

    assert [line for line in lines if "\n" in line or "sys." in line] == []


# ----- what an error of the bootstrap looks like -------------------------------------------------


def test_a_module_that_the_host_needs_is_missing(project: Path) -> None:
    """The app had it imported; the interpreter that was chosen has it not."""
    packages = sysconfig.get_path("purelib")
    before = f"sys.path[:] = [each for each in sys.path if each != {packages!r}]"

    probe(project, before=before).says("No module named '(thespian|msgspec|attrs?)'")


def test_the_command_of_a_shell_is_no_interpreter(project: Path, tmp_path: Path) -> None:
    """A wrapper that hands everything on is one."""
    wrapper = _program(tmp_path, f'exec {shlex.quote(sys.executable)} "$@"')
    bad = _program(project, 'echo "usage: shop [-h]" >&2; exit 2')

    probe(project, python=wrapper).works()
    probe(project, python=bad).says("usage: shop", NAMES_IT)
