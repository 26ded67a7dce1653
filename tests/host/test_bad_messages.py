"""Messages that are not what they should be: a child's mistake ends at most the child.

Every kind of message that the registry, supervisors, servers and the host take is sent to
them with every field wrong in turn, in a seeded order; and each goes on with its work.
"""

from __future__ import annotations

import copy
import enum
import math
import os
import random
import socket
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from actors import Talker, subject
from loguru import logger
from servers import Group
from thespian.system.messages import admin, multiproc
from trees import REGISTRY_ID, MakeTree, Tree

from jidocode._host import wire
from jidocode._host.actor.server_shell import ServerShell
from jidocode._host.actor.shell import Shell
from jidocode._host.actor.supervisor_shell import SupervisorShell
from jidocode._host.client.directory import Directory
from jidocode._host.client.news import NewsDesk
from jidocode._host.daemon.guard import Watch
from jidocode._host.daemon.host import HostAdmin
from jidocode._host.logs import open_channel
from jidocode._host.shipper import Shipper
from jidocode._host.transport.address import Address, LoopbackAddress
from jidocode._host.transport.key import new_key
from jidocode._host.transport.thespian import ThespianEnvelope, ThespianTransport
from jidocode.base.log import Line
from jidocode.base.records import Record
from jidocode.errors import HandlerError, SessionLimitError
from jidocode.otp import ActorRef, ChildSpec, Down, DynamicSupervisor, Flags, Response, Start
from jidocode.otp.naming import messages as naming
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision import events, machine, management
from jidocode.session.admission import messages as admission
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.admission.registry import ProcessRegistry
from jidocode.session.agent.spec import ModelSpec
from jidocode.session.record import Session
from jidocode.testing import eventually

SEED = int(os.environ.get("JIDOCODE_SEED", "16"))
MANY = Flags(max_restarts=100_000)
SELF = LoopbackAddress(9, 9)
PARENT = LoopbackAddress(8, 8)
STRANGER = LoopbackAddress(7, 7)
GARBAGE: list[object] = [
    None,
    0,
    -1,
    2**70,
    1.5,
    math.nan,
    True,
    "manager",
    "",
    b"bytes",
    (),
    ("manager",),
    ("manager", 5),
    ("session", "x", "y"),
    list[object](),
    [list[object]()],
    dict[object, object](),
    {1: list[object]()},
    set[object](),
    ValueError("an error"),
    object,
    ActorRef("worker", 1, -5, None),
    ActorRef("worker", 1, 2**40, LoopbackAddress(1, 1)),
    ActorRef("worker", 1, 1, []),  # type: ignore[arg-type] # what is sent is wrong
    ActorRef([], {}, "x", [[]], 5),  # type: ignore[arg-type] # idem
    object.__new__(ActorRef),
    Down([], "manager", 5),  # type: ignore[arg-type] # idem
]


def classes(*modules: types.ModuleType) -> list[type[Any]]:
    return [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type)
        and each.__module__ == module.__name__
        and (hasattr(each, "__struct_fields__") or issubclass(each, Record))
    ]


CLASSES = [
    *classes(naming, machine, management, events, admission, wire),
    Down,
    Response,
    Caller,
    ActorRef,
]


def fields(cls: type[Any]) -> list[str]:
    names: Sequence[str] | None = getattr(cls, "__struct_fields__", None)
    return list(names) if names is not None else [f.name for f in cls.__attrs_attrs__]


