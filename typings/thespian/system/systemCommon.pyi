from thespian.actors import ActorAddress

def actorStartupFailed(*args: object, **kw: object) -> None: ...

class systemCommonBase:
    _adminAddr: ActorAddress
    @property
    def myAddress(self) -> ActorAddress: ...
