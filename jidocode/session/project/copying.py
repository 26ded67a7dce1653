"""Copies of files, symlinks and folders.

A copy has the content and the permissions of what it is made from; owner, group, access
control list and `user.*` attributes as far as the kernel lets us set them, and never more
permissions than the original gave.
"""

from __future__ import annotations

import errno
import os
import stat as modes

from jidocode.base import log
from jidocode.base.text import quote
from jidocode.errors import FileChangedError, FileTooLargeError
from jidocode.session.project import access, limits
from jidocode.session.project.boundary import Boundary, Spot
from jidocode.session.project.conditions import ABSENT, Condition
from jidocode.session.project.descriptors import ALWAYS, DIRECTORY, closing
from jidocode.session.project.files import Project
from jidocode.session.project.folders import (
    require_apart,
    require_folder,
    require_limit,
    status_at,
    status_or_none,
)
from jidocode.session.project.inventory import Item, below, by_folder, contents, remove_items
from jidocode.session.project.paths import errors_about, os_error
from jidocode.session.project.replacement import Content
from jidocode.session.project.temporary import is_temporary

_BLOCK = 2**20
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | ALWAYS


def copy(  # noqa: D417, PLR0913 - clients have themselves as the holder; three are seldom given
    holder: Project,
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    recursive: bool = False,
    overwrite: bool = False,
    limit: int = limits.MAX_FOLDER,
) -> str:
    """Copy the file, symlink or folder *source* to *destination*; return its relative path.

    The copy of a file appears at one stroke, complete. That of a folder does not: a crash
    leaves a part of it; an error, such as a full disk, nothing. Folders that are missing
    above *destination* are made. A symlink is copied as it is, not what it leads to.

    Args:
        source: Relative to the project, or absolute inside it.
        destination: The new path, not the folder to copy it into.
        recursive: Whether to copy a folder, with all that is in it.
        overwrite: Whether a file may replace a file that is there.
        limit: Files and folders that a folder may hold; at most 100,000.

    Raises:
        FileTooLargeError: It has more than `MAX_COPY_BYTES`, or what is in the folder has.
        FolderTooLargeError: The folder holds more than *limit*.
        InvalidRequestError: *limit* is wrong.
        ProtectedPathError: *destination* is protected, or something that would be in it, and
            changes are refused.
        BoundaryError: One of them leads out of the project, or is the project; it is, or holds,
            something else than files, folders and symlinks.
        OSError: It cannot be copied; EEXIST if something is there; EISDIR if it is a folder, and
            *recursive* is not set.
    """
    require_limit(limit)
    boundary = holder.boundary
    relative = boundary.resolve(source)
    with boundary.spot(source) as old:
        items: list[Item] = []
        with errors_about(relative):
            status = status_at(old, source)
            is_folder, is_link = modes.S_ISDIR(status.st_mode), modes.S_ISLNK(status.st_mode)
            if is_folder and recursive:
                items = _to_copy(boundary, old, relative, limit)
            elif not is_link:
                boundary.require_file(status, relative)
                _require_size(relative, status.st_size)
        require_apart(relative, boundary.resolve(destination))
        with holder.guard.change(destination, (item.path for item in items)):
            new_relative = boundary.make_parents(destination)
            with boundary.spot(destination) as new, errors_about(new_relative):
                require_folder(status, destination)
                there = status_or_none(new)
                if there is not None and (is_folder or is_link or not overwrite):
                    raise os_error(errno.EEXIST)
                if is_folder:
                    _copy_folder(boundary, old, new, new_relative, items)
                elif is_link:
                    _copy_link(old, new)
                else:
                    _copy_file(boundary, old, new, new_relative, overwrite=overwrite)
    return new_relative


def _copy_link(old: Spot, new: Spot) -> None:
    os.symlink(os.readlink(old.name, dir_fd=old.parent), new.name, dir_fd=new.parent)


