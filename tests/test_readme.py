"""The README stays short, its Python runs, and its commands have the options that it shows."""

import re
from pathlib import Path

import pytest

from tests.prose import commands_in, python_blocks, unknown_options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 120


@pytest.mark.slow
def test_python_block_runs():
    (block,) = python_blocks(README)
    names: dict[str, object] = {}
    exec(block.code, names)
    assert names["images"].shape == (16, 1, 28, 28)


@pytest.mark.parametrize("line", commands_in(README))
def test_commands_have_the_options_shown(line: str):
    assert unknown_options(line) == set()


def test_readme_has_at_most_120_lines():
    assert len(README.splitlines()) <= MOST_LINES


def test_links_of_the_repository_texts_exist():
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "src/nelbo/models/README.md"]
    for place in [*texts, *pages]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", place.read_text(encoding="utf-8")):
            assert (place.parent / link).exists(), f"{place.relative_to(ROOT)} links to {link}"
