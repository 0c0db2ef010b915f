"""The diffusers side of the comparison: small networks with weights far from zero, and pipelines saved by diffusers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from nelbo.networks import UNetOptions
from nelbo.recipes import Recipe
from nelbo.recipes.assembly import build_network
from nelbo.runs import DataOptions, DiffusionRun, RunConfig, load
from nelbo.runs.run import save_model

SMALL = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (16, 32),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}


def stirred(network: torch.nn.Module, seed: int = 0) -> Any:
    """Perturb every weight of a network, so that no layer is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval().requires_grad_(False)


def their_unet(**changes: Any) -> Any:
    """Make a small `UNet2DModel`: diffusers' defaults except `SMALL` and `changes`."""
    torch.manual_seed(0)
    return stirred(diffusers.UNet2DModel(**{**SMALL, **changes}))


def their_folder(folder: Path, unet: Any, scheduler: Any = None) -> Path:
    """Save a pipeline with diffusers."""
    scheduler = scheduler or diffusers.DDPMScheduler()
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(folder)
    return folder


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def difference(given: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference of two tensors; fail if they are near zero."""
    assert expected.abs().mean() > 0.02
    return float((given - expected).abs().max())


def edit(path: Path, **changes: Any) -> None:
    """Change settings in a JSON file; `...` removes one."""
    plain = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in plain.items() if value is not ...}))


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pipeline, shared by tests that do not change it."""
    return their_folder(tmp_path_factory.mktemp("diffusers") / "pipeline", their_unet())


OURS = UNetOptions(base=16, multipliers=(1, 2), blocks=1, attention=(1,), groups=4, dropout=0.0)


@pytest.fixture
def our_run(tmp_path: Path) -> Callable[..., DiffusionRun]:
    """`our_run("name", parameterization="data", network=...)`: a run folder of random weights."""

    def make(name: str = "ours", shape: tuple[int, int, int] = (3, 16, 16), **recipe: Any) -> DiffusionRun:
        settings = {"network": OURS, **recipe}
        config = RunConfig(Recipe(**settings), DataOptions("digits", shape, 256, 10, 2), "images")
        torch.manual_seed(0)
        config.save(tmp_path / name)
        save_model(tmp_path / name, stirred(build_network(config.recipe)), {})
        run = load(tmp_path / name, device="cpu")
        assert isinstance(run, DiffusionRun)
        return run

    return make
