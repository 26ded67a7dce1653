"""What `jidocode chat` shows of foreign text, and how it cuts what streams; without a process."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import cast

import pytest

pytest.importorskip("rich")

from hypothesis import given, strategies as st
from rich.console import Console

from jidocode import Allow, CalledTool, Deny, TextDelta, ToolKind, ToolRequest
from jidocode.cli.chat import markdown as flows
from jidocode.cli.chat.asking import Proposal, Question
from jidocode.cli.chat.calls import coloured, heading, outcome, planned
from jidocode.cli.chat.markdown import Flow
from jidocode.cli.chat.safe import Safe, markdown, plain
from jidocode.cli.chat.screen import Screen
from jidocode.session.conversation.changes import ToolResult
from jidocode.session.manager.client import ManagerClient

HOSTILE = (
    "\x1b]0;title\x07 \x1b[2J \x9b31m \x00 \x7f \u202e a\rb \x0c",
    "&#27;[2J &#x1b;]8;;http://x\x07 &#12; &#x9b;31m &#x202e;",
    "[click](http://good.example\x1b]8;;) ![x](http://a/\x1b[0m) <http://a/&#27;> [a]: http://b/\x1b",
    "```\x1b[31m\n\x1b]52;c;aGk=\x07\n```\n\n# \x1b[1m\n\n|a|\x1b|\n|-|-|\n|\x07|&#12;|\n",
    '[l](http://x "\x1b]2;t\x07")\n\n> \x1b[0m\n\n1. \x08\x08\n\n`\x1b`\n\n    \x1b[2J',
)


def drawn(*shown: object, width: int = 60) -> str:
    """Return what a terminal gets that shows no styles: so any control character is foreign."""
    console = Console(file=io.StringIO(), width=width, height=20, color_system=None)
    for each in shown:
        console.print(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def is_harmless(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_sequence_reaches_the_terminal(text: str) -> None:
    """Neither as it stands, nor as what Markdown makes of it: numbers, links, titles."""
    call = CalledTool("1", text, json.dumps({"path": text, "todos": [{"content": text}]}))
    for name in (text, "edit_file", "todo_write", "run_command", "read_file"):
        known = CalledTool("1", name, call.arguments)
        for is_error in (True, False):
            result = ToolResult(
                seq=1, call_id="1", content=text, is_error=is_error, created_at=datetime.now(UTC)
            )
            assert is_harmless(drawn(Safe(outcome(known, result))))
    assert is_harmless(drawn(Safe(markdown(text)), Safe(plain(text)), Safe(coloured(text))))
    assert is_harmless(drawn(Safe(heading(text, text))))
    assert is_harmless(drawn(Safe(markdown(text), last=3), width=4))


@pytest.mark.parametrize("todos", [["a"], "ab", 5, [{"status": []}], None])
def test_todos_that_are_none_are_shown_as_what_came_of_them(todos: object) -> None:
    """An app may have a tool of its own under that name."""
    call = CalledTool("1", "todo_write", json.dumps({"todos": todos}))
    result = ToolResult(
        seq=1, call_id="1", content="done", is_error=False, created_at=datetime.now(UTC)
    )
    assert outcome(call, result).plain.strip() == "done"


@pytest.mark.parametrize("tool", ["write_file", "edit_file"])
@pytest.mark.parametrize("arguments", [{"where": "x"}, {"content": 5, "edits": ["x"]}])
def test_what_a_tool_of_an_app_would_do_is_its_arguments(
    tool: str, arguments: dict[str, object]
) -> None:
    """Whatever it is called: that it cannot be shown as a change is no reason to deny it."""
    asked = ToolRequest(
        session_id="s", tool=tool, kind=ToolKind.EDIT, subject="x", arguments=arguments
    )
    assert json.loads(planned(asked, cast("ManagerClient", NoFiles()))) == arguments


class NoFiles:
    """A Manager of a project that has none."""

    def read_file(self, path: str, *, limit: int) -> str:
        raise FileNotFoundError(f"{path} {limit}")


@given(st.text(st.sampled_from("ab\n\r\t\x1b\x9b#>*-_`|[]()!<&;~=1. 0\x0c\u202e"), max_size=80))
def test_whatever_is_said_can_be_drawn(text: str) -> None:
    """On a terminal of any width."""
    for width in (1, 7, 60):
        assert is_harmless(drawn(Safe(markdown(text)), width=width))


def test_a_link_says_where_it_leads() -> None:
    """And is none that the terminal would follow."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    console.print(Safe(markdown("[docs](https://example.org/x)")))
    assert isinstance(console.file, io.StringIO)
    assert "https://example.org/x" in console.file.getvalue()
    assert "\x1b]8" not in console.file.getvalue()
    assert "<b>" in drawn(Safe(markdown("a <b>word</b>\n\n<details>more</details>")))


ANSWER = """\
# What I did

The cart is *empty*, so `total` was None.

- one

  more of it
- two

| a | b |
|---|---|
| 1 | 2 |

```python
def total(prices):

    return sum(prices)
```

Done.
"""


def test_blocks_are_cut_off_when_they_are_whole() -> None:
    """Each once, in its order, and none that is still being written."""
    flow, taken = Flow(), list[str]()
    for character in ANSWER:
        flow.add(character)
        if whole := flow.take():
            taken.append(whole)
    taken.append(flow.finish())

    assert "".join(taken) == ANSWER
    assert [each.split("\n")[0] for each in taken] == [
        *("# What I did", "The cart is *empty*, so `total` was None.", "- one"),
        *("| a | b |", "```python", "Done."),
    ]


@pytest.mark.parametrize("text", ["word " * 5000, "x" * 20_000, "- a\n" * 6000])
def test_what_is_never_whole_is_cut_off_all_the_same(text: str) -> None:
    """So that what is drawn again and again is short."""
    flow, taken = Flow(), ""
    for start in range(0, len(text), 1000):
        flow.add(text[start : start + 1000])
        taken += flow.take()
        assert len(flow.rest) <= flows.MAX_OPEN + 1000
    assert taken + flow.finish() == text


def test_long_code_stays_code() -> None:
    """Each part of it has its own fence."""
    lines = [f"line_{number} = {number}" for number in range(500)]
    flow, taken = Flow(), list[str]()
    for each in ("```python", *lines, "```", "", "after", ""):
        flow.add(f"{each}\n")
        if whole := flow.take():
            taken.append(whole)
    taken.append(flow.finish())

    assert len(taken) > 3
    assert all(part.startswith("```python\n") for part in taken[:-1])
    shown = drawn(*(Safe(markdown(part)) for part in taken))
    assert [each.strip() for each in shown.splitlines() if "line_" in each] == lines
    assert "after" in shown


def test_a_long_answer_is_whole_in_the_scrollback() -> None:
    """Every line once, whatever was drawn below meanwhile; the drawing is never too high."""
    console = Console(
        file=io.StringIO(), force_terminal=True, width=60, height=12, color_system=None
    )
    screen = Screen(console)
    screen.start()
    for number in range(100):
        screen.take(TextDelta(f"paragraph {number} has some words\n\n"))
        screen._draw_at = 0.0
        screen.refresh()
        assert screen._live is not None
        assert screen._live._live_render.last_render_height <= 10
    screen.end(None)
    assert isinstance(console.file, io.StringIO)
    seen = emulated(console.file.getvalue())

    assert [each for each in seen if each.strip()] == [
        f"paragraph {number} has some words" for number in range(100)
    ]


def emulated(text: str) -> list[str]:
    """Return the lines that a terminal of endless height would show in the end."""
    lines, row = [""], 0
    for part in text.replace("\x1b[?25l", "").replace("\x1b[?25h", "").split("\x1b["):
        rest = part
        if part.startswith("2K"):
            lines[row], rest = "", part[2:]
        elif part.startswith("1A"):
            row, rest = row - 1, part[2:]
        for number, piece in enumerate(rest.split("\n")):
            if number:
                row += 1
                lines.extend([""] * (row + 1 - len(lines)))
            lines[row] = piece.rpartition("\r")[2] if "\r" in piece else lines[row] + piece
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("y\n", Allow()),
        ("a\n", Allow(always="make test")),
        ("n\n", Deny("the user has rejected it")),
        ("\n", Deny("the user has rejected it")),
        ("", Deny("the user has rejected it")),
        ("yes please\n", Deny("the user says: yes please")),
    ],
)
def test_only_a_plain_yes_allows(typed: str, decision: Allow | Deny) -> None:
    """Whatever else is said is told to the model."""
    question = Question(request("make test"))
    question.take(typed)

    assert question.wait() == decision


