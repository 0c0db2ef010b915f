"""A model of measured values beside their entropy: 16 bits, two channels, 40 x 56 pixels, some of them missing.

python -m benchmarks.measured --out runs/measured --minutes 10

The images are a rounded Gaussian field: a smooth one of the covariance rho^distance along rows and columns, correlated
between the channels, and white noise. A square of 8 x 8 pixels and 2% of the others are missing in each. The entropy of
the observed pixels follows from the determinant of their covariance.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.linalg

import nelbo
from nelbo.cli.options import parse_settings
from nelbo.codec.channel_fitting import fit_channel
from nelbo.data import Filled, write_values
from nelbo.refinement import coarse
from nelbo.runs import INTEGER_FILE, PLAN_FILE, DiffusionRun, IntegerModel, fit_codec, load_as
from nelbo.studies import Listener
from nelbo.studies.integer_training import IntegerOptions, train_integer_model

SHAPE = (2, 40, 56)
MEAN, SMOOTH, NOISE = 32_768, 7_000, 500  # of the values, stddevs
RHO, CHANNELS_RHO = 0.95, 0.8
NUM, SEED = 4_000, 1
HOLE, MISSING = 8, 0.02  # side of the square that is missing, and the share of the other pixels
# White noise has most of the bits, and the decoder codes it best: the chain ends early and leaves it more time.
SETTINGS = {
    "schedule.log_snr_max": -2.0,
    "parameterization": "data",  # of a prediction of noise, xhat_0 has 3 to 7 times the error at such a log SNR
    "decoder.share": 0.75,
    "decoder.side": 8,
    "decoder.window": 9,
    "decoder.hidden": 96,
    "decoder.convolved": 0,
}


@dataclass(frozen=True)
class Result:
    """The figures of a model on held-out images, in bits per observed dimension.

    Attributes:
        entropy: the mean of -log2 p by the true density, over many images of these masks: exact.
        exact: the mean of -log2 p of these images by the true density.
        bound: that of the model.
        gap: the mean of bound - exact.
        gap_error: its standard error.
        files: the mean size of files.
        bound_of_files: the mean bound of these images.
        lossless: whether all files gave their images and masks back.
    """

    entropy: float
    exact: float
    bound: float
    gap: float
    gap_error: float
    files: float
    bound_of_files: float
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


def masks(num: int, seed: int) -> np.ndarray:
    """Draw which pixels are missing, (num, H, W) bool, true there: the same in both channels."""
    generator = np.random.default_rng([seed, 1])
    missing = generator.random((num, *SHAPE[1:])) < MISSING
    for each, row, column in zip(
        missing, *(generator.integers(side - HOLE + 1, size=num) for side in SHAPE[1:]), strict=True
    ):
        each[row : row + HOLE, column : column + HOLE] = True
    return missing


def covariance() -> np.ndarray:
    """Return the covariance of the values of an image, (D, D)."""
    channels, rows, columns = factors()
    return SMOOTH**2 * np.kron(channels, np.kron(rows, columns)) + NOISE**2 * np.eye(math.prod(SHAPE))


def exact_bits(images: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return -log2 p of the observed values of each image (N, C, H, W), and its mean over all images of the same mask.

    Both are in bits per observed value. The error of taking the density for the mass is below 1e-6.
    """
    whole, bits, means = covariance(), [], []
    for image, hidden in zip(images, missing, strict=True):
        seen = ~np.broadcast_to(hidden, SHAPE).ravel()
        root = np.linalg.cholesky(whole[np.ix_(seen, seen)])
        white = scipy.linalg.solve_triangular(root, image.ravel()[seen].astype(np.float64) - MEAN, lower=True)
        spread = np.log2(np.diag(root)).mean() + 0.5 * math.log2(2 * math.pi)
        bits.append(spread + 0.5 * (white**2).mean() / math.log(2))
        means.append(spread + 0.5 / math.log(2))
    return np.array(bits), np.array(means)


def measure(run: DiffusionRun, images: np.ndarray, missing: np.ndarray, num_files: int) -> Result:
    """Compare a model with the density on images that it has not seen."""
    dataset = run.beside(images, mask=missing)
    scores = run.score(dataset, steps_per_image=16, progress=True).numpy()
    exact, means = exact_bits(images, missing)
    gap, codec, some = scores - exact, run.measured_codec(), range(num_files)
    levels, observed = dataset.images(some), dataset.observed(some)
    assert observed is not None
    sizes, lossless = [], True
    for image, seen, file in zip(levels, observed, codec.encode(list(levels), list(observed)), strict=True):
        found = codec.decode(type(file).from_bytes(file.to_bytes()))
        sizes.append(8 * len(file.to_bytes()) / int(seen.expand_as(image).sum()))
        lossless &= found.observed is not None and bool((found.observed == seen).all())
        lossless &= bool((found.image == image).all())
    return Result(
        entropy=float(means.mean()),
        exact=float(exact.mean()),
        bound=float(scores.mean()),
        gap=float(gap.mean()),
        gap_error=float(gap.std(ddof=1) / math.sqrt(len(gap))),
        files=float(np.mean(sizes)),
        bound_of_files=float(scores[:num_files].mean()),
        lossless=lossless,
    )


def train_integers(run: DiffusionRun, images: np.ndarray, missing: np.ndarray, options: IntegerOptions) -> None:
    """Train the integer model of the coarse levels, for the files."""
    data = Filled(coarse(run.beside(images, mask=missing)))
    trained = train_integer_model(data, run.folder / "integers", options, Listener())
    assert not isinstance(trained, str), f"stopped by {trained}; run the command again"
    plan = fit_channel(trained, data.spread(32).images(range(32)))
    IntegerModel(trained, plan).save(run.folder)


def main() -> None:
    """Make the images, train, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the images, the model and the figures")
    parser.add_argument("--minutes", type=float, default=10, help="training time of the model")
    parser.add_argument(
        "--integers", type=float, default=0, help="training minutes of an integer model for the files; 0 for none"
    )
    parser.add_argument("--num", type=int, default=64, help="images that are scored")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting of the recipe")
    parser.add_argument("--files", type=int, default=32, help="images that are compressed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    overrides = {**SETTINGS, **parse_settings(options.set, {})}
    images, missing = draw(NUM, SEED), masks(NUM, SEED)
    nelbo.train(
        images,
        options.out / "run",
        minutes=options.minutes,
        overrides=overrides,
        pictures=False,
        progress=True,
        quantum=1,
        mask=missing,
    )
    run = load_as(DiffusionRun, options.out / "run")
    if options.integers and not (run.folder / INTEGER_FILE).is_file():
        train_integers(run, images, missing, IntegerOptions(minutes=options.integers))
    if not options.integers and not (run.folder / PLAN_FILE).is_file():
        fit_codec(run, Filled(coarse(run.beside(images, mask=missing))), progress=True)
    samples = run.sample(8, progress=True)
    for number, sample in enumerate(samples):
        write_values(options.out / f"sample-{number}.tif", run.config.data.level_scale.to_values(sample))  # type: ignore[union-attr]
    result = measure(run, draw(options.num, SEED + 1), masks(options.num, SEED + 1), options.files)
    (options.out / "result.json").write_text(json.dumps(asdict(result), indent=2))
    print(json.dumps(asdict(result), indent=2))


if __name__ == "__main__":
    main()
