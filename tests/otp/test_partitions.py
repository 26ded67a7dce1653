"""Which of several processes a key belongs to."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from servers import Worker, worker

from jidocode.otp import Flags, InvalidChildSpecError, Partitions

KEYS = st.integers() | st.text() | st.binary() | st.tuples(st.text(), st.integers())


@given(key=KEYS, count=st.integers(1, 50))
def test_every_key_belongs_to_one(key: object, count: int) -> None:
    """Of those there are, and always to the same."""
    partitions = Partitions("counter", count)
    name = partitions.name_of(key)

    assert name in partitions.names
    assert name == Partitions("counter", count).name_of(key)
    assert len(partitions.names) == count


def test_keys_are_spread() -> None:
    """No partition has far more than its share, and numbers go round."""
    partitions = Partitions("counter", 8)
    names = [partitions.name_of(f"user-{number}") for number in range(8_000)]

    assert {names.count(name) // 200 for name in partitions.names} <= {4, 5}
    assert [partitions.name_of(number)[1] for number in range(-1, 10)] == list("70123456701")


def test_another_process_says_the_same() -> None:
    """Though its hashes of text are others."""
    program = (
        "from jidocode.otp import Partitions; print(Partitions('p', 1000).name_of(('a', 1))[1])"
    )
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert other.strip() == Partitions("p", 1000).name_of(("a", 1))[1]


def test_the_children_are_numbered() -> None:
    """Each has its number as id, and in its name."""
    spec = Partitions("counter", 3).child_spec(
        worker("any", shutdown=2), flags=Flags(max_restarts=9)
    )
    flags, children = spec.start.target().init(*spec.start.args)

    assert (spec.id, flags.max_restarts) == ("counter", 9)
    assert [(child.id, child.name, child.shutdown) for child in children] == [
        (str(number), ("counter", str(number)), 2) for number in range(3)
    ]
    assert Partitions("counter", 1).child_spec(Worker).id == "counter"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("", 1), "kind must be a non-empty str"),
        ((1, 1), "kind must be a non-empty str"),
        (("a", 0), "count must be an int > 0"),
        (("a", True), "count must be an int > 0"),
        (("a", 1.0), "count must be an int > 0"),
    ],
)
def test_what_are_no_partitions(arguments: tuple[Any, Any], text: str) -> None:
    """Said at once."""
    with pytest.raises(InvalidChildSpecError, match=text):
        Partitions(*arguments)
    with pytest.raises(InvalidChildSpecError, match="a partition gets its name"):
        Partitions("a", 1).child_spec(worker("b", name=("b", "c")))
