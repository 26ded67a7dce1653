"""Tools as data: what a model may say, what it is told, and what a pattern allows."""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

import pytest
from attrs import field, frozen, make_class
from hypothesis import given, strategies as st
from msgspec import Meta

from jidocode import (
    ActorExitedError,
    InvalidRequestError,
    InvalidToolError,
    Tool,
    ToolCall,
    ToolKind,
    ToolResult,
    allow_all,
)
from jidocode.base.exits import Killed
from jidocode.base.stepwise import carry_out
from jidocode.session.conversation.changes import now
from jidocode.session.tools.arguments import take_arguments
from jidocode.session.tools.builtin import TOOLS
from jidocode.session.tools.calls import ToolCalls
from jidocode.session.tools.policy import matches
from jidocode.session.tools.steps import Step as CallStep, Use
from jidocode.session.tools.tool import check_tools


@frozen
class Step:
    """A part of the arguments."""

    old: str
    new: str = ""


def must_be_even(_instance: object, _field: object, value: int) -> None:
    if value % 2:
        raise ValueError("even must be even")


@frozen
class Everything:
    """What its readers are told, and no model."""

    path: Annotated[str, Meta(description="Where.", max_length=9)]
    count: Annotated[int, Meta(ge=1)] = 3
    steps: tuple[Step, ...] = ()
    kind: ToolKind = ToolKind.READ
    even: int = field(default=0, validator=must_be_even)


def say(_session: object, arguments: object) -> str:
    return str(arguments)


def tool(**changes: Any) -> Tool:
    given: dict[str, Any] = {
        "name": "try",
        "description": "Try.",
        "kind": ToolKind.EXECUTE,
        "arguments": Everything,
        "run": say,
    }
    return Tool(**{**given, **changes})


def test_a_schema_says_what_the_class_says() -> None:
    """And forbids all else; it is JSON."""
    schema = json.loads(json.dumps(tool().schema))

    assert schema["required"] == ["path"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["path"] == {
        "type": "string",
        "description": "Where.",
        "maxLength": 9,
    }
    assert schema["properties"]["steps"]["items"] == {"$ref": "#/$defs/Step"}
    assert schema["$defs"]["Step"]["additionalProperties"] is False
    assert "readers" not in json.dumps(schema)


@frozen
class Tree:
    """Arguments that have the like of them within them."""

    name: str
    parts: tuple[Tree, ...] = ()


def test_a_schema_that_refers_to_itself_has_what_it_refers_to() -> None:
    """Without that a model's server refuses each request."""
    schema = json.loads(json.dumps(tool(arguments=Tree).schema))

    assert schema["required"] == ["name"]
    assert schema["properties"]["parts"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Tree"] == {key: schema[key] for key in schema if key != "$defs"}


def test_a_schema_is_that_of_its_class_though_another_one_has_its_name() -> None:
    """In another module, say."""
    inner = make_class("Step", {"old": field(type=str)}, frozen=True)
    inner.__module__ = "elsewhere"
    outer = make_class("Step", {"step": field(type=inner)}, frozen=True)
    schema = tool(arguments=outer).schema

    assert schema["required"] == ["step"]
    assert schema["additionalProperties"] is False


def test_every_tool_of_a_session_has_a_schema_and_words() -> None:
    """For each of its arguments, too."""
    assert check_tools(TOOLS) == TOOLS
    for each in TOOLS:
        assert each.schema["type"] == "object"
        assert each.description.endswith(".")
        for name, said in each.schema["properties"].items():
            assert "description" in said or "$ref" in said, (each.name, name)


@pytest.mark.parametrize(
    "said", [{"path": "a", "count": 1, "steps": [{"old": "b"}], "kind": "edit"}, '{"path": "a"}']
)
def test_what_fits_becomes_an_instance(said: Any) -> None:
    """From an object or from JSON."""
    taken = take_arguments(Everything, said)

    assert taken.path == "a"
    assert taken == take_arguments(Everything, said)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "missing required field `path`"),
        ({"path": 5}, "path: expected `str`, got `int`"),
        ({"path": "a", "count": 0}, "count: expected `int` >= 1"),
        ({"path": "a", "count": "1"}, "count: expected `int`, got `str`"),
        ({"path": "a", "steps": [{"old": 1}]}, r"steps\[0\].old: expected `str`"),
        ({"path": "a" * 10}, "length <= 9"),
        ({"path": "a", "cuont": 1}, "no argument 'cuont'; did you mean count?"),
        ({"path": "a", "zzz": 1}, "no argument 'zzz'; there are path, count"),
        ({"path": "a", "even": 1}, "even must be even"),
        ({"path": "a", "kind": "nothing"}, "invalid enum value 'nothing'"),
        ("{path: 1}", "no JSON"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "no JSON"),
        (5, "must be a JSON object"),
    ],
)
def test_what_does_not_fit_is_told_in_words(said: Any, words: str) -> None:
    """That a model can act on: which argument, and what it should be."""
    with pytest.raises(InvalidRequestError, match=words):
        take_arguments(Everything, said)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_said_is_an_instance_or_a_sentence(said: Any) -> None:
    """And nothing else."""
    for given_as in (said, json.dumps(said)):
        try:
            assert isinstance(take_arguments(Everything, given_as), Everything)
        except InvalidRequestError as error:
            assert len(error.message) < 20_000  # noqa: PT017 - either is fine


