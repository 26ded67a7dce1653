"""A State with a journal: what it answered is there after any death."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve
from conversations import all_pages, snapshot
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType] # hypothesis leaves it unannotated
)
from limits import limited
from msgspec import Struct

from jidocode.base.exits import SHUTDOWN, Crashed, Killed
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop
from jidocode.errors import (
    ActorExitedError,
    EventGapError,
    InvalidRequestError,
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalLostError,
    JournalVersionError,
    JournalWriteError,
    SessionNotFoundError,
)
from jidocode.otp.server.machine import Publish, SendAfter, SendInfo, SendReply, WatchProcess
from jidocode.otp.server.messages import Down
from jidocode.session.admission.messages import OpenSession
from jidocode.session.conversation import limits, messages as messages_module
from jidocode.session.conversation.changes import (
    INTERRUPTED_CALL,
    Change,
    JournalOpened,
    Message,
    Todo,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.journal import (
    change_log as log_module,
    file as journal_module,
    format as format_module,
)
from jidocode.session.journal.catalogue import (
    add_record,
    delete_journal,
    export_journal,
    fork_journal,
    list_journals,
    load_record,
)
from jidocode.session.journal.codec import encode
from jidocode.session.journal.format import FIRST_LINE, MAX_LINE, format_line
from jidocode.session.journal.ownership import Home, owner_path
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session, new_session_id
from jidocode.session.requests import request, update_session
from jidocode.session.state.client import StateClient
from jidocode.session.state.operations import events
from jidocode.session.state.server import (
    CHUNK_BATCH,
    CHUNK_DELAY,
    CHUNK_RETRY,
    AppendChunk,
    State,
)
from jidocode.session.state.subscriptions import Events, Subscribe, SubscriptionLost, Unsubscribe
from jidocode.session.upkeep import Upkeep

ME = ActorRef("agent", 1, 4321)

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")


class Life(Struct):
    """One State after the other, on one journal."""

    connect: Callable[..., Any]
    session: Session
    directory: Path
    system: str | None = None
    wire: Any = None

    def begin(self) -> None:
        """Have a journal, as the supervisor of a session does it."""
        self.home.begin_journal(self.session.id)

    @property
    def home(self) -> Home:
        return Home(folder=str(self.directory), system="this one")

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (str(self.directory), "process", self.system)

    def start(self, *, session: Session | None = None) -> StateClient:
        self.begin()
        self.wire = self.connect(State, session or self.session, *self.arguments)
        assert self.wire.failure is None, self.wire.failure
        return StateClient(self.wire)

    def refused(self, *, session: Session | None = None) -> str:
        """Return why a State does not start."""
        failure = self.connect(State, session or self.session, *self.arguments).failure
        assert isinstance(failure, Crashed)
        return failure.error

    def crash(self) -> None:
        """Let go of the journal as the kernel does it for a killed process."""
        if self.wire is not None:
            self.conversation.ledger.close()
            self.wire = None

    def again(self) -> StateClient:
        self.crash()
        return self.start()

    @property
    def conversation(self) -> Conversation:
        conversation = self.wire._loop.server.conversation
        assert isinstance(conversation, Conversation)
        return conversation

    @property
    def path(self) -> Path:
        return journal_path(self.directory, self.session.id)

    def sent(self, kind: type[Any]) -> list[Any]:
        """Return, once, what the State sent to others."""
        messages = [effect.message for effect in self.wire.effects if isinstance(effect, SendInfo)]
        self.wire.effects = [
            effect for effect in self.wire.effects if not isinstance(effect, SendInfo)
        ]
        return [message for message in messages if isinstance(message, kind)]

    def timers(self) -> list[SendAfter]:
        """Return, once, what the State sends to itself."""
        timers = [effect for effect in self.wire.effects if isinstance(effect, SendAfter)]
        self.wire.effects = [
            effect for effect in self.wire.effects if not isinstance(effect, SendAfter)
        ]
        return timers


@pytest.fixture
def life(connect: Callable[..., Any], session: Session, tmp_path: Path) -> Iterator[Life]:
    """A State's journal, without a State yet."""
    life = Life(connect, session, tmp_path / "state")
    yield life
    life.crash()


def update(state: StateClient, record: Session) -> Session:
    """Give the State a later record, as the system does."""
    return state._channel(request(update_session, record))


# ----- what survives ----------------------------------------------------------


def fill(state: StateClient) -> None:
    """Do one of everything."""
    state.append_message("user", "why? \ud800 \u2028\n", metadata={"n": [1, None]})
    stream = state.begin_stream(metadata={"model": "m"})
    state.append_chunk(stream.id, "because", offset=0)
    state.end_stream(stream.id)
    state.add_reasoning_step("hm")
    call = state.add_tool_call("run", {"argv": ["make"]})
    state.add_tool_result(call.id, "ok")
    state.replace_todos([Todo("test", "in_progress"), Todo("ship")])
    state.replace_tool_context({"cwd": "/x"})
    state.update_settings({"theme": "dark"})
    state.add_prompt("why?")
    state.add_file_access("a.py", "read", "a" * 64)
    update(state, state.session().update_config({"temperature": 1.5, "own": {"k": 1}}))


def test_everything_that_was_answered_survives_a_crash(life: Life) -> None:
    """Twice, and numbers go on."""
    fill(life.start())
    before = snapshot(life.conversation)
    life.again()
    state = life.again()

    assert snapshot(life.conversation) == before
    assert state.session().config.temperature == 1.5
    assert state.repair().clean
    assert state.append_message("user", "next").seq == life.conversation.last_seq


def test_an_append_that_is_sent_again_after_a_crash_changes_nothing(life: Life) -> None:
    """The caller saw no answer, but the first one arrived."""
    first = life.start().append_message("user", "hello", message_id="mine")
    state = life.again()

    assert state.append_message("user", "hello", message_id="mine") == first
    assert state.messages() == [first]


ODD_IDS = [
    "m1",
    'with "quotes" in it',
    "back\\slash",
    "tab\tnewline\n",
    "ünïcode",
    "lone \udc80",
    '"',
]


