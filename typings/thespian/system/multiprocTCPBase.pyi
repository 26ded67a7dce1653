from typing import Any

class ActorSystemBase:
    transportType: type[Any]
