"""A model by its name."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from jidocode.base import log
from jidocode.errors import InvalidModelError
from jidocode.session.agent.model import Delta, ModelRequest, TextDelta
from jidocode.session.agent.openai_model import OpenAIModel
from jidocode.session.agent.spec import ModelSpec

SECRET = "sk-very-secret"  # noqa: S105 - nobody's


class Parrot:
    """A model of a test's."""

    def __init__(self, *, api_key: str = "") -> None:
        if api_key == SECRET:
            raise ValueError(f"I do not like {api_key}")
        if api_key == "type":
            raise TypeError(f"not {SECRET}")
        if api_key == "exit":
            sys.exit(SECRET)
        if api_key == "cancel":
            raise asyncio.CancelledError(SECRET)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        yield TextDelta(str(request.messages[-1]["content"]))

    async def aclose(self) -> None: ...


HERE = f"{__name__}:Parrot"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "exits.py").write_text("raise SystemExit")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


def test_a_model_is_made_by_its_name() -> None:
    """In whichever process it is needed."""
    spec = pickle.loads(pickle.dumps(ModelSpec(HERE, {"api_key": "x"})))

    assert isinstance(spec.make(), Parrot)


def test_by_default_it_is_any_server_that_speaks_chat_completions() -> None:
    """With its options."""
    options = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}

    assert isinstance(ModelSpec(options=options).make(), OpenAIModel)


def test_options_are_not_shown() -> None:
    """A key stands in them."""
    spec = ModelSpec(HERE, {"api_key": SECRET})

    assert SECRET not in repr(spec)
    assert SECRET not in str([spec])


@pytest.mark.parametrize("name", ["", "Parrot", "a:b:c", "a.b", "a b:C", "../a:B", 7, "a:B\n"])
def test_what_is_no_name_is_refused_at_once(name: Any) -> None:
    """And not in the process that would need it."""
    with pytest.raises(InvalidModelError, match=r"package\.module:Class"):
        ModelSpec(name)


def test_what_are_no_options_is_refused_at_once() -> None:
    """They are keyword arguments."""
    options: Any = {1: 2}
    with pytest.raises(InvalidModelError):
        ModelSpec(HERE, options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("no.such.module:Model", {}, "No module named 'no'"),
        (f"{__name__}:Nobody", {}, "Nobody"),
        (HERE, {"colour": "red"}, "unexpected keyword argument 'colour'"),
        (HERE, {"api_key": SECRET}, "ValueError"),
        (HERE, {"api_key": "type"}, "TypeError"),
        (HERE, {"api_key": "exit"}, "SystemExit"),
        (HERE, {"api_key": "cancel"}, "CancelledError"),
        ("exits:Model", {}, "SystemExit"),
    ],
)
def test_what_cannot_be_made_says_why(name: str, options: dict[str, Any], said: str) -> None:
    """Without what stands in its options."""
    with pytest.raises(InvalidModelError) as caught:
        ModelSpec(name, options).make()

    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__context__)


def test_the_log_says_where_a_constructor_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not with which message, which may quote the key."""
    lines: list[log.Line] = []
    monkeypatch.setattr(log, "_target", lines.append)
    with pytest.raises(InvalidModelError):
        ModelSpec(HERE, {"api_key": SECRET}).make()

    (line,) = lines
    assert f"ValueError at {__file__}:" in line.text
    assert "in Parrot.__init__" in line.text or "in __init__" in line.text
    assert SECRET not in line.text


class Mute:
    """No model."""

    async def aclose(self) -> None: ...


class Endless:
    """No model either."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        yield TextDelta(str(request))


@pytest.mark.parametrize(("attribute", "lacks"), [("Mute", "stream"), ("Endless", "aclose")])
def test_what_is_made_and_is_no_model_is_refused(attribute: str, lacks: str) -> None:
    with pytest.raises(InvalidModelError) as caught:
        ModelSpec(f"{__name__}:{attribute}").make()

    assert str(caught.value) == (
        f"{__name__}:{attribute} must make an object with the methods stream and aclose, "
        f"and made a {attribute}, which has no {lacks}"
    )


def test_what_is_missing_is_said_in_a_sentence() -> None:
    """The SDK is an extra."""
    code = (
        "import sys; sys.modules['openai'] = None\n"
        "from jidocode.session.agent.spec import ModelSpec\n"
        "try: ModelSpec(options={'model': 'm'}).make()\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "OpenAIModel needs the openai SDK: pip install 'jidocode[agent]'" in done.stdout


def test_to_name_a_model_imports_nothing_of_it() -> None:
    """The app that names one does not pay for it."""
    code = (
        "import sys\n"
        "from jidocode.session.agent import asking, message, model, retrying, spec, turn\n"
        "spec.ModelSpec(options={'model': 'm'})\n"
        "assert not {'openai', 'httpx2', 'pydantic'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stderr, done.returncode) == ("", 0)
