"""Plain data as records, in several threads at once."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from attrs import frozen

from jidocode.base.converting import convert

MANY_FIRST_TIMES = """
import sys, threading
from datetime import datetime
from typing import Literal
sys.setswitchinterval(1e-6)
from attrs import field, frozen
from jidocode.base.converting import convert

source = '''
@frozen
class Record{}:
    number: "int"
    text: "str | None" = None
    numbers: "tuple[int, ...]" = ()
    more: "dict[str, int | None]" = field(factory=dict)
    when: "datetime | None" = None
    texts: "list[str]" = field(factory=list)
    kind: "Literal['a', 'b']" = "a"
'''
for number in range(60):
    exec(source.format(number))
    cls = globals()[f"Record{number}"]
    begin = threading.Barrier(8)
    found = []

    def read():
        begin.wait()
        found.append(convert({"number": 1, "text": "x"}, cls))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert found == [cls(1, "x")] * 8
"""


def test_threads_may_read_a_class_first_at_once() -> None:
    """By msgspec alone, the process dies by a segmentation fault."""
    done = subprocess.run(
        [sys.executable, "-c", MANY_FIRST_TIMES], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@frozen
class Known:
    """A class."""

    number: int


def test_what_is_no_such_record_is_refused_the_first_time_and_later() -> None:
    for _ in range(2):
        with pytest.raises(msgspec.ValidationError):
            convert({"number": "one"}, Known)
        assert convert({"number": 1}, Known) == Known(1)
