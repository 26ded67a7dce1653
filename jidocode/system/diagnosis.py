"""Whether jidocode works on this machine, found by trying what it needs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import evolve, frozen

from jidocode._host.attach.place import folder as systems_folder
from jidocode.base.records import Record
from jidocode.base.text import line, quote
from jidocode.errors import ConfinementError, HostStartError, JidocodeError
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.commands.scratch import place_of_scratch
from jidocode.session.confinement.probe import probe
from jidocode.session.confinement.report import KERNEL, NAMESPACES, TIERS, ConfinementReport
from jidocode.session.project import openat2
from jidocode.system.archive import Archive
from jidocode.system.settings import Settings, unknown_variables
from jidocode.system.system import SessionSystem

FindingStatus = Literal["ok", "note", "missing"]
"""Missing is what the settings need; a note is worth knowing."""

_FEW_FILES = 1024
_FEW_PROCESSES = 512
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(==|>=)([0-9.]+)(; extra.*)?")
_TRIAL_BYTES = 65_536
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


@frozen(eq=False, repr=False)
class Finding(Record):
    """One thing that jidocode needs, or can use.

    Attributes:
        about: The thing.
        status: How it is.
        found: What was found.
        advice: What to do, if something is to be done.
    """

    about: str
    status: FindingStatus
    found: str
    advice: str = ""


def diagnose(settings: Settings) -> tuple[Finding, ...]:
    """Try what systems with *settings* need here, a session in one of them among it.

    Forks, and starts a system of its own that keeps nothing: for a process with one thread.
    What it leaves is the folder of journals, if that was not there.
    """
    return tuple(_findings(settings))


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from _variables()
    yield _versions()
    yield _python(settings)
    yield Finding("kernel", "ok", f"{platform.release()}, {platform.machine()}")
    yield _pidfds()
    yield _openat2()
    yield from _tiers(settings)
    yield _limit("open files", resource.RLIMIT_NOFILE, _FEW_FILES, "ulimit -n")
    yield _processes()
    yield _temporary_files()
    yield _journals(settings)
    yield _place_of_systems()
    yield _session(settings)


def _variables() -> Iterator[Finding]:
    """Yield those that look like settings and are none: a typo has the default take its place."""
    for variable, hint in unknown_variables().items():
        advice = "Set what is meant, or nothing: it changes nothing."
        yield Finding("a variable", "note", f"{quote(variable)} is no setting{hint}", advice)


def _versions() -> Finding:
    """Hold what is installed against what the package says that it needs."""
    found: list[str] = []
    wrong: list[str] = []
    for requirement in importlib.metadata.requires("jidocode") or ():
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None or match[4]:  # nothing fails for the lack of an extra
            continue
        name, relation, wanted = match[1], match[2], match[3]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        found.append(f"{name} {version}")
        is_right = version == wanted if relation == "==" else _numbers(version) >= _numbers(wanted)
        if not is_right:
            wrong.append(f"{name} has to be {relation}{wanted}")
    text = f"{importlib.metadata.version('jidocode')}, with {', '.join(found)}"
    if not wrong:
        return Finding("jidocode", "ok", text)
    advice = "Install it anew, in an environment of its own: pip install --upgrade jidocode."
    return Finding("jidocode", "missing", line(f"{'; '.join(wrong)}: {text}"), advice)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _python(settings: Settings) -> Finding:
    found = f"{platform.python_version()}, {sys.executable}"
    if settings.python is not None and str(settings.python) != sys.executable:
        found += f"; systems run on {line(str(settings.python))}"
    return Finding("Python", "ok", found)


def _pidfds() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Finding(
            "processes (pidfd)",
            "missing",
            f"the kernel does not give descriptors of processes: {error.strerror}",
            "Nothing runs here without them; Linux 5.3 has them, and Docker since 20.10.",
        )
    return Finding("processes (pidfd)", "ok", "there")


def _openat2() -> Finding:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if openat2.is_available(root):
            return Finding("files (openat2)", "ok", "there")
    finally:
        os.close(root)
    return Finding(
        "files (openat2)",
        "note",
        "the kernel does not know it, or a filter denies it",
        "Paths are opened step by step instead, which is slower; Linux 5.6 has it, and Docker "
        "since 20.10.",
    )


def _tiers(settings: Settings) -> Iterator[Finding]:
    for tier in TIERS:
        report = _probed(apart=tier == NAMESPACES)
        problem = report if isinstance(report, str) else _refusal(report, tier)
        if problem is None:
            assert isinstance(report, ConfinementReport)  # noqa: S101 - else there is a problem
            found = f"in force, {len(report.denials)} of {len(report.denials)} tries denied"
            if tier != NAMESPACES:
                found += f", Landlock ABI {report.landlock_abi}"
            yield Finding(f"tier {tier}", "ok", found)
            continue
        needed = _is_needed(tier, settings.sandbox, report)
        advice = _ADVICE[tier] if needed or tier == NAMESPACES else ""
        if settings.sandbox == "auto" and tier == KERNEL and not needed:
            advice = _PARTLY
        yield Finding(f"tier {tier}", "missing" if needed else "note", line(problem), advice)


def _is_needed(tier: str, mode: SandboxMode, report: ConfinementReport | str) -> bool:
    """Whether commands are refused where *tier* is not in force."""
    if mode == "auto":  # what the kernel has is taken, if it has anything
        return tier == KERNEL and isinstance(report, str)
    return mode == f"require:{tier}" or (mode != "off" and tier == KERNEL)


_PARTLY = (
    "Commands run, confined as far as this kernel can; Linux 6.12 has all of it. "
    'sandbox = "require:kernel" refuses them where anything is missing.'
)
_ADVICE = {
    "kernel": (
        "Commands need Linux 5.13 with Landlock among `cat /sys/kernel/security/lsm`, and a "
        'container that does not deny it. sandbox = "off" runs them with all rights of the app.'
    ),
    "namespaces": (
        "It needs unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, and a container that lets "
        'them be made. Without sandbox = "require:namespaces" nothing needs it.'
    ),
}


def _probed(*, apart: bool) -> ConfinementReport | str:
    try:
        return probe(apart=apart)
    except ConfinementError as error:
        return error.message
    except OSError as error:
        return f"it could not be tried: {error.strerror}"


def _refusal(report: ConfinementReport, tier: str) -> str | None:
    try:
        report.require(tier)
    except ConfinementError as error:
        return error.message
    return None


def _limit(about: str, number: int, few: int, command: str) -> Finding:
    soft, hard = resource.getrlimit(number)
    shown = ["unlimited" if each == resource.RLIM_INFINITY else str(each) for each in (soft, hard)]
    found = f"{shown[0]}, may be raised to {shown[1]}" if soft != hard else shown[0]
    if soft == resource.RLIM_INFINITY or soft >= few:
        return Finding(about, "ok", found)
    return Finding(about, "note", found, f"That is few for many sessions; {command} {few} or more.")


def _processes() -> Finding:
    """Look at what the shell allows, and what a container or a service does: the least counts."""
    own = _limit("processes", resource.RLIMIT_NPROC, _FEW_PROCESSES, "ulimit -u")
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    most = min(_limits_of_groups(), default=None)
    if most is None or (soft != resource.RLIM_INFINITY and soft <= most):
        return own
    found = f"{most}, by its control group"
    if most >= _FEW_PROCESSES:
        return Finding(own.about, "ok", found)
    advice = f"{_FEW_PROCESSES} or more: TasksMax= of a service, --pids-limit of a container."
    return Finding(own.about, "note", found, f"That is few for many sessions; {advice}")


def _limits_of_groups() -> Iterator[int]:
    """Yield how many processes and threads the control groups allow that this process is in.

    A container may show the path that a group has outside of it, and only the group itself: then
    nothing is at that path, and the limit is at the top.
    """
    for entry in _lines(_OWN_GROUPS):
        number, _, rest = entry.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and "pids" not in controllers.split(","):
            continue
        top = _GROUPS / controllers  # of the second version, none is named
        inside = Path(path.lstrip("/"))
        for group in (inside, *inside.parents):
            for limit in _lines(top / group / "pids.max"):
                if limit.isdecimal():
                    yield int(limit)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:  # no such group, or no such version of them
        return []


def _temporary_files() -> Finding:
    """Try the folder in which commands have their homes, and programs of theirs may be."""
    place, about = place_of_scratch(os.environ), "temporary files"
    asked = os.environ.get("TMPDIR", place)
    try:
        with tempfile.TemporaryDirectory(prefix="jidocode-doctor-", dir=place) as folder:
            Path(folder, "trial").write_bytes(bytes(_TRIAL_BYTES))
    except OSError as error:
        return Finding(about, "missing", f"{place}: {error.strerror}", "Set TMPDIR.")
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        found = f"{place}, from which no program can be run"
        advice = "Commands that run what they have built or unpacked there fail; set TMPDIR."
        return Finding(about, "note", found, advice)
    if asked != place:
        found = f"{place}, for TMPDIR names no folder: {line(asked)}"
        return Finding(about, "note", found, "Set TMPDIR to a folder, or to nothing.")
    return Finding(about, "ok", place)


def _journals(settings: Settings) -> Finding:
    if settings.durability == "memory":
        return Finding("journals", "note", "sessions are kept in memory, as the settings say")
    archive = Archive(settings)
    try:
        archive.prepare()
        with tempfile.NamedTemporaryFile(prefix=".jidocode-doctor-", dir=archive.folder) as trial:
            trial.write(bytes(_TRIAL_BYTES))
            trial.flush()
        return Finding("journals", "ok", f"{archive.folder}, {len(archive.find_all())} sessions")
    except JidocodeError as error:
        return Finding("journals", "missing", error.message, "Set JIDOCODE_STATE_DIR.")
    except OSError as error:
        problem = f"no journal can be written in {archive.folder}: {error.strerror}"
        return Finding("journals", "missing", problem, "Make room, or set JIDOCODE_STATE_DIR.")


def _place_of_systems() -> Finding:
    place, about = systems_folder(), "named systems"
    try:
        status = place.lstat()
    except FileNotFoundError:
        return _found_place(place, f"{place}, to be made")
    except OSError as error:
        return Finding(about, "missing", f"{place}: {error.strerror}", "Set XDG_RUNTIME_DIR.")
    if place.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        found = f"{place} is not private"
        return Finding(about, "missing", found, f"rm -r {place}, or set XDG_RUNTIME_DIR.")
    return _found_place(place, str(place))


def _found_place(place: Path, found: str) -> Finding:
    about, asked = "named systems", os.environ.get("XDG_RUNTIME_DIR")
    if asked and place.parent != Path(asked):
        found = f"{found}, for {line(asked)} is no folder of this user's"
        advice = "Unless all of your processes have the same XDG_RUNTIME_DIR they find no system."
        return Finding(about, "note", found, advice)
    return Finding(about, "ok", found)


def _session(settings: Settings) -> Finding:
    """Start a system and a session, and run a command in it, if commands can be confined."""
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="jidocode-doctor-") as project:
            ready = _run(evolve(settings, durability="memory"), Path(project))
    except HostStartError as error:
        return Finding("a session", "missing", error.message, "Nothing runs here without it.")
    except (JidocodeError, OSError) as error:
        return Finding("a session", "missing", line(str(error)), "Nothing runs here without it.")
    found = f"ready after {ready - begun:.2f} s, a command ran, all over after"
    return Finding("a session", "ok", f"{found} {time.monotonic() - begun:.2f} s")


def _run(settings: Settings, project: Path) -> float:
    """Return when the session was ready (monotonic seconds)."""
    with SessionSystem(settings) as system:
        session = system.create_session(project)
        ready = time.monotonic()
        session.run(["true"], check=True)
        return ready
