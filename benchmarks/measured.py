"""A model of measured values beside their entropy: 16 bits, two channels, 40 x 56 pixels, of a known density.

python -m benchmarks.measured --out runs/measured --minutes 10

The images are a rounded Gaussian field: a smooth one of the covariance rho^distance along rows and columns, correlated
between the channels, and white noise. Its entropy follows from the determinant of the covariance.
"""

import argparse
import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import nelbo
from nelbo.data import measured_dataset
from nelbo.runs import DiffusionRun, load_as

SHAPE = (2, 40, 56)
MEAN, SMOOTH, NOISE = 32_768, 7_000, 500  # of the values, stddevs
RHO, CHANNELS_RHO = 0.95, 0.8
NUM, SEED = 4_000, 1


@dataclass(frozen=True)
class Result:
    """The figures of a model.

    Attributes:
        entropy: of the density, bits/dim.
        bound, standard_error: of the model on held-out images, bits/dim.
        standard_error_of_entropy: of the mean of -log2 p over these images by the true density.
        exact: the mean of -log2 p of these images by the true density, bits/dim.
        files: the mean of files, bits/dim.
        lossless: whether all files gave their images back.
    """

    entropy: float
    exact: float
    bound: float
    standard_error: float
    gap_standard_error: float
    files: float
    lossless: bool


def correlation(size: int, rho: float) -> np.ndarray:
    """Return the matrix rho^|i - j|."""
    place = np.arange(size)
    return rho ** np.abs(place[:, None] - place)


def factors() -> list[np.ndarray]:
    """Return the correlation matrices of the channels, rows and columns."""
    return [np.array([[1, CHANNELS_RHO], [CHANNELS_RHO, 1]]), correlation(SHAPE[1], RHO), correlation(SHAPE[2], RHO)]


def draw(num: int, seed: int) -> np.ndarray:
    """Draw images (num, C, H, W), uint16."""
    generator = np.random.default_rng(seed)
    roots = [np.linalg.cholesky(each) for each in factors()]
    smooth = np.einsum("ca,hb,wd,nabd->nchw", *roots, generator.standard_normal((num, *SHAPE)), optimize=True)
    values = MEAN + SMOOTH * smooth + NOISE * generator.standard_normal((num, *SHAPE))
    return values.round().clip(0, 65_535).astype(np.uint16)


def spectrum() -> tuple[list[np.ndarray], np.ndarray]:
    """Return the eigenvectors of each factor, and the eigenvalues (C, H, W) of the covariance."""
    found = [np.linalg.eigh(each) for each in factors()]
    product = np.einsum("a,b,c->abc", *(values for values, _ in found))
    return [vectors for _, vectors in found], SMOOTH**2 * product + NOISE**2


def entropy() -> float:
    """Return the entropy of an image, bits/dim; the error of taking the density for the mass is below 1e-6."""
    _, values = spectrum()
    return float(0.5 * np.log2(2 * math.pi * math.e * values).mean())


def exact_bits(images: np.ndarray) -> np.ndarray:
    """Return -log2 p of each image (N, C, H, W) by the density, bits/dim."""
    vectors, values = spectrum()
    turned = np.einsum("ca,hb,wd,nchw->nabd", *vectors, images.astype(np.float64) - MEAN, optimize=True)
    each = 0.5 * np.log2(2 * math.pi * values) + 0.5 * turned**2 / values / math.log(2)
    return each.mean((1, 2, 3))


def measure(run: DiffusionRun, images: np.ndarray, num_files: int) -> Result:
    """Compare a model with the density on images that it has not seen."""
    report = run.bound(images, steps_per_image=16, progress=True)
    exact = exact_bits(images)
    gap = report.scores.numpy() - exact
    codec, total, lossless = run.measured_codec(), 0, True
    assert run.config.data.level_scale is not None
    levels = measured_dataset(images[:num_files], run.config.data.level_scale).images(range(num_files))
    for image, file in zip(levels, codec.encode(list(levels)), strict=True):
        content = file.to_bytes()
        total += len(content)
        lossless &= bool((codec.decode(type(file).from_bytes(content)).levels == image).all())
    return Result(
        entropy=entropy(),
        exact=float(exact.mean()),
        bound=report.total,
        standard_error=report.standard_error,
        gap_standard_error=float(gap.std() / math.sqrt(len(gap))),
        files=8 * total / (num_files * math.prod(SHAPE)),
        lossless=lossless,
    )


def main() -> None:
    """Make the images, train, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the images, the model and the figures")
    parser.add_argument("--minutes", type=float, default=10, help="training time of the model")
    parser.add_argument("--integers", type=float, default=5, help="training time of the integer model, for the files")
    parser.add_argument("--num", type=int, default=300, help="images that are scored")
    parser.add_argument("--files", type=int, default=32, help="images that are compressed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images = options.out / "images.npy"
    if not images.exists():
        np.save(images, draw(NUM, SEED))
    nelbo.train(str(images), options.out / "run", minutes=options.minutes, progress=True, quantum=1)
    run = load_as(DiffusionRun, options.out / "run")
    if not (run.folder / "integers.safetensors").is_file():
        command = ["codec", str(run.folder), "--integers", "--minutes", str(options.integers)]
        subprocess.run([sys.executable, "-m", "nelbo", *command], check=True)
    result = measure(run, draw(options.num, SEED + 1), options.files)
    (options.out / "result.json").write_text(json.dumps(asdict(result), indent=2))
    print(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
