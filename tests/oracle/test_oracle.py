"""The same scenarios on Elixir and here, and what was observed, line by line.

Elixir runs `all.exs`, once for all of them; here they run in one tree, one after the other. A
difference is either declared, which pins down both sides, or a failure.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from scenarios import SCENARIOS
from stage import play

FOLDER = Path(__file__).parent
DOCS = FOLDER.parents[1] / "docs"
ELIXIR = shutil.which("elixir")
SUBJECTS = sorted({path.stem for path in FOLDER.glob("*.exs")} - {"all", "stage"})
for subject in SUBJECTS:
    import_module(subject)  # which declares its scenarios

Observed = dict[str, list[str]]


@pytest.fixture(scope="session")
def elixir(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """What is observed on Elixir, by the names of the scenarios."""
    if ELIXIR is None:
        pytest.skip("there is no `elixir` on the path")
    # It is no node, so it listens to nobody; `-start_epmd false` says so once more.
    run = subprocess.run(
        [ELIXIR, "--erl", "-start_epmd false", str(FOLDER / "all.exs"), *SUBJECTS],
        cwd=tmp_path_factory.mktemp("elixir"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stderr == ""
    _, *blocks = f"\n{run.stdout}".split("\n## ")
    return {name: lines for name, *lines in map(str.splitlines, blocks)}


@pytest.fixture(scope="session")
def here() -> Observed:
    """What is observed here."""
    return play({name: each.body for name, each in SCENARIOS.items()})


def test_each_scenario_is_written_twice(elixir: Observed) -> None:
    """Under one name."""
    assert sorted(elixir) == sorted(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_observe_the_same(name: str, elixir: Observed, here: Observed) -> None:
    """But for what is declared, which has to differ exactly so."""
    there, ours = elixir[name], here[name]
    opcodes = difflib.SequenceMatcher(None, there, ours, autojunk=False).get_opcodes()
    found = [(there[a:b], ours[c:d]) for what, a, b, c, d in opcodes if what != "equal"]
    declared = [(list(each.otp), list(each.here)) for each in SCENARIOS[name].differences]

    diff = difflib.unified_diff(there, ours, "Elixir", "here", n=100, lineterm="")
    assert found == declared, "\n".join(["", *diff, f"declared: {declared}"])


def test_each_difference_is_a_deviation_that_the_page_lists() -> None:
    """With its reason."""
    page = (DOCS / "semantics.md").read_text("utf-8")
    differences = [each for scenario in SCENARIOS.values() for each in scenario.differences]

    assert [each.listed for each in differences if f"\n| {each.listed}" not in page] == []


def test_the_page_on_coverage_says_how_many_there_are() -> None:
    """And in how many of them something differs."""
    page = (DOCS / "otp-coverage.md").read_text("utf-8")
    differ = sum(1 for scenario in SCENARIOS.values() if scenario.differences)

    assert f"{len(SCENARIOS)} scenarios" in page
    assert f"In {differ} of them" in page
