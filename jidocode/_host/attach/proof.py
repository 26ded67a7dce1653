"""How a system and who wants in prove to each other that they know its secret; no socket here.

    visitor -> system   what it speaks, and fresh random bytes
    system  -> visitor  the same, and a proof over both sides' bytes: it knows the secret
    visitor -> system   what it is, and a proof over that and both sides' bytes
    system  -> visitor  a file with a `Welcome`, or why there is none

The secret itself never travels. The system proves first, so whoever has put himself in its
place learns nothing; and the two proofs have different labels, so none is good for the other.
Until then either side has read nothing but bytes of a known length. A `Welcome` is a pickle: the
visitor reads it only once the system is proven, and the system unpickles nothing at all.
"""

from __future__ import annotations

import os
import sys

import msgspec
from msgspec import Struct

from jidocode.base.hashes import blake2b, compare_digest

SECRET_BYTES = 32
MAGIC = b"jidocode-attach-1"
_NONCE_BYTES = 32
_PROOF_BYTES = 32
MAX_PACKET = 2**16
"""Bytes of the longest packet of either side."""
REFUSED, WELCOME = b"R", b"W"
"""What the answer to a visitor begins with; to one who is welcome, that is all of it."""


class Visitor(Struct, frozen=True):
    """What a visitor says of itself.

    Attributes:
        version: Its version of this library.
        python: Its version of Python, without the last number.
    """

    version: str
    python: str

    @classmethod
    def here(cls) -> Visitor:
        """Return what this process is."""
        from importlib.metadata import version  # noqa: PLC0415 - imports much, and only here

        return cls(version("jidocode"), ".".join(map(str, sys.version_info[:2])))


def misfit(visitor: Visitor, own: Visitor) -> str:
    """Say what keeps *visitor* from a system of *own* kind; nothing if nothing does.

    What travels are pickles of classes that may change with every version, so only equals fit.
    """
    if visitor.version != own.version:
        return f"the system runs jidocode {own.version}, and this process {visitor.version}"
    if visitor.python != own.python:
        return f"the system runs on Python {own.python}, and this process on {visitor.python}"
    return ""


class ProofError(Exception):
    """Says what is wrong with what the other side has sent."""


class VisitorSide:
    """The side of who wants in; one for each connection."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._nonce = os.urandom(_NONCE_BYTES)

    def opening(self) -> bytes:
        """Return the first packet."""
        return MAGIC + self._nonce

    def answer(self, challenge: bytes, visitor: Visitor) -> bytes:
        """Return the answer to the *challenge* of a system, which has proven itself by it.

        Raises:
            ProofError: It has not.
        """
        if not challenge.startswith(MAGIC):
            raise ProofError("it speaks another protocol: its version of jidocode is another one")
        rest = challenge[len(MAGIC) :]
        nonce, proof = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        if not compare_digest(proof, _proof(self._secret, b"system", self._nonce, nonce)):
            raise ProofError("it does not know the secret: somebody has put himself in its place")
        about = msgspec.json.encode(visitor)
        return _proof(self._secret, b"visitor", self._nonce, nonce, about) + about


class SystemSide:
    """The side of the system; one for each connection."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._nonce = os.urandom(_NONCE_BYTES)
        self._visitors_nonce = b""

    def challenge(self, opening: bytes) -> bytes:
        """Return the answer to the first packet, which says at least what is spoken here.

        Raises:
            ProofError: It is none of ours.
        """
        if len(opening) != len(MAGIC) + _NONCE_BYTES or not opening.startswith(MAGIC[:-1]):
            raise ProofError("it is no opening")
        self._visitors_nonce = opening[len(MAGIC) :]
        proof = _proof(self._secret, b"system", self._visitors_nonce, self._nonce)
        return MAGIC + self._nonce + proof

    def admit(self, answer: bytes) -> Visitor:
        """Return who wants in, and has proven by *answer* that he may.

        Raises:
            ProofError: He has not.
        """
        proof, about = answer[:_PROOF_BYTES], answer[_PROOF_BYTES:]
        expected = _proof(self._secret, b"visitor", self._visitors_nonce, self._nonce, about)
        if not compare_digest(proof, expected):
            raise ProofError("it does not know the secret")
        try:
            return msgspec.json.decode(about, type=Visitor)
        except msgspec.MsgspecError as error:
            raise ProofError("it does not say what it is") from error


def _proof(secret: bytes, label: bytes, *parts: bytes) -> bytes:
    # The parts have fixed lengths but the last.
    person = label.ljust(blake2b.PERSON_SIZE, b"\0")
    mac = blake2b(key=secret, digest_size=_PROOF_BYTES, person=person)
    for part in parts:
        mac.update(part)
    return mac.digest()
