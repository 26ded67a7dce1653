"""What is awaited has the names and the arguments of what waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from jidocode import (
    AgentClient,
    AsyncAgentClient,
    AsyncChangeStream,
    AsyncCommandHandle,
    AsyncCommandOutput,
    AsyncCommandsClient,
    AsyncEventStream,
    AsyncManagerClient,
    AsyncMcpServersClient,
    AsyncMonitor,
    AsyncSessionHandle,
    AsyncSessionSystem,
    AsyncStateClient,
    AsyncToolbox,
    AsyncTurnHandle,
    ChangeStream,
    CommandHandle,
    CommandOutput,
    CommandsClient,
    EventStream,
    ManagerClient,
    McpServersClient,
    SessionHandle,
    SessionSystem,
    StateClient,
    Toolbox,
    TurnHandle,
)
from jidocode._host.client.monitor import Monitor
from jidocode.otp import Application, AsyncApplication
from jidocode.otp.server.streams import CallStream
from jidocode.system.asynchronous.streams import AsyncCallHandle, AsyncCallStream
from jidocode.system.call_handle import CallHandle

TWINS = [
    (SessionSystem, AsyncSessionSystem),
    (SessionHandle, AsyncSessionHandle),
    (ManagerClient, AsyncManagerClient),
    (StateClient, AsyncStateClient),
    (CommandsClient, AsyncCommandsClient),
    (McpServersClient, AsyncMcpServersClient),
    (CommandHandle, AsyncCommandHandle),
    (CommandOutput, AsyncCommandOutput),
    (ChangeStream, AsyncChangeStream),
    (EventStream, AsyncEventStream),
    (Monitor, AsyncMonitor),
    (CallHandle, AsyncCallHandle),
    (CallStream, AsyncCallStream),
    (AgentClient, AsyncAgentClient),
    (TurnHandle, AsyncTurnHandle),
    (Toolbox, AsyncToolbox),
    (Application, AsyncApplication),
]
OTHER_NAMES = {"close": "aclose"}
NOT_AWAITED: dict[type, set[str]] = {Monitor: {"report"}}  # it is the monitors'


def public(cls: type) -> dict[str, object]:
    """Return what a class offers, by name."""
    return {name: value for name, value in inspect.getmembers(cls) if not name.startswith("_")}


def arguments(method: Callable[..., object]) -> list[inspect.Parameter]:
    """Return what *method* takes; a policy may be awaited, where it is asked by what is."""
    return [
        each.replace(annotation=str(each.annotation).replace("AsyncPolicy", "Policy"))
        for each in inspect.signature(method).parameters.values()
    ]


@pytest.mark.parametrize(("sync", "awaited"), TWINS)
def test_every_name_has_its_twin(sync: type, awaited: type) -> None:
    """With the same arguments; one that is added to one only is missed in the other."""
    ours, theirs = public(sync), public(awaited)
    wanted = {OTHER_NAMES.get(name, name) for name in ours} - NOT_AWAITED.get(sync, set())

    assert set(theirs) - {"dropped"} == wanted  # which is an attribute of each of the others
    for name, method in ours.items():
        twin = theirs.get(OTHER_NAMES.get(name, name))
        if inspect.isfunction(method) and inspect.isfunction(twin):
            assert arguments(method) == arguments(twin)


@pytest.mark.parametrize("client", [AsyncManagerClient, AsyncStateClient, AsyncCommandsClient])
def test_each_method_has_a_docstring_and_a_type(client: type) -> None:
    """For `help` and editors: that of the operation."""
    for name, method in public(client).items():
        assert inspect.isfunction(method)
        assert inspect.getdoc(method), name
        assert inspect.signature(method).return_annotation, name
