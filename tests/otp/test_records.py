"""What `jidocode.otp` gives out as data: one kind of record, and none that prints secrets."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from jidocode.base.refs import ActorRef
from jidocode.otp import (
    Caller,
    ChildSpec,
    DynamicFlags,
    Flags,
    NoReply,
    Refuse,
    Reply,
    Response,
    Start,
    Stop,
)
from jidocode.otp.naming.messages import (
    ClaimName,
    Live,
    NameRegistered,
    Restarting,
    WhereIs,
)
from jidocode.otp.naming.table import Entry
from jidocode.otp.supervision.machine import Claim
from tests.otp.machines import Worker

REF = ActorRef("worker", 1, 2)
TEXT = "what a user wrote"
RECORDS = [
    Reply(1, timeout=2.0, then="x"),
    Refuse(ValueError("no")),
    NoReply(then=("x",)),
    Response(1, "value", None),
    Caller(("127.0.0.1", 1), 2),
    ChildSpec(id="a", start=Start(Worker, 1, depth=2)),
    Flags(max_restarts=1),
    DynamicFlags(max_children=1),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_pickle_and_cannot_be_changed(record: Any) -> None:
    """They cross processes, and are shared by whoever holds them."""
    copy = pickle.loads(pickle.dumps(record))

    assert type(copy) is type(record)
    assert repr(copy) == repr(record)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, record.__attrs_attrs__[0].name, None)


@pytest.mark.parametrize(
    "record",
    [
        Reply(TEXT, then=TEXT),
        NoReply(then=TEXT),
        Stop(reply=TEXT),
        Response(1, TEXT, None),
        Start(Worker, TEXT, key=TEXT),
        ChildSpec(id="a", start=Start(Worker, TEXT), value=TEXT),
        Claim(1, ("k", "1"), TEXT),
        ClaimName(("k", "1"), REF, 1, TEXT),
        Live(REF, TEXT),
        Restarting(TEXT),
        NameRegistered(("k", "1"), REF, TEXT),
        WhereIs(TEXT),
        Entry(("k", "1"), REF, 1, TEXT),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_a_user_passes_through_is_not_printed(record: Any) -> None:
    """Texts of records end up in logs and tracebacks."""
    assert TEXT not in repr(record)
    assert TEXT not in str(record)