def _copy_file(boundary: Boundary, old: Spot, new: Spot, relative: str, *, overwrite: bool) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | ALWAYS
    with closing(os.open(old.name, flags, dir_fd=old.parent)) as fd:
        status = os.fstat(fd)
        boundary.require_file(status, relative)
        _require_size(relative, status.st_size)
        content = Content(lambda out: _copy_bytes(fd, out, relative), like=fd)
        condition = Condition(relative, None if overwrite else ABSENT)
        try:
            boundary.replace(new, relative, content, condition)
        except FileChangedError as error:  # somebody has made it meanwhile
            raise os_error(errno.EEXIST) from error


def _copy_bytes(fd: int, out: int, relative: str) -> None:
    # By place: a file system that lacks something has us begin again.
    offset = 0
    with os.fdopen(out, "wb", buffering=0, closefd=False) as stream:
        while block := os.pread(fd, _BLOCK, offset):
            written = 0
            while written < len(block):
                written += stream.write(block[written:])
            offset += len(block)
            _require_size(relative, offset)


def _to_copy(boundary: Boundary, spot: Spot, relative: str, limit: int) -> list[Item]:
    """Return what is in the folder at *spot* but for unfinished files."""
    with closing(os.open(spot.name, _READ_FOLDER, dir_fd=spot.parent)) as top:
        items = [
            item
            for item in contents(boundary, top, relative, limit)
            if not any(map(is_temporary, item.path.split("/")))
        ]
    _require_size(relative, sum(item.size for item in items))
    return items


def _copy_folder(
    boundary: Boundary, old: Spot, new: Spot, relative: str, items: list[Item]
) -> None:
    # Nobody else comes in before it is complete.
    os.mkdir(new.name, 0o700, dir_fd=new.parent)
    made: list[Item] = []
    try:
        with (
            closing(os.open(old.name, _READ_FOLDER, dir_fd=old.parent)) as top,
            closing(os.open(new.name, _READ_FOLDER, dir_fd=new.parent)) as new_top,
        ):
            _copy_items(boundary, (top, new_top), relative, items, made)
            access.copy(top, new_top)
    except BaseException:
        _undo(boundary, new, made)
        raise


def _copy_items(
    boundary: Boundary, tops: tuple[int, int], path: str, items: list[Item], made: list[Item]
) -> None:
    """Copy *items* from one folder to the other, and note in *made* what is there."""
    top, new_top = tops
    for folder, group in by_folder(items):
        with (
            closing(boundary.open_below(top, folder, DIRECTORY)) as old_parent,
            closing(boundary.open_below(new_top, folder, DIRECTORY)) as parent,
        ):
            here = path if folder == "." else below(path, folder)
            for item in group:
                old = Spot(old_parent, here, item.name)
                new = Spot(parent, here, item.name)
                if item.kind == "directory":
                    os.mkdir(item.name, 0o700, dir_fd=parent)
                elif item.kind == "symlink":
                    _copy_link(old, new)
                else:
                    _copy_file(boundary, old, new, below(here, item.name), overwrite=False)
                made.append(item)
    # Last, and from below: a folder that may not be written could not be filled.
    for item in reversed(items):
        if item.kind == "directory":
            with (
                closing(boundary.open_below(top, item.path, _READ_FOLDER)) as old_folder,
                closing(boundary.open_below(new_top, item.path, _READ_FOLDER)) as folder_made,
            ):
                access.copy(old_folder, folder_made)


def _undo(boundary: Boundary, spot: Spot, made: list[Item]) -> None:
    """Remove what was *made* in the folder at *spot*, and that."""
    try:
        with closing(os.open(spot.name, _READ_FOLDER, dir_fd=spot.parent)) as top:
            remove_items(boundary, top, made)
        os.rmdir(spot.name, dir_fd=spot.parent)
    except OSError as error:
        log.warning("what was copied of a folder cannot be removed: {}", error.strerror)


def _require_size(relative: str, size: int) -> None:
    if size > limits.MAX_COPY_BYTES:
        raise FileTooLargeError(quote(relative), size, limits.MAX_COPY_BYTES)
