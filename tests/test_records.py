"""What the package exports as data: attrs classes of one kind, whose text gives nothing away."""

from __future__ import annotations

import enum
import inspect
import os
import pickle
import typing
from collections.abc import Hashable
from types import ModuleType
from typing import Any

import attrs
import pytest
from attrs import fields
from attrs.exceptions import FrozenInstanceError

import jidocode
import jidocode.otp
import jidocode.testing
from jidocode.base.records import Record

MODULES: list[ModuleType] = [jidocode, jidocode.otp, jidocode.testing]
EXPORTED: dict[str, object] = {
    name: getattr(module, name) for module in MODULES for name in vars(module)["__all__"]
}

BEHAVIOUR = {
    "Application",
    "AsyncApplication",
    "AsyncCallHandle",
    "AsyncCallStream",
    "AsyncChangeStream",
    "AsyncChannel",
    "AgentClient",
    "AsyncAgentClient",
    "AsyncCommandHandle",
    "AsyncCommandOutput",
    "AsyncTurnHandle",
    "TurnHandle",
    "AsyncCommandsClient",
    "AsyncEventStream",
    "AsyncExport",
    "AsyncGenServer",
    "AsyncManagerClient",
    "AsyncMcpServersClient",
    "AsyncMonitor",
    "AsyncSessionHandle",
    "AsyncSessionSystem",
    "AsyncStateClient",
    "Block",  # the base of the data that is in messages
    "AsyncToolbox",
    "ApplicationOverrides",  # the names and types of arguments
    "ChildSpecOptions",  # idem
    "CallHandle",
    "CallStream",
    "ChangeStream",
    "Channel",
    "CommandHandle",
    "CommandOutput",
    "CommandOptions",  # the names and types of arguments
    "CommandsClient",
    "DynamicSupervisor",
    "EventStream",
    "FakeCall",
    "FakeChild",
    "FakeClock",
    "GenServer",
    "ManagerClient",
    "McpServersClient",
    "Model",
    "Monitor",
    "Registry",
    "OwnSession",
    "SessionChild",
    "SessionChildren",
    "SessionHandle",
    "SessionSystem",
    "SettingsOverrides",  # the names and types of arguments
    "Startable",
    "StateClient",
    "Supervisor",
    "TaskSupervisor",
    "ToolContext",
    "Toolbox",
}
"""Exported classes that do something, and are no data."""

_ID = "made by the package, or the app's name for a thing that it refers to"
SHOWN = {
    "ActorRef.kind": "a word that the class of a process has",
    "ActorRef.node": "the name of a machine",
    "Approval.id": _ID,
    "ApprovalAnswer.approval_id": _ID,
    "ApplicationSettings.preload": "names of the app's modules",
    "Announced.value": "the app's own, for whoever listens in the app",
    "ChildExited.child_id": _ID,
    "ChildExited.name": _ID,
    "ChildHealth.id": _ID,
    "ChildInfo.id": _ID,
    "ChildSpec.id": _ID,
    "ChildSpec.name": _ID,
    "ChildRunning.child_id": _ID,
    "ChildRunning.name": _ID,
    "ChildStartFailed.child_id": _ID,
    "ChildStartFailed.name": _ID,
    "ChildStarted.child_id": _ID,
    "CommandInfo.id": _ID,
    "CommandResult.id": _ID,
    "ChildStarted.name": _ID,
    "ChildStarting.child_id": _ID,
    "ChildStarting.name": _ID,
    "Completion.model": "the public name of a model",
    "Completion.stop_reason": "a word of a model's server",
    "ModelAnswered.model": "the public name of a model",
    "ModelAnswered.stop_reason": "a word of a model's server",
    "ConfinementReport.namespaces": "a few words of ours",
    "Crashed.error": "why a process ended, as its own exception says it: nothing else would help",
    "Denial.outcome": "what the system says of an error number, or words of ours",
    "Denial.what": "words of ours",
    "Event.session_id": _ID,
    "FailedChild.id": _ID,
    "FileAccess.sha256": "a digest",
    "FileBlock.media_type": "a word of a standard",
    "FileBytes.sha256": "a digest",
    "EditedFile.sha256": "a digest",
    "FileSlice.sha256": "a digest",
    "FileState.sha256": "a digest",
    "ModelSpec.name": "the name of a class of the app's",
    "NotReverted.reason": "one of our own sentences, or what the kernel says of an errno",
    "FileSlice.encoding": "the name of an encoding, which Python knows",
    "GaveUp.child_id": _ID,
    "Health.session_id": _ID,
    "HeartbeatMissed.child_id": _ID,
    "HeartbeatMissed.name": _ID,
    "ImageBlock.media_type": "a word of a standard",
    "JournalOpened.repair": "counts, and names that the package has given",
    "McpServer.name": "a word that the app has for a server",
    "McpServerTools.server": "idem",
    "McpServerTools.tools": "words that a server has for its tools, made fit to be shown",
    "Message.id": _ID,
    "Partitions.kind": "a word that the app has for processes",
    "PromptAdded.id": _ID,
    "ReasoningStep.id": _ID,
    "Repair.kept_aside": "names that the package has given",
    "Repair.pending": "an error of the package's own",
    "Resumable.session_id": _ID,
    "Session.id": _ID,
    "Session.language": "a word for a language, which the package knows",
    "SessionConfig.model": "the public name of a model",
    "SessionConfig.provider": "the public name of a provider",
    "Settings.preload": "names of the app's modules",
    "Shutdown.detail": "why a process ended, as its own class says it",
    "StreamBegan.id": _ID,
    "StreamBlock.stream_id": _ID,
    "StreamChunk.stream_id": _ID,
    "Summary.id": _ID,
    "TextFile.encoding": "the name of an encoding, which Python knows",
    "TextFile.sha256": "a digest",
    "Tool.name": "a word that the app has for a tool",
    "ToolCall.id": _ID,
    "ToolCall.message_id": _ID,
    "ToolDescription.name": "a word that the app has for a tool",
    "ToolCall.name": "a word that the app has for a tool",
    "ToolRequest.session_id": _ID,
    "ToolRequest.tool": "a word that the app has for a tool",
    "ToolResult.call_id": _ID,
    "ToolResult.message_id": _ID,
    "ToolResultBlock.call_id": _ID,
    "ToolResultBlock.message_id": _ID,
    "ToolUseBlock.id": _ID,
    "ToolUseBlock.name": "a word that the app has for a tool",
    "UsageCounted.counted_id": _ID,
    "WrittenFile.sha256": "a digest",
    "TreeNode.id": _ID,
    "Upkeep.system": _ID,
    "Via.registry": _ID,
}
"""Fields whose text may be shown, and why."""


