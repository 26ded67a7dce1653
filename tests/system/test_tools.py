"""Calls of tools in real sessions: allowed or not, done, and written down."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from colleagues import colleagues
from sessions import a_tool

from jidocode import (
    Allow,
    Decision,
    Deny,
    InvalidRequestError,
    InvalidToolError,
    Policy,
    SessionHandle,
    SessionSystem,
    Tool,
    ToolCallRunningError,
    ToolKind,
    ToolRequest,
    ToolResult,
    ToolUseBlock,
    accept_edits,
    allow_all,
    ask_unless_remembered,
    read_only,
)
from jidocode.session.conversation.changes import INTERRUPTED_CALL
from jidocode.testing import eventually

Make = Callable[..., SessionHandle]


@frozen
class Words:
    """Arguments of the tools here."""

    text: str
    times: int = 1


class BrokenError(OSError):
    """Of an app that has made a mistake."""

    def __str__(self) -> str:
        raise RuntimeError("broken")


def say(_session: Any, arguments: Words) -> str:
    if arguments.text == "fail":
        raise LookupError("told to")
    if arguments.text == "break":
        raise BrokenError
    if arguments.text == "shrug":
        raise FileNotFoundError
    if arguments.text == "interrupt":
        raise KeyboardInterrupt
    if arguments.text == "nothing":
        return None  # type: ignore[return-value] # on purpose
    return arguments.text * arguments.times


def say_and_kill(session: SessionHandle, arguments: Words) -> str:
    """Kill the State in the midst of a call."""
    ref = session._system.find_child("state", session.id)
    os.kill(ref.os_pid, signal.SIGKILL)
    return arguments.text


SAY = Tool(name="say", description="Say.", kind=ToolKind.EXECUTE, arguments=Words, run=say)
KILL = Tool(
    name="kill", description="Kill.", kind=ToolKind.THINK, arguments=Words, run=say_and_kill
)


@pytest.fixture
def make(project: Path, tmp_path: Path) -> Iterator[Make]:
    """Open a session under a policy."""
    systems: list[SessionSystem] = []

    def open_session(policy: Policy | None = None, **options: Any) -> SessionHandle:
        system = SessionSystem(
            tools=[SAY, KILL], policy=policy, state_dir=tmp_path / "state", **options
        )
        systems.append(system)
        return system.create_session(project)

    yield open_session
    for system in systems:
        system.close()


def result(came: ToolResult | None) -> tuple[str, bool]:
    """Return what came of a call, and whether that is an error."""
    assert came is not None
    return came.content, came.is_error


class Judge:
    """A policy that notes what it is asked, and decides what it is told."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked: list[ToolRequest] = []

    def __call__(self, request: ToolRequest) -> Decision:
        self.asked.append(request)
        return self.decision


def test_files_and_todos_are_tools_of_every_session(make: Make, project: Path) -> None:
    """What changes nothing outside the conversation needs nobody's consent."""
    judge = Judge(Allow())
    tools = make(judge).tools
    (project / "a.txt").write_text("one\ntwo\nthree\n")
    (project / "folder").mkdir()
    (project / "folder" / "b").touch()

    assert result(tools.call("read_file", {"path": "a.txt", "limit": 2})) == (
        "     1\tone\n     2\ttwo\n[more lines follow; go on with offset 3]",
        False,
    )
    assert result(tools.call("list_directory", '{"path": "folder"}')) == ("b", False)
    assert "folder/" in result(tools.call("list_directory", {}))[0].splitlines()
    todos = [{"content": "a", "status": "completed"}, {"content": "b"}]
    assert result(tools.call("todo_write", {"todos": todos})) == (
        "2 todos, 1 of them completed",
        False,
    )
    assert not judge.asked
    assert result(tools.call("write_file", {"path": "b/c", "content": "x"})) == (
        "b/c was written",
        False,
    )
    assert (project / "b" / "c").read_text() == "x"
    assert [(each.tool, each.kind, each.subject) for each in judge.asked] == [
        ("write_file", ToolKind.EDIT, "b/c")
    ]


