"""Names in a project: what is there, new folders, and what is removed or moved.

All of it is done to a name in a directory that is held open: a symlink is looked at,
removed and moved as itself, and what it leads to is not touched. Only regular files,
folders and symlinks are handled.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes

from jidocode.base.text import quote
from jidocode.errors import BoundaryError, InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.project import limits
from jidocode.session.project.boundary import EntryKind, Spot
from jidocode.session.project.descriptors import DIRECTORY, closing
from jidocode.session.project.files import Project
from jidocode.session.project.inventory import contents, remove_items
from jidocode.session.project.paths import errors_about, os_error, path_text
from jidocode.session.project.renaming import rename_new
from jidocode.session.project.results import PathStatus

GIT = ".git"
"""What holds the history of a project, or of one within it."""


def stat(holder: Project, path: str | os.PathLike[str]) -> PathStatus:
    """Return what is at *path* itself; symlinks on the way are followed, one there is not.

    Raises:
        BoundaryError: It leads out of the project.
        OSError: It is not there, or cannot be reached.
    """
    relative = holder.boundary.resolve(path)
    target = None
    if relative == ".":
        status = holder.boundary.stat(relative)
    else:
        with holder.boundary.spot(path) as spot, errors_about(relative):
            status = status_at(spot, path)
            if modes.S_ISLNK(status.st_mode):
                target = os.readlink(spot.name, dir_fd=spot.parent)
    return PathStatus(
        path=relative,
        kind=_kind(status),
        size=status.st_size,
        mode=modes.S_IMODE(status.st_mode),
        modified=status.st_mtime,
        target=target,
    )


def mkdir(holder: Project, path: str | os.PathLike[str]) -> str:
    """Make the folder at *path*, and those above it; return its relative path.

    One that is there already is fine.

    Raises:
        BoundaryError: It leads out of the project, or has a name in it that is kept for
            unfinished files.
        ProtectedPathError: It is protected, and changes are refused.
        OSError: It cannot be made; NotADirectoryError if there is something else.
    """
    relative = holder.boundary.resolve(path)
    with contextlib.suppress(OSError):  # what is wrong with it, its making says
        if modes.S_ISDIR(holder.boundary.stat(relative).st_mode):
            return relative
    with holder.guard.change(relative, follow=True), errors_about(relative):
        holder.boundary.make_parents(f"{relative}/.new")
    return relative


def remove(  # noqa: D417 - clients have themselves in the place of the holder
    holder: Project,
    path: str | os.PathLike[str],
    *,
    recursive: bool = False,
    limit: int = limits.MAX_FOLDER,
) -> int:
    """Remove the file, symlink or folder at *path*; return how many names are gone.

    A folder that is not empty is removed only if *recursive* says so. That is not atomic:
    a crash, or an error on the way, leaves a part of it. All that can be refused is refused
    before the first file is removed.

    Args:
        path: Relative to the project, or absolute inside it.
        recursive: Whether to remove a folder with all that is in it. A `.git` that is in it
            has to be removed first, by its own path.
        limit: Files and folders that it may hold; at most 100,000.

    Raises:
        FolderTooLargeError: It holds more.
        InvalidRequestError: It holds a `.git`, or *limit* is wrong.
        ProtectedPathError: It is protected, or holds something that is, and changes are refused.
        BoundaryError: It leads out of the project, or is the project; it is, or holds,
            something else than files, folders and symlinks.
        OSError: It cannot be removed; ENOTEMPTY if it is a folder that is not empty; EBUSY if
            something is mounted on it, or in it.
    """
    require_limit(limit)
    relative = holder.boundary.resolve(path)
    with holder.boundary.spot(path) as spot, errors_about(relative):
        if not modes.S_ISDIR(_require_kind(status_at(spot, path), relative).st_mode):
            with holder.guard.change(path):
                os.unlink(spot.name, dir_fd=spot.parent)
            return 1
        if recursive:
            return _remove_all(holder, spot, relative, limit)
        with holder.guard.change(path):
            os.rmdir(spot.name, dir_fd=spot.parent)
        return 1


def _remove_all(holder: Project, spot: Spot, relative: str, limit: int) -> int:
    """Remove the folder at *spot* and all that is in it; return how much that was."""
    flags = DIRECTORY | os.O_NOFOLLOW
    with closing(os.open(spot.name, flags, dir_fd=spot.parent)) as top:
        items = contents(holder.boundary, top, relative, limit)
        inner = next((item.path for item in items if item.name == GIT), None)
        if inner is not None and spot.name != GIT:
            raise InvalidRequestError(
                f"{quote(f'{relative}/{inner}')} has to be removed by its own path before"
                f" {quote(relative)} is"
            )
        with holder.guard.change(relative, (item.path for item in items)):
            remove_items(holder.boundary, top, items)
            os.rmdir(spot.name, dir_fd=spot.parent)
    return len(items) + 1


def move(  # noqa: D417 - idem
    holder: Project,
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> str:
    """Move the file, symlink or folder *source* to *destination*; return the new relative path.

    Atomic: whoever looks finds it in one of the two places. Folders that are missing above
    *destination* are made. A symlink is moved as it is, though a relative one may lead
    elsewhere from its new place.

    Args:
        source: Relative to the project, or absolute inside it.
        destination: The new path, not the folder to move it into.
        overwrite: Whether a file that is there may be replaced; a folder never is.

    Raises:
        ProtectedPathError: One of them is protected, and changes are refused. What is in a
            folder that is moved is not looked at.
        BoundaryError: One of them leads out of the project, or is the project; or something
            else than a file, folder or symlink would be moved, or than a file replaced.
        OSError: It cannot be moved; EEXIST if something is there; EXDEV if the two are on
            different file systems; EINVAL if a folder would be moved into itself.
    """
    boundary = holder.boundary
    relative = boundary.resolve(source)
    with boundary.spot(source) as old:
        with errors_about(relative):
            status = _require_kind(status_at(old, source), relative)
        require_apart(relative, boundary.resolve(destination))
        with holder.guard.change(source), holder.guard.change(destination):
            return _move_to(holder, old, status, destination, overwrite=overwrite)


def _move_to(
    holder: Project,
    old: Spot,
    status: os.stat_result,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool,
) -> str:
    boundary = holder.boundary
    new_relative = boundary.make_parents(destination)
    with boundary.spot(destination) as new:
        with errors_about(new_relative):
            require_folder(status, destination)
            there = status_or_none(new)
            if there is not None and overwrite:
                boundary.require_file(there, new_relative)
        try:
            _move(old, new, status, there if overwrite else None)
        except OSError as error:
            # Not as the other errors: EXDEV is no way out here.
            problem = _PROBLEMS.get(error.errno or 0, error.strerror)
            raise OSError(error.errno, problem, new_relative) from error
    return new_relative


_PROBLEMS = {
    errno.EXDEV: "it is on another file system: copy, and remove the old one",
    errno.EINVAL: "nothing can be moved or copied into itself",
}


def _move(old: Spot, new: Spot, status: os.stat_result, there: os.stat_result | None) -> None:
    if there is None:
        rename_new(old.parent, old.name, new.parent, new.name)
        return
    same_file = os.path.samestat(status, there)
    same_name = old.name == new.name and os.path.samestat(
        os.fstat(old.parent), os.fstat(new.parent)
    )
    if same_file and not same_name and status.st_nlink > 1:
        # To rename one hard link over another does nothing, says POSIX; so the old one stays.
        os.unlink(old.name, dir_fd=old.parent)
        return
    os.rename(old.name, new.name, src_dir_fd=old.parent, dst_dir_fd=new.parent)


# ----- rules, for whatever handles names ----------------------------------------


def status_at(spot: Spot, path: str | os.PathLike[str]) -> os.stat_result:
    """Return the status of what is at *spot* itself, where *path* leads.

    Raises:
        OSError: There is nothing; ENOTDIR if *path* ends as a directory's, and it is none.
    """
    status = os.stat(spot.name, dir_fd=spot.parent, follow_symlinks=False)
    require_folder(status, path)
    return status


def status_or_none(spot: Spot) -> os.stat_result | None:
    """Return the status of what is at *spot* itself, None if there is nothing."""
    try:
        return os.stat(spot.name, dir_fd=spot.parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def require_folder(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    """Raise ENOTDIR if *path* ends as a directory's, and what has *status* is none."""
    if path_text(path).rpartition("/")[2] in {"", "."} and not modes.S_ISDIR(status.st_mode):
        raise os_error(errno.ENOTDIR)


def require_apart(source: str, destination: str) -> None:
    """Raise EINVAL if *destination* is below *source*; both are relative to the project."""
    if destination.startswith(f"{source}/"):
        raise OSError(errno.EINVAL, _PROBLEMS[errno.EINVAL], destination)


def require_limit(limit: object) -> None:
    """Raise InvalidRequestError unless *limit* is one for what a folder may hold."""
    require_int("limit", limit, least=0)
    if isinstance(limit, int) and limit > limits.MOST_FOLDER:
        raise InvalidRequestError(f"limit must be {limits.MOST_FOLDER} or less, not {quote(limit)}")


def _require_kind(status: os.stat_result, relative: str) -> os.stat_result:
    if _kind(status) == "other":
        raise BoundaryError(f"{quote(relative)} is no regular file")
    return status


def _kind(status: os.stat_result) -> EntryKind:
    if modes.S_ISLNK(status.st_mode):
        return "symlink"
    if modes.S_ISDIR(status.st_mode):
        return "directory"
    return "file" if modes.S_ISREG(status.st_mode) else "other"