def sound(hint: Any) -> Any:
    """Return a value of a type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return sound(args[0])
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return () if Ellipsis in args else tuple(sound(each) for each in args)
    if origin is frozenset:
        return frozenset[object]()
    if isinstance(origin, type):
        return {} if issubclass(origin, Mapping) else []
    known: dict[Any, Any] = {
        int: 7,
        str: "seven",
        float: 7.0,
        bool: False,
        bytes: b"seven",
        object: None,
        Any: None,
        Address: STRANGER,
        Hashable: STRANGER,
        ActorRef: ActorRef("worker", 1, 2**22 + 1, STRANGER),
        ChildSpec: ChildSpec(id="seven", start=Talker),
        Start: Start(Talker),
        Session: Session.new(project_path="/"),
        ModelSpec: ModelSpec(),
        Exception: ValueError("seven"),
        SessionLimitError: SessionLimitError(7, 7),
    }
    if hint in known:
        return known[hint]
    if issubclass(hint, enum.Enum):
        return next(iter(hint))
    return made(hint)


def made(cls: type[Any], **wrong: object) -> Any:
    """Return a message of a class, right but for the fields that are *wrong*."""
    hints = get_type_hints(cls)
    values = {name: wrong[name] if name in wrong else sound(hints[name]) for name in fields(cls)}
    return cls(**values)


def all_messages() -> list[object]:
    """Return one good message of every kind, and bad ones with each of their fields wrong."""
    rng = random.Random(SEED)  # noqa: S311 - to be had again
    others = [made(cls) for cls in CLASSES]
    messages: list[object] = list(GARBAGE)
    for name in ("a", "b"):
        claims = [made(naming.ClaimName, name=("session", name), value=made(admission.OpenSession))]
        for field in fields(Session):
            record = copy.copy(sound(Session))
            object.__setattr__(record, field, rng.choice(GARBAGE))
            opened = made(admission.OpenSession, record=record)
            claims.append(made(naming.ClaimName, name=("session", name), value=opened))
        messages += claims
    for cls in CLASSES:
        messages.append(made(cls))
        for name in fields(cls):
            for value in [*rng.sample(GARBAGE, 3), *rng.sample(others, 1)]:
                try:
                    messages.append(made(cls, **{name: value}))
                except (TypeError, ValueError):  # it cannot even be made
                    continue
    rng.shuffle(messages)
    return messages


class StubProcess:
    """What a shell runs in."""

    def __init__(self) -> None:
        self.transport = ThespianTransport.for_admin(new_key())
        self.is_leaving = False

    def leave(self, exit_status: int) -> None:
        del exit_status
        self.is_leaving = True


def carriers(message: object) -> Iterator[Callable[[], object]]:
    """Yield all ways in which a child could send something; what raises, it cannot send."""
    yield lambda: wire.Cast(wire.pack(message))
    yield lambda: wire.Info(wire.pack(message))
    yield lambda: wire.Call(1, wire.pack(message))
    yield lambda: wire.Answer(1, failed=False, payload=wire.pack(message))
    yield lambda: wire.Answer(1, failed=True, payload=wire.pack(message))
    yield lambda: message


def received(message: object) -> Iterator[object]:
    """Yield what arrives of *message*, by each way by which it does."""
    for carrier in carriers(message):
        try:
            body = wire.encode(carrier())
        except Exception:  # noqa: BLE001, S112 - it ends its sender, if anybody
            continue
        try:
            yield wire.decode(body)
        except Exception:  # noqa: BLE001, S112 - the transport refuses it
            continue


@pytest.fixture
def process() -> Iterator[StubProcess]:
    process = StubProcess()
    yield process
    process.transport.close()


def shell(kind: type[Shell], start: Start, process: StubProcess) -> Shell:
    order = wire.SpawnOrder(
        start=wire.pack(start),
        shell=wire.SERVER_SHELL,
        kind=start.target.kind,
        incarnation=1,
        app=SELF,
        parent=PARENT,
    )
    made = kind(order, process)
    made.begin()
    return made


ORDERS = (wire.StopOrder,)  # a good one is obeyed
STARTS = {
    "registry": (ServerShell, Start(ProcessRegistry, AdmissionRules(max_sessions=5))),
    "server": (ServerShell, Start(Talker)),
    "supervisor": (SupervisorShell, Start(Group, MANY, [subject("a")])),
    "dynamic supervisor": (SupervisorShell, Start(DynamicSupervisor)),
}


@pytest.mark.parametrize("who", STARTS)
def test_whoever_gets_a_bad_message_goes_on(who: str, process: StubProcess) -> None:
    """Every kind, every field, every way to send it; in whatever state the last ones left it."""
    tried = shell(*STARTS[who], process)
    count = 0
    for message in all_messages():
        for arrived in received(message):
            if isinstance(arrived, ORDERS):
                continue
            tried.deliver(arrived, STRANGER)
            if not count % 20:
                process.transport.serve(
                    lambda envelope: tried.deliver(envelope.message, envelope.origin) or True, 0.0
                )
            assert not process.is_leaving, f"it left over {type(message)}; seed {SEED}"
            count += 1

    assert count > 2_000


def test_the_host_goes_on(process: StubProcess) -> None:
    """It takes from a child what it has for children, and none of what is Thespian's own."""
    app, guard = socket.socketpair()
    with app, guard:
        host = HostAdmin(process.transport, Watch((guard.fileno(),), app.fileno(), None, 0.0))
        table = getattr(host, "_table")  # noqa: B009 - it is what would fork
        thespians = [
            made(*args)
            for module in (admin, multiproc)
            for made in vars(module).values()
            if isinstance(made, type) and made.__module__ == module.__name__
            for args in ((), *((value,) * n for value in GARBAGE for n in (1, 2, 3)))
            if _can_make(made, args)
        ]
        for message in [*all_messages(), *thespians]:
            for arrived in received(message):
                if isinstance(arrived, wire.StartRoot | wire.Shutdown):  # good ones are obeyed
                    continue
                assert host.handleIncoming(ThespianEnvelope(STRANGER, arrived))

        assert not host.isShuttingDown()
        assert not table.has_standbys


