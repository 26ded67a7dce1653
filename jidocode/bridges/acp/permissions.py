"""What the model's tools may do without asking, and what a person is asked in the editor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from glob import escape
from typing import Any

from acp import schema

from jidocode.session.tools.policy import (
    Allow,
    Decision,
    Deny,
    ToolRequest,
    allow_all,
    is_plain_edit,
    read_only,
)
from jidocode.session.tools.tool import ToolKind

MODE, MODEL = "mode", "model"
"""The ids of the config options."""
REMEMBERED = "permission_preset"
"""The key in the settings of a State under which a session's preset stands."""
_ONCE, _ALWAYS, _REJECT = "allow_once", "allow_always", "reject_once"


class Preset(StrEnum):
    """What may be done without asking: the modes of a session, as editors show them."""

    READ_ONLY = "read-only"
    ASK = "ask"
    ACCEPT_EDITS = "accept-edits"
    ALLOW_ALL = "allow-all"

    @property
    def label(self) -> str:
        """What a person chooses it by."""
        return _TITLES[self][0]

    @property
    def about(self) -> str:
        """What it means."""
        return _TITLES[self][1]

    def decide(self, request: ToolRequest) -> Decision | None:
        """Return what becomes of a call that edits or executes; None if a person is asked."""
        match self:
            case Preset.READ_ONLY:
                return read_only(request)
            case Preset.ASK:
                return allow_all(request) if request.remembered else None
            case Preset.ACCEPT_EDITS:
                is_allowed = request.remembered or is_plain_edit(request)
                return allow_all(request) if is_allowed else None
            case Preset.ALLOW_ALL:
                return allow_all(request)


_TITLES = {
    Preset.READ_ONLY: ("Read only", "Files are read and searched; nothing is changed or run."),
    Preset.ASK: ("Ask", "You are asked before each edit and each command."),
    Preset.ACCEPT_EDITS: ("Accept edits", "Files are edited; you are asked before each command."),
    Preset.ALLOW_ALL: ("Allow all", "Files are edited and commands run without asking."),
}


def preset_in(settings: Mapping[str, Any]) -> Preset:
    """Return the preset that stands in the *settings* of a State; to ask, if there is none."""
    try:
        return Preset(settings.get(REMEMBERED, Preset.ASK))
    except ValueError:
        return Preset.ASK


def choices(request: ToolRequest) -> list[schema.PermissionOption]:
    """Return what a person who is asked about a call can answer."""
    options = [
        schema.PermissionOption(option_id=_ONCE, name="Allow", kind="allow_once"),
        schema.PermissionOption(option_id=_REJECT, name="Reject", kind="reject_once"),
    ]
    if _can_be_remembered(request):
        always = schema.PermissionOption(
            option_id=_ALWAYS, name=_about(request), kind="allow_always"
        )
        options.insert(1, always)
    return options


def decision(
    request: ToolRequest, outcome: schema.AllowedOutcome | schema.DeniedOutcome
) -> Decision:
    """Return what an answer means; one that was not offered is none."""
    if isinstance(outcome, schema.DeniedOutcome):
        return Deny("the question was cancelled")
    if outcome.option_id == _ONCE:
        return Allow()
    if outcome.option_id == _ALWAYS and _can_be_remembered(request):
        return Allow(always=request.subject)
    return Deny("the user has rejected it")


def _can_be_remembered(request: ToolRequest) -> bool:
    """Whether "always" can be about this call, and those of the tool that are about the same.

    Not if what it is about would be taken for a pattern: `rm *.pyc` is one that
    `rm -rf src x.pyc` matches, too.
    """
    return bool(request.subject) and escape(request.subject) == request.subject


def _about(request: ToolRequest) -> str:
    if request.kind is ToolKind.EDIT:
        return f"Always allow {request.tool} of this file"
    return f"Always allow this {'command' if request.tool == 'run_command' else request.tool}"


def modes(preset: Preset) -> schema.SessionModeState:
    """Return the presets as the protocol's modes."""
    available = [
        schema.SessionMode(id=str(each), name=each.label, description=each.about) for each in Preset
    ]
    return schema.SessionModeState(current_mode_id=str(preset), available_modes=available)


def config_options(
    preset: Preset, model: str | None, models: Iterable[str]
) -> list[schema.SessionConfigOptionSelect | schema.SessionConfigOptionBoolean]:
    """Return what a person can choose: the preset, and one of the *models* if any is known."""
    presets = [
        schema.SessionConfigSelectOption(value=str(each), name=each.label, description=each.about)
        for each in Preset
    ]
    options: list[schema.SessionConfigOptionSelect | schema.SessionConfigOptionBoolean]
    options = [
        schema.SessionConfigOptionSelect(
            id=MODE,
            name="Permissions",
            category="mode",
            type="select",
            current_value=str(preset),
            options=presets,
        )
    ]
    known = [schema.SessionConfigSelectOption(value=each, name=each) for each in models]
    if known and model is not None:
        options.append(
            schema.SessionConfigOptionSelect(
                id=MODEL,
                name="Model",
                category="model",
                type="select",
                current_value=model,
                options=known,
            )
        )
    return options
