"""The README does what it says: its Python runs as it stands, and its commands take the options that it shows."""

from pathlib import Path

import pytest

from tests.prose import commands_in, python_blocks, unknown_options

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_runs_as_it_stands():
    (block,) = python_blocks(README)
    names: dict[str, object] = {}
    exec(block.code, names)
    assert names["images"].shape == (16, 1, 28, 28)


@pytest.mark.parametrize("line", commands_in(README))
def test_the_commands_take_the_options_shown(line: str):
    assert unknown_options(line) == set()
