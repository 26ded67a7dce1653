"""What may be asked of a system by who only looks: what is known to change nothing."""

from __future__ import annotations

from collections.abc import Callable

from jidocode.otp.naming import messages as naming
from jidocode.otp.registry import messages as registry
from jidocode.otp.supervision import management
from jidocode.session.admission import messages as admission
from jidocode.session.agent.presence import IsBusy
from jidocode.session.commands import operations as commands
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.manager import operations as manager
from jidocode.session.project import folders, search
from jidocode.session.project.files import Project
from jidocode.session.requests import Request, get_session
from jidocode.session.snapshots import operations as snapshots
from jidocode.session.state import operations as state

_QUESTIONS = (
    *(naming.LookUp, naming.AwaitLive, naming.WhereIs),
    *(naming.Entries, naming.Keys, naming.Count),
    *(registry.LookUp, registry.Keys, registry.Entries, registry.Count, registry.GetMeta),
    *(management.WhichChildren, management.CountChildren, management.GetChildSpec),
    *(admission.GetRecord, admission.GetOpenSession),
    *(admission.ListRecords, admission.FindRecord),
    IsBusy,
)

_READING: tuple[Callable[..., object], ...] = (
    get_session,
    Conversation.messages,
    Conversation.streams,
    Conversation.reasoning,
    Conversation.tool_calls,
    Conversation.tool_context,
    Conversation.todos,
    Conversation.settings,
    Conversation.prompts,
    Conversation.file_access,
    Conversation.file_accesses,
    Conversation.statistics,
    state.repair,
    state.events,
    manager.project_root,
    manager.confinement,
    Project.validate_path,
    Project.true_path,
    Project.is_protected,
    Project.read_file,
    Project.read_text,
    Project.read_bytes,
    Project.list_directory,
    folders.stat,
    search.glob,
    search.grep,
    search.tree,
    snapshots.snapshots,
    snapshots.changes_since,
    snapshots.diff,
    commands.list_commands,
    commands.command_info,
    commands.read_output,
    commands.leave_output,
    commands.await_command,
    commands.confinement,
)
_NAMES = frozenset(operation.__name__ for operation in _READING)


def changes_nothing(request: object) -> bool:
    """Whether *request* is a question, and no order; what is not known is none."""
    if isinstance(request, Request):
        return request.operation in _NAMES
    return isinstance(request, _QUESTIONS)