def test_every_call_is_written_down_with_its_result(make: Make) -> None:
    """Those that came to nothing, too: a conversation with them is a valid one."""
    session = make(allow_all)
    said: list[tuple[str, Any]] = [
        ("say", {"text": "a", "times": 2}),
        ("say", {"text": "fail"}),
        ("say", {"text": "nothing"}),
        ("say", {"txet": "a"}),
        ("say", "no json"),
        ("sya", {}),
        ("read_file", {"path": "../outside"}),
        ("read_file", {"path": "not there"}),
    ]
    calls = [session.tools.call(name, arguments) for name, arguments in said]

    assert [result(call) for call in calls[:2]] == [("aa", False), ("LookupError: told to", True)]
    words = ["returned None", "no argument 'txet'; did you mean text?", "no JSON"]
    words += ["no tool 'sya'; did you mean say?", "outside", "No such file"]
    for call, word in zip(calls[2:], words, strict=True):
        content, is_error = result(call)
        assert is_error
        assert word in content
    written = session.state.tool_calls()
    assert [call.result for call in written] == calls
    assert [call.name for call in written] == [name for name, _ in said]


def test_without_a_policy_nothing_is_changed(make: Make, project: Path) -> None:
    """And an app's own tools are not run."""
    tools = make().tools
    for name, arguments in (("write_file", {"path": "a", "content": ""}), ("say", {"text": "a"})):
        content, is_error = result(tools.call(name, arguments))
        assert (content, is_error) == (f"{name} was not allowed: no policy here allows it", True)
    assert not (project / "a").exists()


def test_a_policy_decides_about_each_call(make: Make) -> None:
    """It may deny it in words, allow it, or have it made with other arguments."""
    judge = Judge(Deny("not today"))
    session = make(judge)
    tools = session.tools
    assert result(tools.call("say", {"text": "a"})) == ("say was not allowed: not today", True)
    judge.decision = Allow(arguments={"text": "b", "times": 3})
    assert result(tools.call("say", {"text": "a"})) == ("bbb", False)
    judge.decision = Allow(arguments={"text": 5})
    assert "expected `str`" in result(tools.call("say", {"text": "a"}))[0]
    assert [each.arguments for each in judge.asked] == [{"text": "a", "times": 1}] * 3
    assert {each.session_id for each in judge.asked} == {session.id}
    assert result(tools.under(allow_all).call("say", {"text": "c"})) == ("c", False)


def test_edits_can_be_accepted_and_the_rest_asked_about(make: Make, project: Path) -> None:
    """By default it is denied."""
    judge = Judge(Allow())
    tools = make(accept_edits()).tools
    assert not result(tools.call("write_file", {"path": "a", "content": ""}))[1]
    assert result(tools.call("say", {"text": "a"}))[1]
    assert not result(tools.under(accept_edits(judge)).call("say", {"text": "a"}))[1]
    assert [each.tool for each in judge.asked] == ["say"]
    assert (project / "a").exists()


def test_always_is_remembered_for_the_session(make: Make) -> None:
    """By tool and pattern, by every handle, over every crash."""
    judge = Judge(Allow(always="git *"))
    session = make(ask_unless_remembered(judge))
    for text in ("git status", "git log", "git log; rm -r .", "ls"):
        assert result(session.tools.call("say", {"text": text})) == (text, False)
    assert [each.subject for each in judge.asked] == ["git status", "git log; rm -r .", "ls"]
    assert session.state.settings()["allowed_tools"] == {"say": ["git *"]}, "once"
    judge.decision, judge.asked = Deny(), []
    os.kill(session._system.find_child("state", session.id).os_pid, signal.SIGKILL)
    assert result(session.tools.call("say", {"text": "git diff"})) == ("git diff", False)
    assert not judge.asked
    assert result(session.tools.call("write_file", {"path": "git a", "content": ""}))[1]


