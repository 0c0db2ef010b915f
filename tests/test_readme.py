"""The README does what it says: its Python runs as it stands, and its commands take the options that it shows."""

import re
from pathlib import Path

import pytest
import typer

from nelbo.cli.app import app

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = re.findall(r"^(?:.*`)?nelbo ([a-z][^`#\n]*)", README, re.MULTILINE) + re.findall(
    r"`nelbo ([a-z][^`]*)`", README
)


@pytest.mark.slow
def test_the_python_runs_as_it_stands():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["images"].shape == (16, 1, 28, 28)


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_the_commands_take_the_options_shown(line: str):
    command, words = typer.main.get_command(app), line.split()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    assert {word for word in words if word.startswith("-")} <= options
