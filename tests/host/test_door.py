"""The door of a system: who is let in by it, and what he has to prove before."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps import STRANGER, only_root
from loguru import logger
from msgspec.structs import replace

from jidocode import AttachError, InvalidSessionError, SessionSystem, SystemNotFoundError
from jidocode._host.attach import place
from jidocode._host.attach.door import MAX_STRANGERS
from jidocode._host.attach.place import Claim
from jidocode._host.attach.proof import (
    MAGIC,
    MAX_PACKET,
    REFUSED,
    SECRET_BYTES,
    ProofError,
    SystemSide,
    Visitor,
    VisitorSide,
    misfit,
)
from jidocode._host.attach.visit import visit
from jidocode._host.client.owner import OwnerClient
from jidocode._host.deadline import Deadline
from jidocode.testing import eventually

HERE = Visitor("1.0", "3.11")


@pytest.fixture
def shop(name: str, tmp_path: Path) -> Iterator[SessionSystem]:
    """A system with a name."""
    with SessionSystem(name=name, state_dir=tmp_path / "state") as system:
        yield system


def knock(name: str) -> socket.socket:
    """Return a connection to the door of a system."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(place.folder() / f"{name}.sock"))  # it waits while too many others do
    sock.settimeout(20)
    return sock


# ----- the proof, without a socket -----------------------------------------------------------


def sides(first: bytes, second: bytes) -> tuple[VisitorSide, SystemSide]:
    """Return a visitor who knows one secret, and a system that knows the other."""
    return VisitorSide(first), SystemSide(second)


def test_who_knows_the_secret_is_let_in() -> None:
    """And each side knows that of the other."""
    secret = os.urandom(SECRET_BYTES)
    visitor, system = sides(secret, secret)

    assert system.admit(visitor.answer(system.challenge(visitor.opening()), HERE)) == HERE


def test_a_system_that_does_not_know_the_secret_is_told_nothing() -> None:
    """It proves first: the visitor has sent random bytes until then."""
    visitor, impostor = sides(os.urandom(SECRET_BYTES), os.urandom(SECRET_BYTES))
    challenge = impostor.challenge(visitor.opening())

    with pytest.raises(ProofError, match="in its place"):
        visitor.answer(challenge, HERE)


def test_a_visitor_who_does_not_know_the_secret_is_not_let_in() -> None:
    """Whatever he answers: a recorded answer, the system's own proof, a change of one bit."""
    secret = os.urandom(SECRET_BYTES)
    visitor, system = sides(secret, secret)
    challenge = system.challenge(visitor.opening())
    answer = visitor.answer(challenge, HERE)
    later = SystemSide(secret)
    later.challenge(visitor.opening())
    flipped = bytes([answer[0] ^ 1]) + answer[1:]

    with pytest.raises(ProofError):
        later.admit(answer)
    for wrong in (flipped, answer[:-1], answer[:31], b"", challenge, challenge[len(MAGIC) + 32 :]):
        with pytest.raises(ProofError):
            system.admit(wrong)


@pytest.mark.parametrize("opening", [b"", b"x" * 49, MAGIC, MAGIC + b"x" * 33])
def test_what_is_no_opening_is_not_answered(opening: bytes) -> None:
    """So nobody has the system prove something about bytes of another length."""
    with pytest.raises(ProofError):
        SystemSide(b"x" * SECRET_BYTES).challenge(opening)


def test_only_equals_fit() -> None:
    """Of what travels the classes may differ between any two versions."""
    assert misfit(HERE, HERE) == ""
    assert "jidocode 1.0, and this process 1.1" in misfit(Visitor("1.1", "3.11"), HERE)
    assert "Python 3.11, and this process on 3.12" in misfit(Visitor("1.0", "3.12"), HERE)


# ----- at the door of a system ---------------------------------------------------------------


def test_whoever_proves_nothing_gets_nothing(name: str, shop: SessionSystem) -> None:
    """No key, no address, no descriptor; and the system goes on."""
    said: list[str] = []
    number = logger.add(said.append, level="WARNING", filter="jidocode")
    logger.enable("jidocode")
    for packet in 5 * (b"\0", os.urandom(100), MAGIC + b"x" * 32, b"x" * MAX_PACKET):
        with knock(name) as sock:
            sock.send(packet)
            answer = sock.recv(MAX_PACKET)
            if answer:  # to an opening: the challenge
                assert answer.startswith(MAGIC)
                sock.send(os.urandom(64))
                assert sock.recv(MAX_PACKET) == b""
    logger.disable("jidocode")
    logger.remove(number)
    assert 0 < len(said) < 10, "it fills the log of nobody"
    with SessionSystem.attach(name) as attached:
        assert attached.list_sessions() == shop.list_sessions() == []