class NoAttrs:
    """No attrs class."""


@frozen
class NoJson:
    """JSON has no such type."""

    what: slice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "two words"}, "the name of a tool is"),
        ({"name": ""}, "the name of a tool is"),
        ({"name": "a" * 65}, "the name of a tool is"),
        ({"name": None}, "the name of a tool is"),
        ({"kind": "edit"}, "must be a ToolKind"),
        ({"arguments": NoAttrs}, "must be an attrs class"),
        ({"arguments": Everything("a")}, "must be an attrs class"),
        ({"arguments": NoJson}, "have no JSON schema"),
    ],
)
def test_what_is_no_tool_is_refused_when_it_is_made(change: Any, words: str) -> None:
    """With what is wrong."""
    with pytest.raises(InvalidToolError, match=words):
        tool(**change)


def test_names_are_unique() -> None:
    """And only tools are tools."""
    with pytest.raises(InvalidToolError, match="there are two tools try"):
        check_tools([tool(), tool()])
    with pytest.raises(InvalidToolError, match="must be a Tool, not 5"):
        check_tools([5])


@pytest.mark.parametrize(
    ("pattern", "kind", "subject", "allowed"),
    [
        ("a", ToolKind.EDIT, "a", True),
        ("a", ToolKind.EDIT, "b", False),
        ("*", ToolKind.EDIT, "/anything", True),
        ("src/*", ToolKind.EDIT, "src/a/b.py", True),
        ("src/*", ToolKind.EDIT, "src/../.git/config", False),
        ("src/*", ToolKind.EDIT, "src/./a", True),
        ("*.py", ToolKind.EDIT, "../other/a.py", False),
        ("*.py", ToolKind.EDIT, "/other/a.py", False),
        ("git *", ToolKind.EXECUTE, "git status", True),
        ("git *", ToolKind.EXECUTE, "git status; rm -r .", False),
        ("git *", ToolKind.EXECUTE, "git log | sh", False),
        ("git *", ToolKind.EXECUTE, "git log\nrm -r .", False),
        ("git *", ToolKind.EXECUTE, "git log $(rm x)", False),
        ("git log | head", ToolKind.EXECUTE, "git log | head", True),
        ("*", ToolKind.EXECUTE, "a; b", True),
    ],
)
def test_a_pattern_allows_what_it_seems_to(
    pattern: str, kind: ToolKind, subject: str, *, allowed: bool
) -> None:
    """And no path or command that only looks like it."""
    assert matches(pattern, kind, subject) is allowed


@given(st.text())
def test_no_pattern_for_one_command_allows_a_second_one(rest: str) -> None:
    """Whatever comes behind the first: a shell that reads it sees the words of one command."""
    command = f"git {rest}"
    if matches("git *", ToolKind.EXECUTE, command) and command != "git *":
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        assert not set(lexer) & {
            ";",
            "|",
            "||",
            "&",
            "&&",
            "(",
            ")",
            ">",
        }


def test_a_call_over_which_the_state_dies_is_not_made() -> None:
    """Its next life has it with a result: that it was interrupted."""
    died = ToolResult(seq=2, call_id="one", content="interrupted", is_error=True, created_at=now())
    call = ToolCall(seq=1, id="one", name="try", arguments={}, created_at=now(), result=died)
    asked: list[CallStep] = []
    answers = iter([ActorExitedError("state", Killed(9)), call])

    def take(step: CallStep) -> object:
        asked.append(step)
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    calls = ToolCalls("s", [tool(kind=ToolKind.READ)], allow_all, patience=1.0)

    assert carry_out(calls.call("try", {"path": "a"}), take) is died
    assert [type(step) for step in asked] == [Use, Use]
