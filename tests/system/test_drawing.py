"""What a notebook shows of a tree and of a health."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from jidocode import ChildHealth, Health, HealthStatus, SessionHandle, SessionSystem, TreeNode
from jidocode.otp import ActorRef, ChildStatus, Crashed, Killed

VILE = "<script>alert('\"&')</script>"


class Page(HTMLParser):
    """What a browser would make of it: its tags, how each is styled, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert name == "style"
            self.styles.append(value or "")
        if tag == "br":
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data


def html(value: TreeNode | Health) -> str:
    """Return what a notebook asks every value for."""
    drawn: str = getattr(value, "_repr_html_")()  # noqa: B009 - it is no one's but a notebook's
    return drawn


def ref(kind: str, pid: int) -> ActorRef:
    return ActorRef(kind, 1, pid)


def tree(name: str = "state") -> TreeNode:
    """Return a session with a child called *name*, which has restarted, and one that stopped."""
    running, stopped = ChildStatus.RUNNING, ChildStatus.STOPPED
    child = TreeNode(id=name, ref=ref("state", 12), status=running, restarts=2)
    gone = TreeNode(id="counter", ref=None, status=stopped)
    return TreeNode(id="shop", ref=ref("session", 11), status=running, children=(child, gone))


def health(name: str = "state", reason: str = "") -> Health:
    child = ChildHealth(
        id=name,
        status=HealthStatus.HEALTHY,
        ref=ref("state", 12),
        restarts=2,
        last_exit=Crashed(reason) if reason else Killed(9),
        uptime=1.25,
        memory=5_500_000,
    )
    gone = ChildHealth(id="counter", status=HealthStatus.DEAD, ref=None, restarts=0)
    return Health(session_id="shop", status=HealthStatus.DEGRADED, children=(child, gone))


def test_a_tree_is_drawn_as_text_is_with_a_dot_before_each_line() -> None:
    """Green for what runs, grey for what was stopped."""
    page = Page(html(tree()))

    assert page.text == "\n".join(f"● {line}" for line in tree().lines())
    assert set(page.tags) == {"pre", "span", "br"}
    first, second, last = page.styles
    assert first == second != last


def test_a_health_is_a_line_for_each_child() -> None:
    """In columns; what is not known is left out."""
    assert Page(html(health())).text == (
        "● session shop, degraded\n"
        "  child    pid   status   restarts  uptime  memory  last exit           problem\n"
        "● state    12    healthy  2         1.2 s   5.5 MB  killed by signal 9\n"
        "● counter  none  dead     0"
    )


@pytest.mark.parametrize(
    "source",
    [
        html(tree(VILE)),
        html(TreeNode(id=VILE, ref=ref(VILE, 1), status=ChildStatus.RUNNING)),
        html(health(VILE)),
        html(health(reason=VILE)),
        html(Health(session_id=VILE, status=HealthStatus.DEAD, children=())),
    ],
)
def test_whatever_is_named_is_text(source: str) -> None:
    """No name and no reason becomes a tag, or an attribute of one."""
    page = Page(source)

    assert set(page.tags) <= {"pre", "span", "br"}
    assert "<script>alert" in page.text
    assert all(re.fullmatch("color:#[0-9a-f]{6}", style) for style in page.styles)


@pytest.mark.parametrize("status", [*ChildStatus, *HealthStatus])
def test_every_status_has_a_dot_that_is_seen_on_white_and_on_black(
    status: ChildStatus | HealthStatus,
) -> None:
    """With a contrast of 2.5 at least, whatever the theme."""
    source = (
        html(TreeNode(id="a", ref=None, status=status))
        if isinstance(status, ChildStatus)
        else html(Health(session_id="a", status=status, children=()))
    )
    (style,) = Page(source).styles
    red, green, blue = (
        (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        for part in (int(style[at : at + 2], 16) / 255 for at in (7, 9, 11))
    )
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert 1.05 / (light + 0.05) >= 2.5
    assert (light + 0.05) / 0.05 >= 2.5


def test_a_notebook_finds_them(system: SessionSystem, session: SessionHandle) -> None:
    """By the method that it asks every value for; what is drawn is what is there."""
    drawn = {"tree": html(system.tree()), "health": html(session.health_check())}

    assert f"pid {system.get_state(session.id).os_pid}, running" in drawn["tree"]
    assert f"session {session.id}, healthy" in drawn["health"]
