"""What the model's tools may do without asking, and what a person is asked in the editor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from glob import escape
from typing import Any

from acp import schema

from jidocode.session.tools.policy import Allow, Decision, Deny, ToolRequest
from jidocode.session.tools.tool import ToolKind

MODE, MODEL = "mode", "model"
"""The ids of the config options."""
REMEMBERED = "permission_preset"
"""The key in the settings of a State under which a session's preset stands."""
_ONCE, _ALWAYS, _REJECT = "allow_once", "allow_always", "reject_once"
_ALL = "*"


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
                return Deny("this session is read-only")
            case Preset.ASK:
                return None
            case Preset.ACCEPT_EDITS:
                is_edit = request.kind is ToolKind.EDIT and not request.protected
                return Allow() if is_edit else None
            case Preset.ALLOW_ALL:
                return Allow()


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
    always = [
        schema.PermissionOption(option_id=_ALWAYS, name=_about(request), kind="allow_always")
        for _ in _patterns(request)
    ]
    return [
        schema.PermissionOption(option_id=_ONCE, name="Allow", kind="allow_once"),
        *always,
        schema.PermissionOption(option_id=_REJECT, name="Reject", kind="reject_once"),
    ]


def decision(
    request: ToolRequest, outcome: schema.AllowedOutcome | schema.DeniedOutcome
) -> Decision:
    """Return what an answer means; one that was not offered is none."""
    match outcome:
        case schema.AllowedOutcome(option_id="allow_once"):
            return Allow()
        case schema.AllowedOutcome(option_id="allow_always") if _patterns(request):
            return Allow(always=_patterns(request)[0])
        case schema.DeniedOutcome():
            return Deny("the question was cancelled")
        case _:
            return Deny("the user has rejected it")


def _patterns(request: ToolRequest) -> list[str]:
    """Return what "always" is about: this command, this protected file; else all of the tool.

    Nothing, if what it is about would be taken for a pattern: `rm *.pyc` is one that
    `rm -rf src x.pyc` matches, too.
    """
    if not _is_about_one(request):
        return [_ALL]
    return [request.subject] if escape(request.subject) == request.subject else []


def _is_about_one(request: ToolRequest) -> bool:
    return request.protected or request.tool == "run_command"


def _about(request: ToolRequest) -> str:
    if not _is_about_one(request):
        return f"Always allow {request.tool}"
    thing = "command" if request.kind is ToolKind.EXECUTE else "file"
    return f"Always allow this {thing}"


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
