"""Find the parts of a text that can be run: Python blocks with their output, and commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import typer

from nelbo.cli.app import app

FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LAUNCHED = r"(?:(?:accelerate launch|torchrun)[^\n`]* -m )?nelbo "


@dataclass(frozen=True)
class Block:
    """A fenced block of Python.

    Attributes:
        code: the code.
        prints: the `text` block that follows directly, or "".
        slow: whether "slow" is in its title.
    """

    code: str
    prints: str
    slow: bool


def python_blocks(text: str) -> list[Block]:
    """Return the ```python blocks in order."""
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, after in pairwise([*fences, None]):
        language, _, title = fence["info"].partition(" ")
        if language == "python":
            follows = after is not None and after["info"] == "text" and not text[fence.end() : after.start()].strip()
            blocks.append(Block(fence["body"], after["body"] if follows and after else "", "slow" in title))
    return blocks


def commands_in(text: str) -> list[str]:
    """Return what follows `nelbo` in each command: in fenced blocks other than Python, and in `code` within a line."""
    return sorted({line for line, _ in _commands(text)})


def complete_commands(text: str) -> list[str]:
    """Return the commands that can be run as they are, in order.

    These are the ones in fenced blocks, and those in `code` within a line that name a folder of runs.
    """
    return [line for line, in_block in _commands(text) if in_block or "runs/" in line]


def _commands(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what follows `nelbo` in each command, and whether it is in a fenced block."""
    for found in re.finditer(rf"{FENCE.pattern}|`(?P<inline>[^`\n]+)`", text, FENCE.flags):
        if found["inline"] is not None:
            lines = [found["inline"]]
        else:
            lines = [] if "python" in found["info"] else found["body"].replace("\\\n", " ").splitlines()
        for line in lines:
            match = re.match(rf"(?:\$ )?{LAUNCHED}([a-z].*)", line.split("#")[0] if found["inline"] is None else line)
            if match:
                yield match[1].strip(), found["inline"] is None


def unknown_options(line: str) -> set[str]:
    """Return the options of a command line (without `nelbo`) that its command does not have.

    Raises:
        KeyError: there is no such command.
    """
    command, words = typer.main.get_command(app), line.split()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return {word.split("=")[0] for word in words if word.startswith("-")} - options
