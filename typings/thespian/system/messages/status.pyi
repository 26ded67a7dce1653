from thespian.actors import ActorAddress, ActorSystemMessage
from thespian.system.timing import ExpirationTimer

class Thespian_SystemStatus(ActorSystemMessage):
    pendingMessages: list[tuple[ActorAddress, ActorAddress, str]]
    pendingWakeups: list[tuple[ActorAddress, ExpirationTimer]]
    receivedMessages: list[tuple[ActorAddress, ActorAddress, str]]
    def __init__(self, address: ActorAddress) -> None: ...
    def addPendingMessage(
        self, fromActor: ActorAddress, toActor: ActorAddress, msgstr: str
    ) -> None: ...
    def addReceivedMessage(
        self, fromActor: ActorAddress, toActor: ActorAddress, msgstr: str
    ) -> None: ...
    def addWakeups(self, wakeups_list: list[tuple[ActorAddress, ExpirationTimer]]) -> None: ...