def test_a_policy_is_told_what_is_remembered_and_decides_all_the_same(make: Make) -> None:
    """One that denies everything denies that, too."""
    session = make(Judge(Allow(always="git *")))
    assert not result(session.tools.call("say", {"text": "git status"}))[1]
    judge = Judge(Allow())
    for text in ("git log", "git log; rm -r .", "ls"):
        session.tools.under(judge).call("say", {"text": text})
    assert [each.remembered for each in judge.asked] == [True, False, False]
    for policy, is_denied in ((read_only, True), (accept_edits(), False), (allow_all, False)):
        told = result(session.tools.under(policy).call("say", {"text": "git log"}))
        assert told[1] == is_denied


@pytest.mark.parametrize(
    "wrong",
    ["*", 5, None, ["*"], {"say": "*"}, {"say": 5}, {"say": None}, {"say": [5]}, {"say": {"*": 1}}],
)
def test_what_is_no_list_of_patterns_allows_nothing(make: Make, wrong: Any) -> None:
    """A text among them, whose characters are none; and what is allowed next is remembered."""
    session = make(ask_unless_remembered(Judge(Deny("no"))))
    session.state.update_settings({"allowed_tools": wrong})
    asked = result(session.tools.call("say", {"text": "*"}))
    assert asked == ("say was not allowed: no", True)
    once = session.tools.under(ask_unless_remembered(Judge(Allow(always="a"))))
    assert result(once.call("say", {"text": "a"})) == ("a", False)
    assert result(session.tools.call("say", {"text": "a"})) == ("a", False)


def test_a_policy_is_asked_about_the_file_and_not_its_spelling(make: Make, project: Path) -> None:
    """Or one that guards a folder by its name would be led around it, and so would a pattern."""
    (project / "secrets").mkdir()
    (project / "link").symlink_to("secrets")
    (project / "alias").symlink_to("secrets/key")
    judge = Judge(Allow(always="src/*"))
    tools = make(judge).tools
    tools.call("write_file", {"path": "src/first", "content": ""})
    judge.decision = Deny()
    for path in (
        "./secrets/key",
        "src/../secrets/key",
        "secrets//key",
        "link/key",
        "alias",
        f"{project}/secrets/key",
    ):
        judge.asked = []
        assert result(tools.call("write_file", {"path": path, "content": ""}))[1]
        (asked,) = judge.asked
        assert (asked.subject, asked.arguments["path"]) == ("secrets/key", path)


def test_a_pattern_does_not_follow_symlinks(make: Make, project: Path) -> None:
    """What lies in an allowed folder under another name only has to be asked about."""
    (project / "secrets").mkdir()
    (project / "src" / "link").symlink_to("../secrets")
    judge = Judge(Allow(always="src/*"))
    tools = make(ask_unless_remembered(judge)).tools
    for path in ("src/a", "src/b", "src/link/key"):
        tools.call("write_file", {"path": path, "content": ""})
    assert [each.subject for each in judge.asked] == ["src/a", "secrets/key"]


def test_a_policy_is_asked_about_what_is_no_path_as_it_was_said(make: Make) -> None:
    """What leads out of the project is refused after it, as ever."""
    judge = Judge(Allow())
    tools = make(judge).tools
    assert result(tools.call("write_file", {"path": "a/../../b", "content": ""}))[1]
    assert [each.subject for each in judge.asked] == ["a/../../b"]


def test_all_that_is_always_allowed_at_once_is_remembered(make: Make) -> None:
    """A person may answer for several calls at a time."""
    together = threading.Barrier(8)

    def allow(request: ToolRequest) -> Decision:
        together.wait(10)
        return Allow(always=request.subject)

    session = make(allow)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(session.tools.call, "say", {"text": str(n)}) for n in range(8)]
        assert not any(call.result(10).is_error for call in calls)
    asked = Judge(Deny())
    tools = session.tools.under(ask_unless_remembered(asked))
    assert [result(tools.call("say", {"text": str(n)})) for n in range(8)] == [
        (str(n), False) for n in range(8)
    ]
    assert not asked.asked


