"""Known damage to held-out fashion-mnist images, mended by the bundled model and by what one would use without it.

    python -m benchmarks.restoring [--images 100] [--calls 20] [--num 5] [--out benchmarks/restoring]

For each damage `--num` draws, each of `--calls` calls of the network. PSNR is 10 log10(255^2 / mean squared error), the
error averaged over all pixels of all images, kept ones too. Then draws of one image are ranked, by their distance to
the mean of all and by their bound, and the rank is held against their true error.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

import nelbo
from nelbo.config import DiffusionRun, Repair, load_as
from nelbo.data import load_data
from nelbo.files import write_json, write_text
from nelbo.plots import save
from nelbo.plots.table import picture_table
from nelbo.probability import levels_to_data
from nelbo.restoration import Restoration

SIDE, SCRATCHES, LOOKS = 28, 6, 8
Mender = Callable[[Tensor], Tensor]  # a damaged image (1, h, w) uint8 to a mended one (1, 28, 28)


@dataclass(frozen=True)
class Case:
    """A damage: how images get it, what nelbo is told of it, and who else can mend it."""

    name: str
    damaged: Callable[[Tensor, np.random.Generator], Tensor]
    told: Callable[[np.random.Generator], Repair]
    others: Callable[[Repair], dict[str, Mender]]


# ---------------------------------------------------------------- damages


def block(generator: np.random.Generator) -> Tensor:
    """12 x 12 pixels in the middle."""
    missing = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    missing[8:20, 8:20] = True
    return missing


def scattered(generator: np.random.Generator) -> Tensor:
    """Every second pixel, by chance."""
    return torch.from_numpy(generator.random((SIDE, SIDE)) < 0.5)


def scratches(generator: np.random.Generator) -> Tensor:
    """Straight lines of one or two pixels between edges."""
    missing = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(SCRATCHES):
        ends = generator.integers(0, SIDE, 4).tolist()
        start, end = (
            ((0, ends[0]), (SIDE - 1, ends[1])) if generator.random() < 0.5 else ((ends[2], 0), (ends[3], SIDE))
        )
        cv2.line(missing, start, end, 255, int(generator.integers(1, 3)))
    return torch.from_numpy(missing > 0)


def noisy(image: Tensor, sigma: float, generator: np.random.Generator) -> Tensor:
    """White noise, rounded and cut off at 0 and 255 as a file has it."""
    noise = torch.from_numpy(generator.standard_normal(image.shape))
    return (image + sigma * noise).round().clamp(0, 255).to(torch.uint8)


def smaller(image: Tensor, factor: int) -> Tensor:
    """Means of squares, rounded."""
    return torch.nn.functional.avg_pool2d(image.double()[None], factor)[0].round().to(torch.uint8)


# ---------------------------------------------------------------- the others


def as_array(image: Tensor) -> np.ndarray:
    return image[0].numpy()


def as_tensor(pixels: np.ndarray | Image.Image) -> Tensor:
    return torch.from_numpy(np.array(pixels, dtype=np.uint8))[None]


def inpainters(told: Repair) -> dict[str, Mender]:
    """OpenCV's two, with a radius of 3 pixels."""
    mask = told["mask"]
    assert mask is not None
    hole = mask.numpy().astype(np.uint8)
    ways = {"OpenCV Telea": cv2.INPAINT_TELEA, "OpenCV NS": cv2.INPAINT_NS}

    def mender(way: int) -> Mender:
        return lambda image: as_tensor(cv2.inpaint(as_array(image), hole, 3, way))

    return {name: mender(way) for name, way in ways.items()}


def smoothers(told: Repair) -> dict[str, Mender]:
    """A median of 3 x 3, and OpenCV's non-local means at three strengths."""
    sigma = told["noise"]
    assert sigma is not None

    def nl_means(share: float) -> Mender:
        return lambda image: as_tensor(cv2.fastNlMeansDenoising(as_array(image), None, h=float(share * sigma)))

    median = ImageFilter.MedianFilter(3)
    return {
        "median 3x3": lambda image: as_tensor(Image.fromarray(as_array(image)).filter(median)),
        **{f"OpenCV NL-means, h = {share:g} sigma": nl_means(share) for share in (0.5, 0.75, 1.0)},
    }


def enlargers(told: Repair) -> dict[str, Mender]:
    """Pillow's."""
    ways = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}

    def mender(way: Image.Resampling) -> Mender:
        return lambda image: as_tensor(Image.fromarray(as_array(image)).resize((SIDE, SIDE), way))

    return {name: mender(way) for name, way in ways.items()}


