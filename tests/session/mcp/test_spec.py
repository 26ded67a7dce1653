"""What an app may say of an MCP server."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, strategies as st

from jidocode import (
    InvalidChildSpecError,
    InvalidMcpServerError,
    McpServer,
    Session,
    session_children,
)
from jidocode.session.mcp.spec import check_servers
from jidocode.session.tree import with_name
from jidocode.session.upkeep import Upkeep

PROGRAM: dict[str, Any] = {"name": "shop", "command": "serve"}
ADDRESS: dict[str, Any] = {"name": "shop", "url": "https://shop.example/mcp"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "shop"}, "either a command or a url"),
        ({**PROGRAM, "url": "http://x"}, "either a command or a url"),
        ({**PROGRAM, "name": ""}, "1 to 100 printable"),
        ({**PROGRAM, "name": "a\nb"}, "1 to 100 printable"),
        ({**PROGRAM, "name": 7}, "1 to 100 printable"),
        ({**PROGRAM, "name": "x" * 101}, "1 to 100 printable"),
        ({**PROGRAM, "command": ""}, "is empty"),
        ({**PROGRAM, "args": "-v"}, "args must be a list"),
        ({**PROGRAM, "args": [b"-v"]}, "must be str"),
        ({**PROGRAM, "args": ["a\0"]}, "must be str"),
        ({**PROGRAM, "env": {"A=": "b"}}, "no variable like that"),
        ({**PROGRAM, "env": {"A": 1}}, "names and texts"),
        ({**PROGRAM, "env": ["A"]}, "are mappings"),
        ({**PROGRAM, "headers": {"A": "b"}}, "gets no headers"),
        ({**PROGRAM, "timeout": 0}, "seconds > 0"),
        ({**PROGRAM, "timeout": "soon"}, "seconds > 0"),
        ({**ADDRESS, "url": "file:///etc/passwd"}, "http:// or https://"),
        ({**ADDRESS, "url": "http://"}, "http:// or https://"),
        ({**ADDRESS, "url": "http://a:port"}, "http:// or https://"),
        ({**ADDRESS, "url": "http://a\r\nb"}, "http:// or https://"),
        ({**ADDRESS, "args": ["x"]}, "no program"),
        ({**ADDRESS, "env": {"A": "b"}}, "no program"),
        ({**ADDRESS, "confine": True}, "no program"),
        ({**ADDRESS, "headers": {"A b": "c"}}, "no valid name"),
        ({**ADDRESS, "headers": {"A": "b\r\nC: d"}}, "one line of ASCII"),
    ],
)
def test_what_breaks_a_rule_is_refused(given: dict[str, Any], problem: str) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidMcpServerError, match=re.escape(problem)):
        McpServer(**given)


def test_its_text_shows_no_secret() -> None:
    """Nor do errors about it."""
    program = McpServer(name="shop", command="se-cret", args=["se-cret"], env={"KEY": "se-cret"})
    address = McpServer(name="shop", url="http://se-cret/", headers={"Authorization": "se-cret"})
    with pytest.raises(InvalidMcpServerError) as raised:
        McpServer(name="shop", url="http://x", headers={"Authorization": "se-cret\n"})

    assert "se-cret" not in f"{program}{address}{raised.value}"


@given(st.text(min_size=1, max_size=100).filter(str.isprintable).filter(str.strip))
@example("x" * 16 + " is where it is cut")
def test_any_name_makes_a_beginning_of_names(name: str) -> None:
    """That models take, and that ends where two underscores are."""
    assert re.fullmatch(
        r"[a-zA-Z0-9]+(_[a-zA-Z0-9]+)*", McpServer(name=name, command="serve").prefix
    )
    assert len(McpServer(name=name, command="serve").prefix) <= 24


def test_names_are_told_apart() -> None:
    """Those that are cut, by what was cut off; others must be."""
    one, other = (McpServer(name="x" * 40 + end, command="serve") for end in "ab")
    assert one.prefix != other.prefix
    assert check_servers([one, other]) == (one, other)
    with pytest.raises(InvalidMcpServerError, match="would begin with a_b__"):
        check_servers([McpServer(name=name, command="serve") for name in ("a b", "a.b")])
    with pytest.raises(InvalidMcpServerError, match="a__: 'a' and 'a'"):
        check_servers([McpServer(name="a", command="serve")] * 2)
    with pytest.raises(InvalidMcpServerError, match="must be an McpServer"):
        check_servers([{"name": "shop"}])
    with pytest.raises(InvalidMcpServerError, match="32 MCP servers"):
        check_servers([McpServer(name=f"s{number}", command="serve") for number in range(33)])


def test_a_session_that_has_some_asks_them_whether_they_are_in_use(tmp_path: Path) -> None:
    """Before it is stopped for idleness; and nobody else has their ids."""
    record, server = Session.new(project_path=tmp_path), McpServer(**PROGRAM)
    upkeep = Upkeep(mcp_servers=(server,))
    (state,) = [each for each in session_children(record, upkeep=upkeep) if each.id == "state"]
    assert ("mcp:shop",) in state.start.args
    with pytest.raises(InvalidChildSpecError, match="those of MCP servers"):
        with_name(evolve(state, id="mcp:shop"), record.id)


def test_without_the_package_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has none needs no package."""

    def find(_name: str) -> None:
        """Find nothing."""

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ImportError, match=r"pip install 'jidocode\[mcp\]'"):
        check_servers([McpServer(**PROGRAM)])
    assert check_servers([]) == ()
