"""What a process may do, as one record, and the three steps in which it is held to it.

`prepare` does before the fork what takes time, can fail or needs memory. `Prepared.apply` is
what is left for the child: a handful of system calls, of which none opens anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import field, frozen

from jidocode.base.closing import Closing
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import ConfinementError, InvalidRequestError
from jidocode.session.confinement import landlock, seccomp
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.limits import (
    CommandLimits,
    resource_limits,
)
from jidocode.session.confinement.network import FullNetwork, Network, NoNetwork, Peers, Ports
from jidocode.session.confinement.privileges import DAC_OVERRIDE, OWNERS
from jidocode.session.confinement.seal import Seal

_FIRST_ABI_WITH_PORTS = 4


def _network(value: object) -> Network | Peers:
    if not isinstance(value, (NoNetwork, Ports, FullNetwork, Peers)):
        raise InvalidRequestError(
            f"network must be NoNetwork(), Ports(...) or FullNetwork(), not {quote(value)}"
        )
    return value


def _limits(value: object) -> CommandLimits:
    if not isinstance(value, CommandLimits):
        raise InvalidRequestError(f"limits must be CommandLimits(...), not {quote(value)}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"a flag must be True or False, not {quote(value)}")
    return value


@frozen(eq=False, repr=False, kw_only=True)
class Confinement(Record):
    """What a command, or another process, may do; whatever is not named here, it may not.

    Paths are absolute, and stand for all that is beneath them. No symlink in them is followed:
    name what is meant.

    Args:
        read: What it may read, list and execute.
        write: What it may change, too, delete, and create in.
        devices: What it may read and write, and control by ioctl, but not list.
        network: Which sockets it may have.
        limits: What it may use of the machine.
        ptrace: Whether it may debug those that it has started.
        execute: Whether it may execute what it may read.
        owners: Whether it may give away files, and change those of others, as far as the app may.

    Raises:
        InvalidRequestError: One of them is not of that kind.
    """

    read: tuple[str, ...] = field(default=(), converter=absolute_paths)
    write: tuple[str, ...] = field(default=(), converter=absolute_paths)
    devices: tuple[str, ...] = field(default=(), converter=absolute_paths)
    network: Network | Peers = field(factory=NoNetwork, converter=_network)
    limits: CommandLimits = field(factory=CommandLimits, converter=_limits)
    ptrace: bool = field(default=False, converter=_flag)
    execute: bool = field(default=True, converter=_flag)
    owners: bool = field(default=False, converter=_flag)


class Prepared(Closing):
    """A confinement that waits for the child which is to be confined; see `prepare`.

    It can be applied in any number of children, one after the other or at once. It holds
    one open file, which exec closes.

    Attributes:
        confinement: What it was made from.
        skipped: Paths of the confinement at which nothing was, or that had a symlink in them;
            nothing is granted for them.
        seal: All of it but the Landlock rules, to be sent to another process.
        built: A mount namespace in which what it grants is all there is, for the tier namespaces,
            once there is one.
        unenforced: What a command can do though it should not, because this kernel's Landlock
            is too old to prevent it; one short text each.
    """

    def __init__(
        self,
        confinement: Confinement,
        ruleset: landlock.Ruleset,
        seal: Seal,
        skipped: tuple[str, ...],
        unenforced: tuple[str, ...],
    ) -> None:
        self.confinement = confinement
        self.skipped = skipped
        self.unenforced = unenforced
        self.built: int | None = None
        self._ruleset = ruleset
        self.seal = seal

    @property
    def ruleset(self) -> int:
        """The descriptor of the Landlock rules, for `Seal.apply`."""
        return self._ruleset.fd

    def apply(self) -> None:
        """Confine the calling process, and all that it starts from now on, for good.

        For a child with a single thread, as the last thing before it executes the command (and
        `close_others`): what it does itself afterwards is confined, too.

        Raises:
            ConfinementError: The kernel refused a step; the child must execute nothing.
        """
        for what, step in self.seal.steps(self.ruleset):
            try:
                step()
            except (OSError, ValueError) as error:
                raise ConfinementError(f"the kernel does not {what}: {error}") from error

    def close(self) -> None:
        """Let go of it; whoever was confined by it stays so."""
        self._ruleset.close()
        if self.built is not None:
            os.close(self.built)
            self.built = None

    def keep_built(self, descriptor: int) -> None:
        """Take the open *descriptor* as `built`, unless there is one, or this was let go of."""
        if self.built is None and self.ruleset >= 0:
            self.built = descriptor
        else:
            os.close(descriptor)


def prepare(
    confinement: Confinement,
    *,
    read: Iterable[int] = (),
    write: Iterable[int] = (),
    opened: Mapping[str, int] = MappingProxyType({}),
) -> Prepared:
    """Make all that a child needs to be confined; some milliseconds of work.

    Rules hold what is at a path now: what is moved there later has no rights.

    Args:
        confinement: What it may do.
        read: Descriptors of what it may read, too, whatever its paths are.
        write: Descriptors of what it may change, too.
        opened: Descriptors of some of its paths, in the place of what is there now.

    Raises:
        ConfinementError: This kernel or machine cannot do it at all, or not that.
    """
    machine, abi = seccomp.this_machine(), landlock.find_abi()
    if machine not in seccomp.AUDIT_ARCHES:
        raise ConfinementError(
            f"there is no filter of system calls for {machine}, only for "
            f"{' and '.join(seccomp.AUDIT_ARCHES)}"
        )
    if not abi:
        raise ConfinementError(
            "the kernel has no Landlock (Linux 5.13 and newer), or it is switched off"
        )
    network = confinement.network
    if isinstance(network, Ports) and abi < _FIRST_ABI_WITH_PORTS:
        raise ConfinementError("the kernel's Landlock knows no ports (Linux 6.7 and newer)")
    program = seccomp.program(
        machine, network, ptrace=confinement.ptrace, execute=confinement.execute
    )
    capabilities = DAC_OVERRIDE | (OWNERS if confinement.owners else 0)
    seal = Seal(resource_limits(confinement.limits), program, capabilities)
    try:
        ruleset = landlock.Ruleset(abi, network=not isinstance(network, (FullNetwork, Peers)))
        try:
            skipped = _fill(ruleset, confinement, read, write, opened)
        except BaseException:
            ruleset.close()
            raise
    except OSError as error:
        raise ConfinementError(f"the kernel takes no Landlock rules: {error}") from error
    return Prepared(confinement, ruleset, seal, skipped, landlock.unenforced(abi))


def _fill(
    ruleset: landlock.Ruleset,
    confinement: Confinement,
    readable: Iterable[int],
    writable: Iterable[int],
    opened: Mapping[str, int],
) -> tuple[str, ...]:
    """Add all rules; return the paths that have none."""
    denied = 0 if confinement.execute else landlock.EXECUTE
    read, write = landlock.READ & ~denied, landlock.WRITE & ~denied
    for fd in readable:
        ruleset.allow_opened(fd, read)
    for fd in writable:
        ruleset.allow_opened(fd, write)
    rules = (
        *((path, read) for path in confinement.read),
        *((path, write) for path in confinement.write),
        *((path, landlock.DEVICE) for path in confinement.devices),
    )
    skipped: list[str] = []
    for path, access in rules:
        if path in opened:
            ruleset.allow_opened(opened[path], access)
        elif not ruleset.allow_path(path, access):
            skipped.append(path)
    if isinstance(confinement.network, Ports):
        for port in confinement.network.connect:
            ruleset.allow_port(port, landlock.CONNECT_TCP)
        for port in confinement.network.listen:
            ruleset.allow_port(port, landlock.BIND_TCP)
    return tuple(skipped)
