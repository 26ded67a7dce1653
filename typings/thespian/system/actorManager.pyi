from typing import Any

from thespian.actors import Actor, ActorAddress
from thespian.system.systemCommon import systemCommonBase

class ActorManager(systemCommonBase):
    actorInst: Any
    _actorClass: Any
    def __init__(
        self,
        childClass: type[Actor] | str,
        globalName: str | None,
        transport: object,
        sourceHash: str | None,
        sourceToLoad: object,
        parentAddr: ActorAddress,
        adminAddr: ActorAddress,
        childRequirements: object,
        currentSystemCapabilities: dict[str, object],
        concurrency_context: object,
        logdefs: object,
    ) -> None: ...
    def handleMessages(self, envelope: Any) -> object: ...
