"""Approvals: questions that somebody answers, now or after any crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.conversation import checks, limits
from jidocode.session.conversation.changes import Approval, ApprovalAnswer, now
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.paging import page


def ask(
    holder: Conversation,
    approval_id: str,
    question: str,
    options: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
) -> Approval:
    """Ask a question, or return the one that has *approval_id* already.

    Raises:
        InvalidRequestError: An argument breaks a rule, another question has that id, or
            too many wait for their answers.
    """
    ledger = holder.ledger
    approvals = ledger.fold.approvals
    known = approvals.get(checks.label("the id of an approval", approval_id))
    checks.content(question)
    choices = checks.options(options)
    given = checks.json_mapping("metadata", metadata)
    if known is not None:
        there = (known.question, known.options, known.metadata)
        checks.same("approval", approval_id, there, (question, choices, given))
        return known
    if sum(each.answer is None for each in approvals.values()) >= limits.MAX_OPEN_APPROVALS:
        raise InvalidRequestError(
            f"{limits.MAX_OPEN_APPROVALS} approvals wait for an answer already"
        )
    return ledger.commit(
        lambda seq: Approval(
            seq=seq,
            id=approval_id,
            question=question,
            options=choices,
            metadata=given,
            created_at=now(),
        )
    )


def answer(holder: Conversation, approval_id: str, option: str | None) -> Approval:
    """Answer a question with one of its options, once; None withdraws it. Anybody may.

    The same answer again changes nothing.

    Raises:
        InvalidRequestError: There is no such question, it has no such option, or it has
            been answered otherwise.
    """
    ledger = holder.ledger
    approvals = ledger.fold.approvals
    known = approvals.get(checks.label("the id of an approval", approval_id))
    if known is None:
        raise InvalidRequestError(f"no approval {quote(approval_id)}")
    if option is not None:
        checks.one_of("an answer", option, known.options)
    if known.answer is None:
        ledger.commit(
            lambda seq: ApprovalAnswer(
                seq=seq, approval_id=approval_id, option=option, created_at=now()
            )
        )
    elif known.answer.option != option:
        raise InvalidRequestError(f"approval {quote(approval_id)} has another answer already")
    return approvals[approval_id]


def approvals(holder: Conversation, *, after_seq: int = 0, limit: int = 100) -> list[Approval]:
    """Return the first questions after *after_seq*, in pages as `messages`.

    Open ones have no `answer` yet.
    """
    return page(holder.ledger.fold.approvals.values(), after_seq=after_seq, limit=limit)