def _can_make(cls: type[Any], args: tuple[object, ...]) -> bool:
    try:
        cls(*args)
    except Exception:  # noqa: BLE001 - another number of arguments
        return False
    return True


def test_the_app_goes_on() -> None:
    """Its reader takes whatever comes, and the directory and its listener keep their heads."""
    heard: list[object] = []
    desk = NewsDesk(Directory(lambda _ref, _reason: None), lambda fact, _names: heard.append(fact))
    for message in all_messages():
        for arrived in received(message):
            desk.take(arrived)
        desk.take(wire.News(None, wire.pack(message)) if _can_pack(message) else None)

    assert len(heard) > len(CLASSES)


def _can_pack(message: object) -> bool:
    try:
        wire.pack(message)
    except Exception:  # noqa: BLE001 - it would end its sender
        return False
    return True


def test_the_log_goes_on() -> None:
    """A child that writes to the wrong descriptor ends no thread of the app's."""
    lines: list[str] = []
    receiver, theirs = open_channel()
    number = logger.add(lambda message: lines.append(message.record["message"]), level=0)
    logger.enable("jidocode")
    try:
        receiver.start()
        with theirs:
            shipper = Shipper(theirs.fileno(), "test")
            for datagram in (b"", b"no line", b"[]", b"{}", b"[" * 100_000, b'{"dropped": []}'):
                theirs.settimeout(5)
                theirs.send(datagram)
            shipper.ship(Line("INFO", 20, "a line", "tests", "", "f", 1, {}))
            eventually(lambda: "a line" in lines, "the line behind what is none")
            receiver.close()
    finally:
        logger.disable("jidocode")
        logger.remove(number)
    assert sum("no line" in line for line in lines) == 6


MISTAKES: list[tuple[str, tuple[object, ...]]] = [
    ("monitor", ("manager",)),
    ("monitor", (ActorRef("worker", [], -1, {}),)),  # type: ignore[arg-type] # the mistake
    ("watch_process", (None,)),
    ("cast", (("state", 5), "request")),
    ("send", ("manager", "message")),
    ("send_request", (5, "request")),
    ("reply", ("caller", "value")),
    ("refuse", (None, ValueError())),
]


def test_a_mistake_is_an_error_where_it_is_made(tree: MakeTree) -> None:
    """Only its process ends, with a TypeError in the very line; the registry never hears of it."""
    talker = ChildSpec(id="t", start=Start(Talker))
    running: Tree = tree(MANY, talker, subject("a"), registry=True)
    registry, other = running.ref(REGISTRY_ID), running.ref("a")
    for method, args in MISTAKES:
        ref = running.ref("t")
        with pytest.raises(HandlerError, match=r"TypeError: .* (ActorRef|Caller|int)"):
            running.call("t", ("by", method, args))
        running.successor(ref, "t")

    assert running.ref(REGISTRY_ID) == registry
    assert running.ref("a") == other


def test_what_is_sent_to_the_registry_by_hand_harms_nobody(tree: MakeTree) -> None:
    """Past all checks at its sender; a call is refused, and what waits goes on."""
    talker = ChildSpec(id="t", start=Start(Talker))
    running: Tree = tree(MANY, talker, registry=True)
    registry, ref = running.ref(REGISTRY_ID), running.ref("t")
    watched = naming.MonitorProcess(1, ActorRef("worker", 1, -5), ref)
    bad = naming.MonitorProcess(1, "manager", ref)  # type: ignore[arg-type] # the mistake
    for message in (bad, watched, naming.LookUp(5), Down([], ref, 1)):  # type: ignore[arg-type] # idem
        running.call("t", ("cast", registry, message))
        running.call("t", ("send", registry, message))
        running.call("t", ("request", registry, message))

    eventually(lambda: len(running.call("t", "messages")) >= 4, "the answers")
    assert running.ref(REGISTRY_ID) == registry
    assert running.ref("t") == ref
