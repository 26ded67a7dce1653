"""What `jidocode doctor` makes of kernels that this one is not."""

from __future__ import annotations

import errno
import os
import resource
import sys
from pathlib import Path

import pytest

from jidocode import ConfinementError
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.confinement.report import ConfinementReport, Denial
from jidocode.system import diagnosis
from jidocode.system.settings import Settings

TRIED = (
    Denial("open /etc/shadow", held=True, outcome="EACCES"),
    Denial("signal others", held=False, outcome="sent"),
)
OLDER = ConfinementReport(TRIED, landlock_abi=5, namespaces="no")


@pytest.mark.parametrize(
    ("sandbox", "statuses"),
    [
        ("auto", ["note", "note"]),
        ("require:kernel", ["missing", "note"]),
        ("require:namespaces", ["missing", "missing"]),
        ("off", ["note", "note"]),
    ],
)
def test_a_kernel_that_confines_in_part_is_missing_only_if_all_is_required(
    monkeypatch: pytest.MonkeyPatch, sandbox: SandboxMode, statuses: list[str]
) -> None:
    """With `auto` commands run there; and it is said that they are not held wholly."""

    def older(**_: object) -> ConfinementReport:
        return OLDER

    monkeypatch.setattr(diagnosis, "probe", older)
    found = list(diagnosis._tiers(Settings.load(sandbox=sandbox)))

    assert [each.status for each in found] == statuses
    assert "signal others" in found[0].found
    assert ("Commands run" in found[0].advice) == (sandbox == "auto")


@pytest.mark.parametrize(
    ("sandbox", "statuses"), [("auto", ["missing", "note"]), ("off", ["note", "note"])]
)
def test_a_kernel_that_confines_nothing_is_missing_unless_nothing_is_to_be(
    monkeypatch: pytest.MonkeyPatch, sandbox: SandboxMode, statuses: list[str]
) -> None:
    """With `auto` commands are refused there."""

    def probe(**_: object) -> ConfinementReport:
        raise ConfinementError("the kernel has no Landlock")

    monkeypatch.setattr(diagnosis, "probe", probe)
    found = list(diagnosis._tiers(Settings.load(sandbox=sandbox)))

    assert [each.status for each in found] == statuses


def test_a_kernel_without_pidfds_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """For nothing runs there."""

    def pidfd_open(_pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", pidfd_open)
    found = diagnosis._pidfds()

    assert (found.status, "Linux 5.3" in found.advice) == ("missing", True)


@pytest.mark.parametrize(
    ("groups", "limits", "found"),
    [
        ("0::/shop/worker\n", {"shop/worker/pids.max": "max\n", "shop/pids.max": "100\n"}, 100),
        ("0::/shop\n", {"pids.max": "64\n"}, 64),  # another one's path, as some containers have
        ("0::/../..\n", {"pids.max": "64\n"}, 64),  # outside of its namespace
        ("8:pids:/shop\n0::/\n", {"pids/shop/pids.max": "90\n", "pids/pids.max": "max\n"}, 90),
        ("8:cpu,pids:/\n", {"cpu,pids/pids.max": "80\n"}, 80),
        ("0::/shop\n", {"shop/pids.max": "max\n"}, None),
        ("0::/shop\n", {"shop/pids.max": "5000\n", "pids.max": "7000\n"}, None),
        ("", {}, None),
    ],
)
def test_the_limit_of_a_control_group_is_told_if_it_is_the_lower_one(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    groups: str,
    limits: dict[str, str],
    found: int | None,
) -> None:
    """As a container or a service has it: what the shell may is no help then."""
    (tmp_path / "groups").write_text(groups)
    for name, limit in limits.items():
        place = tmp_path / "fs" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(limit)
    monkeypatch.setattr(diagnosis, "_OWN_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(diagnosis, "_GROUPS", tmp_path / "fs")

    def getrlimit(_number: int) -> tuple[int, int]:
        return 6000, 6000

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    told = diagnosis._processes()

    if found is None:
        least = min([6000, *(int(each) for each in limits.values() if each != "max\n")])
        assert (told.status, told.found.partition(",")[0]) == ("ok", str(least))
    else:
        assert (told.status, told.found) == ("note", f"{found}, by its control group")
        assert "TasksMax=" in told.advice


def test_it_says_on_which_python_systems_run() -> None:
    """Which need not be the one that it runs on itself."""
    here, other = Settings(), Settings.load(python="/opt/other/bin/python")

    assert diagnosis._python(here).found.endswith(sys.executable)
    assert diagnosis._python(other).found.endswith("; systems run on /opt/other/bin/python")
