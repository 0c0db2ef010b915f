"""Every flag that a message names is one that can be given."""

import re
from pathlib import Path

import typer

import nelbo
from nelbo.cli.app import app

OTHERS = {"--index-url", "--help", "--version"}  # pip's, and the program's own


def options_of(command):
    own = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return own.union(*(options_of(inner) for inner in getattr(command, "commands", {}).values()))


def test_flags_in_messages_exist():
    options = options_of(typer.main.get_command(app)) | OTHERS
    sources = Path(nelbo.__file__).parent.rglob("*.py")
    named = {flag: path.name for path in sources for flag in re.findall(r"--[a-z][a-z-]+", path.read_text())}
    assert {flag: where for flag, where in named.items() if flag not in options} == {}
