"""What a session's command may do: its project, its scratch folder, and the system's programs.

There are no rules that deny: what lies beneath a granted folder is granted. So what is granted
is small, and named here; what else a program needs is named by *read* and *write*.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.confinement import Confinement
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.confinement.network import Network, NoNetwork
from jidocode.session.confinement.worktree import worktree_paths

_NO_NETWORK = NoNetwork()
_LIMITS = CommandLimits()

PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store")

# Not all of /etc: it has the keys of the machine and what programs keep to themselves, and
# root reads what nobody else may.
CONFIGURATION = tuple(
    f"/etc/{name}"
    for name in (
        # the loader and the C library
        *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "gai.conf", "host.conf"),
        *("hosts", "networks", "nsswitch.conf", "protocols", "resolv.conf", "rpc", "services"),
        *("group", "passwd", "localtime", "timezone", "locale.alias", "locale.conf"),
        # certificates to trust, not the keys beside them
        *("ca-certificates", "ca-certificates.conf", "pki/ca-trust", "pki/tls/certs"),
        *("pki/tls/cert.pem", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf"),
        *("crypto-policies", "gnutls", "gss"),
        # which machine it is, and which of several programs is meant
        *("alternatives", "debian_version", "lsb-release", "machine-id", "os-release"),
        *("redhat-release", "hostname", "mtab"),
        # shells, terminals, fonts
        *("bash.bashrc", "bashrc", "environment", "fonts", "inputrc", "profile", "profile.d"),
        *("shells", "terminfo", "vim", "xdg", "zsh"),
        # programs that do not run without
        *("gdb", "gitattributes", "gitconfig", "groff", "java", "magic", "magic.mime"),
        *("manpath.config", "maven", "mime.types", "npmrc", "papersize", "perl", "php"),
        *("pip.conf", "python", "python3", "sgml", "wgetrc", "xml"),
    )
)
_VERSIONED = ("java-", "python3.")
"""What begins so in /etc, too."""

# How many processors, how much memory, which limits: a program asks at its start. Landlock
# closes what /proc says of other processes to those only who may debug them: environment,
# memory, open files. A rule for a command's own processes alone is not possible: they are not
# there yet.
FACTS = ("/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage")
DEVICES = (
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"),
    *("/dev/ptmx", "/dev/pts"),
)


def session_confinement(  # noqa: PLR0913 - a word for each thing that an app decides
    project: str | os.PathLike[str],
    scratch: str | os.PathLike[str],
    *,
    read: Sequence[str | os.PathLike[str]] = (),
    write: Sequence[str | os.PathLike[str]] = (),
    closed: Sequence[str | os.PathLike[str]] = (),
    network: Network = _NO_NETWORK,
    limits: CommandLimits = _LIMITS,
    ptrace: bool = False,
) -> Confinement:
    """Return what a command of the session with that *project* may do.

    It may read and change the project and the scratch folder, and read and execute the
    system's programs and libraries, and this Python's. Symlinks are followed here, once; a path
    that becomes one later grants nothing.

    Args:
        project: The session's project.
        scratch: A folder for what commands leave: their HOME and TMPDIR.
        read: Absolute paths that a command may read and execute, too.
        write: Absolute paths that it may change, too.
        closed: What no command may read, such as the state directory.
        network: Which sockets it may have.
        limits: What it may use of the machine.
        ptrace: Whether it may debug those that it has started.

    Raises:
        InvalidRequestError: An argument is not of its kind, or something that is to be *closed*
            lies beneath what would be granted, or *read* or *write* beneath that.
    """
    own = absolute_paths([project, scratch])
    readable, writable = _real(absolute_paths(read)), _real(absolute_paths(write))
    common, changeable = worktree_paths(own[0])
    system, devices = _system()
    confinement = Confinement(
        read=tuple(dict.fromkeys((*system, *readable, *common))),
        write=(*dict.fromkeys((*_real(own), *writable)), *changeable),
        devices=devices,
        network=network,
        limits=limits,
        ptrace=ptrace,
    )
    _check_closed(confinement, (*readable, *writable), _real(absolute_paths(closed)))
    return confinement


def _real(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths without symlinks, each once."""
    return tuple(dict.fromkeys(map(os.path.realpath, paths)))


@functools.cache
def _system() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what every command may read, and the devices it may use, as far as they are there.

    It is looked up once: a hundred paths, for each command, would take longer than the command.
    """
    return _real(system_names()), _real(filter(os.path.exists, DEVICES))


def system_names() -> tuple[str, ...]:
    """Return what every command may read of the system, as it is called, symlinks and all."""
    found = [str(path) for begin in _VERSIONED for path in sorted(Path("/etc").glob(f"{begin}*"))]
    readable = (*PROGRAMS, *CONFIGURATION, *found, *FACTS, *python_prefixes())
    return tuple(filter(os.path.exists, readable))


def python_prefixes() -> list[str]:
    """Return where this Python, and what is installed for it, lie."""
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    # A Python that is embedded in a program can have any prefix, the root of all among them.
    # Where it may not be looked at, there is nothing to grant; pathlib would raise there.
    return [prefix for prefix in sorted(prefixes) if prefix != "/" and _has_folder(prefix, "lib")]


def _has_folder(path: str, name: str) -> bool:
    return os.path.isdir(os.path.join(path, name))  # noqa: PTH112, PTH118 - see above


def _check_closed(confinement: Confinement, asked: Iterable[str], closed: Iterable[str]) -> None:
    for path in closed:
        for granted in (*confinement.read, *confinement.write, *confinement.devices):
            if Path(path).is_relative_to(granted):
                raise InvalidRequestError(
                    f"{quote(path)} must stay closed to commands, and would be open to them "
                    f"with {quote(granted)}"
                )
        for wanted in asked:
            if Path(wanted).is_relative_to(path):
                raise InvalidRequestError(
                    f"{quote(wanted)} lies beneath {quote(path)}, which stays closed to commands"
                )
