"""Summaries: what stands, for a model, for all that was said before."""

from __future__ import annotations

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import Completion
from jidocode.session.conversation.changes import Summary, now
from jidocode.session.conversation.conversation import Conversation


def summarize(
    holder: Conversation,
    summary_id: str,
    content: str,
    upto_seq: int,
    completion: Completion | None = None,
) -> Summary:
    """Have *content* stand for all that was said up to the number *upto_seq*, in `history`.

    Nothing is dropped: `messages` returns all, as before. What was summarized is not again: the
    next summary stands for more, and for this one, too. It goes when the messages are cleared.

    Raises:
        InvalidRequestError: An argument breaks a rule, *upto_seq* is not reached yet, or lies
            before the end of the last summary, or another summary has that id.
    """
    ledger = holder.ledger
    known = ledger.fold.summary
    checks.label("the id of a summary", summary_id)
    if not checks.content(content).strip():
        raise InvalidRequestError("a summary must say something")
    require_int("upto_seq", upto_seq, least=1)
    checks.completion(completion)
    if upto_seq > ledger.last_seq:
        raise InvalidRequestError(f"there is no number {quote(upto_seq)} yet")
    if known is not None and known.id == summary_id:
        there = (known.content, known.upto_seq)
        checks.same("summary", summary_id, there, (content, upto_seq))
        return known
    if known is not None and upto_seq < known.upto_seq:
        raise InvalidRequestError(f"there is a summary up to {known.upto_seq} already")
    ledger.count(summary_id, completion)
    return ledger.commit(
        lambda seq: Summary(
            seq=seq, id=summary_id, content=content, upto_seq=upto_seq, created_at=now()
        )
    )


def summary(holder: Conversation) -> Summary | None:
    """Return the last summary, None if there is none."""
    return holder.ledger.fold.summary
