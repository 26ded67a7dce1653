"""`jidocode sessions`: what is done with journals, without a system where that is possible."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shell import COMMAND, SECONDS, data, environment, jidocode

from jidocode import Resumable, SessionHandle, SessionSystem, list_resumable
from jidocode.system.pruning import superfluous
from jidocode.system.transcript import as_markdown

DAY = 86_400.0


@pytest.fixture
def closed(home: Path, project: Path) -> list[str]:
    """Three sessions that are not open, the last one written to first; each a day older."""
    ids: list[str] = []
    with SessionSystem(state_dir=home, creation_rate=None) as system:
        for number in range(3):
            session = system.create_session(project, name=f"shop {number}")
            session.state.append_message("user", f"message\n{number} ``` \x1b[31m")
            system.stop_session(session.id)
            ids.append(session.id)
    for number, each in enumerate(ids):
        at = time.time() - number * DAY
        os.utime(home / f"{each}.jsonl", (at, at))
    return ids


def test_they_are_listed_and_shown(closed: list[str], home: Path, project: Path) -> None:
    """For people and for programs."""
    assert [each["session_id"] for each in data("sessions", "list")] == closed
    assert data("sessions", "list", "--project", str(home)) == []
    said = jidocode("sessions", "list", "--project", str(home / "nosuch"), status=2)
    assert "there is no folder" in said
    lines = jidocode("sessions", "list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == closed

    shown = data("sessions", "show", closed[1])
    assert shown["session"]["name"] == "shop 1"
    assert f"project     {project}" in jidocode("sessions", "show", closed[1]).splitlines()


def test_what_is_not_there_is_a_sentence(home: Path) -> None:
    """Whatever is to be done with it."""
    for name in ("show", "fork", "export", "delete"):
        assert jidocode("sessions", name, str(uuid.uuid4()), status=1).count("\n") == 1
        said = jidocode("sessions", name, "nonsense", status=1)
        assert "no session with the id or name nonsense" in said
    assert data("sessions", "list") == []
    assert not home.exists()


def test_they_are_exported(closed: list[str], home: Path) -> None:
    """Every change as a line of JSON, or what was said."""
    lines = [json.loads(line) for line in jidocode("sessions", "export", closed[0]).splitlines()]
    assert [each["seq"] for each in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["message"]["content"] == "message\n0 ``` \x1b[31m"

    said = jidocode("sessions", "export", closed[0], "--format", "markdown")
    assert said.startswith("# shop 0\n")
    assert "## user, 20" in said
    assert "message\n0 ``` \ufffd[31m" in said
    assert list_resumable(home)[0].locked_by is None


def test_a_fork_is_one_more(closed: list[str]) -> None:
    """With a name of its own, and as much as is wanted."""
    copy = jidocode("sessions", "fork", closed[0], "--name", "copy", "--upto", "1").strip()

    assert copy not in closed
    assert data("sessions", "show", copy)["session"]["name"] == "copy"
    assert "message" not in jidocode("sessions", "export", copy)
    said = jidocode("sessions", "fork", closed[0], "--upto", "1000", status=2)
    assert "Invalid value for '--upto': the journal ends with" in said


def test_they_are_deleted_and_pruned(closed: list[str], home: Path) -> None:
    """By any rule; a rule has to be there, and to be understood."""
    assert "too old" in jidocode("sessions", "prune", status=2)
    assert "30d" in jidocode("sessions", "prune", "--older-than", "nonsense", status=2)
    assert [
        each["session_id"] for each in data("sessions", "prune", "--keep", "1", "--dry-run")
    ] == (closed[1:])
    assert len(list_resumable(home)) == 3
    assert closed[2] in jidocode("sessions", "prune", "--older-than", "36h", "--max-size", "1G")
    assert [each.session_id for each in list_resumable(home)] == closed[:2]
    jidocode("sessions", "delete", *closed[:2])
    assert list_resumable(home) == []


def test_what_cannot_be_deleted_does_not_keep_the_others(closed: list[str], home: Path) -> None:
    """Each is a sentence, and the status is 1."""
    odd = str(uuid.uuid4())
    (home / f"{odd}.jsonl").mkdir()
    said = jidocode("sessions", "delete", odd, "nonsense", closed[2], status=1)
    assert [each[:7] for each in said.splitlines()] == ["Error: "] * 2
    assert "directory" in jidocode("sessions", "prune", "--keep", "0", status=1)
    assert [each.name for each in home.glob("*.jsonl")] == [f"{odd}.jsonl"]


def test_an_open_one_is_resumed_in_a_system_and_never_pruned(
    closed: list[str], served: str, attached: SessionSystem
) -> None:
    """Nor deleted; its journal can be read."""
    assert jidocode("sessions", "resume", closed[0], "--system", served).strip() == closed[0]
    assert attached.get_session(closed[0]).state.statistics().messages == 1

    pruned = data("sessions", "prune", "--keep", "0")
    assert [each["session_id"] for each in pruned] == closed[1:]
    said = jidocode("sessions", "delete", closed[0], status=1)
    assert f"is open in system {served}: `jidocode sessions stop {closed[0]}" in said
    assert "open (pid" in jidocode("sessions", "show", closed[0])
    assert "shop 0" in jidocode("sessions", "export", closed[0], "--format", "markdown")
    attached.stop_session(closed[0])


def test_where_a_project_is_open_is_said(served: str, opened: SessionHandle, project: Path) -> None:
    """To whoever has a system of his own for it, and could go on there."""
    said = jidocode("mcp", str(project), status=1)
    assert said.endswith(f": that is system {served}\n")
    assert opened.id in said


def test_one_is_stopped_and_can_be_resumed(
    served: str, attached: SessionSystem, opened: SessionHandle
) -> None:
    """By its name, of a system that a variable names."""
    del opened
    assert jidocode("sessions", "stop", "shop", JIDOCODE_SYSTEM=served) == ""
    assert attached.list_sessions() == []
    assert "no session" in jidocode("sessions", "stop", "shop", "--system", served, status=1)
    record = data("sessions", "resume", "shop", "--system", served)
    assert attached.get_session(record["id"]).session.name == "shop"


def test_a_name_is_enough_if_it_is_one_session(
    closed: list[str], served: str, attached: SessionSystem, project: Path
) -> None:
    """An open one rather than another; else the ids are said."""
    assert data("sessions", "show", "shop 1")["session_id"] == closed[1]
    assert "# shop 1" in jidocode("sessions", "export", "shop 1", "--format", "markdown")
    copy = data("sessions", "fork", "shop 1")["id"]
    for name in ("show", "delete", "resume"):
        words = ["--system", served] if name == "resume" else []
        said = jidocode("sessions", name, "shop 1", *words, status=1)
        assert "2 sessions are called shop 1" in said
        assert copy in said
        assert closed[1] in said

    attached.resume_session(copy)
    assert data("sessions", "show", "shop 1")["session_id"] == copy
    other = project.with_name("other")
    other.mkdir()
    second = attached.create_session(other, name="shop 1").id
    said = jidocode("run", "--system", served, "shop 1", "true", status=125)
    assert copy in said
    assert second in said
    for each in (copy, second):
        attached.stop_session(each)
    jidocode("sessions", "delete", "shop 2")
    assert closed[2] not in [each["session_id"] for each in data("sessions", "list")]


def test_the_shell_completes_ids(closed: list[str]) -> None:
    """With the names to choose by."""
    words = f"jidocode sessions show {closed[0][:8]}"
    said = jidocode(_JIDOCODE_COMPLETE="zsh_complete", COMP_WORDS=words, COMP_CWORD="3")

    assert said.splitlines() == ["plain", closed[0], "shop 0"]


# ----- the parts that touch nothing ----------------------------------------------------------


def journal(*, days: float, size: int = 10, locked_by: int | None = None) -> Resumable:
    return Resumable(
        session_id=str(uuid.uuid4()),
        session=None,
        last_seq=1,
        size=size,
        modified_at=datetime(2026, 1, 31, tzinfo=UTC) - timedelta(days=days),
        damaged=False,
        locked_by=locked_by,
    )


def test_rules_choose_what_is_superfluous() -> None:
    """Any of them; what is open is counted and kept."""
    found = [journal(days=0), journal(days=1, locked_by=1), journal(days=2), journal(days=3)]
    now = datetime(2026, 1, 31, tzinfo=UTC)

    assert superfluous(found, now=now) == []
    assert superfluous(found, now=now, keep=0) == [found[0], *found[2:]]
    assert superfluous(found, now=now, keep=3) == found[3:]
    assert superfluous(found, now=now, max_size=20) == found[2:]
    assert superfluous(found, now=now, older_than=timedelta(days=2)) == found[3:]
    assert superfluous(found, now=now, older_than=timedelta(days=2), keep=1) == found[2:]


def test_a_transcript_has_what_was_said_and_done() -> None:
    """Nothing that was cleared, and no text that ends its block."""
    call = {"id": "1", "name": "read_file", "arguments": {"path": "a"}}
    result = {"call_id": "1", "content": "```\n# no title\n```", "is_error": True}
    message = {"role": "user", "created_at": "now", "content": "hello"}
    changes: list[dict[str, Any]] = [
        {"seq": 1, "session_changed": {"session": {"name": "shop"}}},
        {"seq": 2, "message": {**message, "content": "gone"}},
        {"seq": 3, "reasoning_step": {"content": "think\ntwice"}},
        {"seq": 4, "messages_cleared": {}},
        {"seq": 5, "message": {**message, "status": "interrupted"}},
        {"seq": 6, "tool_call": call},
        {"seq": 7, "tool_result": result},
        {"seq": 8, "unknown": {}},
        {"damaged": {"bytes": 3, "missing": 0}},
    ]
    said = "\n".join(as_markdown(changes))

    assert said == (
        "# shop\n\n> think\n> twice\n\n## user, now, interrupted\n\nhello\n\n"
        '### read_file\n\n```json\n{\n  "path": "a"\n}\n```\n\n'
        "Error:\n\n````\n```\n# no title\n```\n````\n\n"
        "_3 bytes of the journal cannot be read._\n"
    )


def test_no_part_of_a_transcript_controls_a_terminal() -> None:
    """Neither what was said nor the name of the session: others may have written the journal."""
    said = {"role": "user", "created_at": "now", "content": "\x1b[2Jhello"}
    changes: list[dict[str, Any]] = [
        {"session_changed": {"session": {"name": "\x1b[2Jshop"}}},
        {"message": said},
    ]

    assert "\x1b" not in "\n".join(as_markdown(changes))


@pytest.mark.parametrize(
    "wrong", [{"JIDOCODE_STATE_DIR": os.devnull}, {"JIDOCODE_MAX_SESSIONS": "abc"}]
)
@pytest.mark.parametrize("words", ["jidocode run ", "jidocode sessions show "])
def test_where_no_journals_can_be_read_none_is_completed(wrong: dict[str, str], words: str) -> None:
    """Nothing is printed between the words that are being typed."""
    done = subprocess.run(
        COMMAND,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(
            _JIDOCODE_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(len(words.split())),
            **wrong,
        ),
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
