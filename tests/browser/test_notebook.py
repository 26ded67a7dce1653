"""The notebook, executed from top to bottom by a kernel of Jupyter's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples/notebook.ipynb"
EXECUTE = "from nbclient.cli import main; main()"  # it is what `jupyter execute` runs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Return what each cell of code has printed, and what it has drawn."""
    copy = Path(shutil.copy(NOTEBOOK, tmp_path_factory.mktemp("notebook")))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            EXECUTE,
            "--inplace",
            "--timeout=120",
            "--startup_timeout=120",
            copy,
        ],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    notebook: dict[str, Any] = json.loads(copy.read_text())
    return [
        (
            "".join(text for each in cell["outputs"] for text in each.get("text", ())),
            "".join(text for each in cell["outputs"] for text in drawing(each)),
        )
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def drawing(output: dict[str, Any]) -> list[str]:
    lines: list[str] = output.get("data", {}).get("text/html", [])
    return lines


def test_what_it_prints(outputs: list[tuple[str, str]]) -> None:
    """Files, a child out of a cell, and a kill; in the order of the cells."""
    printed = [text for text, _ in outputs if text]

    files, refused, written, counted, changed, killed, kept, again = printed
    assert files == "README.md\ngreeting.txt\n6 greeting.txt\n"
    assert refused.startswith("not started: Homeless is defined in __main__")
    assert written == "Writing notebook_counter.py\n"
    assert counted == "3\n6\n"
    assert changed == "3 words\n6 words\n"
    assert "state exited: killed by signal 9\n" in killed
    assert killed.splitlines()[-1].startswith("counter is back after ")
    said = "user: what is in this project?\ntool: README.md\ngreeting.txt\n6 greeting.txt\n"
    assert kept == f"{said}3 words\n"
    assert again == "ActorExitedError\nback\n"


def test_what_it_draws(outputs: list[tuple[str, str]]) -> None:
    """The tree, and a health before and after the kill."""
    tree, before, after = [html for _, html in outputs if html]

    assert "└─ state  pid " in tree
    assert "healthy<br>" in before
    assert before.count("●") == 3
    assert "killed by signal 9" not in before
    assert after.count("●") == 4
    assert "killed by signal 9" in after
