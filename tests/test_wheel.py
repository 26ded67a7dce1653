"""What is given out: the wheel, installed where nothing of this folder can be seen; the sources."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(*command: object, cwd: Path) -> str:
    """Run *command*, and return what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, by the setuptools of this environment."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "jidocode", folder / "jidocode", ignore=shutil.ignore_patterns("__pycache__")
    )
    run(sys.executable, "-Im", "build", "--wheel", "--no-isolation", cwd=folder)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel, what it depends on, and no more."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-Im", "venv", "--without-pip", folder, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    for requirement in PROJECT["dependencies"]:
        found = distribution(re.split(r"[^\w-]", requirement)[0])
        for top in {file.parts[0] for file in found.files or ()} - {".."}:
            (packages / top).symlink_to(str(found.locate_file(top)))
    python = folder / "bin" / "python"
    pip = [sys.executable, "-Im", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=folder)
    run(*pip, "check", cwd=folder)
    return python


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Each module of it, and the mark that says that it is typed."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "jidocode").rglob("*.py")}

    assert names == modules | {"jidocode/py.typed"}


@pytest.mark.slow
def test_a_first_session_runs_from_the_wheel(python: Path, project: Path) -> None:
    """App, guard, host and actors import what was installed."""
    example = ROOT / "examples" / "first_session.py"
    output = run(python, "-I", "-W", "error", example, project, cwd=project)

    assert "shop has 3 entries" in output
    assert "the session is healthy" in output


@pytest.mark.slow
def test_what_is_imported_is_what_was_installed(python: Path, tmp_path: Path) -> None:
    """Under the version of the project; and it needs no pytest."""
    code = (
        "import importlib.metadata, jidocode, jidocode.otp\n"
        "print(jidocode.__file__, importlib.metadata.version('jidocode'))\n"
        "import jidocode.testing\n"
    )
    done = subprocess.run(
        [python, "-Ic", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    place, version = done.stdout.split()

    assert Path(place).is_relative_to(python.parents[1])
    assert version == PROJECT["version"]
    assert done.stderr.endswith("jidocode.testing needs pytest: pip install pytest\n")


@pytest.mark.slow
def test_the_sources_have_all_that_pages_and_tests_read(tmp_path: Path) -> None:
    """Whatever git has, pictures too; and nothing that is only lying about."""
    if not (ROOT / ".git").exists():
        pytest.skip("these sources are no checkout")
    names = run("git", "ls-files", cwd=ROOT).splitlines()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for line in (ROOT / ".gitignore").read_text().splitlines():
        lying = tmp_path / line.replace("tests/*", "tests/conformance").replace("*", "x")
        if line.endswith("/"):
            for part in (lying, lying / "docs", lying / "tests"):
                part.mkdir(parents=True, exist_ok=True)
                for suffix in (".py", ".md", ".json"):
                    (part / f"stray{suffix}").touch()
    run(sys.executable, "-Im", "build", "--sdist", "--no-isolation", cwd=tmp_path)
    (sources,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert set(names) - found == {".gitignore"}
    made = {name for name in found - set(names) if not name.startswith("jidocode.egg-info/")}
    assert made == {"PKG-INFO"}