@pytest.mark.parametrize("message_id", ODD_IDS)
def test_an_id_is_known_as_long_as_its_message_is_there(
    life: Life, monkeypatch: pytest.MonkeyPatch, message_id: str
) -> None:
    """When it is not in memory any more; after a crash; after a compaction; not when it is gone."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 5)
    monkeypatch.setattr(journal_module, "RECENT", 3)
    state = life.start()
    metadata = {"big": 2**70, "float": 1.0, "list": [None, True, "\udc80"]}
    first = state.append_message("user", "first", message_id=message_id, metadata=metadata)

    def is_known() -> bool:
        again = state.append_message("user", "first", message_id=message_id, metadata=metadata)
        with pytest.raises(InvalidRequestError, match="has ended already"):
            state.begin_stream(message_id=message_id)
        with pytest.raises(InvalidRequestError, match="other content"):
            state.append_message("user", "second", message_id=message_id, metadata=metadata)
        assert state.end_stream(message_id) == again
        return again == first

    for number in range(20):
        state.append_message("user", str(number))
    assert is_known()
    state = life.again()
    assert is_known()
    state.append_message("user", "one more")
    life.conversation.ledger.compact()
    assert is_known()
    state = life.again()
    assert is_known()
    assert state.statistics().messages == 22
    state.clear_messages()
    anew = state.append_message("user", "anew", message_id=message_id)

    assert anew.seq > first.seq
    assert life.again().append_message("user", "anew", message_id=message_id) == anew


def test_ids_with_the_same_hash_are_told_apart(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the messages themselves."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)

    def same(_key: bytes) -> int:
        return 7

    monkeypatch.setattr(messages_module, "hash", same, raising=False)
    state = life.start()
    sent = [
        state.append_message("user", str(number), message_id=f"m{number}") for number in range(9)
    ]
    assert [each.content for each in state.messages()] == list("012345678")

    assert sent == [state.append_message("user", each.content, message_id=each.id) for each in sent]


def test_ids_of_messages_that_were_dropped_are_free(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those of the others are not."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)
    monkeypatch.setattr(limits, "MAX_STORED_MESSAGES", 5)
    state = life.start()
    sent = [
        state.append_message("user", str(number), message_id=f"m{number}") for number in range(9)
    ]
    life.conversation.ledger.compact()
    assert state.append_message("user", "4", message_id="m4") == sent[4]

    assert state.append_message("user", "x", message_id="m3").content == "x"


def test_a_stop_in_order_writes_down_what_waits(life: Life) -> None:
    """And frees the journal."""
    stream = life.start().begin_stream()
    life.wire.cast(AppendChunk(stream.id, 0, "to the last"))
    life.wire.stop(SHUTDOWN)
    state = life.again()

    assert [message.content for message in state.messages()] == ["to the last"]


def test_what_a_crash_left_open_is_closed(life: Life) -> None:
    """A message ends as interrupted, with what was written of it; a call ends with an error."""
    state = life.start()
    stream = state.begin_stream(metadata={"k": 1})
    state.append_chunk(stream.id, "so far", offset=0)
    life.wire.cast(AppendChunk(stream.id, 6, " and no further"))
    done = state.add_tool_call("run", call_id="done")
    state.add_tool_result("done", "fine")
    state.add_tool_call("run", call_id="open")
    state = life.again()
    (message,) = state.messages()
    calls = {call.id: call.result for call in state.tool_calls()}

    assert (message.id, message.content, message.status) == (stream.id, "so far", "interrupted")
    assert message.metadata == {"k": 1}
    assert calls["done"] is not None
    assert (calls["done"].content, calls["done"].is_error) == ("fine", False)
    assert calls["open"] is not None
    assert (calls["open"].content, calls["open"].is_error) == (INTERRUPTED_CALL, True)
    assert state.streams() == ()
    assert done.seq < message.seq
    with pytest.raises(InvalidRequestError, match="has ended: interrupted"):
        state.append_chunk(stream.id, "more", offset=6)
    with pytest.raises(InvalidRequestError, match="interrupted"):
        state.end_stream(stream.id)
    state = life.again()
    assert state.messages() == [message]


def test_the_record_that_was_acknowledged_last_counts(life: Life, session: Session) -> None:
    """A change by the State, or a rename that the supervisor knows already."""
    changed = update(life.start(), session.update_config({"model": "m"}))
    state = life.again()
    assert state.session() == changed
    renamed = changed.rename("market")
    life.crash()
    state = life.start(session=renamed)
    assert state.session() == renamed
    life.crash()
    life.start(session=session)

    assert life.conversation.session == renamed


def test_a_project_may_move_but_not_change(life: Life, session: Session) -> None:
    """The same path with another inode, or the same inode under another path, is the same."""
    life.start()
    life.crash()
    moved = evolve(session, project_path="/elsewhere")
    assert life.start(session=moved).session().project_path == "/elsewhere"
    life.crash()
    restored = evolve(moved, project_key=(1, 2))
    assert life.start(session=restored).session().project_key == (1, 2)
    life.crash()

    assert "another session or project" in life.refused()


def test_each_start_is_noted(life: Life) -> None:
    """With what was wrong with the journal."""
    life.start()
    life.crash()
    with life.path.open("ab") as file:
        file.write(b"torn")
    state = life.start()
    notes = [event for event in state.events(after_seq=0) if isinstance(event, JournalOpened)]

    assert [bool(note.repair) for note in notes] == [False, True]
    assert notes[1].repair["torn_bytes"] == 4
    assert notes[1].repair["kept_aside"] == [f"{life.path.name}.torn-1"]
    assert state.repair().torn_bytes == 4


# ----- what is refused --------------------------------------------------------


def test_a_journal_that_is_open_elsewhere_is_refused(life: Life) -> None:
    """The State does not start, and the other one goes on."""
    state = life.start()

    assert "JournalLockedError" in life.refused()
    assert state.append_message("user", "x").content == "x"


def test_a_journal_of_a_newer_version_is_refused(life: Life) -> None:
    """Also if only one record is: nothing is dropped that it says."""
    life.start()
    life.crash()
    content = life.path.read_bytes()
    seq = content.count(b"\n")
    life.path.write_bytes(content + format_line(seq, b'{"picture":{}}'))
    assert "JournalVersionError" in life.refused()
    life.path.write_bytes(content + format_line(seq, b'{"message":{"shape":"odd"}}'))
    assert "JournalDamagedError" in life.refused()
    life.path.write_bytes(format_line(0, b'{"journal":2}'))
    assert "JournalVersionError" in life.refused()


def test_a_journal_within_the_project_is_refused(life: Life, folder: Path) -> None:
    """The session's own tools could reach it; nothing is created."""
    life.directory = folder / "state"

    assert "within its project" in life.refused()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"\0" * 1000, format_line(0, b"[" * 100_000)])
