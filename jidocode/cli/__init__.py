"""The command line: `jidocode`, or `python -m jidocode`; a file for each command."""
