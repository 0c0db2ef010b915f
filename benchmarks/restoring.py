"""Restoration of damaged fashion-mnist test images, by a model and by common methods without a model.

    python -m benchmarks.restoring [--model fashion-mnist] [--images 100] [--calls 20] [--num 4]

Each damage is restored by `--num` draws of `--calls` network calls each. PSNR is 10 log10(255^2 / mean squared error),
with the error averaged over all pixels of all images, including kept pixels. In addition, the draws of each image are
ranked by their distance to the mean of the draws and by their bound, and the ranks are compared with the true errors.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

import nelbo
from nelbo.data import load_data
from nelbo.files import write_json, write_text
from nelbo.plots import save
from nelbo.plots.table import picture_table
from nelbo.probability import data_to_levels, levels_to_data
from nelbo.randomness import RESTORATION, image_generators
from nelbo.restoration import Average, Mask, RePaintSampler, denoise, held_to, posterior_mean
from nelbo.runs import DiffusionRun, RestoreOptions, load_as
from nelbo.runs.restoring import SPACING, VARIANCE
from nelbo.samplers import Sampler, Step
from nelbo.samplers.sampler import end_of

SIDE, SCRATCHES, LOOKS = 28, 6, 4
Walk = Callable[[list[torch.Generator]], Iterator[Step]]
Method = Callable[[Tensor], Tensor]  # maps a damaged image (1, h, w) uint8 to a restored one (1, 28, 28)


@dataclass(frozen=True)
class Case:
    """One damage.

    Attributes:
        damaged: applies it to an image.
        options: the options that describe it to nelbo.
        others: the methods without a model that can restore it, by name.
    """

    name: str
    damaged: Callable[[Tensor, np.random.Generator], Tensor]
    options: Callable[[np.random.Generator], RestoreOptions]
    others: Callable[[RestoreOptions], dict[str, Method]]


# ---------------------------------------------------------------- damages


def block(generator: np.random.Generator) -> Tensor:
    """Hide 12 x 12 pixels in the middle."""
    missing = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    missing[8:20, 8:20] = True
    return missing


def scattered(generator: np.random.Generator) -> Tensor:
    """Hide each pixel with probability 1/2."""
    return torch.from_numpy(generator.random((SIDE, SIDE)) < 0.5)


def scratches(generator: np.random.Generator) -> Tensor:
    """Hide straight lines between edges, one or two pixels wide."""
    missing = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(SCRATCHES):
        ends = generator.integers(0, SIDE, 4).tolist()
        start, end = (
            ((0, ends[0]), (SIDE - 1, ends[1])) if generator.random() < 0.5 else ((ends[2], 0), (ends[3], SIDE))
        )
        cv2.line(missing, start, end, 255, int(generator.integers(1, 3)))
    return torch.from_numpy(missing > 0)


def noisy(image: Tensor, sigma: float, generator: np.random.Generator) -> Tensor:
    """Add white noise, rounded and clipped to 0..255 as in a file."""
    noise = torch.from_numpy(generator.standard_normal(image.shape))
    return (image + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def smaller(image: Tensor, factor: int) -> Tensor:
    """Return the means of squares, rounded."""
    return torch.nn.functional.avg_pool2d(image.double()[None], factor)[0].round().to(torch.uint8)


# ---------------------------------------------------------------- methods without a model


def as_array(image: Tensor) -> np.ndarray:
    return image[0].numpy()


def as_tensor(pixels: np.ndarray | Image.Image) -> Tensor:
    return torch.from_numpy(np.array(pixels, dtype=np.uint8))[None]


def inpainters(options: RestoreOptions) -> dict[str, Method]:
    """Return the two methods of OpenCV, with a radius of 3 pixels."""
    assert options.mask is not None
    hole = options.mask.numpy().astype(np.uint8)
    ways = {"OpenCV Telea": cv2.INPAINT_TELEA, "OpenCV NS": cv2.INPAINT_NS}

    def method(way: int) -> Method:
        return lambda image: as_tensor(cv2.inpaint(as_array(image), hole, 3, way))

    return {name: method(way) for name, way in ways.items()}


def smoothers(options: RestoreOptions) -> dict[str, Method]:
    """Return a 3 x 3 median filter, and OpenCV's non-local means with three strengths."""
    sigma = options.noise
    assert sigma is not None

    def nl_means(share: float) -> Method:
        return lambda image: as_tensor(cv2.fastNlMeansDenoising(as_array(image), None, h=float(share * sigma)))

    median = ImageFilter.MedianFilter(3)
    return {
        "median 3x3": lambda image: as_tensor(Image.fromarray(as_array(image)).filter(median)),
        **{f"OpenCV NL-means, h = {share:g} sigma": nl_means(share) for share in (0.75, 0.5, 1.0)},
    }