@pytest.mark.parametrize("wrong", [5, b"*", ["*"]])
def test_a_decision_that_is_none_is_a_denial_and_not_remembered(make: Make, wrong: Any) -> None:
    def decide(request: ToolRequest) -> Decision:
        return Allow(always=wrong) if request.subject == "a" else Deny(wrong)

    session = make(decide)
    for subject in ("a", "b"):
        content, is_error = result(session.tools.call("say", {"text": subject}))
        assert is_error
        assert content.endswith("the policy failed")
    assert result(session.tools.under(allow_all).call("say", {"text": "a"})) == ("a", False)


def test_nothing_is_remembered_of_a_call_that_cannot_be_made(make: Make) -> None:
    session = make(Judge(Allow(always="*", arguments={"nothing": 1})))
    assert result(session.tools.call("say", {"text": "a"}))[1]
    assert result(session.tools.under(Judge(Deny())).call("say", {"text": "a"}))[1]


def test_arguments_that_cannot_be_written_down_are_a_result(make: Make) -> None:
    """So that the model that has said it can be told."""
    said: dict[str, Any] = {
        "NaN": '{"text": NaN}',
        "deep": '{"text": ' + "[" * 900 + "]" * 900 + "}",
        "long": '{"text": "' + "x" * 2**20 + '"}',
        "names": {1: 2},
        "bytes": {"text": b"a"},
    }
    session = make(allow_all)
    for what, arguments in said.items():
        content, is_error = result(session.tools.call("say", arguments))
        assert is_error, what
        assert "JSON" in content, what
    calls = session.state.tool_calls()
    assert [(call.name, dict(call.arguments)) for call in calls] == [("say", {})] * len(said)


def test_an_error_that_cannot_be_told_is_a_result(make: Make) -> None:
    content, is_error = result(make(allow_all).tools.call("say", {"text": "break"}))
    assert is_error
    assert "Broken" in content


def test_an_error_without_words_is_told_by_its_type(make: Make) -> None:
    """A model can do nothing with an empty text."""
    said = result(make(allow_all).tools.call("say", {"text": "shrug"}))
    assert said == ("FileNotFoundError", True)


def test_a_policy_that_does_not_answer_denies(make: Make) -> None:
    """Within its deadline; so does one that fails, or says something else."""
    gate = threading.Event()

    def hang(_request: ToolRequest) -> Decision:
        gate.wait(60)
        return Allow()

    def fail(_request: ToolRequest) -> Decision:
        raise LookupError("secret")

    tools = make(hang, policy_timeout=0.2).tools
    began = time.monotonic()
    assert result(tools.call("say", {"text": "a"})) == (
        "say was not allowed: nobody answered within 0.2 s",
        True,
    )
    gate.set()
    assert time.monotonic() - began < 20

    def err(_request: ToolRequest) -> Any:
        return True

    for policy in (fail, err):
        answer = tools.under(policy).call("say", {"text": "a"})
        assert result(answer) == ("say was not allowed: the policy failed", True)


def test_a_call_in_which_the_state_dies_is_not_made_twice(make: Make) -> None:
    """Its result says that it was interrupted: nobody knows what it did."""
    session = make(allow_all)
    content, is_error = result(session.tools.call("kill", {"text": "done"}))
    assert is_error
    assert "interrupted" in content
    assert len(session.state.tool_calls()) == 1


def test_a_call_that_was_begun_is_not_made_again(make: Make) -> None:
    """Under the id that a message has for it: its result is returned, whatever that is."""
    session = make(allow_all)
    uses = [ToolUseBlock(call_id, "say", {"text": call_id}) for call_id in ("a", "b")]
    message = session.state.append_message("assistant", uses)
    asked: Any = {"message_id": message.id}
    done = session.tools.call("say", {"text": "a"}, call_id="a", **asked)
    session.state.add_tool_call("say", {"text": "b"}, call_id="b", **asked)

    assert result(done) == ("a", False)
    assert session.tools.call("say", {"text": "other"}, call_id="a", **asked) == done
    assert result(session.tools.call("say", {"text": "b"}, call_id="b", **asked)) == (
        INTERRUPTED_CALL,
        True,
    )
    assert [each["content"] for each in session.state.history()[1:]] == ["a", INTERRUPTED_CALL]
    with pytest.raises(InvalidRequestError, match="asks for the call"):
        session.tools.call("say", {"text": "c"}, call_id="c", **asked)


