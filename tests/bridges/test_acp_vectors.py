"""What is shown of a record, what is said of a prompt, and who is asked: as data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from acp import schema
from attrs import evolve

from jidocode import (
    CalledTool,
    FileBlock,
    ImageBlock,
    InvalidRequestError,
    Message,
    ReasoningBlock,
    TextBlock,
    Todo,
    ToolKind,
    ToolResultBlock,
    ToolUseBlock,
)
from jidocode.bridges.acp.content import as_content
from jidocode.bridges.acp.permissions import Preset, choices, config_options, decision, preset_in
from jidocode.bridges.acp.turn import REASONS
from jidocode.bridges.acp.updates import Translator, plan, title_of
from jidocode.bridges.acp.wire import read
from jidocode.session.agent.turn import TurnOutcome
from jidocode.session.tools.builtin import TOOLS
from jidocode.session.tools.policy import Allow, Deny, ToolRequest

KINDS = {tool.name: tool.kind for tool in TOOLS}


def translator() -> Translator:
    return Translator("/home/me/shop", KINDS)


def plain(model: Any) -> dict[str, Any]:
    """Return *model* as it is sent."""
    sent: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return sent


@pytest.mark.parametrize(
    ("name", "arguments", "title", "kind", "locations", "diffs"),
    [
        (
            "read_file",
            '{"path": "a.py"}',
            "read_file a.py",
            "read",
            [("/home/me/shop/a.py", None)],
            [],
        ),
        (
            "read_file",
            '{"path": "a", "offset": 7}',
            "read_file a",
            "read",
            [("/home/me/shop/a", 7)],
            [],
        ),
        ("read_file", '{"path": "../x"}', "read_file ../x", "read", [("/home/me/x", None)], []),
        ("grep", '{"pattern": "x"}', "grep x", "search", [], []),
        ("todo_write", '{"todos": []}', "todo_write", "think", [], []),
        ("run_command", '{"command": "ls"}', "`ls`", "execute", [], []),
        ("run_command", '{"command": "a\\nb"}', "`a\\nb`", "execute", [], []),
        ("run_command", '{"command": "echo `x`"}', "run_command echo `x`", "execute", [], []),
        (
            "write_file",
            '{"content": "z", "path": "n"}',
            "write_file n",
            "edit",
            [("/home/me/shop/n", None)],
            [(None, "z")],
        ),
        (
            "edit_file",
            '{"path": "n", "edits": [{"old": "a", "new": "b"}, {"old": "c", "new": ""}, 1, {}]}',
            "edit_file n",
            "edit",
            [("/home/me/shop/n", None)],
            [("a", "b"), ("c", "")],
        ),
        ("nothing", "{", "nothing", "other", [], []),
        ("nothing", '{"path": 1, "x": "y"}', "nothing y", "other", [], []),
        (
            "edit_file",
            '{"path": "n", "edits": 1}',
            "edit_file n",
            "edit",
            [("/home/me/shop/n", None)],
            [],
        ),
    ],
)
def test_a_call_is_shown(  # noqa: PLR0913, PLR0917 - they are columns
    name: str,
    arguments: str,
    title: str,
    kind: str,
    locations: list[tuple[str, int | None]],
    diffs: list[tuple[str | None, str]],
) -> None:
    """Whatever a model says."""
    shown = translator()
    call = shown.called(CalledTool("1", name, arguments))
    started = shown.started(call)
    assert (started.title, started.kind) == (title, kind)
    assert [(each.path, each.line) for each in started.locations or []] == locations
    content: Any = started.content or []
    assert [(each.old_text, each.new_text) for each in content] == diffs
    asked: Any = shown.asked(call, "before").content or []
    if name == "write_file":
        assert asked[0].old_text == "before"
    ended = plain(shown.ended(call, "bad ```", is_error=True))
    assert ended["status"] == "failed"
    assert ended["content"][0]["content"]["text"] == "````\nbad ```\n````"
    assert ("content" in plain(shown.ended(call, "ok", is_error=False))) is not bool(diffs)


def message(role: Any, *blocks: Any, content: str = "") -> Message:
    return Message(
        seq=1,
        id="m",
        role=role,
        content=content,
        metadata={},
        created_at=datetime.now(UTC),
        blocks=blocks,
    )


def test_a_conversation_is_replayed() -> None:
    """In its order; a call of which nothing has come is shown as failed."""
    shown = translator()
    said = [
        message("system", content="be good"),
        message("user", content="hello"),
        message("user", TextBlock("look"), ImageBlock("image/png", "aGk="), ImageBlock(url="u")),
        message("user", FileBlock("a.pdf", "application/pdf", "aGk=")),
        message(
            "assistant",
            ReasoningBlock("hm"),
            ReasoningBlock(signature="s", redacted=True),
            TextBlock("I do"),
            ToolUseBlock("1", "write_file", {"path": "n", "content": "z"}),
            ToolUseBlock("2", "read_file", {"path": "n"}),
        ),
        message("tool", ToolResultBlock("1", "written")),
        message("tool", ToolResultBlock("9", "of a call that nobody knows", is_error=True)),
        message("assistant", content=""),
    ]
    sent = [plain(update) for each in said for update in shown.replayed(each)]
    sent += [plain(update) for update in shown.left_open()]
    assert [each["sessionUpdate"] for each in sent] == [
        *["user_message_chunk"] * 5,
        *["agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call"],
        *["tool_call_update"] * 3,
    ]
    assert [each.get("messageId") for each in sent[:7]] == ["m"] * 7
    kinds = [each["content"]["type"] for each in sent[:5]]
    assert kinds == ["text", "text", "image", "text", "resource"]
    assert [(each["toolCallId"], each["status"]) for each in sent[9:]] == [
        ("1", "completed"),
        ("9", "failed"),
        ("2", "failed"),
    ]
    assert not list(shown.left_open())


def test_what_a_person_says_becomes_blocks() -> None:
    """Text alone stays a text; a file that is named is a link, one that is sent is its text."""
    text = schema.TextContentBlock(type="text", text="look at")
    link = schema.ResourceContentBlock(type="resource_link", name="a.py", uri="file:///a.py")
    inside = schema.EmbeddedResourceContentBlock(
        type="resource", resource=schema.TextResourceContents(uri="file:///b", text="b = 1")
    )
    assert as_content([text, link]) == "look at\n\n[a.py](file:///a.py)"
    assert as_content([inside]) == '<context uri="file:///b">\nb = 1\n</context>'
    assert as_content([]) == ""
    image = schema.ImageContentBlock(type="image", data="aGk=", mime_type="image/png")
    assert list(as_content([text, image])) == [
        TextBlock("look at"),
        ImageBlock("image/png", "aGk="),
    ]
    for media_type, block in (
        ("image/png", ImageBlock("image/png", "aGk=")),
        ("application/pdf", FileBlock("c.pdf", "application/pdf", "aGk=")),
        (None, FileBlock("c.pdf", "application/octet-stream", "aGk=")),
    ):
        blob = schema.BlobResourceContents(uri="file:///c.pdf", blob="aGk=", mime_type=media_type)
        said = schema.EmbeddedResourceContentBlock(type="resource", resource=blob)
        assert list(as_content([said])) == [block]
    sound = schema.AudioContentBlock(type="audio", data="", mime_type="audio/wav")
    with pytest.raises(InvalidRequestError, match="sound"):
        as_content([sound])


def wanted(tool: str, kind: ToolKind, *, protected: bool = False) -> ToolRequest:
    return ToolRequest(
        session_id="s", tool=tool, kind=kind, subject="it", arguments={}, protected=protected
    )


EDIT, RUN = wanted("write_file", ToolKind.EDIT), wanted("run_command", ToolKind.EXECUTE)
HOOK = wanted("write_file", ToolKind.EDIT, protected=True)
DEPLOY = wanted("deploy", ToolKind.EXECUTE)


@pytest.mark.parametrize(
    ("preset", "decisions"),
    [
        (Preset.READ_ONLY, [Deny, Deny, Deny, Deny]),
        (Preset.ASK, [None, None, None, Allow]),
        (Preset.ACCEPT_EDITS, [Allow, None, None, Allow]),
        (Preset.ALLOW_ALL, [Allow, Allow, Allow, Allow]),
    ],
)
def test_a_preset_decides_or_has_a_person_asked(
    preset: Preset, decisions: list[type | None]
) -> None:
    """About an edit, one of what others execute, a command, and one that is allowed for good."""
    decided = [preset.decide(each) for each in (EDIT, HOOK, RUN, evolve(RUN, remembered=True))]
    assert [None if each is None else type(each) for each in decided] == decisions


def test_an_answer_means_what_was_offered() -> None:
    """For good is this command, this file, and what else a call is about: no other."""
    always = schema.AllowedOutcome(outcome="selected", option_id="allow_always")
    patterns = [decision(each, always) for each in (EDIT, HOOK, RUN, DEPLOY)]
    assert patterns == [Allow(always="it")] * 4
    names = [choices(each)[1].name for each in (EDIT, HOOK, RUN, DEPLOY)]
    assert names[:2] == ["Always allow write_file of this file"] * 2
    assert names[2:] == ["Always allow this command", "Always allow this deploy"]
    for subject in ("rm *.pyc", ""):  # as a pattern it would allow more; it is about nothing
        odd = evolve(RUN, subject=subject)
        assert [each.option_id for each in choices(odd)] == ["allow_once", "reject_once"]
        assert isinstance(decision(odd, always), Deny)
    for option, meant in (("allow_once", Allow), ("reject_once", Deny), ("what", Deny)):
        chosen = schema.AllowedOutcome(outcome="selected", option_id=option)
        assert type(decision(RUN, chosen)) is meant
    assert isinstance(decision(RUN, schema.DeniedOutcome(outcome="cancelled")), Deny)
    assert preset_in({"permission_preset": "allow-all"}) is Preset.ALLOW_ALL
    assert preset_in({"permission_preset": ["?"]}) is preset_in({}) is Preset.ASK


def test_options_are_those_that_there_are() -> None:
    """No model to choose if none is known."""
    assert [each.id for each in config_options(Preset.ASK, None, [])] == ["mode"]
    (_, model) = config_options(Preset.ASK, "b", ["a", "b"])
    assert (model.id, model.current_value) == ("model", "b")


def test_plans_titles_and_reasons() -> None:
    """An outcome that is none of the protocol's reasons is an error."""
    assert [each.status for each in plan([Todo("a"), Todo("b", "completed")]).entries] == [
        "pending",
        "completed",
    ]
    assert title_of(" mend \n it\0 ", 50) == "mend it"
    assert title_of("x" * 60, 50) == "x" * 49 + "…"
    assert title_of("\0", 50) == ""
    errors = {"timeout", "interrupted", "context_overflow", "authentication", "bad_request"}
    errors |= {"unavailable", "failed"}
    assert {*TurnOutcome} - {*REASONS} == {TurnOutcome(each) for each in errors}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (b'{"method": []}', -32600),
        (b'{"method": "x", "id": null}', -32600),
        (b'{"method": "x", "id": true}', -32600),
    ],
)
def test_what_is_no_message_is_answered(line: bytes, code: int) -> None:
    """With an error that has no id."""
    found = read(line)
    assert found is not None
    assert (found["id"], found["error"]["code"]) == (None, code)


def test_messages_are_read() -> None:
    """What answers nothing is dropped."""
    assert read(b' {"method": "x"} \r') == {"method": "x"}
    assert read(b'{"id": 1, "result": {}}') == {"id": 1, "result": {}}
    assert read(b'{"id": 1, "error": 7}') == {"id": 1, "error": {}}
    for line in (b"", b" ", b"{}", b'{"id": null, "error": {}}', b'{"id": [1], "result": 1}'):
        assert read(line) is None
