"""The usage examples in docstrings run and print what they show."""

import doctest
import importlib

import pytest

MODULES = [
    "nelbo.diffusion.constraint",
    "nelbo.diffusion.loss",
    "nelbo.diffusion.parameterization",
    "nelbo.diffusion.schedule",
    "nelbo.diffusion.timesteps",
    "nelbo.diffusion.variance",
    "nelbo.networks.layers",
    "nelbo.objective",
    "nelbo.vae.bound",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_show(name: str):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0
