"""`python -m jidocode`, and the program `jidocode`."""

from __future__ import annotations

import sys

from jidocode.cli.ending import ended_by_signals
from jidocode.cli.streams import take_standard_streams


def main() -> None:
    """Carry out the command that the arguments say."""
    with ended_by_signals():
        take_standard_streams()
        try:
            from jidocode.cli.main import command  # noqa: PLC0415 - it needs an extra

            command(prog_name="jidocode")
        except ImportError as error:
            if error.name != "click":
                raise
            sys.exit("the command line needs click: pip install 'jidocode[cli]'")
        except OSError as error:  # what click itself prints cannot be written
            sys.exit(f"Error: {error.strerror}")


if __name__ == "__main__":
    main()
