"""`python -m jidocode`, and the program `jidocode`."""

from __future__ import annotations

import sys


def main() -> None:
    """Carry out the command that the arguments say."""
    try:
        import click  # noqa: F401, PLC0415 - it is an extra
    except ImportError:
        sys.exit("the command line needs click: pip install 'jidocode[cli]'")
    from jidocode.cli.main import command  # noqa: PLC0415 - see above

    command(prog_name="jidocode")


if __name__ == "__main__":
    main()
