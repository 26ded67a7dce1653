from types import FrameType
from typing import Any, Protocol

from thespian.actors import ActorAddress
from thespian.system.systemCommon import systemCommonBase
from thespian.system.transport import ReceiveEnvelope

class ChildInfo:
    childAddr: ActorAddress
    childProc: Any
    def __init__(
        self, childAddr: ActorAddress, childClass: object, childProc: object, childNum: int | None
    ) -> None: ...

class MultiProcReplicator(systemCommonBase):
    capabilities: dict[str, object]
    asLogger: ActorAddress | None
    def signalChildDied(self, _signum: int, _frame: FrameType | None) -> None: ...

class MultiProcAdmin(MultiProcReplicator):
    _pendingChildren: dict[int, list[ReceiveEnvelope]]
    def __init__(
        self,
        transport: object,
        address: ActorAddress,
        capabilities: dict[str, object],
        logdefs: object,
        concurrency_context: object,
    ) -> None: ...
    def run(self) -> None: ...
    def isShuttingDown(self) -> bool: ...
    def handleIncoming(self, envelope: ReceiveEnvelope) -> object: ...
    def h_PendingActor(self, envelope: ReceiveEnvelope) -> object: ...
    def h_ChildActorExited(self, envelope: ReceiveEnvelope) -> object: ...
    def _activate(self) -> None: ...