def test_who_is_in_and_says_more_is_put_out(name: str, shop: SessionSystem) -> None:
    """Nothing that he sends over the socket is looked at."""
    with SessionSystem.attach(name) as attached:
        visit = attached._running.client._host
        visit._sock.send(b"more")  # type: ignore[attr-defined] # it is a `Visit`
        client = shop._running.client
        assert isinstance(client, OwnerClient)
        eventually(lambda: client.visitors == 0)


def test_those_who_say_nothing_keep_nobody_out(name: str, shop: SessionSystem) -> None:
    """However many there are."""
    del shop
    silent = [knock(name) for _ in range(2 * MAX_STRANGERS)]
    try:
        with SessionSystem.attach(name) as attached:
            assert attached.list_sessions() == []
    finally:
        for sock in silent:
            sock.close()


def test_another_secret_is_refused(name: str, shop: SessionSystem) -> None:
    """The visitor himself sees that the system does not know what he has read."""
    del shop
    key = place.folder() / f"{name}.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((place.folder() / f"{name}.sock").stat().st_mode) == 0o600
    secret = key.read_bytes()
    key.write_bytes(os.urandom(SECRET_BYTES))

    with pytest.raises(AttachError, match="does not know the secret"):
        SessionSystem.attach(name)
    key.write_bytes(secret)
    SessionSystem.attach(name).close()
    key.chmod(0o640)
    with pytest.raises(AttachError, match="not private"):
        SessionSystem.attach(name)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"version": "0.0.1"}, "jidocode .*this process 0.0.1"),
        ({"python": "3.99"}, "this process on 3.99"),
    ],
)
def test_another_version_is_refused(
    name: str,
    shop: SessionSystem,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, str],
    says: str,
) -> None:
    """And both are named."""
    del shop
    own = Visitor.here()
    other = replace(own, **wrong)
    monkeypatch.setattr("jidocode._host.attach.visit.Visitor.here", lambda: other)

    def judge(visitor: Visitor, _here: Visitor) -> str:
        return misfit(visitor, own)

    monkeypatch.setattr("jidocode._host.attach.door.misfit", judge)

    with pytest.raises(AttachError, match=says):
        SessionSystem.attach(name)


def test_another_protocol_is_named(name: str) -> None:
    """Of a version that is not this one's."""
    claim = Claim(name)
    try:
        with claim.listen() as listener:
            listener.settimeout(20)
            answers = iter([b"jidocode-attach-2" + b"x" * 64])
            with pytest.raises(AttachError, match="another protocol"):
                _attach_to(listener, name, answers)
    finally:
        claim.release()


def _attach_to(listener: socket.socket, name: str, answers: Iterator[bytes]) -> None:
    """Attach to *name*, at whose socket *answers* are given."""
    child = os.fork()
    if child == 0:
        try:
            sock, _ = listener.accept()
            for answer in answers:
                sock.recv(MAX_PACKET)
                sock.send(answer)
            sock.recv(MAX_PACKET)
        finally:
            os._exit(0)
    try:
        SessionSystem.attach(name).close()
    finally:
        os.waitpid(child, 0)


def test_an_impostor_learns_nothing(name: str) -> None:
    """He gets one packet of random bytes, and nothing that he sends is unpickled."""
    claim = Claim(name)
    try:
        with claim.listen() as listener:
            listener.settimeout(20)
            answers = iter([MAGIC + os.urandom(64), REFUSED + b"never read"])
            with pytest.raises(AttachError, match="in its place"):
                _attach_to(listener, name, answers)
    finally:
        claim.release()


def test_a_signal_handler_keeps_nobody_out(name: str) -> None:
    """Who waits before the door, because of a crowd, waits on after it."""
    claim, is_over = Claim(name), threading.Event()
    main = threading.get_ident()

    def nothing(_number: int, _frame: object) -> None:
        pass

    before = signal.signal(signal.SIGUSR1, nothing)

    def interrupt() -> None:
        while not is_over.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    interrupting = threading.Thread(target=interrupt)
    try:
        with claim.listen(), contextlib.ExitStack() as crowd:
            for _ in range(place._BACKLOG + 1):
                crowd.callback(knock(name).close)
            interrupting.start()
            with pytest.raises(AttachError, match=r"nobody opens: .* for 1 s"):
                visit(name, Deadline.after(1.0))
    finally:
        is_over.set()
        interrupting.join()
        signal.signal(signal.SIGUSR1, before)
        claim.release()


# ----- other users, and folders that are not private -----------------------------------------


