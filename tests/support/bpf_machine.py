"""The machine that runs filters of system calls, as the kernel's documentation describes it."""

from __future__ import annotations

import struct

ALLOW = "allow"
KILL = "kill"


def run(program: bytes, number: int, machine: int, arguments: tuple[int, ...]) -> str | int:
    """Return what *program* answers: `ALLOW`, `KILL`, or an error number."""
    words = struct.pack("<iIQ6Q", _signed(number), machine, 0, *arguments)
    position, loaded = 0, 0
    while True:
        code, if_true, if_false, k = struct.unpack_from("=HBBI", program, 8 * position)
        position += 1
        match code:
            case 0x20:
                assert k % 4 == 0
                (loaded,) = struct.unpack_from("<I", words, k)
            case 0x54:
                loaded &= k
            case 0x15:
                position += if_true if loaded == k else if_false
            case 0x25:
                position += if_true if loaded > k else if_false
            case 0x06:
                return _answer(k)
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _answer(k: int) -> str | int:
    if k == 0x7FFF0000:
        return ALLOW
    if k == 0x80000000:
        return KILL
    assert k & 0xFFFF0000 == 0x00050000
    return k & 0xFFFF
