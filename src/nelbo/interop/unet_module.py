"""The U-Net that an exported folder carries as code, where diffusers' `UNet2DModel` lacks what the model needs.

The code is `nelbo_unet.py`. This module decides whether it is needed, writes its settings and makes its text complete.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from importlib.resources import files
from inspect import getsource, isfunction
from typing import Any

from nelbo.interop.unet_config import UNetConfig
from nelbo.networks import UNetOptions
from nelbo.runs import DiffusionRun

MODULE, CLASS = "nelbo_unet", "NelboUNet2DModel"
OURS = re.compile(r"^from (nelbo\.[\w.]+) import (\w+)\n", re.MULTILINE)


def lacking(run: DiffusionRun, options: UNetOptions) -> tuple[str, ...]:
    """List what a run's U-Net has and diffusers' `UNet2DModel` or `DDPMPipeline` lacks."""
    has: Mapping[str, object] = {
        "the grid prediction": run.recipe.parameterization == "grid",
        "Fourier features": options.fourier,
        "slopes": options.slopes,
        "a label for no class": options.num_classes,
    }
    return tuple(name for name, value in has.items() if value)


def settings_of(run: DiffusionRun, options: UNetOptions, unet: UNetConfig) -> dict[str, Any]:
    """Return the settings of `NelboUNet2DModel` for a run's U-Net, whose settings in diffusers are `unet`."""
    plain = asdict(unet)
    shared = {name: plain.pop(name) for name in ("sample_size", "in_channels")}
    return {
        **shared,
        "first_time": options.first_time,
        "fourier": options.fourier,
        "slopes": options.slopes,
        "grid_levels": run.levels if run.recipe.parameterization == "grid" else None,
        "unet": plain,
        "alphas_bar": run.schedule.alphas_bar[1:].tolist(),
    }


def module_text() -> str:
    """Return the text of `nelbo_unet.py`, with the sources of nelbo's functions in place of their imports."""
    text = (files("nelbo.interop") / f"{MODULE}.py").read_text(encoding="utf-8")
    sources: dict[str, str] = {}
    for module, name in OURS.findall(text):
        sources |= _sources(getattr(import_module(module), name))
    before, after = OURS.sub("", text).split("\n\n\n", 1)
    return "\n\n\n".join([before.rstrip(), *sources.values(), after])


def _sources(function: Callable[..., Any]) -> dict[str, str]:
    """Return the source of a function by its name, after those of the functions and numbers of nelbo that it uses."""
    source, scope = getsource(function), function.__globals__
    used = [node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    sources: dict[str, str] = {}
    for name in dict.fromkeys(used):
        value = scope.get(name)
        if isinstance(value, int | float):
            sources[name] = f"{name} = {value!r}"
        elif isfunction(value) and value is not function and value.__module__.startswith("nelbo."):
            sources |= _sources(value)
    return {**sources, function.__name__: source.rstrip()}
