"""What errors and reasons say, whatever they are made of: one bounded, printable line."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from jidocode import errors
from jidocode.base.exits import SHUTDOWN, Crashed, ExitReason, FailedChild, Killed, Shutdown
from jidocode.base.refs import ActorRef
from jidocode.base.text import LINE_LENGTH
from jidocode.errors import (
    HandlerError,
    InvalidChildSpecError,
    JidocodeError,
    RegistryNotRunningError,
    StartFailedError,
)
from jidocode.otp.supervision.specs import LABEL_LENGTH, ChildSpec
from jidocode.session.commands.result import CapturedOutput, CommandResult
from tests.otp.machines import Worker, worker

LONGEST = 3 * 10 * LINE_LENGTH  # a few texts, each of which may be all escapes
CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, JidocodeError)
]
OF_LINES = (HandlerError, RegistryNotRunningError)
SENTENCES = [cls for cls in CLASSES if "__init__" in vars(cls) and cls not in OF_LINES]

texts = st.one_of(
    st.text(),
    st.sampled_from(["\x1b[2J", "a\nb", "\r\0", "\ud800", "x" * 1100, "\x1b" * 1100]),
)


def reasons() -> st.SearchStrategy[ExitReason]:
    """Return reasons, also those of starts that failed deep below."""
    leaves = st.one_of(
        st.builds(Crashed, texts, texts), st.builds(Shutdown, texts), st.just(Killed(9))
    )
    return st.recursive(
        leaves,
        lambda below: st.builds(Shutdown, failed=st.builds(FailedChild, texts, below)),
        max_leaves=2,
    )


def command_result(text: str) -> CommandResult:
    """Return what came of a command that wrote *text*."""
    output = CapturedOutput(text.encode("utf-8", "replace"))
    return CommandResult(
        id=text,
        argv=(text,),
        exit_code=1,
        signal=None,
        raw_stdout=output,
        raw_stderr=output,
        seconds=1.0,
    )


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "str": texts,
    "tuple[str, ...]": st.lists(texts, max_size=4).map(tuple),
    "tuple[int, ...]": st.just((1, 2)),
    "CommandResult": st.builds(command_result, texts),
    "ExitReason": reasons(),
    "ActorRef": st.builds(ActorRef, texts, st.just(1), st.just(2)),
    "int": st.just(7),
    "float": st.just(0.5),
    "bool": st.booleans(),
    "None": st.none(),
}


def built(cls: type[JidocodeError]) -> st.SearchStrategy[JidocodeError]:
    """Return errors of *cls*, made of hostile texts."""
    if "__init__" not in vars(cls):
        return st.builds(cls, texts)
    parameters = inspect.signature(cls).parameters.values()
    parts = [
        st.one_of([KINDS[kind] for kind in str(p.annotation).split(" | ")]) for p in parameters
    ]
    return st.builds(cls, *parts)


@pytest.mark.parametrize("cls", SENTENCES)
@given(data=st.data())
@settings(max_examples=25)
def test_a_sentence_is_one_bounded_printable_line(
    cls: type[JidocodeError], data: st.DataObject
) -> None:
    """Whoever chose an id, a name, a kind or a message cannot write to a terminal through it."""
    error = data.draw(built(cls))

    assert str(error).isprintable()
    assert len(str(error)) <= LONGEST
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls not in SENTENCES])
@given(data=st.data())
@settings(max_examples=25)
def test_a_text_of_lines_is_bounded_and_printable(
    cls: type[JidocodeError], data: st.DataObject
) -> None:
    """Of errors that quote a whole text: what an interpreter printed, a traceback."""
    text = str(data.draw(built(cls)))

    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text) <= 10 * 20_000


@given(reason=reasons())
@settings(max_examples=100)
def test_a_reason_is_one_bounded_printable_line(reason: ExitReason) -> None:
    """It stands in errors, in logs and in `HostStartError`."""
    assert str(reason).isprintable()
    assert len(str(reason)) <= LONGEST


# ----- what may be called what ---------------------------------------------------------

HOSTILE = ["\x1b[2J", "a\nb", "\u2028", "\ud800", "x" * (LABEL_LENGTH + 1), ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_an_id_and_a_name_can_be_shown(text: str) -> None:
    """Any printable text of a bearable length will do, and nothing else."""
    with pytest.raises(InvalidChildSpecError, match=r"^id must be a str of 1 to 255 printable"):
        worker(text)
    for name in [(text, "x"), ("x", text)]:
        with pytest.raises(InvalidChildSpecError, match=r"^name must be .* 255 printable"):
            worker("a", name=name)


def test_the_longest_id_is_one() -> None:
    """Of any language."""
    spec = worker("ü" * LABEL_LENGTH, name=("any kind", "Größe 5"))

    assert spec.name == ("any kind", "Größe 5")


@pytest.mark.parametrize("kind", [*HOSTILE, "two words", None, 7])
def test_a_kind_is_a_short_word(kind: Any) -> None:
    """Checked when the spec is made: it stands in every ref."""
    cls = type(
        "Odd", (Worker,), {"kind": kind, "__module__": Worker.__module__, "__qualname__": "Odd"}
    )

    with pytest.raises(InvalidChildSpecError, match="the kind of Odd must be a short") as caught:
        ChildSpec(id="a", start=cls)
    assert str(caught.value).isprintable()


# ----- a start that failed below ---------------------------------------------------------


def test_a_failed_start_says_what_failed_at_the_bottom() -> None:
    """The ids that lead there and the reason, as data; it survives the journey."""
    cause = Crashed("ValueError: no", "Traceback ...")
    reason = Shutdown(failed=FailedChild("b", Shutdown(failed=FailedChild("c", cause))))
    error = pickle.loads(pickle.dumps(StartFailedError("a", reason)))

    assert (error.child_id, error.reason) == ("a", reason)
    assert (error.path, error.cause) == (("a", "b", "c"), cause)
    assert error.cause.traceback == "Traceback ..."
    assert str(error) == "child a > b > c could not be started: crashed: ValueError: no"
    assert str(reason) == "shutdown (failed to start child b > c: crashed: ValueError: no)"


def test_a_child_that_failed_itself_is_the_bottom() -> None:
    """Its reason is the cause, also if it is a plain shutdown."""
    error = StartFailedError("a", SHUTDOWN)

    assert (error.path, error.cause) == (("a",), SHUTDOWN)


def test_a_long_way_down_is_cut_in_a_sentence() -> None:
    """All of it is in the data."""
    reason: ExitReason = Killed(9)
    for number in reversed(range(1, 50)):
        reason = Shutdown(failed=FailedChild(f"c{number}", reason))
    error = StartFailedError("c0", reason)

    assert error.path == tuple(f"c{number}" for number in range(50))
    assert str(error) == "child c0 > c1 > ... > c48 > c49 could not be started: killed by signal 9"