def enlargers(options: RestoreOptions) -> dict[str, Method]:
    """Return two interpolations of Pillow."""
    ways = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}

    def method(way: Image.Resampling) -> Method:
        return lambda image: as_tensor(Image.fromarray(as_array(image)).resize((SIDE, SIDE), way))

    return {name: method(way) for name, way in ways.items()}


def masked(name: str, hide: Callable[[np.random.Generator], Tensor]) -> Case:
    """Return the case of a mask. Missing pixels are black for every method."""
    return Case(
        name, lambda image, generator: image, lambda generator: RestoreOptions(mask=hide(generator)), inpainters
    )


CASES = [
    masked("12x12 block missing", block),
    masked("half of the pixels missing", scattered),
    masked("scratches", scratches),
    Case("noise of 25 levels", lambda image, g: noisy(image, 25, g), lambda g: RestoreOptions(noise=25.0), smoothers),
    Case("noise of 50 levels", lambda image, g: noisy(image, 50, g), lambda g: RestoreOptions(noise=50.0), smoothers),
    Case("2x smaller", lambda image, g: smaller(image, 2), lambda g: RestoreOptions(upscale=2), enlargers),
    Case("4x smaller", lambda image, g: smaller(image, 4), lambda g: RestoreOptions(upscale=4), enlargers),
]


# ---------------------------------------------------------------- measuring


def squared_error(image: Tensor, truth: Tensor) -> float:
    return float((image.double() - truth.double()).square().mean())


def psnr(errors: list[float]) -> float:
    """Return the PSNR of the averaged mean squared errors. One perfect image does not make it infinite."""
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Return Spearman's rank correlation of two rows of numbers."""
    ranks = torch.stack([a, b]).argsort(1).argsort(1).double()
    return float(torch.corrcoef(ranks)[0, 1])


@dataclass(frozen=True)
class Ranking:
    """Draws ranked within each image: the correlation with their true ranks, and the PSNR of three ranks.

    Attributes:
        middle: the middle rank; with an even number of draws the later of the two.
    """

    by: str
    correlation: float
    best: float
    middle: float
    worst: float


