"""The usage examples in docstrings run and print what they show."""

import doctest
from importlib import import_module

import pytest

# Modules with `>>>` examples in their docstrings. Add a module here when you add its first example.
MODULES = [
    "nelbo.data.batches",
    "nelbo.data.datasets",
    "nelbo.data.loading",
    "nelbo.data.shards",
    "nelbo.files",
    "nelbo.interop.hub",
    "nelbo.randomness",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0, f"{name} has no example"
    assert results.failed == 0
