"""What a Manager may be asked, next to `SESSION_OPERATIONS`: all of it is about its project."""

from __future__ import annotations

from jidocode.session.confinement.report import ConfinementReport
from jidocode.session.project import search
from jidocode.session.project.copying import copy
from jidocode.session.project.entries import Ground
from jidocode.session.project.files import Project
from jidocode.session.project.folders import mkdir, move, remove, stat
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.requests import Operations


def project_root(holder: Project) -> str:
    """Return the absolute path of the project; where it is now, if it was moved."""
    return holder.root


def confinement(holder: Project) -> ConfinementReport:
    """Return what holds the Manager on this machine, right by right, as found by trying there.

    All that it could do though it should not is in `missing`, with `Settings.sandbox="off"` too.
    """
    from jidocode.session.confinement.here import try_here  # noqa: PLC0415 - hardly an app asks

    del holder
    return try_here()


OPERATIONS: Operations[Project] = Operations(
    project_root,
    confinement,
    Project.validate_path,
    Project.true_path,
    Project.is_protected,
    Project.read_file,
    Project.read_text,
    Project.read_bytes,
    Project.write_file,
    Project.write_bytes,
    append_file,
    edit_file,
    Project.list_directory,
    stat,
    mkdir,
    remove,
    move,
    copy,
)

SEARCHES: Operations[Ground] = Operations(search.glob, search.grep, search.tree)
"""What takes long enough to be done beside everything else."""