@only_root
def test_another_user_does_not_get_to_the_door(name: str, shop: SessionSystem) -> None:
    """The folder is not his to enter; and where it is, the kernel says who he is."""
    del shop
    own = place.folder()
    doors = [own / f"{name}.sock"]

    def stranger() -> int:
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                sock.settimeout(20)
                sock.connect(str(doors[0]))
                sock.send(MAGIC + b"x" * 32)
                return 1 if sock.recv(MAX_PACKET) else 2
        except PermissionError:
            return 3
        except (BrokenPipeError, ConnectionResetError):
            return 2

    assert _in_child(stranger) == 3
    opened = [own, *own.parents][:-1]
    modes = [(folder, folder.stat().st_mode) for folder in opened]
    doors[0].chmod(0o777)
    try:
        for folder, mode in modes:
            folder.chmod(mode | 0o755)
        assert _in_child(stranger) == 2
    finally:
        for folder, mode in modes:
            folder.chmod(mode)


def _in_child(action: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        status = 9
        try:
            status = action()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_folder_that_is_not_private_is_not_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that is a link, wherever that leads."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "jidocode"
    folder.mkdir(mode=0o755)
    with pytest.raises(AttachError, match="others than this user"):
        SessionSystem(name=name)
    with pytest.raises(AttachError, match="others than this user"):
        SessionSystem.attach(name)
    folder.rmdir()
    (tmp_path / "private").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "private")
    with pytest.raises(AttachError, match="cannot be found"):
        SessionSystem(name=name)
    with pytest.raises(AttachError, match="cannot be found"):
        SessionSystem.attach(name)
    assert list((tmp_path / "private").iterdir()) == []


def test_nobody_is_found_where_there_is_no_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is made by who only looks for one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    with pytest.raises(SystemNotFoundError, match=name):
        SessionSystem.attach(name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_in_the_folder_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links and folders where files should be: nothing is followed, and nobody hangs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "jidocode"
    folder.mkdir(mode=0o700)
    lock = folder / f"{name}.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(AttachError, match=r"symbolic|directory"):
            SessionSystem(name=name)
        with pytest.raises(AttachError, match=r"symbolic|directory"):
            SessionSystem.attach(name)
        if lock.is_symlink():
            lock.unlink()
            lock.mkdir()
    assert not (tmp_path / "elsewhere").exists()
    os.mkfifo(folder / f"{name}.key", 0o600)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / f"{name}.sock"))
        listener.listen()
        with pytest.raises(AttachError, match="not private"):
            SessionSystem.attach(name)


def test_a_runtime_folder_that_is_none_of_ours_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative one, one that is not there: then it is the one in /tmp, or in /run/user."""
    for value in ("", "relative", str(tmp_path / "nowhere"), "a\0b"):
        if "\0" not in value:
            monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        found = str(place.folder())
        assert found.removesuffix(str(os.geteuid())) == "/tmp/jidocode-" or found.startswith("/run")  # noqa: S108 - it is not used


def test_a_long_path_is_no_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the path of a socket has 107 bytes at most."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))

    with (
        SessionSystem(name=name, state_dir=tmp_path) as system,
        SessionSystem.attach(name) as other,
    ):
        assert other.host_pid == system.host_pid
    assert sorted(path.suffix for path in (deep / "jidocode").iterdir()) == [".lock"]


# ----- what a session's command, or its Manager, can reach -----------------------------------

_TRY = """
import socket, sys
folder, name = sys.argv[1:]
for end in ("key", "lock"):
    try:
        print(end, open(f"{folder}/{name}.{end}", "rb").read())
    except OSError as error:
        print(end, type(error).__name__)
try:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(f"{folder}/{name}.sock")
    print("connected")
except OSError as error:
    print("socket", type(error).__name__)
"""


def test_a_command_reaches_neither_socket_nor_secret(
    name: str, shop: SessionSystem, project: Path
) -> None:
    """The kernel refuses both."""
    session = shop.create_session(project)
    result = session.run([sys.executable, "-c", _TRY, str(place.folder()), name])

    assert result.stderr == ""
    assert result.stdout.split() == [
        *("key", "PermissionError"),
        *("lock", "PermissionError"),
        *("socket", "PermissionError"),
    ]


def test_a_project_that_holds_the_secrets_is_refused(shop: SessionSystem) -> None:
    """Its Manager could read them."""
    for folder in (place.folder(), place.folder().parent):
        with pytest.raises(InvalidSessionError, match="where systems keep their secrets"):
            shop.create_session(folder)


def test_commands_are_refused_where_they_could_read_the_secrets(shop: SessionSystem) -> None:
    """The folder may lie beneath what every command may read; see the tests of the rules."""
    upkeep = shop._running.sessions._upkeep()

    assert upkeep.closed == (str(place.folder()),)