def masked(name: str, hide: Callable[[np.random.Generator], Tensor]) -> Case:
    """What stands in the holes is the same for all: black."""
    return Case(name, lambda image, generator: image, lambda generator: {"mask": hide(generator)}, inpainters)


CASES = [
    masked("12x12 block missing", block),
    masked("half of the pixels missing", scattered),
    masked("scratches", scratches),
    Case("noise of 25 levels", lambda image, g: noisy(image, 25, g), lambda g: {"noise": 25.0}, smoothers),
    Case("noise of 50 levels", lambda image, g: noisy(image, 50, g), lambda g: {"noise": 50.0}, smoothers),
    Case("2x smaller", lambda image, g: smaller(image, 2), lambda g: {"upscale": 2}, enlargers),
    Case("4x smaller", lambda image, g: smaller(image, 4), lambda g: {"upscale": 4}, enlargers),
]


# ---------------------------------------------------------------- measuring


def squared_error(image: Tensor, truth: Tensor) -> float:
    return float((image.double() - truth.double()).square().mean())


def psnr(errors: list[float]) -> float:
    """Of mean squared errors, averaged first: one perfect image doesn't make it infinite."""
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, of two rows of numbers."""
    ranks = torch.stack([a, b]).argsort(1).argsort(1).double()
    return float(torch.corrcoef(ranks)[0, 1])


@dataclass(frozen=True)
class Ranking:
    """Draws ranked within each image: the correlation with their true rank, and the PSNR of three places."""

    by: str
    correlation: float
    best: float
    median: float
    worst: float


def ranking(by: str, scores: Tensor, errors: Tensor) -> Ranking:
    """Scores and true squared errors are (images, draws), the lower the better."""
    order = scores.argsort(1)
    ranked = errors.gather(1, order)
    correlation = sum(rank_correlation(s, e) for s, e in zip(scores, errors, strict=True)) / len(scores)
    best, median, worst = (psnr(ranked[:, place].tolist()) for place in (0, scores.shape[1] // 2, -1))
    return Ranking(by, correlation, best, median, worst)


@dataclass(frozen=True)
class Row:
    """One way to mend one damage."""

    damage: str
    way: str
    psnr: float
    calls: int
    seconds: float


def nelbo_ways(case: Case, calls: int) -> dict[str, Repair]:
    """For masks RePaint with two walks of each step, 2 steps - 1 calls, and null space; for the rest what there is."""
    if case.others is not inpainters:
        return {"nelbo": {"steps": calls}}
    twice: Repair = {"method": "repaint", "steps": (calls + 1) // 2, "jump": 1, "resamplings": 2}
    return {"nelbo": twice, "nelbo, null space": {"method": "null-space", "steps": calls}}


@dataclass(frozen=True)
class Mended:
    """A case as measured, and its first images for the picture."""

    rows: list[Row]
    rankings: list[Ranking]
    shown: list[list[Tensor]]


def measure(run: DiffusionRun, case: Case, images: Tensor, calls: int, num: int) -> Mended:
    """All ways to mend one damage, on the same damaged images."""
    damaged, told = [], []
    for i, image in enumerate(images):
        generator = np.random.default_rng([CASES.index(case), i])
        how = case.told(generator)
        hidden = image if how.get("mask") is None else image.masked_fill(how["mask"], 0)  # type: ignore[arg-type]
        damaged.append(case.damaged(hidden, generator))
        told.append(how)
    rows, columns = [], [list(images), damaged]
    for name in case.others(told[0]):
        start = time.process_time()
        mended = [case.others(how)[name](image) for image, how in zip(damaged, told, strict=True)]
        seconds = (time.process_time() - start) / len(images)
        rows.append(Row(case.name, name, errors_to_psnr(mended, images), 0, seconds))
        if len(columns) < 4:
            columns.append(mended)
    rankings = []
    for name, way in nelbo_ways(case, calls).items():
        start = time.process_time()
        found = [run.restore(y, num=num, **(how | way)) for y, how in zip(damaged, told, strict=True)]
        seconds = (time.process_time() - start) / len(images)
        spent = calls_of(way)
        every = [squared_error(draw, image) for r, image in zip(found, images, strict=True) for draw in r.draws]
        rows.append(Row(case.name, f"{name}, a draw", psnr(every), spent, seconds / num))
        averages = [restoration.draws.double().mean(0) for restoration in found]
        rows.append(Row(case.name, f"{name}, mean of {num}", errors_to_psnr(averages, images), num * spent, seconds))
        columns += [[restoration.draws[0] for restoration in found], averages]
        if "noise" in told[0]:
            rows.append(
                Row(case.name, "nelbo, posterior mean", errors_to_psnr([r.mean for r in found], images), 1, 0.0)
            )
            columns[-1] = [restoration.mean for restoration in found]
        if name == "nelbo":
            rankings = rankings_of(run, found, images)
    return Mended(rows, rankings, [list(row) for row in zip(*columns, strict=True)])


def errors_to_psnr(mended: list[Tensor], images: Tensor) -> float:
    return psnr([squared_error(each, image) for each, image in zip(mended, images, strict=True)])


def calls_of(way: Repair) -> int:
    """Of the network, for one draw."""
    steps = way["steps"]
    assert steps is not None
    return 2 * steps - 1 if way.get("method") == "repaint" else steps


def rankings_of(run: DiffusionRun, found: list[Restoration], images: Tensor) -> list[Ranking]:
    """By the distance to the mean of the draws, and by the bound from 8 looks at each."""
    draws = torch.stack([restoration.draws for restoration in found])
    errors = (draws.double() - images[:, None].double()).square().mean((2, 3, 4))
    distance = (draws.double() - draws.double().mean(1, keepdim=True)).square().mean((2, 3, 4))
    bound = run.score(draws.flatten(0, 1), steps_per_image=LOOKS).view(errors.shape)
    return [ranking("distance to the mean of draws", distance, errors), ranking("bound", bound, errors)]


# ---------------------------------------------------------------- telling


def in_markdown(mended: dict[str, Mended], command: str) -> str:
    """Both tables."""
    lines = ["# Restoring fashion-mnist", "", f"    {command}", ""]
    lines += ["| damage | way | PSNR, dB | calls of the network | seconds of a core |", "|---|---|---:|---:|---:|"]
    for row in (row for each in mended.values() for row in each.rows):
        lines.append(f"| {row.damage} | {row.way} | {row.psnr:.2f} | {row.calls or ''} | {row.seconds:.3f} |")
    lines += ["", "Draws of nelbo ranked within each image: the best place first.", ""]
    lines += ["| damage | ranked by | rank correlation | first | median | last |", "|---|---|---:|---:|---:|---:|"]
    for name, each in mended.items():
        for r in each.rankings:
            numbers = f"{r.correlation:.2f} | {r.best:.2f} | {r.median:.2f} | {r.worst:.2f}"
            lines.append(f"| {name} | {r.by} | {numbers} |")
    return "\n".join(lines) + "\n"


def picture(mended: dict[str, Mended], place: int) -> object:
    """A row for each damage: the image, what was left of it, the others, and nelbo."""
    rows: list[list[Tensor | None]] = []
    for each in mended.values():
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
        + (["null space", "its mean"] if len(each.shown[place]) > 6 else [])
        for each in mended.values()
    ]
    return picture_table(rows, left=list(mended), captions=captions)


def as_large(image: Tensor) -> Tensor:
    """Smaller images with each pixel as a square."""
    factor = SIDE // image.shape[-1]
    return image.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restoring", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20, help="of the network, for one draw")
    parser.add_argument("--num", type=int, default=5, help="draws an image")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/restoring"))
    options = parser.parse_args()
    run = load_as(DiffusionRun, "fashion-mnist")
    test = load_data("fashion-mnist").test
    images = test.spread(options.images).images(range(options.images))
    mended = {}
    for case in CASES:
        start = time.perf_counter()
        mended[case.name] = measure(run, case, images, options.calls, options.num)
        print(f"{case.name}: {time.perf_counter() - start:.0f} s", flush=True)
    command = f"python -m benchmarks.restoring --images {options.images} --calls {options.calls} --num {options.num}"
    text = in_markdown(mended, command)
    print(text)
    record = {
        "version": nelbo.__version__,
        "command": command,
        "rows": [asdict(row) for each in mended.values() for row in each.rows],
        "rankings": {name: [asdict(ranking) for ranking in each.rankings] for name, each in mended.items()},
    }
    write_json(options.out / "restoring.json", json.loads(json.dumps(record)))
    write_text(options.out / "restoring.md", text)
    save(picture(mended, min(18, options.images - 1)), options.out / "examples.png")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