def test_a_call_is_made_once_though_it_is_asked_for_at_once(project: Path) -> None:
    """By many threads: one makes it, and the others are told, or get its result."""
    begun, go_on, made = threading.Event(), threading.Event(), list[str]()

    def work(_session: Any, arguments: Words) -> str:
        made.append(arguments.text)
        begun.set()
        go_on.wait(30)
        return "done"

    tool = Tool(name="work", description="", kind=ToolKind.THINK, arguments=Words, run=work)
    with SessionSystem(tools=[tool], durability="memory") as system, ThreadPoolExecutor(8) as pool:
        session = system.create_session(project)

        def call() -> ToolResult:
            return session.tools.call("work", {"text": "a"}, call_id="once")

        calls = [pool.submit(call) for _ in range(8)]
        begun.wait(30)
        with pytest.raises(ToolCallRunningError, match="once"):
            call()
        go_on.set()
        answers = [each.exception() or each.result() for each in calls]

        assert made == ["a"]
        results = [each for each in answers if not isinstance(each, ToolCallRunningError)]
        assert {result(each) for each in results if isinstance(each, ToolResult)} == {
            ("done", False)
        }
        assert call() == results[0]
        assert result(session.state.tool_calls()[0].result) == ("done", False)


def test_a_call_of_another_process_is_left_alone_while_that_lives(
    name: str, project: Path, tmp_path: Path
) -> None:
    """And has a result that says so once it is gone; it is made again by nobody."""
    with (
        SessionSystem(name=name, policy=allow_all, state_dir=tmp_path / "state") as system,
        colleagues() as [other],
    ):
        session = system.create_session(project)
        other.attach(name, "policy=allow_all")
        other.do(f"tools = system.get_session({session.id!r}).tools")
        command = {"command": "echo ran >> made; exec sleep 1000"}
        other.begin(f"tools.call('run_command', {command!r}, call_id='once')")
        eventually((project / "made").exists)
        with pytest.raises(ToolCallRunningError):
            session.tools.call("run_command", command, call_id="once")

        other.kill()

        content, is_error = result(session.tools.call("run_command", command, call_id="once"))
        assert (content, is_error) == (INTERRUPTED_CALL, True)
        session.stop()
        again = system.resume_session(session.id)
        assert result(again.tools.call("run_command", command, call_id="once"))[0] == content
        assert (project / "made").read_text() == "ran\n"


@pytest.mark.parametrize("raised", [SystemExit, GeneratorExit, BaseException, CancelledError])
def test_what_a_tool_raises_ends_its_call_and_nothing_else(
    project: Path, raised: type[BaseException]
) -> None:
    """Also in a subject, and in whatever is no exception of Python's own kind."""

    def fail(*_args: Any) -> str:
        raise raised("so")

    tools = [a_tool("fail", fail), evolve(a_tool("odd", fail), subject=fail)]
    with SessionSystem(tools=tools, policy=allow_all, durability="memory") as system:
        session = system.create_session(project)
        for name in ("fail", "odd"):
            content, is_error = result(session.tools.call(name, {}))
            assert is_error
            assert content.startswith("it raised ")
            assert content.endswith(f"{raised.__name__}: so")
        assert all(call.result for call in session.state.tool_calls())


