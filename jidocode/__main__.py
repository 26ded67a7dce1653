"""`python -m jidocode`, and the program `jidocode`."""

from __future__ import annotations

import os
import sys

from jidocode.cli.ending import end_by_signals


def main() -> None:
    """Carry out the command that the arguments say."""
    end_by_signals()
    _take_standard_streams()
    try:
        from jidocode.cli.main import command  # noqa: PLC0415 - it needs an extra

        command(prog_name="jidocode")
    except ImportError as error:
        if error.name != "click":
            raise
        sys.exit("the command line needs click: pip install 'jidocode[cli]'")
    except OSError as error:  # what click itself prints cannot be written
        sys.exit(f"Error: {error.strerror}")


def _take_standard_streams() -> None:
    """Have a closed standard stream be none of the sockets that are opened next."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


if __name__ == "__main__":
    main()