def test_a_damaged_journal_is_never_replaced_by_an_empty_one(life: Life, content: bytes) -> None:
    """The file stays as it is."""
    life.directory.mkdir()
    life.path.write_bytes(content)

    assert "JournalDamagedError" in life.refused()
    assert life.path.read_bytes() == content


def test_a_flipped_bit_costs_one_record_and_is_reported(life: Life) -> None:
    """A result without its call, and a chunk without those before it, do no harm."""
    state = life.start()
    state.append_message("user", "one")
    call = state.add_tool_call("run", {"k": "good"})
    state.add_tool_result(call.id, "x")
    stream = state.begin_stream()
    state.append_chunk(stream.id, "kept", offset=0)
    state.append_chunk(stream.id, "good", offset=4)
    state.append_chunk(stream.id, "after", offset=8)
    life.crash()
    life.path.write_bytes(life.path.read_bytes().replace(b'"good"', b'"gold"'))
    state = life.start()

    assert state.repair().bad_records == state.repair().missing == 2
    assert [message.content for message in state.messages()] == ["one", "kept"]
    assert state.tool_calls() == []
    assert life.again().repair().clean


@pytest.mark.parametrize("cast_first", [True, False], ids=["by a cast", "by a call"])
@pytest.mark.parametrize("loss", ["file", "folder"])
def test_a_journal_that_is_lost_while_it_is_open_is_told_once_and_never_begun_anew(
    life: Life, loss: str, *, cast_first: bool
) -> None:
    """Changes are refused, reads are answered; put back, all goes on."""
    state = life.start()
    kept = state.append_message("user", "kept")
    stream = state.begin_stream()
    place = life.path if loss == "file" else life.directory
    place.rename(place.with_name("away"))
    if cast_first:
        life.wire.cast(AppendChunk(stream.id, 0, "x" * CHUNK_BATCH))
    for _ in range(2):
        with pytest.raises(JournalLostError):
            state.append_message("user", "lost")
    told = [effect.fact for effect in life.wire.effects if isinstance(effect, Publish)]
    assert [type(fact) for fact in told] == [JournalLostError]
    assert state.messages() == [kept]
    life.crash()
    assert "JournalLostError" in life.refused()
    assert not place.exists()
    place.with_name("away").rename(place)

    assert next(iter(life.again().messages())) == kept


@pytest.mark.parametrize("size", [0, 300], ids=["to nothing", "within a record"])
def test_a_journal_that_is_cut_off_while_it_is_open_is_told(life: Life, size: int) -> None:
    """At once, by a refusal and an announcement, and again by the next State."""
    state = life.start()
    for text in ("one", "two", "three"):
        state.append_message("user", text)
    os.truncate(life.path, size)
    with pytest.raises(JournalLostError, match="cut it off"):
        state.append_message("user", "never")
    told = [effect.fact for effect in life.wire.effects if isinstance(effect, Publish)]
    assert [type(fact) for fact in told] == [JournalLostError]
    state = life.again()

    assert not state.repair().clean
    assert not state.repair().created
    assert state.repair().header_lost is (size == 0)
    assert [message.content for message in state.messages()] == []
    assert state.append_message("user", "goes on") == life.again().messages()[0]


LOSSES_OF_THE_HOLD = [
    "folder",
    "file",
    "taken by another system",
    "replaced by a pipe",
    "cut off",
    "written to",
]


def lose_hold(life: Life, how: str) -> None:
    """Have nothing keep other systems from the session any more."""
    owner = owner_path(life.path)
    match how:
        case "folder":
            shutil.rmtree(owner.parent)
        case "file":
            owner.unlink()
        case "replaced by a pipe":
            owner.unlink()
            os.mkfifo(owner)
        case "cut off":
            os.truncate(owner, 0)
        case "written to":
            with owner.open("ab") as file:
                file.write(b"!")
        case _:
            owner.unlink()
            other = Home(folder=str(life.directory), system="another one")
            os.close(other.own(OpenSession(life.session, frozenset(), Upkeep()).place))


@pytest.mark.parametrize("loss", LOSSES_OF_THE_HOLD)
def test_a_session_that_nothing_keeps_for_its_system_takes_no_changes(
    life: Life, loss: str
) -> None:
    """Another one may have it: refused, announced once, and not begun again; reads go on."""
    hold = life.home.own(OpenSession(life.session, frozenset(), Upkeep()).place)
    life.system = life.home.system
    state = life.start()
    kept = state.append_message("user", "kept")
    state = life.again()
    lose_hold(life, loss)
    for _ in range(2):
        with pytest.raises(JournalLostError, match="not kept for its system any more"):
            state.append_message("user", "lost")
    told = [effect.fact for effect in life.wire.effects if isinstance(effect, Publish)]
    assert [type(fact) for fact in told] == [JournalLostError]
    assert state.messages() == [kept]
    life.crash()
    assert "JournalLostError" in life.refused()
    os.close(hold)
    shutil.rmtree(owner_path(life.path).parent, ignore_errors=True)
    hold = life.home.own(OpenSession(life.session, frozenset(), Upkeep()).place)
    os.close(hold)

    assert life.start().messages() == [kept]


# ----- a disk that refuses ----------------------------------------------------


def test_on_a_full_disk_changes_are_refused_and_reads_are_answered(life: Life) -> None:
    """Nothing is half done; with space again all goes on."""
    state = life.start()
    kept = state.append_message("user", "kept")
    stream = state.begin_stream()
    state.append_chunk(stream.id, "so far", offset=0)
    with limited(resource.RLIMIT_FSIZE, life.path.stat().st_size + 10):
        before = snapshot(life.conversation)
        for change in (
            lambda: state.append_message("user", "x"),
            lambda: state.replace_todos([Todo("x")]),
            lambda: state.append_chunk(stream.id, "x", offset=6),
            lambda: state.end_stream(stream.id),
            lambda: update(state, state.session().update_config({"model": "m"})),
        ):
            with pytest.raises(JournalWriteError, match="too large"):
                change()
        assert state.messages() == [kept]
        assert snapshot(life.conversation) == before
    state.append_chunk(stream.id, "!", offset=6)
    state.end_stream(stream.id)
    after = snapshot(life.conversation)
    life.again()

    assert life.wire.exit is None
    assert snapshot(life.conversation) == after
    assert [message.content for message in after["messages"]] == ["kept", "so far!"]