def test_what_a_signal_raises_leaves_the_call_of_a_tool(project: Path) -> None:
    """It is the app's, and not the tool's: Ctrl-C, and a handler that ends the app."""

    def end(*_args: object) -> None:
        sys.exit(3)

    def wait(_session: Any, arguments: Any) -> str:
        signal.raise_signal(signal.Signals[arguments.text])
        time.sleep(20)
        return "on"

    before = signal.signal(signal.SIGTERM, end)
    try:
        with SessionSystem(
            tools=[a_tool("wait", wait)], policy=allow_all, durability="memory"
        ) as system:
            session = system.create_session(project)
            for name, raised in (("SIGINT", KeyboardInterrupt), ("SIGTERM", SystemExit)):
                with pytest.raises(raised):
                    session.tools.call("wait", {"text": name})
            written = [call.result for call in session.state.tool_calls()]
            assert ["interrupted" in each.content for each in written if each] == [True, True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_call_that_is_interrupted_says_so(make: Make) -> None:
    """By Ctrl-C, above all."""
    session = make(allow_all)
    with pytest.raises(KeyboardInterrupt):
        session.tools.call("say", {"text": "interrupt"})
    assert "interrupted" in result(session.state.tool_calls()[0].result)[0]


def test_a_long_result_is_cut_in_the_middle(make: Make) -> None:
    """A model is told so."""
    content, _ = result(make(allow_all).tools.call("say", {"text": "ab", "times": 50_000}))
    assert 29_900 < len(content) <= 30_000
    left_out = re.search(r"\n\[(\d+) characters were left out]\n", content)
    assert left_out is not None
    assert len(content) - len(left_out[0]) + int(left_out[1]) == 100_000


def test_tools_are_checked_before_anything_starts() -> None:
    """Two of one name are one too many."""
    with pytest.raises(InvalidToolError):
        SessionSystem(tools=[SAY, SAY])


def test_a_file_that_was_not_read_is_not_overwritten(make: Make, project: Path) -> None:
    """Nor one that has changed since; whatever a tool has written itself counts as read."""
    tools = make(accept_edits()).tools
    (project / "a").write_text("old\n")

    def write(content: str) -> tuple[str, bool]:
        return result(tools.call("write_file", {"path": "a", "content": content}))

    assert write("new") == ("the file is there, and you have not read it: read it first", True)
    tools.call("read_file", {"path": str(project / "a")})
    assert write("new\n") == ("a was written", False)
    assert write("newer\n") == ("a was written", False)
    (project / "a").write_text("somebody else's\n")
    assert "it has changed since you read it" in write("newest\n")[0]
    assert (project / "a").read_text() == "somebody else's\n"
    (project / "a").unlink()
    assert write("newest\n") == ("a was written", False)
    edits = [{"old": "new", "new": "b"}, {"old": "est", "new": "ook"}]
    content, is_error = result(tools.call("edit_file", {"path": "a", "edits": edits}))
    assert not is_error
    assert "+book" in content
    assert write("last\n") == ("a was written", False)
    missing = {"path": "a", "edits": [{"old": "lastly", "new": ""}]}
    assert "last" in result(tools.call("edit_file", missing))[0]  # what is nearest
    missing = {"path": "a", "edits": [{"old": "0123456789", "new": ""}]}
    assert result(tools.call("edit_file", missing))[0].endswith("nothing is like it")
    edits = [{"old": "last", "new": "end"}]
    assert "in 1 place\n" in result(tools.call("edit_file", {"path": "a", "edits": edits}))[0]


def test_a_model_searches_and_runs_commands(make: Make, project: Path) -> None:
    """Searches need nobody's consent; commands do, and are confined."""
    judge = Judge(Allow())
    tools = make(judge).tools
    (project / "a.py").write_text("one = 1\ntwo = 2\n")
    assert result(tools.call("glob", {"pattern": "*.py"})) == ("a.py", False)
    assert result(tools.call("grep", {"pattern": "tw."})) == ("a.py:2:1: two = 2", False)
    assert result(tools.call("grep", {"pattern": "("}))[1]
    assert not judge.asked
    line = "cat a.py; cat /etc/shadow 2>/dev/null || exit 3"
    assert result(tools.call("run_command", {"command": line})) == (
        "one = 1\ntwo = 2\n[exit code 3]",
        False,
    )
    assert result(tools.call("run_command", {"command": "sleep 60", "timeout": 0.2})) == (
        "[ended after 0.2 s]",
        False,
    )
    assert [each.subject for each in judge.asked] == [line, "sleep 60"]
    for more in ("read", "write", "network", "limits", "ptrace", "env"):
        said, is_error = result(tools.call("run_command", {"command": line, more: ["/etc"]}))
        assert (said.startswith("there is no argument"), is_error) == (True, True)
    assert len(judge.asked) == 2
