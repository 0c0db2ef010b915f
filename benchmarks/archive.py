"""The archive of a model against its bound, other codecs and single files: bits/dim, seconds, and exact pixels.

python -m benchmarks.archive RUN --data fashion-mnist --num 1000 --out benchmarks/archive
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.codec.ans import Symbols
from nelbo.codec.archive_index import Member
from nelbo.data import load_data
from nelbo.files import write_json
from nelbo.lattice import LatticeModel, centred, simulate
from nelbo.probability.integer_gaussian import MASS
from nelbo.progress import bars
from nelbo.runs import find_run
from nelbo.runs.archive import Archive
from nelbo.runs.integer_model import IntegerModel
from nelbo.runs.packing import pack

TOGETHER = 50


def bound(model: LatticeModel, images: Tensor, seed: int) -> dict[str, float]:
    """Return the bound of the chain that is sent, bits/dim, in two terms: eq. 3 for one draw of y for each image."""
    chain, generator = model.chain, torch.Generator().manual_seed(seed)
    sent = pixels = 0.0
    for x in images.long().split(TOGETHER):
        x_0 = centred(x, chain.linear.levels)
        noise = [torch.randn(x_0.shape, generator=generator) for _ in range(chain.steps)]
        y = simulate(x_0, chain.linear.spacing, noise)
        sent += _bits(chain.prior(len(x)), y[-1]) - _bits(chain.first(x_0), y[0])
        for t in range(chain.steps, 1, -1):
            p, q = chain.previous(y[t - 1], t, chain.estimate(y[t - 1], t)), chain.next(y[t - 2], t)
            sent += _bits(p, y[t - 2]) - _bits(q, y[t - 1])
        for mixture, chosen in model.passes(y[0], x, torch.ones(x.shape, dtype=torch.bool)):
            pixels += _bits(mixture, x[chosen])
    return {"chain": sent / images.numel(), "pixels": pixels / images.numel()}


def _bits(distribution: Symbols, value: Tensor) -> float:
    """Return -log2 of the mass of all values together."""
    _, mass = distribution.interval(value.reshape(-1).numpy())
    return float(-np.log2(mass / MASS).sum())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="run folder or bundled model with a model of archives")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--num", type=int, default=1000, help="held-out images, evenly spaced")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    codec = IntegerModel.load(find_run(options.model)).archive_codec()
    dataset = load_data(options.data).require_test().spread(options.num)
    images = dataset.images(range(len(dataset)))
    path = options.out / "archive.nelbos"
    path.unlink(missing_ok=True)
    terms = bound(codec.model, images, seed=0)
    with bars() as bar:
        began = time.monotonic()
        _, height, width = images.shape[1:]
        members = ((Member(f"{i:05d}", height, width), image) for i, image in enumerate(images))
        report = pack(members, codec, path, bar)
        packed = time.monotonic()
        opened = Archive.open(path)
        back = [image for block in opened.contents.blocks for image in opened.read(block, codec)]
        unpacked = time.monotonic()
    values = {
        "images": len(images),
        "bits_per_dim": report.bits_per_dim,
        "bound": sum(terms.values()),
        "over_bound": report.bits_per_dim / sum(terms.values()),
        "terms": terms,
        "exact": sum(torch.equal(a, b) for a, b in zip(back, images, strict=True)),
        "pack_ms_per_image": 1000 * (packed - began) / len(images),
        "unpack_ms_per_image": 1000 * (unpacked - packed) / len(images),
        "threads": options.threads,
    }
    write_json(options.out / "archive.json", values)
    path.unlink()
    print(json.dumps(values, indent=2))


if __name__ == "__main__":
    main()
