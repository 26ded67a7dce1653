"""State: the process that keeps a session's conversation.

Its sibling, the Manager, holds the project's files. With a directory for
journals, whatever a State has answered survives the death of every process of
the system: the next State goes on with it. Without one it is kept in memory,
and a restart begins with an empty conversation, and with the record that the
supervisor holds (OTP: restarts begin with the spec's arguments).
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from jidocode.base import log
from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef
from jidocode.base.structs import Discreet
from jidocode.errors import (
    InvalidRequestError,
    JournalError,
    JournalLostError,
    JournalWriteError,
    SessionError,
)
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller, Down, Response
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply, Result
from jidocode.session.conversation.changes import ChunkKind
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.idle import IdleWatch, LookIdle, Use
from jidocode.session.journal.file import Durability
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session
from jidocode.session.requests import SESSION_OPERATIONS, Request
from jidocode.session.state.operations import OPERATIONS, NoEventYet
from jidocode.session.state.subscriptions import (
    SendMore,
    Subscribe,
    Subscriptions,
    Unsubscribe,
    WaitOver,
)

CHUNK_DELAY = 0.05
"""Seconds after which a chunk that was cast is written down."""
CHUNK_RETRY = 1.0
"""Seconds after which that is tried again if it failed."""
CHUNK_BATCH = 2**14
"""Characters of chunks that were cast, with which they are written down at once."""
_STATISTICS = Conversation.statistics.__name__


class AppendChunk(Discreet, frozen=True):
    """The operation `append_chunk` as a cast: nobody waits, so several are written at once.

    Attributes:
        message_id: A message that was begun and has not ended.
        offset: How many characters came before.
        text: What comes.
        kind: Whether it is text or reasoning.
    """

    hidden = ("text",)

    message_id: str
    offset: int
    text: str
    kind: ChunkKind = "text"


class _Flush(Struct, frozen=True):
    """Write down what waits."""


class _Abandoned(Struct, frozen=True):
    """End what *owner*, which is gone, has left open."""

    owner: ActorRef


def _only_looks(request: object) -> bool:
    """Whether *request* is how much there is, which `jidocode top` asks again and again.

    That is no use of a session: one that somebody watches would never be idle.
    """
    return isinstance(request, Request) and request.operation == _STATISTICS


class State(GenServer):
    """The server: one `Conversation`.

    A refusal (`SessionError`, `JournalError`) goes to the caller, and the State
    goes on; anything else ends it, and its supervisor decides. With a journal,
    what a call changes is written down before its answer.

    An `AppendChunk` may be cast: it is written down within `CHUNK_DELAY`,
    together with others. One that is of no running message is ignored; one that
    breaks a rule ends its message as `interrupted`.

    What a process has begun, as its owner, is ended as `interrupted` when that process dies.

    Other actors may send it a `Subscribe`.
    """

    kind: ClassVar[str] = "state"

    conversation: Conversation

    def init(  # noqa: PLR0913, PLR0917 - all that it is started with
        self,
        session: Session,
        journal_dir: str | None = None,
        durability: Durability = "process",
        system: str | None = None,
        idle_timeout: float | None = None,
        others: tuple[str, ...] = (),
    ) -> None:
        """Begin or resume the conversation of *session* (called by the host, first).

        A journal that was damaged is announced to the app, as a `Repair`; one that is
        renamed, deleted, replaced, or written to by somebody else, while it is open as a
        `JournalLostError`, once.

        Args:
            session: The record. If the journal has a later one, that counts.
            journal_dir: Where journals are; created if need be. None for memory.
            durability: What a change survives once it is acknowledged: the death
                of the `"process"`, or the loss of `"power"`.
            system: The system that has the session open, which takes no change any more
                once that is not sure; None if there are no others.
            idle_timeout: Seconds after which a session is stopped that nobody uses; None for never.
            others: The ids of further children that may be in use meanwhile.

        Raises:
            JournalError: The journal cannot be opened; see `recovery.recover`.
        """
        if journal_dir is None:
            self.conversation = Conversation.in_memory(session)
        else:
            self.conversation = recover(session, journal_dir, durability, system)
        if not self.conversation.repair.clean:
            self.announce(self.conversation.repair)
        self._subscriptions = Subscriptions(self, self.conversation)
        self._will_flush = False
        self._told_of_loss = False
        self._use = Use()
        self._idle: IdleWatch | None = None
        if idle_timeout is not None:
            asked = tuple(map(self.sibling, ("manager", "commands", "agent", *others)))
            self._idle = IdleWatch(self, session.id, idle_timeout, self._idle_seconds, asked)

    def _idle_seconds(self) -> float:
        if self._subscriptions or self.conversation.streams():
            self._use.note()
        return self._use.idle_seconds()

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*."""
        if not _only_looks(request):
            self._use.note()
        try:
            result = self._answer(request, caller)
        except (SessionError, JournalError) as error:
            result = Refuse(error)
        if isinstance(result, Refuse):  # mostly by the operations, which raise nothing
            self._tell_of_loss(result.error)
        while self.conversation.owners.new:
            self.watch_process(self.conversation.owners.new.pop())
        while self.conversation.ledger.answered:
            self.announce(self.conversation.ledger.answered.pop(0))
        self._subscriptions.publish()
        return result

    def _answer(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case Subscribe():
                return Reply(self._subscriptions.subscribe(request))
            case Unsubscribe():
                self._subscriptions.unsubscribe(request.subscriber)
                return Reply()
            case _:
                return self._carry_out(request, caller) or super().handle_call(request, caller)

    def _carry_out(self, request: Any, caller: Caller) -> CallResult | None:
        try:
            return OPERATIONS.answer(request, self.conversation) or SESSION_OPERATIONS.answer(
                request, self.conversation
            )
        except NoEventYet as nothing:
            self._subscriptions.wait(caller, request, nothing.seconds)
            return NoReply()

    def handle_cast(self, request: Any) -> Result:
        """Take in a chunk that nobody waits for."""
        self._use.note()
        if not isinstance(request, AppendChunk):
            return super().handle_cast(request)
        try:
            self.conversation.append_chunk(
                request.message_id, request.offset, request.text, kind=request.kind, wait=True
            )
        except InvalidRequestError as error:
            self._interrupt(request.message_id, error)
        except JournalError as error:
            self._tell_of_loss(error)
            log.warning("a chunk was lost: {}", error.message)
        self._flush_when_due()
        self._subscriptions.publish()
        return None

    def _interrupt(self, message_id: object, error: InvalidRequestError) -> None:
        """End the message of a chunk that cannot be taken, if it runs."""
        if any(stream.id == message_id for stream in self.conversation.streams()):
            log.warning("a message is interrupted: {}", error.message)
            try:
                self.conversation.end_stream(str(message_id), "interrupted")
            except JournalWriteError as failure:
                self._tell_of_loss(failure)
                log.warning("its end has to wait for the next chunk: {}", failure.message)

    def _interrupt_all_of(self, owner: ActorRef) -> None:
        """End what a process that is gone has left open."""
        try:
            self.conversation.interrupt(owner)
        except JournalWriteError as error:
            self._tell_of_loss(error)
            log.warning("what a dead process left open has to wait: {}", error.message)
            self.send_after(CHUNK_RETRY, _Abandoned(owner))

    def _tell_of_loss(self, error: Exception) -> None:
        if isinstance(error, JournalLostError) and not self._told_of_loss:
            self._told_of_loss = True
            log.error("{}", error.message)
            self.announce(error)

    def handle_info(self, message: Any) -> Result:
        """Act on timers, and on the deaths of subscribers."""
        match message:
            case _Flush():
                self._will_flush = False
                self._flush()
            case SendMore():
                self._subscriptions.send(message.subscriber)
            case WaitOver():
                self._subscriptions.wait_over(message.number)
            case Down():
                self._subscriptions.unsubscribe(message.ref)
                self._interrupt_all_of(message.ref)
            case _Abandoned():
                self._interrupt_all_of(message.owner)
            case LookIdle() if self._idle is not None:
                self._idle.look()
            case Response() if self._idle is not None and self._idle.take(message):
                pass
            case _:
                return super().handle_info(message)
        self._subscriptions.publish()
        return None

    def _flush_when_due(self) -> None:
        waiting = self.conversation.waiting_length
        if waiting >= CHUNK_BATCH:
            self._flush()
        elif waiting:
            self._flush_after(CHUNK_DELAY)

    def _flush_after(self, delay: float) -> None:
        if not self._will_flush:
            self._will_flush = True
            self.send_after(delay, _Flush())

    def _flush(self) -> None:
        try:
            self.conversation.flush()
        except JournalWriteError as error:
            self._tell_of_loss(error)
            log.warning("chunks have to wait: {}", error.message)
            self._flush_after(CHUNK_RETRY)

    def terminate(self, reason: ExitReason) -> None:
        """Write down what waits, and close the journal."""
        del reason
        try:
            self.conversation.close()
        except JournalWriteError as error:
            log.warning("chunks were lost: {}", error.message)
