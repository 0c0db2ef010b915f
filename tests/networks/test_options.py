"""The options of networks: no torch, and a help text for each field."""

import importlib
import subprocess
import sys
from dataclasses import fields

import pytest

from nelbo.options import help_of

OPTIONS = {
    "nelbo.networks.classifier_options": "ClassifierOptions",
    "nelbo.networks.dit_options": "DiTOptions",
    "nelbo.networks.mlp_options": "MLPOptions",
    "nelbo.networks.unet_options": "UNetOptions",
    "nelbo.vae.options": "VAEOptions",
}


def test_options_import_no_torch():
    imports = "; ".join(f"from {module} import {name}" for module, name in OPTIONS.items())
    code = f"import sys; {imports}; print(sorted({{'torch', 'numpy', 'matplotlib'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("module", OPTIONS)
def test_each_field_has_a_help_text(module: str):
    kind = getattr(importlib.import_module(module), OPTIONS[module])
    for field in fields(kind):
        assert help_of(kind, field.name).endswith(".")
