"""`python -m jidocode`, and the program `jidocode`."""

from __future__ import annotations

import sys


def main() -> None:
    """Carry out the command that the arguments say."""
    try:
        from jidocode.cli.main import command  # noqa: PLC0415 - it needs an extra
    except ImportError as error:
        if error.name != "click":
            raise
        sys.exit("the command line needs click: pip install 'jidocode[cli]'")
    command(prog_name="jidocode")


if __name__ == "__main__":
    main()