def test_a_command_that_is_a_pattern_is_not_allowed_for_good() -> None:
    """`rm *.pyc` would be `rm -rf / x.pyc`, too."""
    question = Question(request("rm *.pyc"))
    assert "always" not in question.text
    question.take("a")
    assert question.wait() == Deny("the user has rejected it")


def test_what_was_proposed_is_shown_once() -> None:
    """Under its own line the result of that call, and of no other one."""
    console = Console(file=io.StringIO(), width=60, height=20, color_system=None)
    screen = Screen(console)
    for number in range(2):
        screen.take(CalledTool(f"c{number}", "run_command", '{"command": "ls"}'))
    screen.propose(Proposal(request("ls", "c1"), ""))
    for number in range(2):
        screen.take(
            ToolResult(
                seq=1,
                call_id=f"c{number}",
                content=f"result {number}",
                is_error=False,
                created_at=datetime.now(UTC),
            )
        )

    assert isinstance(console.file, io.StringIO)
    seen = [each.strip() for each in console.file.getvalue().splitlines() if each.strip()]
    assert seen == ["● run_command ls", "● run_command ls", "result 0", "result 1"]


def request(command: str, call_id: str = "") -> ToolRequest:
    return ToolRequest(
        session_id="s",
        tool="run_command",
        kind=ToolKind.EXECUTE,
        subject=command,
        arguments={"command": command},
        call_id=call_id,
    )
