"""The usage examples in docstrings run and print what they show."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_protocols_have_examples():
    expected = {"nelbo.objective", "nelbo.networks.layers", "nelbo.samplers.sampler", "nelbo.data.datasets"}
    assert expected <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str):
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
