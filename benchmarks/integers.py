"""Compare the integer networks of a model with int64, image by image, in every way that may round differently.

    python -m benchmarks.integers [--num 1000] [--model fashion-mnist] [--out integers.json]

Each image enters the network of the chain at one of its places, and the pixel network at one of its passes, in turn. An
image counts as exact if all outputs equal those in int64. A further process has the oldest processor instructions that
the libraries can be restricted to.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.exactness import WAYS
from nelbo.data import load_data
from nelbo.diffusion.passes import walk
from nelbo.diffusion.pixel_decoder import features
from nelbo.lattice import LatticeModel, centred, evidence, simulate
from nelbo.networks.exact_pixels import LARGEST_HIDDEN
from nelbo.networks.integers import IntegerConv, exact_float32
from nelbo.networks.pixels import run_pass
from nelbo.networks.step_network import run_network
from nelbo.runs import IntegerModel, bundled_models


def int64_layer(layer: IntegerConv, x: Tensor, step: int = 0) -> Tensor:
    """Convolve integers (B, I, H, W) in int64, where nothing is rounded."""
    side = layer.weight.shape[2]
    padded = F.pad(x.long(), (side // 2 if layer.stride == 1 else 0,) * 4)
    cut = padded.unfold(2, side, layer.stride).unfold(3, side, layer.stride)
    rows, columns = cut.shape[2:4]
    patches = cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, layer.weight[0].numel())
    sums = (patches @ layer.weight.flatten(1).long().T).view(len(x), rows, columns, -1).permute(0, 3, 1, 2)
    sums = sums + layer.bias.long()[step if len(layer.bias) > 1 else 0][:, None, None]
    shift = layer.shift.long()[:, None, None]
    return (2 * sums + (1 << shift)) >> (shift + 1)


Layer = Callable[..., Tensor]


def outputs(model: LatticeModel, levels: Tensor, layer: Layer, batch: int) -> tuple[Tensor, Tensor]:
    """Return the outputs of both networks for images (N, C, H, W), int64, one row an image.

    Args:
        layer: `layer(integer_conv, x, step)` computes a layer.
        batch: images in a call.
    """
    chain, options = model.chain, model.pixels.options
    places, passes = chain.network.options.steps, list(walk(tuple(levels.shape[1:]), options.side))
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(levels.shape, generator=generator) for _ in range(chain.steps)]
    x_0 = centred(levels, chain.linear.levels)
    simulated = simulate(x_0, chain.linear.spacing, noise)
    found = [dict[int, Tensor](), dict[int, Tensor]()]

    def pixels(i: int, x: Tensor) -> Tensor:
        return layer(model.pixels.layers[i], x.movedim(3, 1)).movedim(1, 3)

    for place in range(places):
        t = max(place - chain.linear.stages + 2, 1)
        for own in torch.arange(place, len(levels), places).split(batch):
            y = simulated[t - 1][own]
            none = torch.zeros(y.shape[1:], dtype=torch.bool)
            x = chain.linear.inputs(y, chain.linear.estimate(y, t), none)
            steps = partial(_step, chain.network.layers, layer, place)
            found[0].update(zip(own.tolist(), run_network(steps, x, chain.network.options).long(), strict=True))
    for number, (known, now) in enumerate(passes):
        for own in torch.arange(number, len(levels), len(passes)).split(batch):
            center = evidence(chain, simulated[0][own])
            x = features(center, levels[own].long(), known, chain.linear.levels).float()
            output = run_pass(pixels, x, now, options, LARGEST_HIDDEN)
            found[1].update(zip(own.tolist(), output.long(), strict=True))
    return tuple(torch.stack([each[i] for i in range(len(levels))]) for each in found)  # type: ignore[return-value]


def _step(layers: dict[str, IntegerConv], layer: Layer, place: int, name: str, h: Tensor) -> Tensor:
    return layer(layers[name], h, place)


def plain(conv: IntegerConv, x: Tensor, step: int = 0) -> Tensor:
    """Compute a layer as the codec does."""
    return conv(x.float(), step)


def channels_last(conv: IntegerConv, x: Tensor, step: int = 0) -> Tensor:
    """Compute a layer on a tensor whose channels come last in memory, with weights like that."""
    weight = conv.weight.to(memory_format=torch.channels_last)
    return replace(conv, weight=weight)(x.float().contiguous(memory_format=torch.channels_last), step)


@contextmanager
def _threads(num: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    yield
    torch.set_num_threads(before)


def in_every_way(model: LatticeModel, levels: Tensor, expected: tuple[Tensor, Tensor]) -> dict[str, int]:
    """Count the images whose outputs equal the expected ones, in each way of this process."""
    ways: dict[str, tuple[Layer, int, int, bool]] = {
        "1 thread, 64 images": (plain, 64, 1, True),
        "2 threads, 64 images": (plain, 64, 2, True),
        "1 thread, 1 image": (plain, 1, 1, True),
        "2 threads, 1 image": (plain, 1, 2, True),
        "channels last": (channels_last, 64, 2, True),
        "oneDNN off": (plain, 64, 2, False),
    }
    found = {}
    for name, (layer, batch, threads, onednn) in ways.items():
        with _threads(threads), torch.backends.mkldnn.flags(enabled=onednn), exact_float32(), torch.no_grad():
            found[name] = equal_images(outputs(model, levels, layer, batch), expected)
        print(f"{name}: {found[name]} of {len(levels)} exact", flush=True)
    return found


def equal_images(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> int:
    """Count the images whose outputs are equal in both networks."""
    same = [(a == b).flatten(1).all(1) for a, b in zip(found, expected, strict=True)]
    return int((same[0] & same[1]).sum())


def main() -> None:
    """Compare, and write the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.integers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=1000, help="Images.")
    parser.add_argument("--model", default="fashion-mnist", help="Bundled model with an integer model.")
    parser.add_argument("--out", type=Path, default=None, help="File for the record.")
    parser.add_argument("--expected", type=Path, default=None, help=argparse.SUPPRESS)  # outputs of the first process
    options = parser.parse_args()
    model = IntegerModel.load(bundled_models()[options.model]).model
    levels = load_data(options.model).require_test().spread(options.num).images(range(options.num))
    if options.expected:
        with exact_float32(), torch.no_grad():
            print(equal_images(outputs(model, levels, plain, 64), torch.load(options.expected)))
        return
    expected = outputs(model, levels, int64_layer, 64)
    found: dict[str, Any] = {"images": options.num, "exact": in_every_way(model, levels, expected)}
    with tempfile.TemporaryDirectory() as folder:
        torch.save(expected, Path(folder) / "expected.pt")
        command = [sys.executable, "-m", "benchmarks.integers", "--num", str(options.num), "--model", options.model]
        done = subprocess.run(
            [*command, "--expected", str(Path(folder) / "expected.pt")],
            env={**os.environ, **WAYS["plainest instructions"].environment},
            check=True,
            capture_output=True,
            text=True,
        )
    found["exact"]["plainest instructions"] = int(done.stdout.split()[-1])
    print(f"plainest instructions: {found['exact']['plainest instructions']} of {options.num} exact")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
