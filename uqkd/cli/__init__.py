"""The command line: one file a command; `app` holds what they share."""

from uqkd.cli.app import main

__all__ = ["main"]