def ranking(by: str, scores: Tensor, errors: Tensor) -> Ranking:
    """Rank draws by scores (images, draws), and compare with true squared errors of this shape; lower is better."""
    order = scores.argsort(1)
    ranked = errors.gather(1, order)
    correlation = sum(rank_correlation(s, e) for s, e in zip(scores, errors, strict=True)) / len(scores)
    best, middle, worst = (psnr(ranked[:, place].tolist()) for place in (0, scores.shape[1] // 2, -1))
    return Ranking(by, correlation, best, middle, worst)


@dataclass(frozen=True)
class Row:
    """One method for one damage.

    Attributes:
        errors: the mean squared error of each image; for "one draw" the mean over its draws.
        calls: network calls per image.
        seconds: processor seconds per image.
    """

    damage: str
    way: str
    errors: list[float]
    calls: int
    seconds: float

    @property
    def psnr(self) -> float:
        return psnr(self.errors)

    @property
    def standard_error(self) -> float:
        """Standard error of the PSNR, from the variation over images."""
        errors = np.array(self.errors)
        return float(10 / math.log(10) * errors.std(ddof=1) / math.sqrt(len(errors)) / errors.mean())

    def nearer_than(self, other: "Row") -> float:
        """Return the share of images on which this error is smaller."""
        return float(np.mean(np.array(self.errors) < np.array(other.errors)))


# ---------------------------------------------------------------- nelbo: like run.restore, but all images in one batch


def walk_for(run: DiffusionRun, options: list[RestoreOptions], y: Tensor, method: str, calls: int) -> Walk:
    """Return how to make one draw for each damaged image in `calls` calls. RePaint takes all steps but one twice."""

    def from_noise(steps: int) -> Sampler:
        return run.sampler("ancestral", steps=steps, spacing=SPACING, variance=VARIANCE)

    noise, factor = options[0].noise, options[0].upscale
    if noise is not None:
        sampler = run.sampler("ancestral")
        return lambda generators: denoise(sampler, y, noise * 2 / 255, generators, calls)
    if factor is not None:
        walker = held_to(from_noise(calls), Average(factor), y)
    else:
        kept = torch.stack([~each.mask for each in options]).unsqueeze(1)  # type: ignore[operator]
        repaint = RePaintSampler(from_noise((calls + 1) // 2).reverse, y, kept, jump=1, resamplings=2)
        walker = repaint if method == "repaint" else held_to(from_noise(calls), Mask(kept), y)
    return lambda generators: walker.trajectory((len(y), *run.shape), generators)


def drawn(walk: Walk, num_images: int, num: int) -> Tensor:
    """Draw (images, num, 1, 28, 28) uint8, one draw of each image at a time."""
    draws = [end_of(walk(image_generators(seed, 0, num_images, RESTORATION))) for seed in range(num)]
    return data_to_levels(torch.stack(draws, 1), 256).to(torch.uint8)


@dataclass(frozen=True)
class Measured:
    """The measurements of one case, and its images for the picture."""

    rows: list[Row]
    rankings: list[Ranking]
    shown: list[list[Tensor]]


def measure(run: DiffusionRun, case: Case, images: Tensor, calls: int, num: int) -> Measured:
    """Measure all methods for one damage, on the same damaged images."""
    damaged, options = [], []
    for i, image in enumerate(images):
        generator = np.random.default_rng([CASES.index(case), i])
        each = case.options(generator)
        hidden = image if each.mask is None else image.masked_fill(each.mask, 0)
        damaged.append(case.damaged(hidden, generator))
        options.append(each)
    rows, columns = [], [list(images), damaged]

    def keep(way: str, restored: list[list[Tensor]], calls: int, seconds: float) -> None:
        """Add the row of one method, with one or several results for each image."""
        errors = [
            sum(squared_error(each, image) for each in answers) / len(answers)
            for answers, image in zip(restored, images, strict=True)
        ]
        rows.append(Row(case.name, way, errors, calls, seconds / len(images)))

    for name in case.others(options[0]):
        start = time.process_time()
        restored = [case.others(each)[name](image) for image, each in zip(damaged, options, strict=True)]
        keep(name, [[image] for image in restored], 0, time.process_time() - start)
        if len(columns) < 4:
            columns.append(restored)
    y, rankings = levels_to_data(torch.stack(damaged), 256), list[Ranking]()
    for method, name, some in plans(case, num):
        start = time.process_time()
        draws = drawn(walk_for(run, options, y, method, calls), len(images), some)
        seconds = time.process_time() - start
        spent = 2 * ((calls + 1) // 2) - 1 if method == "repaint" else calls
        keep(f"{name}, one draw", [list(row) for row in draws], spent, seconds / some)
        columns.append(list(draws[:, 0]))
        if some > 1:
            columns.append(list(draws.double().mean(1)))
            keep(f"{name}, mean of {num}", [[image] for image in columns[-1]], num * spent, seconds)
            rankings = rankings_of(run, draws, images)
    noise = options[0].noise
    if noise is not None:
        start = time.process_time()
        columns[-1] = list((posterior_mean(run.reverse(clip=True), y, noise * 2 / 255) + 1) * 127.5)
        keep("nelbo, posterior mean", [[image] for image in columns[-1]], 1, time.process_time() - start)
    return Measured(rows, rankings, [list(row) for row in zip(*columns, strict=True)])


def plans(case: Case, num: int) -> list[tuple[str, str, int]]:
    """Return method, name and number of draws: RePaint and one null-space draw for masks, else the null space."""
    if case.others is inpainters:
        return [("repaint", "nelbo, RePaint", num), ("null-space", "nelbo, null space", 1)]
    return [("null-space", "nelbo", num)]


def rankings_of(run: DiffusionRun, draws: Tensor, images: Tensor) -> list[Ranking]:
    """Rank by the distance to the mean of the draws, and by the bound from 4 values of t for each draw."""
    errors = (draws.double() - images[:, None].double()).square().mean((2, 3, 4))
    distance = (draws.double() - draws.double().mean(1, keepdim=True)).square().mean((2, 3, 4))
    bound = run.score(draws.flatten(0, 1), steps_per_image=LOOKS).view(errors.shape)
    return [ranking("distance to the mean of draws", distance, errors), ranking("bound", bound, errors)]


# ---------------------------------------------------------------- output


def best_other(rows: list[Row]) -> Row:
    """Return the best method without a network, chosen on the same images."""
    return max((row for row in rows if not row.calls), key=lambda row: row.psnr)


def in_markdown(measured: dict[str, Measured], command: str) -> str:
    """Return both tables."""
    lines = ["# Restoring fashion-mnist", "", f"    {command}", ""]
    lines += [
        "Better: the share of images on which the error is smaller than that of the best method without a network.",
        "",
    ]
    lines += ["| damage | method | PSNR, dB | better | network calls | seconds on one core |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for each in measured.values():
        for row in each.rows:
            better = f"{row.nearer_than(best_other(each.rows)):.0%}" if row.calls else ""
            value = f"{row.psnr:.2f} ± {row.standard_error:.2f}"
            lines.append(f"| {row.damage} | {row.way} | {value} | {better} | {row.calls or ''} | {row.seconds:.3f} |")
    lines += ["", "Draws of nelbo, ranked within each image: PSNR by rank.", ""]
    lines += ["| damage | ranked by | rank correlation | first | middle | last |", "|---|---|---:|---:|---:|---:|"]
    for name, each in measured.items():
        for r in each.rankings:
            numbers = f"{r.correlation:.2f} | {r.best:.2f} | {r.middle:.2f} | {r.worst:.2f}"
            lines.append(f"| {name} | {r.by} | {numbers} |")
    return "\n".join(lines) + "\n"


def picture(measured: dict[str, Measured], place: int) -> object:
    """Return a picture with one row per damage: the image, the damaged image, the other methods, and nelbo."""
    rows: list[list[Tensor | None]] = []
    for each in measured.values():
        images = [as_large(levels_to_data(image, 256)) for image in each.shown[place]]
        rows.append([*images[:2], None, *images[2:4], None, *images[4:]])
    captions = [
        [
            "image",
            "damaged",
            "",
            *(row.way.removeprefix("OpenCV ").split(",")[0] for row in each.rows[:2]),
            "",
            "draw",
            "mean",
        ]
        + (["null space"] if len(each.shown[place]) > 6 else [])
        for each in measured.values()
    ]
    return picture_table(rows, left=list(measured), captions=captions)


def as_large(image: Tensor) -> Tensor:
    """Enlarge a small image: each pixel becomes a square."""
    factor = SIDE // image.shape[-1]
    return image.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def rounded(errors: list[float]) -> list[float]:
    return [round(error, 2) for error in errors]


def main() -> None:
    """Measure, print the tables, and write them with the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restoring", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="fashion-mnist", help="a run folder or a bundled model")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20, help="network calls for one draw")
    parser.add_argument("--num", type=int, default=4, help="draws per image")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/restoring"))
    options = parser.parse_args()
    run = load_as(DiffusionRun, options.model)
    test = load_data("fashion-mnist").test
    images = test.spread(options.images).images(range(options.images))
    measured = {}
    for case in CASES:
        start = time.perf_counter()
        measured[case.name] = measure(run, case, images, options.calls, options.num)
        print(f"{case.name}: {time.perf_counter() - start:.0f} s", flush=True)
    command = f"python -m benchmarks.restoring --model {options.model} --images {options.images}"
    command += f" --calls {options.calls} --num {options.num}"
    text = in_markdown(measured, command)
    print(text)
    record = {
        "version": nelbo.__version__,
        "command": command,
        "rows": [
            {**asdict(row), "psnr": row.psnr, "standard_error": row.standard_error, "errors": rounded(row.errors)}
            for each in measured.values()
            for row in each.rows
        ],
        "rankings": {name: [asdict(ranking) for ranking in each.rankings] for name, each in measured.items()},
    }
    write_json(options.out / "restoring.json", json.loads(json.dumps(record)))
    write_text(options.out / "restoring.md", text)
    save(picture(measured, min(18, options.images - 1)), options.out / "examples.png")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
