"""What an app uses: `SessionSystem`, the handles it gives out, and what they tell."""

from jidocode._host.client.monitor import Monitor
from jidocode.system.events import Event, EventStream, SessionRefused
from jidocode.system.handle import SessionHandle
from jidocode.system.health import (
    ChildHealth,
    Health,
    HealthStatus,
    Statistics,
    SystemHealth,
    TreeNode,
)
from jidocode.system.settings import CreationRate, Durability, Settings, default_state_dir
from jidocode.system.system import SessionSystem

__all__ = [
    "ChildHealth",
    "CreationRate",
    "Durability",
    "Event",
    "EventStream",
    "Health",
    "HealthStatus",
    "Monitor",
    "SessionHandle",
    "SessionRefused",
    "SessionSystem",
    "Settings",
    "Statistics",
    "SystemHealth",
    "TreeNode",
    "default_state_dir",
]
