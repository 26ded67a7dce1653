"""The second tier, for kernels before 5.6: one component at a time, without following.

Each component is opened in the descriptor of the one before it, with O_NOFOLLOW; so
nothing that is swapped in between can lead anywhere. What turns out to be a symlink is
read, and its components are walked in its place, under the same rules.

It means the same by a path as `openat2`, and costs a system call or two per component.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque

from jidocode.session.project.descriptors import DIRECTORY, close_on_error, link_target
from jidocode.session.project.paths import MAX_LINKS, components, os_error


def open_beneath(root: int, relative: str, flags: int, mode: int) -> int:
    """Open *relative* beneath the directory *root*; return the descriptor.

    Raises:
        OSError: EXDEV or ELOOP if it leads out, or as `open`.
    """
    todo = deque(components(relative))
    trail: list[int] = []  # the directories between the root and where we stand
    links = 0
    try:
        while todo:
            name = todo.popleft()
            if name == "..":
                # Back along the trail. To open ".." would ask the disk, where it is the
                # parent of wherever the directory has been moved to meanwhile: outside.
                _step_back(trail)
                continue
            wanted = DIRECTORY if todo else flags
            step = _step(trail[-1] if trail else root, name, wanted, mode)
            if isinstance(step, str):
                # The link's own components, before what is left of the path: what
                # follows may begin with "..", which counts from where the link leads.
                links += 1
                if links > MAX_LINKS:
                    raise os_error(errno.ELOOP)
                if not todo and step.endswith("/"):
                    todo.append(".")  # a file cannot be opened as a directory by it
                todo.extendleft(reversed(components(step)))
            elif todo:
                trail.append(step)
            else:
                return step
        # It ended on "." or "..": a directory we stand on, opened again with the flags.
        return os.open(".", flags, mode, dir_fd=trail[-1] if trail else root)
    finally:
        for fd in trail:
            os.close(fd)


def _step_back(trail: list[int]) -> None:
    if not trail:
        raise os_error(errno.EXDEV)
    os.close(trail.pop())


def _step(here: int, name: str, flags: int, mode: int) -> int | str:
    """Open *name* in *here*; return where it leads instead if it is a symlink.

    The opening itself says which of the two it is: to look first would leave a moment
    in which the one can be swapped for the other. That it is a symlink shows in three
    ways, by flags: ELOOP; ENOTDIR with O_DIRECTORY; and O_PATH opens the symlink itself.
    """
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=here)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        target = link_target(here, name)
        if target is None:
            raise
        return target
    with close_on_error(fd):
        target = link_target(fd, "") if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    if target is None:
        return fd
    os.close(fd)
    return target
