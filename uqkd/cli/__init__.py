"""The command line: one file a command, in `studies/` and `models/` by what it works on; `app` holds what they share."""

from uqkd.cli.app import main

__all__ = ["main"]
