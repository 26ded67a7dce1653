"""A session's Manager, as its app and its siblings see it: one client waits, one is awaited."""

from __future__ import annotations

from jidocode.session.manager import operations
from jidocode.session.manager.snapshot_client import SnapshotMethods
from jidocode.session.project import search
from jidocode.session.project.copying import copy
from jidocode.session.project.files import Project
from jidocode.session.project.folders import mkdir, move, remove, stat
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.requests import AsyncClient, Client, get_session, remote


class ManagerMethods(SnapshotMethods):
    """What both clients of a Manager ask."""

    session = remote(get_session)
    project_root = remote(operations.project_root)
    confinement = remote(operations.confinement)
    validate_path = remote(Project.validate_path)
    true_path = remote(Project.true_path)
    is_protected = remote(Project.is_protected)
    read_file = remote(Project.read_file)
    read_text = remote(Project.read_text)
    read_bytes = remote(Project.read_bytes)
    write_file = remote(Project.write_file)
    write_bytes = remote(Project.write_bytes)
    append_file = remote(append_file)
    edit_file = remote(edit_file)
    list_directory = remote(Project.list_directory)
    stat = remote(stat)
    mkdir = remote(mkdir)
    remove = remote(remove)
    move = remote(move)
    copy = remote(copy)
    glob = remote(search.glob)
    grep = remote(search.grep)
    tree = remote(search.tree)


class ManagerClient(ManagerMethods, Client):
    """A Manager, as others see it. Each method asks the process and waits.

    What the project refuses is raised here: `BoundaryError`, OSError with the
    path inside the project, `InvalidRequestError`, and `ProjectGoneError` if its folder was
    deleted; besides that whatever the way to the process raises (`CallError`).
    """


class AsyncManagerClient(ManagerMethods, AsyncClient):
    """A Manager, as coroutines see it: the methods of `ManagerClient`, to be awaited."""
