from thespian.actors import ActorAddress, ActorSystemMessage

class PendingActor(ActorSystemMessage):
    forActor: ActorAddress | None
    targetActorReq: object
    globalName: str | None
    def __init__(
        self,
        actorClassName: str,
        forActor: ActorAddress | None,
        instanceNumForActor: int,
        targetActorReq: object,
        globalName: str | None = None,
        sourceHash: str | None = None,
    ) -> None: ...

class SystemShutdown(ActorSystemMessage): ...
class PendingActorResponse(ActorSystemMessage): ...
