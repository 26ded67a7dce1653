"""Pure: a table of system calls as a program for the kernel's filter machine (classic BPF).

The kernel runs the program at each system call of a confined process, with the number of the
call, the machine and the six arguments as its input; what it returns is what happens. The
program is a plain list with jumps forward only, so it can be read from top to bottom: is it
our machine, is the number one we know, and then one block for each call in the table.

The blocks are in groups that are jumped over. When a filter is installed, the kernel goes through
it once for each call that there is, to know those that are always allowed: with every block
looked at, that took longer than all the rest of confining a process.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

ALLOW = 0x7FFF0000
KILL = 0x80000000
"""The whole process, by SIGSYS."""

# As linux/filter.h and linux/bpf_common.h have them, put together.
_LOAD = 0x20  # A = the word at k in the input: LD | W | ABS
_AND = 0x54  # A = A & k: ALU | AND | K
_IF_EQUAL = 0x15  # skip jt if A == k, else jf: JMP | JEQ | K
_IF_GREATER = 0x25  # JMP | JGT | K
_RETURN = 0x06  # RET | K

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6].
_NUMBER = 0
_MACHINE = 4
_ARGUMENTS = 16

_WORD = 0xFFFFFFFF
_LONGEST_JUMP = 255
_GROUP = 8
"""Calls that are jumped over at once, if they are below the one that is made."""
_LONGEST_PROGRAM = 4096  # BPF_MAXINSNS


class Test(NamedTuple):
    """Whether the lower half of an argument, as far as *mask* goes, is *value*.

    The lower half is all that the kernel looks at in the arguments that we test: ints and
    flags. Who compared the upper half, too, would let through what differs only there.
    """

    argument: int
    value: int
    mask: int = _WORD


class Case(NamedTuple):
    """What happens if all the tests hold."""

    tests: tuple[Test, ...]
    action: int


class Rule(NamedTuple):
    """What happens at a call: what the first case says that fits, or else *otherwise*."""

    cases: tuple[Case, ...]
    otherwise: int


class Instruction(NamedTuple):
    """struct sock_filter."""

    code: int
    if_true: int
    if_false: int
    k: int


def refuse(code: int) -> int:
    """Return the action by which a call fails with that error number, and is not carried out."""
    return 0x00050000 | code


def assemble(machine: int, last: int, unknown: int, table: Mapping[int, Rule]) -> list[Instruction]:
    """Return the program for *table*, by numbers of calls; what is not in it is allowed.

    A call of another machine's numbering (a 32-bit program on x86_64) ends the process: the
    numbers mean something else there. What has a number above *last* gets *unknown*; that
    takes care of the third numbering, too, x32, whose numbers have a high bit set.
    """
    program = [
        Instruction(_LOAD, 0, 0, _MACHINE),
        Instruction(_IF_EQUAL, 1, 0, machine),
        Instruction(_RETURN, 0, 0, KILL),
        Instruction(_LOAD, 0, 0, _NUMBER),
        Instruction(_IF_GREATER, 0, 1, last),
        Instruction(_RETURN, 0, 0, unknown),
    ]
    rules = sorted(table.items())
    for start in range(0, len(rules), _GROUP):
        group = rules[start : start + _GROUP]
        blocks = [instruction for number, rule in group for instruction in _block(number, rule)]
        program += [_jump_if_greater(group[-1][0], blocks), *blocks]
    program.append(Instruction(_RETURN, 0, 0, ALLOW))
    if len(program) > _LONGEST_PROGRAM:
        raise ValueError(f"{len(program)} instructions are more than the kernel takes")
    return program


def _block(number: int, rule: Rule) -> list[Instruction]:
    """Return: if it is call *number*, return what *rule* says, else go on behind that."""
    # A block always returns, so the number is still loaded at the next one.
    block = [instruction for case in rule.cases for instruction in _case(case)]
    block.append(Instruction(_RETURN, 0, 0, rule.otherwise))
    return [_jump_unless_equal(number, block), *block]


def _case(case: Case) -> list[Instruction]:
    """Return: if all tests hold, return; from a test that does not, go on behind that."""
    code = [Instruction(_RETURN, 0, 0, case.action)]
    for test in reversed(case.tests):
        code.insert(0, _jump_unless_equal(test.value, code))
        if test.mask != _WORD:
            code.insert(0, Instruction(_AND, 0, 0, test.mask))
        code.insert(0, Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * test.argument))
    return code


def _jump_unless_equal(value: int, block: Sequence[Instruction]) -> Instruction:
    return Instruction(_IF_EQUAL, 0, _length(block), value)


def _jump_if_greater(value: int, block: Sequence[Instruction]) -> Instruction:
    return Instruction(_IF_GREATER, _length(block), 0, value)


def _length(block: Sequence[Instruction]) -> int:
    if len(block) > _LONGEST_JUMP:
        raise ValueError(f"a jump over {len(block)} instructions is too long")
    return len(block)


def encode(program: Sequence[Instruction]) -> bytes:
    """Return *program* as the kernel takes it."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
