"""Children for apps in odd surroundings."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

from loguru import logger

from jidocode import SessionSystem
from jidocode.otp import Caller, GenServer, Reply
from jidocode.otp.server.results import CallResult


class Printer(GenServer):
    """Prints where it is told to, at once."""

    kind: ClassVar[str] = "printer"

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case "program":
                done = subprocess.run(["ls", "/nowhere"], check=False)
                assert done.returncode == 2, done
            case _:
                for _ in range(20):
                    print("x" * 100, file=getattr(sys, request), flush=True)
        return Reply(os.getpid())


class Mirror(GenServer):
    """Tells what interpreter it runs in."""

    kind: ClassVar[str] = "mirror"

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del request, caller
        return Reply(facts())


def facts() -> dict[str, Any]:
    """Return how this process's interpreter was started, as far as it can be seen."""
    names = (
        "bytes_warning",
        "dev_mode",
        "dont_write_bytecode",
        "hash_randomization",
        "int_max_str_digits",
        "optimize",
        "utf8_mode",
        "warn_default_encoding",
    )
    return {
        **{name: getattr(sys.flags, name) for name in names},
        "asserts": __debug__,
        "docstrings": facts.__doc__ is not None,
        "warnoptions": sys.warnoptions,
        "filters": [str(each) for each in warnings.filters if each[0] == "error"],
        "xoptions": dict(sys._xoptions),
        "hash": hash("shop") if os.environ.get("PYTHONHASHSEED", "random") != "random" else None,
        "pycache_prefix": sys.pycache_prefix,
        "encoding": sys.getfilesystemencoding(),
    }


class Teller(GenServer):
    """Logs what it is told, by loguru or by `logging`."""

    kind: ClassVar[str] = "teller"

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case ("loguru", str() as level, text, extra):
                logger.bind(**extra).log(level, text)
            case ("logging", str() as name, int() as level, text, extra):
                logging.getLogger(name).log(level, text, extra=extra)
            case ("level", str() as name, int() as level):
                logging.getLogger(name).setLevel(level)
            case ("both", int() as count):
                for number in range(count):
                    if number % 2:
                        logging.getLogger("shop.stock").info("line %d", number)
                    else:
                        logger.info("line {}", number)
            case ("logging error", str() as name):
                try:
                    os.environ["OUT OF STOCK"]
                except LookupError:
                    logging.getLogger(name).exception("no luck")
            case _:
                raise ValueError(request)
        return Reply(None)


class Keeper(GenServer):
    """Is given a secret, and fails if it is told to."""

    kind: ClassVar[str] = "keeper"

    def init(self, token: str, *, fails: bool = False) -> None:
        if fails:
            raise ValueError("init was told to fail")
        self.token = token

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        if request == "fail":
            raise RuntimeError("the handler was told to fail")
        return Reply(os.getpid())


class Starter(GenServer):
    """Starts a system where none may be started, or a program that starts one of its own."""

    kind: ClassVar[str] = "starter"

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case "here":
                with SessionSystem(durability="memory") as system:
                    return Reply(system.host_pid)
            case "in a fork":
                return Reply(_in_fork())
            case ("program", program):
                done = subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, text=True, check=False
                )
                return Reply(done.stdout or done.stderr)
            case _:
                return Reply(tempfile.gettempdir())


def _in_fork() -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.close(reading)
            try:
                with SessionSystem(durability="memory"):
                    os.write(writing, b"started")
            except Exception as error:  # noqa: BLE001 - it is told
                os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


class Forker(GenServer):
    """Forks in its callbacks, and has the fork leave them in every way."""

    kind: ClassVar[str] = "forker"

    def init(self, log: Path, how: str = "") -> None:
        self.log = log
        self._fork(how)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case ("multiprocessing", number):
                with multiprocessing.get_context("fork").Pool(2) as workers:
                    return Reply(sum(workers.map(abs, range(-number, 1))))
            case ("fork", how):
                return Reply(self._fork(how))
            case ("end a fork by", number):
                return Reply(self._end_fork(number))
            case _:
                return Reply(os.getpid())

    def terminate(self, reason: Any) -> None:
        del reason
        with self.log.open("a") as log:
            log.write(f"terminate {os.getpid()}\n")

    @staticmethod
    def _end_fork(number: int) -> int:
        """Return how a fork that waits has ended by a signal."""
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(writing, b"x")
            time.sleep(3)
            os._exit(0)
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        os.kill(pid, number)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _fork(self, how: str) -> int | None:
        """Return how the fork has ended, 0 in the fork."""
        pid = os.fork() if how else -1
        if pid < 0:
            return None
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stderr = self.log.with_name("said").open("a")
        match how:
            case "raise":
                raise RuntimeError("in the fork")
            case "exit":
                sys.exit(7)
            case "exit with a word":
                sys.exit("a word")
            case "interrupt":
                raise KeyboardInterrupt
            case _:
                return 0
