"""The command line: one file a command."""

from nelbo.cli.app import main

__all__ = ["main"]
