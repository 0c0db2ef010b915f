"""Which anomalies a model finds by its bits: AUROC, and the power at a false discovery rate.

    python -m benchmarks.anomalies [MODEL] [--num 200] [--held-out 500] [--out benchmarks/anomalies]

The anomalies of a model of 28x28 grey clothes are digits, clothes upside down, noise and black images. A set to decide
on has 10 of a kind and 90 usual images, which are held-out images of the model that are not among those of the
p-values. Each kind is scored once and kept, so that an interrupted run continues. It needs SciPy (the extra
nelbo[bench]).
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import interpolate

import nelbo
from nelbo.data import ArrayDataset, load_data
from nelbo.evaluation import DecisionOptions, DecisionWarning, Surprise, conformal_decisions, lossless_bits
from nelbo.files import write_json, write_text
from nelbo.progress import bars
from nelbo.randomness import plain_generator
from nelbo.runs import Run
from nelbo.studies import held_out_part, score_images

DRAWS, USUAL, UNUSUAL = 200, 90, 10  # sets of images to decide on, and what each contains
SCORES = ("bits", "bits - png")


@dataclass(frozen=True)
class Row:
    """The results for a kind of anomaly, by a score and tails.

    Attributes:
        auroc: the probability that an anomaly has a smaller p-value than a usual image, ties counted half.
        power: the share of anomalies that are flagged.
        false: the mean share of usual images among the flagged ones.
    """

    anomaly: str
    bits_per_dim: float
    score: str
    tails: str
    auroc: float
    power: float
    false: float


def kinds(held_out: Tensor, num: int) -> dict[str, Callable[[], Tensor]]:
    """Return what makes the images of each kind, uint8 (N, 1, 28, 28); `held_out` has images for usual ones."""
    generator = plain_generator(0)
    return {
        "usual": lambda: held_out[:num],
        "digits": lambda: digits(num),
        "upside down": lambda: held_out[num : 2 * num].flip(2),
        "noise": lambda: torch.randint(256, (num, 1, 28, 28), generator=generator, dtype=torch.uint8),
        "black": lambda: torch.zeros(num, 1, 28, 28, dtype=torch.uint8),
    }


def digits(num: int) -> Tensor:
    """Return the bundled 8x8 digits at 28x28, with all grey levels, by bicubic interpolation."""
    small = load_data("digits").train.spread(num).images(range(num)).float() * (255 / 16)
    large = interpolate(small, size=(28, 28), mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8)


def measured(run: Run, name: str, images: Tensor, options: DecisionOptions, seed: int) -> dict[str, list[float]]:
    """Score images, and compress them as PNG."""
    dataset = ArrayDataset(images)
    with bars() as bar:
        bits = score_images(run, dataset, options, seed=seed, progress=bar.of(f"scoring {name}"))
    return {"bits": bits.tolist(), "png": lossless_bits("png", dataset).tolist()}


def surprise(found: dict[str, list[float]], score: str) -> Surprise:
    """Return the measured bits of images."""
    bits, png = (torch.tensor(found[part], dtype=torch.float64) for part in ("bits", "png"))
    return Surprise(bits, None if score == "bits" else png)


def part(images: Surprise, chosen: Tensor) -> Surprise:
    """Return some of the images."""
    return Surprise(images.bits_per_dim[chosen], None if images.complexity is None else images.complexity[chosen])


def joined(first: Surprise, second: Surprise) -> Surprise:
    """Return the images of both."""
    bits = torch.cat([first.bits_per_dim, second.bits_per_dim])
    if first.complexity is None or second.complexity is None:
        return Surprise(bits)
    return Surprise(bits, torch.cat([first.complexity, second.complexity]))


def compared(found: dict[str, dict[str, list[float]]], kind: str, score: str, tails: str) -> Row:
    """Compare a kind of anomaly with usual images; each draw chooses the held-out images anew, as the theorem does."""
    unusual, num = surprise(found[kind], score), len(found["held out"]["bits"])
    pool = joined(surprise(found["held out"], score), surprise(found["usual"], score))
    results = []
    for draw in range(DRAWS):
        generator = plain_generator(draw)
        order = torch.randperm(len(pool.bits_per_dim), generator=generator)
        some = torch.randperm(len(unusual.bits_per_dim), generator=generator)[:UNUSUAL]
        held_out, usual = part(pool, order[:num]), part(pool, order[num:])
        mixed = joined(part(unusual, some), part(usual, torch.arange(USUAL)))
        flagged = conformal_decisions(mixed, held_out, tails=tails).flagged
        false = int(flagged[UNUSUAL:].sum()) / max(int(flagged.sum()), 1)
        p_values = [conformal_decisions(each, held_out, tails=tails).deciding.numpy() for each in (usual, unusual)]
        auroc = mannwhitneyu(*p_values).statistic / (len(p_values[0]) * len(p_values[1]))
        results.append((float(auroc), float(flagged[:UNUSUAL].double().mean()), false))
    means = (sum(column) / DRAWS for column in zip(*results, strict=True))
    return Row(kind, float(unusual.bits_per_dim.mean()), score, tails, *means)


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| anomaly | bits/dim | score | tails | AUROC | power | false discoveries |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.anomaly} | {row.bits_per_dim:.2f} | {row.score} | {row.tails} | {row.auroc:.3f} | {row.power:.0%} | "
        f"{row.false:.1%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the table and the scores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anomalies", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", nargs="?", default="fashion-mnist")
    parser.add_argument("--num", type=int, default=200, help="images of each kind")
    parser.add_argument("--held-out", type=int, default=500, help="held-out images behind the p-values")
    parser.add_argument("--steps-per-image", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/anomalies"))
    given = parser.parse_args()
    run, options = nelbo.load(given.model), DecisionOptions(steps_per_image=given.steps_per_image)
    settings = {name: value for name, value in vars(given).items() if name != "out"} | {"weights": run.digest()}
    path = given.out / "scores.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = kept["found"] if kept.get("settings") == settings else {}
    total = given.held_out + 2 * given.num
    images = held_out_part(run).spread(total)
    pixels = images.images(torch.randperm(total, generator=plain_generator(0)))
    makers = {"held out": lambda: pixels[: given.held_out], **kinds(pixels[given.held_out :], given.num)}
    for seed, (name, make) in enumerate(makers.items()):  # a seed for each, so that their draws are independent
        if name not in found:
            found[name] = measured(run, name, make(), options, seed)
            write_json(path, {"settings": settings, "found": found})
    warnings.simplefilter("ignore", DecisionWarning)
    anomalies = [name for name in makers if name not in ("held out", "usual")]
    rows = [
        compared(found, kind, score, tails) for kind in anomalies for score in SCORES for tails in ("upper", "both")
    ]
    write_json(given.out / "anomalies.json", {"settings": settings, "rows": [asdict(row) for row in rows]})
    write_text(given.out / "anomalies.md", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
