"""Project folders for tests that open several sessions."""

from __future__ import annotations

from pathlib import Path


def new_folders(parent: Path, count: int) -> list[Path]:
    """Make *count* empty folders in *parent*."""
    folders = [parent / f"p{number}" for number in range(count)]
    for folder in folders:
        folder.mkdir()
    return folders