def test_a_state_starts_on_a_full_disk_and_closes_what_was_open_later(life: Life) -> None:
    """With the first change that succeeds, and before it."""
    state = life.start()
    stream = state.begin_stream()
    state.append_chunk(stream.id, "so far", offset=0)
    life.crash()
    with limited(resource.RLIMIT_FSIZE, life.path.stat().st_size):
        state = life.start()
        assert state.messages() == []
        with pytest.raises(JournalWriteError):
            state.append_message("user", "x")
        with pytest.raises(JournalWriteError):
            state.append_chunk(stream.id, "x", offset=6)
    state.append_message("user", "next")

    assert [message.content for message in state.messages()] == ["so far", "next"]


# ----- much of it -------------------------------------------------------------


def test_older_messages_are_read_from_the_journal(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages go from the disk to the memory without a seam, before and after a crash."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 3)
    state = life.start()
    said = [state.append_message("user", str(number)) for number in range(10)]
    for crashed in (False, True):
        reader = life.again() if crashed else state
        assert all_pages(reader.messages, limit=4) == said
        assert reader.messages(after_seq=said[5].seq, limit=2) == said[6:8]
        assert reader.statistics().messages == 10
        assert reader.statistics().dropped_messages == 0
        assert len(life.conversation._fold.messages._latest) == 3


def test_cleared_messages_stay_cleared(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that were not in memory."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)
    state = life.start()
    for number in range(5):
        state.append_message("user", str(number), message_id=str(number))
    state.clear_messages()
    kept = state.append_message("user", "after")
    assert state.messages() == [kept]
    state = life.again()
    assert state.messages() == [kept]

    again = state.append_message("user", "again", message_id="4")
    assert state.messages() == [kept, again]


def test_a_hundred_thousand_messages_open_with_a_thousand_in_memory(
    life: Life, session: Session
) -> None:
    """Any other one is read when it is asked for."""
    count = 100_000
    life.directory.mkdir()
    message = Message(
        seq=0, id="ID", role="user", content="x" * 100, metadata={}, created_at=session.created_at
    )
    payload = encode(message)
    with life.path.open("wb") as file:
        file.write(FIRST_LINE)
        file.writelines(
            format_line(seq, payload.replace(b"ID", b"%d" % seq)) for seq in range(1, count + 1)
        )
    state = life.start()

    assert state.statistics().messages == count
    assert len(life.conversation._fold.messages._latest) == 1000
    assert [each.id for each in state.messages(after_seq=54_321, limit=2)] == ["54322", "54323"]
    assert state.append_message("user", "next").seq == count + 3


def test_a_journal_is_compacted_as_it_grows(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was superseded goes, what counts stays, and the file stays small."""
    monkeypatch.setattr(log_module, "COMPACT_FROM", 20_000)
    monkeypatch.setattr(journal_module, "RECENT", 5)
    state = life.start()
    fill(state)
    stream = state.begin_stream(message_id="open")
    for number in range(300):
        state.replace_todos([Todo("x" * 500), Todo(str(number))])
        state.append_chunk(stream.id, "y", offset=number)
    before = snapshot(life.conversation)

    assert life.path.stat().st_size < 60_000
    with pytest.raises(EventGapError) as caught:
        state.events(after_seq=3)
    assert state.events(after_seq=caught.value.resume_after)
    state = life.again()
    assert state.repair().clean
    before["messages"] += [state.messages()[-1]]
    assert before["messages"][-1].content == "y" * 300
    assert snapshot(life.conversation) == {**before, "streams": ()}


def test_the_oldest_messages_go_when_there_are_too_many(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and by bytes, with a compaction; never those in memory."""
    monkeypatch.setattr(log_module, "COMPACT_FROM", 5_000)
    monkeypatch.setattr(journal_module, "RECENT", 2)
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)
    monkeypatch.setattr(limits, "MAX_STORED_MESSAGES", 10)
    monkeypatch.setattr(limits, "MAX_STORED_SIZE", 1_500)
    state = life.start()
    said = [state.append_message("user", "x" * 100) for _ in range(300)]
    kept = all_pages(state.messages)

    assert kept == said[-len(kept) :]
    assert 2 <= len(kept) < 60
    assert state.statistics().dropped_messages == 300 - len(kept)
    assert all_pages(life.again().messages) == kept


def test_a_compaction_that_fails_harms_nobody(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is acknowledged, and the old file goes on."""
    monkeypatch.setattr(log_module, "COMPACT_FROM", 2_000)

    def fail(*_: object) -> None:
        raise JournalWriteError("no space")

    monkeypatch.setattr(journal_module.Journal, "compact", fail)
    state = life.start()
    for number in range(20):
        state.replace_todos([Todo(f"{number} " + "x" * 500)])

    assert life.again().todos()[0].content.startswith("19 ")


# ----- events -----------------------------------------------------------------


def test_a_subscriber_gets_every_event_once_across_crashes(life: Life) -> None:
    """It says the number of the last one it knows, and gets the next."""
    got: list[Change] = []
    for number in range(4):
        state = life.again()
        if number:
            state.append_message("user", f"before {number}")
        life.wire(Subscribe(ME, got[-1].seq if got else 0))
        for _ in range(3):
            state.append_message("user", "after")
        for message in life.sent(Events):
            got += message.events

    assert [change.seq for change in got] == list(range(1, life.conversation.last_seq + 1))
    assert got == all_events(life.conversation)


def all_events(conversation: Conversation) -> list[Change]:
    return conversation.events(after_seq=0, limit=1000)


def test_a_subscriber_gets_much_in_parts_and_in_order(life: Life) -> None:
    """What is left is sent when the State comes to it."""
    state = life.start()
    for _ in range(250):
        state.append_message("user", "x")
    life.wire(Subscribe(ME))
    state.append_message("user", "last")
    while timers := life.timers():
        for timer in timers:
            life.wire.info(timer.message)
    events = [change for message in life.sent(Events) for change in message.events]

    assert [change.seq for change in events] == list(range(1, 254))


def test_who_has_gone_or_unsubscribed_gets_nothing_more(life: Life) -> None:
    """A second subscription takes the place of the first."""
    state = life.start()
    last = life.wire(Subscribe(ME, 2))
    life.wire(Subscribe(ME, last))
    state.append_message("user", "x")
    assert len(life.sent(Events)) == 1
    watched = [effect for effect in life.wire.effects if isinstance(effect, WatchProcess)]
    life.wire.info(Down(watched[-1].token, ME, SHUTDOWN))
    state.append_message("user", "x")
    assert life.sent(Events) == []
    life.wire(Subscribe(ME, state.statistics().last_seq))
    life.wire(Unsubscribe(ME))
    state.append_message("user", "x")
    assert life.sent(Events) == []
    for bad in (Subscribe(ME, 99), Subscribe(ME, -1), Subscribe("me"), Unsubscribe([])):  # type: ignore[arg-type] # on purpose
        with pytest.raises((EventGapError, InvalidRequestError)):
            life.wire(bad)


def test_a_subscriber_that_cannot_be_served_is_told(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the events were compacted away before it got them."""
    monkeypatch.setattr(journal_module, "RECENT", 2)
    state = life.start()
    for number in range(250):
        state.replace_todos([Todo(str(number))])
    life.wire(Subscribe(ME))
    life.conversation.ledger._log.compact([])
    for timer in life.timers():
        life.wire.info(timer.message)
    (lost,) = life.sent(SubscriptionLost)

    assert isinstance(lost.error, EventGapError)
    assert state.events(after_seq=lost.error.resume_after)


def test_a_caller_can_wait_for_an_event(life: Life) -> None:
    """It is answered with the event, or empty when its time is over."""
    state = life.start()
    last = state.statistics().last_seq
    assert len(life.wire(request(events, after_seq=last - 1, wait=10))) == 1
    life.timers()
    life.wire.call_later(request(events, after_seq=last, wait=10))
    (timer,) = life.timers()
    assert timer.delay == 10
    message = state.append_message("user", "x")
    replies = [effect.value for effect in life.wire.effects if isinstance(effect, SendReply)]
    assert [message] in replies
    life.wire.info(timer.message)
    life.wire.effects.clear()
    life.wire.call_later(request(events, after_seq=last + 1, wait=10))
    (timer,) = life.timers()
    life.wire.info(timer.message)

    assert [effect.value for effect in life.wire.effects if isinstance(effect, SendReply)] == [[]]
    for wait in (-1, 61, float("nan"), "x", None, True):
        with pytest.raises(InvalidRequestError):
            life.wire(request(events, after_seq=last, wait=wait))  # type: ignore[arg-type] # on purpose


class Way(Struct):
    """The way to whatever State there is; a call to a crashed one says so, once."""

    life: Life
    crashed: bool = False

    def __call__(
        self, request: Any, /, *, timeout: float | None = None, stop: Stop | None = None
    ) -> Any:
        del timeout, stop
        if self.crashed:
            self.crashed = False
            raise ActorExitedError("state", Killed(9))
        return self.life.wire(request)


def test_subscribe_goes_on_across_crashes(life: Life) -> None:
    """The client asks the next State from the number where it was: no gap, no double."""
    life.start()
    way = Way(life)
    events = StateClient(way).subscribe(from_seq=2)
    got: list[Change] = []
    for _ in range(3):
        state = life.again()
        state.append_message("user", "x")
        while not got or got[-1].seq < life.conversation.last_seq:
            got.append(next(events))
        assert not way.crashed
        way.crashed = True

    assert [event.seq for event in got] == list(range(2, life.conversation.last_seq + 1))
    assert got == all_events(life.conversation)[1:]


@pytest.mark.parametrize("seq", [0, -1, True, 1.0, "1"], ids=repr)
def test_a_stream_from_no_number_of_an_event_is_refused(seq: object) -> None:
    """At once, not by its first event."""
    with pytest.raises(InvalidRequestError, match="from_seq must be an int of 1 or more"):
        StateClient(cast("Any", None)).subscribe(from_seq=cast("int", seq))


# ----- chunks that are cast ---------------------------------------------------


def test_chunks_that_are_cast_are_written_down_together(life: Life) -> None:
    """After a while, which is set once; or when there are many."""
    state = life.start()
    stream = state.begin_stream()
    for offset in range(5):
        life.wire.cast(AppendChunk(stream.id, offset, "x"))
    (timer,) = life.timers()
    assert timer.delay == CHUNK_DELAY
    assert state.statistics().last_seq == stream.seq
    life.wire.info(timer.message)
    assert state.statistics().last_seq == stream.seq + 1
    life.wire.cast(AppendChunk(stream.id, 5, "y" * CHUNK_BATCH))
    assert state.statistics().last_seq == stream.seq + 2

    assert life.timers() == []
    assert state.end_stream(stream.id).content == "x" * 5 + "y" * CHUNK_BATCH


def test_a_cast_chunk_that_breaks_a_rule_ends_its_message(life: Life) -> None:
    """Nobody can be told, so nothing is dropped in silence; one of no message is ignored."""
    state = life.start()
    stream = state.begin_stream()
    life.wire.cast(AppendChunk(stream.id, 0, "abc"))
    life.wire.cast(AppendChunk(stream.id, 9, "x"))
    life.wire.cast(AppendChunk("unknown", 0, "x"))
    life.wire.cast(AppendChunk(["odd"], 0, "x"))  # type: ignore[arg-type] # on purpose
    (message,) = state.messages()

    assert life.wire.exit is None
    assert (message.content, message.status) == ("abc", "interrupted")


def test_a_late_chunk_of_a_message_that_is_damaged_ends_no_state(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the message has ended, nobody can say: that is no reason to end all others."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 2)
    state = life.start()
    stream = state.begin_stream()
    state.end_stream(stream.id)
    for _ in range(3):
        state.append_message("user", "x")
    life.path.write_bytes(life.path.read_bytes().replace(b'"assistant"', b'"assistent"'))
    life.wire.cast(AppendChunk(stream.id, 0, "x"))

    assert life.wire.exit is None
    assert len(state.messages(last=2)) == 2


def test_cast_chunks_wait_while_the_disk_is_full(life: Life) -> None:
    """They are written down with the first chance."""
    state = life.start()
    stream = state.begin_stream()
    with limited(resource.RLIMIT_FSIZE, life.path.stat().st_size + 10):
        life.wire.cast(AppendChunk(stream.id, 0, "abc"))
        (timer,) = life.timers()
        life.wire.info(timer.message)
        (timer,) = life.timers()
        assert timer.delay == CHUNK_RETRY
        life.wire.cast(AppendChunk(stream.id, 3, "def"))
    life.wire.info(timer.message)
    state = life.again()

    assert [message.content for message in state.messages()] == ["abcdef"]


def test_what_cannot_be_written_at_a_stop_does_not_spoil_the_stop(life: Life) -> None:
    """It was not acknowledged; what was is there."""
    state = life.start()
    stream = state.begin_stream()
    state.append_chunk(stream.id, "kept", offset=0)
    with limited(resource.RLIMIT_FSIZE, life.path.stat().st_size + 10):
        life.wire.cast(AppendChunk(stream.id, 4, " not kept"))
        life.wire.cast(AppendChunk(stream.id, 99, "a gap"))
        life.wire.stop(SHUTDOWN)
    assert life.wire.exit == SHUTDOWN
    state = life.again()

    assert [message.content for message in state.messages()] == ["kept"]


# ----- journals without a session ---------------------------------------------


def test_journals_are_listed_with_the_latest_record(life: Life, session: Session) -> None:
    """From the ends of the files."""
    assert list_journals(life.directory) == []
    state = life.start()
    update(state, session.rename("market"))
    for _ in range(300):
        state.append_message("user", "x" * 2000)
    life.crash()
    (life.directory / "notes.jsonl").write_text("not a journal")
    (found,) = list_journals(life.directory)

    assert found.session_id == session.id
    assert found.session == load_record(life.path)
    assert found.session is not None
    assert found.session.name == "market"
    assert (found.last_seq, found.damaged) == (303, False)
    assert found.size == life.path.stat().st_size


@pytest.mark.parametrize("damage", ["bad", "endless", "header", "all", "empty", "newer", "other"])
def test_a_listed_journal_that_is_damaged_says_so(life: Life, damage: str) -> None:
    """It is listed nevertheless."""
    life.start().append_message("user", "x")
    life.crash()
    content = life.path.read_bytes()
    life.path.write_bytes(
        {
            "bad": content + b"bad\n",
            "endless": content + b"x" * (MAX_LINE + 2**18),
            "header": b"x" + content[1:],
            "all": b"garbage\n" * 3,
            "empty": b"",
            "newer": format_line(0, b'{"journal":2}'),
            "other": FIRST_LINE + format_line(1, b'{"session_changed":{"colour":"red"}}'),
        }[damage]
    )
    (found,) = list_journals(life.directory)

    assert found.damaged
    assert (found.session is None) is (damage not in {"bad", "header"})


def test_a_listed_journal_that_is_being_written_is_not_damaged(life: Life) -> None:
    """Its last line may be incomplete; at first there is none."""
    life.start().append_message("user", "x")
    life.crash()
    content = life.path.read_bytes()
    begun = len(FIRST_LINE)
    for size in (begun, begun + 9, len(content) - 1, len(content)):
        life.path.write_bytes(content[:size])
        (found,) = list_journals(life.directory)

        assert not found.damaged
        assert (found.session is None) is (size < begun + 10)


def test_a_journal_that_cannot_be_read_does_not_hide_the_others(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so itself, unless it is gone."""
    life.start()
    others = [life.directory / f"{new_session_id()}.jsonl" for _ in range(4)]
    others[0].symlink_to(life.path)
    others[1].mkdir()
    os.mkfifo(others[2])
    others[3].write_bytes(FIRST_LINE)
    lstat = Path.lstat

    def deleted_meanwhile(path: Path) -> os.stat_result:
        status = lstat(path)
        others[3].unlink(missing_ok=True)
        return status

    monkeypatch.setattr(Path, "lstat", deleted_meanwhile)
    found = {each.session_id: each for each in list_journals(life.directory)}

    assert found.pop(life.session.id).session == life.session
    assert found.keys() == {path.stem for path in others[:3]}
    assert all(each.damaged and each.session is None for each in found.values())


def test_a_directory_that_cannot_be_listed_is_an_error(life: Life) -> None:
    """It is not the same as an empty one."""
    life.start()
    with pytest.raises(JournalError, match="Not a directory"):
        list_journals(life.path)


def test_a_record_that_cannot_be_loaded_is_an_error(life: Life) -> None:
    """Which one, says why."""
    life.directory.mkdir()
    life.path.write_bytes(format_line(0, b'{"journal":2}'))
    with pytest.raises(JournalVersionError):
        load_record(life.path)
    life.path.write_bytes(FIRST_LINE)
    with pytest.raises(JournalDamagedError):
        load_record(life.path)


def test_a_journal_is_exported_as_json(life: Life) -> None:
    """Also while it is open; what is damaged is said in the end."""
    fill(life.start())
    exported = list(export_journal(life.path))
    json.dumps(exported)
    assert [item["seq"] for item in exported] == list(range(1, len(exported) + 1))
    assert exported[2]["message"]["role"] == "user"
    life.crash()
    life.path.write_bytes(life.path.read_bytes().replace(b'"user"', b'"uses"') + b"torn")
    damaged = list(export_journal(life.path))

    assert damaged[-1]["damaged"]["missing"] == 1
    assert damaged[-1]["damaged"]["bytes"] > 4
    assert [item for item in damaged[:-1] if item in exported] == damaged[:-1]


def test_a_line_that_is_written_while_a_journal_is_read_is_no_damage(
    life: Life, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second half comes right after the reader has found the first."""
    fill(life.start())
    life.crash()
    whole = life.path.read_bytes()
    count = whole.count(b"\n") - 1
    note_bad = format_module._note_bad

    def write_the_rest(*found: Any) -> None:
        life.path.write_bytes(whole)
        note_bad(*found)

    monkeypatch.setattr(format_module, "_note_bad", write_the_rest)
    life.path.write_bytes(whole[:-5])
    exported = list(export_journal(life.path))
    life.path.write_bytes(whole[:-5])
    fork = Session.new(project_path=folder)
    fork_journal(life.path, fork)

    assert [item["seq"] for item in exported] == list(range(1, count))
    assert load_record(journal_path(life.directory, fork.id)) == fork


def test_a_fork_has_what_was_until_then_and_goes_its_own_way(
    life: Life, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original may be open, and is not touched; it may have been compacted."""
    monkeypatch.setattr(journal_module, "RECENT", 2)
    state = life.start()
    said = [state.append_message("user", str(number)) for number in range(5)]
    for number in range(5):
        state.replace_todos([Todo(str(number))])
    life.conversation.ledger.compact()
    before = life.path.read_bytes()
    own = Session.new(project_path=folder, name="fork")
    assert fork_journal(life.path, own, upto_seq=said[2].seq).exists()
    with pytest.raises(JournalError, match="exists"):
        fork_journal(life.path, own)
    whole = Session.new(project_path=folder, name="whole")
    fork_journal(life.path, whole)
    for bad in (0, "x", 99, 10**5000):
        with pytest.raises(InvalidRequestError):
            fork_journal(life.path, Session.new(project_path=folder), upto_seq=bad)  # type: ignore[arg-type] # on purpose
    assert life.path.read_bytes() == before
    life.crash()
    state = life.start(session=own)
    assert state.session() == own
    assert state.repair().clean
    assert state.messages() == said[:3]
    life.crash()
    state = life.start(session=whole)

    assert state.repair().clean
    assert (state.messages(), state.todos()) == (said, (Todo("4"),))
    assert len(list(life.directory.iterdir())) == 3


@pytest.mark.parametrize("payload", [b"hello", b"[1]", b"[" * 100_000])
def test_a_record_that_is_no_change_is_not_exported(life: Life, payload: bytes) -> None:
    """Its checksum is right: somebody else wrote it."""
    fill(life.start())
    last = life.conversation.last_seq
    life.crash()
    with life.path.open("ab") as file:
        file.write(format_line(last + 1, payload))
    with pytest.raises(JournalDamagedError, match="is no change"):
        list(export_journal(life.path))


def test_a_damaged_journal_is_not_forked(life: Life, folder: Path) -> None:
    """Opening it repairs it."""
    fill(life.start())
    life.crash()
    life.path.write_bytes(life.path.read_bytes().replace(b'"user"', b'"uses"'))
    with pytest.raises(JournalDamagedError):
        fork_journal(life.path, Session.new(project_path=folder))
    life.start()

    assert fork_journal(life.path, Session.new(project_path=folder)).exists()


WITHOUT_A_JOURNAL: dict[str, Callable[[Path, Session], object]] = {
    "load": lambda path, _: load_record(path),
    "move": add_record,
    "export": lambda path, _: list(export_journal(path)),
    "fork": lambda path, session: fork_journal(path, evolve(session, id=new_session_id())),
    "delete": lambda path, _: delete_journal(path),
}


@pytest.mark.parametrize("way", WITHOUT_A_JOURNAL)
def test_a_journal_that_was_deleted_meanwhile_is_that_of_no_session(life: Life, way: str) -> None:
    """Whoever looks for it says so; its disk is well, and nothing is left of the attempt."""
    life.begin()
    life.path.unlink()
    with pytest.raises(SessionNotFoundError, match=life.session.id):
        WITHOUT_A_JOURNAL[way](life.path, life.session)

    assert not [path for path in life.directory.rglob("*") if path.is_file()]


def test_a_deleted_journal_leaves_nothing(life: Life) -> None:
    """One that is open is not deleted."""
    life.start()
    with pytest.raises(JournalLockedError):
        delete_journal(life.path)
    life.crash()
    life.path.write_bytes(life.path.read_bytes() + b"torn")
    life.again()
    life.crash()
    delete_journal(life.path)

    assert list(life.directory.iterdir()) == [life.directory / "open"]
    assert list((life.directory / "open").iterdir()) == []


# ----- kill -9 ----------------------------------------------------------------

KILLED_STATE = """
import os, random, signal, sys
from pathlib import Path
from jidocode.session.conversation.changes import Todo
from jidocode.session.journal import change_log, file
from jidocode.session.journal.ownership import Home
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session

change_log.COMPACT_FROM, file.RECENT = 60_000, 30
rounds = int(sys.argv[2])
session = Session.new(project_path=sys.argv[3])

def opened():
    folder = f"{sys.argv[1]}/{number // 20}"
    Home(folder=folder, system="this one").begin_journal(session.id)
    conversation = recover(session, folder, "process")
    assert conversation.repair.clean or conversation.repair.torn_bytes, conversation.repair
    return conversation

def write(acks, turn):
    conversation = opened()
    while True:
        turn += 1
        text = f"{turn}:" + "x" * (9000 if turn % 7 == 0 else 50)
        conversation.append_message(f"m{turn}", "user", text)
        conversation.replace_todos([Todo(str(turn))])
        conversation.begin_stream(f"s{turn}")
        conversation.append_chunk(f"s{turn}", 0, text)
        conversation.add_tool_call(f"c{turn}", "run")
        acks.write(b"%d\\n" % turn)

dice = random.Random(3)
total = 0
for number in range(rounds):
    if number % 20 == 0:  # another journal: each round reads the whole history
        last, acknowledged = 0, set()
    first = last
    read, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            write(open(end, "wb", buffering=0), last)
        except Exception as error:  # ten streams are open
            assert "streamed already" in str(error), error
            signal.pause()
    os.close(end)
    acks = open(read, "rb")
    for _ in range(dice.randint(1, 9)):
        last = int(acks.readline())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    rest = [int(line) for line in acks.read().splitlines(True) if line[-1:] == b"\\n"]
    acknowledged.update(range(first + 1, max([last, *rest]) + 1))
    total += max([last, *rest]) - first
    last = max([last, *rest])
    acks.close()
    conversation = opened()
    said, page = [], [None]
    while page:
        page = conversation.messages(after_seq=said[-1].seq if said else 0, limit=1000)
        said += page
    ids = [message.id for message in said]
    assert len(ids) == len(set(ids))
    assert {f"{kind}{n}" for n in acknowledged for kind in "ms"} <= set(ids)
    assert all(m.content.startswith(m.id[1:] + ":") for m in said if m.id[0] == "m")
    assert all(m.status == "interrupted" for m in said if m.id[0] == "s")
    assert int(conversation.todos()[0].content) in (last, last + 1)
    assert not conversation._fold.unanswered_calls() and not conversation.streams()
    last = max(int(i[1:]) for i in ids)
    conversation.close()
print(total)
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_to_two_hundred_kills(tmp_path: Path, folder: Path) -> None:
    """Under load, with compactions, open streams and open calls; and nothing comes twice."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED_STATE, str(tmp_path / "state"), "200", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.stderr == ""
    assert int(done.stdout) >= 200


# ----- against a model --------------------------------------------------------


def plain(value: object) -> object:
    """Return *value* without numbers and times, which differ between two conversations."""
    if isinstance(value, Session):
        return value.config
    if isinstance(value, Change):
        names = [each.name for each in type(value).__attrs_attrs__]
        return {
            name: plain(getattr(value, name))
            for name in names
            if name not in {"seq", "created_at", "repair"}
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("list[object]", value)]
    return value


class ConversationMachine(RuleBasedStateMachine):
    """A conversation with a journal, which crashes now and then, next to one in memory."""

    directory: Path
    session: Session
    counter = 0

    @initialize()
    def start(self) -> None:
        type(self).counter += 1
        self.place = self.directory / str(self.counter)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "MAX_MESSAGES", 1000)
            self.model = Conversation.in_memory(self.session)
        self.ids = 0
        self.open()

    def open(self) -> None:
        Home(folder=str(self.place), system="this one").begin_journal(self.session.id)
        self.durable = recover(self.session, self.place, "process")

    def both(self, method: str, *args: object, **options: object) -> None:
        answers: list[object] = []
        for each in (self.model, self.durable):
            try:
                answers.append(plain(getattr(each, method)(*args, **options)))
            except InvalidRequestError as error:
                answers.append(error.message)
        assert answers[0] == answers[1]

    def waiting(self, stream_id: str) -> int:
        waiting = self.model._streams._waiting.get(stream_id)
        return waiting.length if waiting else 0

    def fresh(self) -> str:
        self.ids += 1
        return str(self.ids)

    @rule(text=st.text(max_size=50), again=st.booleans())
    def say(self, text: str, *, again: bool) -> None:
        message_id = self.fresh()
        for _ in range(1 + again):
            self.both("append_message", message_id, "user", text, {"t": text})

    @rule()
    def clear(self) -> None:
        self.both("clear_messages")

    @rule()
    def begin(self) -> None:
        self.both("begin_stream", self.fresh())

    @rule(text=st.text(max_size=20), number=st.integers(0, 3), wait=st.booleans())
    def go_on(self, text: str, number: int, *, wait: bool) -> None:
        for stream in self.model.streams()[number : number + 1]:
            offset = self.model._fold.streams[stream.id].length + self.waiting(stream.id)
            self.both("append_chunk", stream.id, offset, text, wait=wait)

    @rule()
    def flush(self) -> None:
        self.both("flush")

    @rule(number=st.integers(0, 3), status=st.sampled_from(["complete", "aborted"]))
    def end(self, number: int, status: str) -> None:
        for stream in self.model.streams()[number : number + 1]:
            self.both("end_stream", stream.id, status)

    @rule(answer=st.booleans())
    def use_a_tool(self, *, answer: bool) -> None:
        call_id = self.fresh()
        self.both("add_tool_call", call_id, "run", {"x": 1})
        if answer:
            self.both("add_tool_result", call_id, "done")

    @rule(text=st.text(max_size=10))
    def think(self, text: str) -> None:
        self.both("add_reasoning_step", self.fresh(), text)

    @rule()
    def stop_thinking(self) -> None:
        self.both("clear_reasoning")

    @rule(texts=st.lists(st.text(min_size=1, max_size=10), max_size=3))
    def plan(self, texts: list[str]) -> None:
        self.both("replace_todos", [Todo(text) for text in texts])

    @rule(key=st.sampled_from("abc"), value=st.none() | st.integers())
    def set(self, key: str, value: int | None) -> None:
        self.both("update_settings", {key: value})
        self.both("replace_tool_context", {key: value})
        self.both("add_prompt", self.fresh(), f"{key} {value}")

    @rule(path=st.sampled_from("abc"), kind=st.sampled_from(["read", "write"]))
    def touch(self, path: str, kind: str) -> None:
        self.both("add_file_access", path, kind, "a" * 64)

    @rule(temperature=st.floats(0, 2))
    def configure(self, temperature: float) -> None:
        self.durable.session = self.durable.session.update_config({"temperature": temperature})
        self.model.session = self.durable.session

    @rule()
    def fail(self) -> None:
        with (
            limited(
                resource.RLIMIT_FSIZE, journal_path(self.place, self.session.id).stat().st_size + 5
            ),
            pytest.raises(JournalWriteError),
        ):
            self.durable.append_message(self.fresh(), "user", "never")

    @rule()
    def compact(self) -> None:
        self.durable.ledger.compact()

    @rule(cut=st.integers(0, 20))
    def crash(self, cut: int) -> None:
        self.durable.ledger.close()
        with journal_path(self.place, self.session.id).open("ab") as file:
            file.write(b'00000000 1 {"message":{}}'[:cut])
        self.model._streams._waiting.clear()
        for stream_id in [stream.id for stream in self.model.streams()]:
            self.model.end_stream(stream_id, "interrupted")
        for call in self.model._fold.unanswered_calls():
            self.model.add_tool_result(call.id, INTERRUPTED_CALL, is_error=True)
        self.open()
        assert self.durable.repair.torn_bytes == cut

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "durable"):
            expected, found = snapshot(self.model), snapshot(self.durable)
            for key, value in expected.items():
                assert plain(found[key]) == plain(value), key
            events = self.durable.events(
                after_seq=self.durable.ledger._log.readable_after, limit=1000
            )
            last = self.durable.last_seq
            assert [event.seq for event in events] == list(range(last - len(events) + 1, last + 1))

    def teardown(self) -> None:
        if hasattr(self, "durable"):
            self.durable.ledger.close()


def test_a_durable_conversation_behaves_like_one_in_memory(
    tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is said, with crashes and refusals in between."""
    monkeypatch.setattr(limits, "MAX_MESSAGES", 3)
    monkeypatch.setattr(journal_module, "RECENT", 3)
    monkeypatch.setattr(log_module, "COMPACT_FROM", 3000)
    monkeypatch.setattr(ConversationMachine, "directory", tmp_path, raising=False)
    monkeypatch.setattr(ConversationMachine, "session", session, raising=False)
    run: Callable[..., None] = run_state_machine_as_test
    run(
        ConversationMachine,
        settings=settings(max_examples=40, stateful_step_count=30),
    )
