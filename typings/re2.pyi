class error(Exception): ...  # noqa: N801, N818 - its name

class Options:
    dot_nl: bool
    never_nl: bool
    never_capture: bool
    case_sensitive: bool
    log_errors: bool
    encoding: int
    max_mem: int

    class Encoding:
        LATIN1: int
        UTF8: int

class _Match:
    def start(self) -> int: ...
    def end(self) -> int: ...

class _Regexp:
    programsize: int
    def search(
        self, text: bytes, pos: int | None = ..., endpos: int | None = ...
    ) -> _Match | None: ...
    def fullmatch(self, text: bytes) -> _Match | None: ...

def compile(pattern: bytes, options: Options) -> _Regexp: ...
def purge() -> None: ...
