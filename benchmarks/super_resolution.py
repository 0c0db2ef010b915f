"""Double the side of fashion-mnist images: a model conditioned on the small image, and one that restores without it.

    python -m benchmarks.super_resolution [--minutes 30] [--images 100] [--num 4] [--calls 50] [--out runs/super]

Both models have the same recipe without classes, the same images and the same minutes. The small image is the mean of
2 x 2 pixels, rounded. Three ways to enlarge it are measured on held-out images:

- "told": samples of the conditional model, which reads the small image at every step;
- "restored": `run.restore(small, upscale=2)` of the unconditional model, which the chain holds to the small image;
- "both": `run.restore(small, upscale=2, condition_image=small)` of the conditional model.

PSNR is 10 log10(255^2 / mean squared error), with the error averaged over all pixels of all images: of the first draw,
and of the mean of `--num` draws. The same command resumes after an interruption: training from its run folders, and
the measurement from `results.json`.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nelbo
from nelbo.cli.options import parse_settings
from nelbo.data import ArrayDataset, ConditionedDataset, ImageDataset, Split, load_data
from nelbo.files import write_json
from nelbo.runs import DiffusionRun

CHUNK = 8  # images after which the results are written
RECIPE = {"conditional": False, "decoder.kind": "gaussian"}  # all minutes go into the U-Net
TOLD, RESTORED, BOTH = "told", "restored", "both"


def smaller(images: Tensor) -> Tensor:
    """Return the means of 2 x 2 pixels, rounded: (N, 1, H / 2, W / 2) uint8."""
    return torch.nn.functional.avg_pool2d(images.double(), 2).round().to(torch.uint8)


def with_pairs(images: ImageDataset) -> ConditionedDataset:
    """Return the images with the small image of each beside it."""
    small = smaller(images.images(range(len(images))))
    return ConditionedDataset(images, paired=ArrayDataset(small, images.levels))


def trained(split: Split, out: Path, told: bool, minutes: float, overrides: dict[str, Any]) -> DiffusionRun:
    """Train a model for some minutes, or what is left of them."""
    data = Split(with_pairs(split.train), with_pairs(split.test)) if told else split
    run = nelbo.train(
        data,
        out,
        minutes=minutes,
        preset="fashion-mnist",
        overrides={**RECIPE, **overrides},
        pictures=False,
        progress=True,
    )
    assert isinstance(run, DiffusionRun)
    return run


def ways(told: DiffusionRun, alone: DiffusionRun, num: int, calls: int) -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Return how each way draws `num` images (num, 1, H, W) for a small one (1, h, w) and a seed."""

    def sampled(small: Tensor, seed: int) -> Tensor:
        return told.sample(num, condition_image=small, sampler="ancestral", steps=calls, spacing="karras", seed=seed)

    def restored(small: Tensor, seed: int) -> Tensor:
        return alone.restore(small, upscale=2, num=num, steps=calls, seed=seed).draws

    def both(small: Tensor, seed: int) -> Tensor:
        return told.restore(small, upscale=2, num=num, steps=calls, seed=seed, condition_image=small).draws

    return {TOLD: sampled, RESTORED: restored, BOTH: both}


def measure(name: str, draw: Callable[[Tensor, int], Tensor], images: Tensor, results: Path) -> list[list[float]]:
    """Return the mean squared errors of the first draw and of the mean, for each image; known ones are not drawn again.

    Args:
        images: (N, 1, H, W) uint8.
        results: the file that keeps the errors of every way.
    """
    stored: dict[str, list[list[float]]] = json.loads(results.read_text()) if results.exists() else {}
    errors = stored.get(name, [])
    for i in range(len(errors), len(images)):
        original = images[i].double()
        draws = draw(smaller(images[i : i + 1])[0], i).double()
        errors.append([float((each - original).square().mean()) for each in (draws[0], draws.mean(0))])
        if (i + 1) % CHUNK == 0 or i + 1 == len(images):
            write_json(results, {**stored, name: errors})
            print(f"{name}: {i + 1} of {len(images)} images", flush=True)
    return errors[: len(images)]


def psnr(errors: Tensor) -> Tensor:
    """Return the PSNR in dB of errors (N, ...), averaged over the images."""
    return 10 * torch.log10(255**2 / errors.mean(0))


def compare(one: Tensor, other: Tensor) -> str:
    """Return the gain in PSNR from `other` to `one`, with a standard error over the images (delta method)."""
    gain = psnr(one) - psnr(other)
    spread = one / one.mean(0) - other / other.mean(0)
    error = 10 / math.log(10) * spread.std(0) / math.sqrt(len(one))
    return ", ".join(f"{g:+.2f} +- {e:.2f} dB" for g, e in zip(gain.tolist(), error.tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="minutes of training of each model")
    parser.add_argument("--images", type=int, default=100, help="held-out images")
    parser.add_argument("--num", type=int, default=4, help="draws per image")
    parser.add_argument("--calls", type=int, default=50, help="network calls per draw")
    parser.add_argument("--train-images", type=int, help="training images, evenly spread; all by default")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting of both recipes")
    parser.add_argument("--out", type=Path, default=Path("runs/super"), help="folder of both runs and of the results")
    options = parser.parse_args()

    split = load_data("fashion-mnist")
    if options.train_images is not None:
        split = Split(split.train.spread(options.train_images), split.test)
    overrides = parse_settings(options.set)
    told = trained(split, options.out / "told", True, options.minutes, overrides)
    alone = trained(split, options.out / "alone", False, options.minutes, overrides)
    images = split.test.spread(options.images)
    pixels = images.images(range(len(images)))
    found = {
        name: torch.tensor(measure(name, draw, pixels, options.out / "results.json"))
        for name, draw in ways(told, alone, options.num, options.calls).items()
    }
    print(f"\n{len(pixels)} images, {options.num} draws of {options.calls} calls, {options.minutes:g} minutes each")
    print(f"{'PSNR in dB':12}{'first draw':>12}{'mean':>8}")
    for name, errors in found.items():
        first, mean = psnr(errors).tolist()
        print(f"{name:12}{first:12.2f}{mean:8.2f}")
    for name in (TOLD, BOTH):
        print(f"{name} against {RESTORED} (first draw, mean): {compare(found[name], found[RESTORED])}")


if __name__ == "__main__":
    main()
