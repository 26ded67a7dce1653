"""The notebook, executed from top to bottom by a kernel of Jupyter's."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples/notebook.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Return what each cell of code has printed, and what it has drawn."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copy(NOTEBOOK, folder)
    notebook = nbformat.read(folder / NOTEBOOK.name, as_version=4)  # type: ignore[no-untyped-call] # nbformat has no types
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, startup_timeout=120, resources=where).execute()
    found: list[tuple[str, str]] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed = "".join(each.get("text", "") for each in cell.outputs)
            drawn = "".join(each.get("data", {}).get("text/html", "") for each in cell.outputs)
            found.append((printed, drawn))
    return found


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
