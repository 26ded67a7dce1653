"""`Upkeep`: what the processes of every session are started with."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.agent.spec import ModelSpec
from jidocode.session.commands.limits import CommandRules
from jidocode.session.journal.file import Durability
from jidocode.session.mcp.spec import McpServer
from jidocode.session.project.protection import ProtectionRules
from jidocode.session.snapshots.limits import SnapshotRules


@frozen(eq=False, repr=False, kw_only=True)
class Upkeep(Record):
    """What the processes of every session are started with, besides its record.

    Attributes:
        heartbeat: Seconds between probes of Manager and State, None for none.
        journal_dir: Where State keeps its journals, None for in memory.
        durability: What a change survives once it is acknowledged.
        system: The id of the system among those with the same journals, None without journals.
        hard_links: Whether the Manager takes files that have more than one.
        commands: How much its commands may be.
        idle_timeout: Seconds after which a session is stopped that nobody uses, None for never.
        closed: Folders that its commands may not read, besides that of the journals.
        protection: Which of its project's paths are protected, and how.
        snapshots: How much its snapshots may be.
        model: What its agent speaks with, None for nothing.
        context_tokens: Tokens that the conversation of an agent may have, None if nobody says.
        mcp_servers: The MCP servers of this one session; no other one has them.
    """

    heartbeat: float | None = None
    journal_dir: str | None = field(default=None, repr=False)
    durability: Durability = "process"
    system: str | None = None
    hard_links: bool = True
    commands: CommandRules = field(factory=CommandRules)
    idle_timeout: float | None = None
    closed: tuple[str, ...] = field(default=(), repr=False)
    protection: ProtectionRules = field(factory=ProtectionRules)
    snapshots: SnapshotRules = field(factory=SnapshotRules)
    model: ModelSpec | None = None
    context_tokens: int | None = None
    mcp_servers: tuple[McpServer, ...] = ()
