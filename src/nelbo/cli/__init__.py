"""The command line: one file per command. Importing it loads no torch, so that help and usage errors appear at once."""

from nelbo.cli.app import main

__all__ = ["main"]