def is_data(value: object) -> bool:
    return (
        inspect.isclass(value)
        and not issubclass(value, (BaseException, enum.Enum))
        and value.__name__ not in BEHAVIOUR
    )


DATA = [pytest.param(value, id=name) for name, value in sorted(EXPORTED.items()) if is_data(value)]


def blank_of(cls: type[Any]) -> object:
    """Return an instance not made by `__init__`, which would refuse what a test puts in."""
    return object.__new__(cls)


@pytest.mark.parametrize("cls", DATA)
def test_data_is_an_attrs_class_frozen_slotted_and_on_the_one_base(cls: type[Any]) -> None:
    """So that equality, hash and text are written once, and nobody changes what another holds."""
    assert attrs.has(cls)
    assert issubclass(cls, Record)
    assert (cls.__eq__, cls.__hash__) == (Record.__eq__, Record.__hash__)
    assert cls.__repr__ is Record.__repr__ or cls is jidocode.otp.Start  # it shows its class only
    blank: Any = blank_of(cls)
    with pytest.raises(FrozenInstanceError):
        blank.anything = 1
    assert not hasattr(blank, "__dict__")


def can_hold_text(hint: Any) -> bool:
    """Whether a value of the type *hint* can be or hold a text that somebody wrote."""
    if hint in (str, bytes, object, Any, Hashable, os.PathLike):
        return True
    origin = typing.get_origin(hint)
    if origin in (None, typing.Literal):
        return False
    return can_hold_text(origin) or any(map(can_hold_text, typing.get_args(hint)))


def fields_with_text(cls: type[Any]) -> list[str]:
    hints = typing.get_type_hints(cls, localns={"os": os} | EXPORTED)
    return [each.name for each in fields(cls) if can_hold_text(hints[each.name])]


@pytest.mark.parametrize("cls", DATA)
def test_no_text_of_a_user_a_project_or_a_key_shows_in_a_record(cls: type[Any]) -> None:
    """Records end up in logs and in bug reports; what may be shown is listed above."""
    if cls is jidocode.otp.Start:
        assert repr(cls(str, "MARK", key="MARK")) == "Start(str)"
        return
    record = blank_of(cls)
    for each in fields(cls):
        object.__setattr__(record, each.name, None)
    for name in fields_with_text(cls):
        object.__setattr__(record, name, f"MARK-{name}-MARK")
    shown = {name for name in fields_with_text(cls) if f"MARK-{name}-MARK" in repr(record)}

    assert shown == {
        name.partition(".")[2] for name in SHOWN if name.startswith(f"{cls.__name__}.")
    }


def test_the_lists_of_this_file_name_what_there_is() -> None:
    """So that they do not grow stale."""
    classes = {name for name, value in EXPORTED.items() if inspect.isclass(value)}

    assert BEHAVIOUR - classes == set()
    assert {name.partition(".")[0] for name in SHOWN} - classes == set()


def test_a_record_survives_pickling_and_copying() -> None:
    """They cross processes."""
    settings = jidocode.Settings(max_sessions=3, preload=["os"])
    node = jidocode.TreeNode(id="a", ref=None, status=jidocode.otp.ChildStatus.STOPPED)

    for record in (settings, node, jidocode.Event(jidocode.otp.Announced("fact"), None)):
        assert pickle.loads(pickle.dumps(record)) == record
        assert attrs.evolve(record) == record
    assert settings.preload == ("os",)


def test_the_same_value_is_equal_whatever_it_says_of_itself() -> None:
    """As in tuples: a record is equal to itself."""
    event = jidocode.otp.Reply(float("nan"))

    assert event == event  # noqa: PLR0124 - on purpose
    assert event == jidocode.otp.Reply(event.value)
