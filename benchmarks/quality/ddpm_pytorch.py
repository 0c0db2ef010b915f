"""Models of denoising-diffusion-pytorch: its `Unet`, `GaussianDiffusion` and `Trainer`, with their defaults.

The defaults are those of the signatures: batch 16, Adam with learning rate 1e-4, an average with decay 0.995,
prediction of v, the sigmoid schedule, and random horizontal flips, which another entry of the benchmark switches off.
Three things differ. Its `Unet` asserts that the sides can be halved once per further multiplier, so 28 x 28 images use
the first three multipliers of (1, 2, 4, 8). Its FID is switched off, because it downloads an Inception network. Its own
samples and checkpoints are never due, because they would count as training time.

Its network is sampled by nelbo: the schedule becomes a table of betas, and v has the same meaning in both.
"""

import contextlib
import io
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.quality.clock import Peer, Trained, train_peer
from benchmarks.quality.plan import DDPM_PYTORCH, Job
from benchmarks.quality.stand_in import torchvision_or_stand_in
from benchmarks.quality.widths import halvings, nearest_width, num_parameters
from nelbo.data import ImageDataset, Split
from nelbo.files import read_tensors, write_tensors
from nelbo.probability import levels_to_data
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.recipes import Recipe, ScheduleOptions
from nelbo.recipes.assembly import build_schedule
from nelbo.runs import DataOptions, DiffusionRun, RunConfig

MULTIPLIERS, MOST_WIDTH, WIDTH_STEP = (1, 2, 4, 8), 512, 2
MODEL, IMAGES, NEVER = "model.safetensors", "images", 10**12
NEEDS = ("einops", "ema_pytorch", "scipy", "tqdm")


class DdpmPytorch:
    """The library denoising-diffusion-pytorch."""

    packages: tuple[str, ...] = ("denoising_diffusion_pytorch", *NEEDS)

    def train(self, job: Job, split: Split) -> Trained | None:
        """Train or resume; None if a signal stopped the training."""
        return train_peer(DdpmPytorchPeer(job, split), job)

    def load(self, job: Job, data: DataOptions) -> DiffusionRun:
        """Return its network and its schedule as a run of nelbo."""
        weights, options = read_tensors(job.place / MODEL)
        network = build(data.shape, options["width"])
        network.load_state_dict(weights)
        return run_of(diffusion_of(network, data.shape), data, job.place)


def library() -> ModuleType:
    """Import the library, after its dependencies, which must not find the stand-in for torchvision."""
    for name in ("accelerate", *NEEDS):
        import_module(name)
    with torchvision_or_stand_in():
        return import_module("denoising_diffusion_pytorch")


def build(shape: tuple[int, int, int], width: int) -> nn.Module:
    """Build a `Unet` for images (C, H, W)."""
    multipliers = MULTIPLIERS[: 1 + halvings(shape, len(MULTIPLIERS) - 1)]
    network: nn.Module = library().Unet(dim=width, dim_mults=multipliers, channels=shape[0])
    return network


def diffusion_of(network: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """Build a `GaussianDiffusion` of 1,000 steps."""
    diffusion: nn.Module = library().GaussianDiffusion(network, image_size=shape[1:])
    return diffusion


class Shifted(nn.Module):
    """A network that counts t from 0, as a network of nelbo, which counts from 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the output for x_t (B, C, H, W) and t (B,) within 1..T."""
        return self.network(x_t, t - 1)  # type: ignore[no-any-return]


def run_of(diffusion: nn.Module, data: DataOptions, place: Path) -> DiffusionRun:
    """Return a `GaussianDiffusion` as a run of nelbo, which makes the same predictions."""
    betas = tuple(diffusion.betas.double().tolist())  # type: ignore[operator]
    schedule = ScheduleOptions(kind="table", num_steps=len(betas), betas=betas)
    recipe = Recipe(schedule=schedule, parameterization="velocity", variance="fixed-small")
    network = Shifted(diffusion.model).eval().requires_grad_(False)  # type: ignore[arg-type]
    config = RunConfig(recipe, data, DDPM_PYTORCH)
    return DiffusionRun(place, config, network, build_schedule(schedule))


def write_images(images: ImageDataset, folder: Path) -> Path:
    """Write images as PNG files, from which the `Trainer` reads them; return the folder."""
    if folder.exists():
        return folder
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for some in torch.arange(len(images)).split(1000):
        levels = ((levels_to_data(images.images(some), images.levels) + 1) * 127.5).round().to(torch.uint8)
        for index, image in zip(some.tolist(), levels.permute(0, 2, 3, 1).numpy(), strict=True):
            Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(part / f"{index:06d}.png")
    part.rename(folder)
    return folder


class DdpmPytorchPeer(Peer):
    """A model in training by the library's `Trainer`, step by step."""

    def __init__(self, job: Job, split: Split) -> None:
        shape = split.train.shape
        torch.manual_seed(derived_seed(job.repeat, INITIALISATION))
        widths = range(WIDTH_STEP, MOST_WIDTH, WIDTH_STEP)
        self.width = nearest_width(lambda width: build(shape, width), widths, job.parameters)
        self.num_parameters = num_parameters(lambda: build(shape, self.width))
        self.version = f"{DDPM_PYTORCH} {version(DDPM_PYTORCH)}"
        # otherwise Accelerate refuses another precision than that of an earlier training in this process
        import_module("accelerate.state").AcceleratorState._reset_state()
        self.trainer = library().Trainer(
            diffusion_of(build(shape, self.width), shape),
            write_images(split.train, Path(job.out) / IMAGES),
            augment_horizontal_flip=job.settings["flip"],
            results_folder=job.place,
            save_and_sample_every=NEVER,
            calculate_fid=False,
        )

    @property
    def step(self) -> int:  # type: ignore[override]
        """Optimizer steps done."""
        return int(self.trainer.step)

    def advance(self, fraction: float) -> None:
        """Let the trainer take one step, without its progress bar."""
        self.trainer.train_num_steps = self.step + 1
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.trainer.train()

    def state(self) -> dict[str, Any]:
        """Return what `Trainer.save` stores on a CPU."""
        trainer = self.trainer
        return {
            "step": self.step,
            "network": trainer.model.state_dict(),
            "average": trainer.ema.state_dict(),
            "optimizer": trainer.opt.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state; the draws of the steps to come are new."""
        trainer = self.trainer
        trainer.step = state["step"]
        trainer.model.load_state_dict(state["network"])
        trainer.ema.load_state_dict(state["average"])
        trainer.opt.load_state_dict(state["optimizer"])

    def save(self, place: Path) -> None:
        """Write the averaged weights."""
        write_tensors(place / MODEL, self.trainer.ema.ema_model.model.state_dict(), {"width": self.width})
