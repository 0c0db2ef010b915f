"""Quality against network calls: the Frechet distance of each sampler's images to held-out images, and the time.

    python -m benchmarks.samplers [--num 1000] [--model fashion-mnist] [--out benchmarks/samplers] [--cells 20 200]

A cell is a sampler with a number of steps. All cells start from the same noise, that of seed 0. Images are stored batch
by batch in `--kept`: a stopped run resumes, and a finished cell is not drawn again. The distance uses features of the
bundled classifier, with a bootstrap interval; compare it only between equal numbers of images. Seconds are wall-clock
times of drawing, and are meaningful only on an otherwise idle machine.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import nelbo
from nelbo.evaluation import frechet_distance
from nelbo.files import write_whole
from nelbo.plots import curves_against_calls, picture_of, save
from nelbo.runs import DiffusionRun, load_as
from nelbo.samplers import SAMPLERS
from nelbo.studies import features_for, held_out_part

BATCH, SHOWN = 125, 40


@dataclass(frozen=True)
class Cell:
    """A sampler, its number of steps, their spacing, and the scale of guidance at the middle noise levels."""

    sampler: str
    steps: int
    spacing: str = "even"
    guidance: float = 1.0

    @property
    def calls(self) -> int:
        """Network calls per image without guidance."""
        return SAMPLERS[self.sampler].calls_for(self.steps)

    @property
    def name(self) -> str:
        return f"{self.sampler}-{self.steps}-{self.spacing}" + (f"-{self.guidance:g}" if self.guidance != 1 else "")


@dataclass(frozen=True)
class Row:
    """The measurements of a cell."""

    sampler: str
    steps: int
    spacing: str
    calls: int
    num: int
    distance: float
    low: float
    high: float
    bias: float
    kernel: float
    seconds_an_image: float


FEW = {"ddim": (5, 10, 20, 50), "dpm-solver++": (5, 10, 20, 50), "unipc": (5, 10, 20, 50), "euler": (20,)}
CELLS = [Cell(name, steps, "karras") for name, several in FEW.items() for steps in several]
CELLS += [Cell("heun", steps, "karras") for steps in (3, 5, 10, 25)]
CELLS += [Cell("dpm-solver++sde", steps, "karras") for steps in (5, 10, 20, 50)]
CELLS += [Cell("ancestral", steps) for steps in (5, 10, 20, 50, 200, 1000)]


def drawn(
    run: DiffusionRun, cell: Cell, num: int, kept: Path, *, batch: int = BATCH, precision: str = "auto"
) -> tuple[Tensor, float]:
    """Return the images of a cell, from disk where they exist, and the seconds that drawing one image took.

    Args:
        kept: folder of the images, in parts of `batch` images; use one folder for each size of the parts.
        precision: see `SamplingOptions`.
    """
    folder, parts, seconds = kept / cell.name, [], 0.0
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, num, batch):
        path = folder / f"{start:05d}.npz"
        if not path.exists():
            began = time.perf_counter()
            images = run.sample(
                batch,
                sampler=cell.sampler,
                steps=cell.steps,
                spacing=cell.spacing,
                guidance=cell.guidance if run.recipe.conditional else None,
                precision=precision,
                first=start,
                batch_size=batch,
            )
            spent = time.perf_counter() - began
            write_whole(path, lambda place, i=images, s=spent: keep(place, i, s))
            print(f"{cell.name}: {start + batch} images", flush=True)
        with np.load(path) as stored:
            parts.append(torch.from_numpy(stored["images"]))
            seconds += float(stored["seconds"])
    return torch.cat(parts)[:num], seconds / (len(parts) * batch)


def keep(path: Path, images: Tensor, seconds: float) -> None:
    with path.open("wb") as file:
        np.savez(file, images=images.numpy(), seconds=np.float64(seconds))


def measured(run: DiffusionRun, cells: Iterable[Cell], num: int, kept: Path, out: Path) -> list[Row]:
    """Return one row per cell, and write a grid of its first images."""
    features, reference, rows = features_for(run.config.data, None, device=None), held_out_part(run), []
    for cell in cells:
        images, seconds = drawn(run, cell, num, kept)
        found = frechet_distance(images, reference, features, split="held-out images", seed=0)
        save(picture_of(images[:SHOWN], run.levels), out / "grids" / f"{cell.name}.png")
        figures = (found.distance, found.low, found.high, found.bias, found.kernel)
        rows.append(Row(cell.sampler, cell.steps, cell.spacing, cell.calls, num, *figures, seconds))
        print(as_table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def as_table(rows: list[Row]) -> str:
    """Return a Markdown table, sorted by network calls."""
    lines = [
        "| sampler | steps | spacing | calls | Frechet distance | interval | kernel distance | seconds per image |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row.calls, row.distance)):
        lines.append(
            f"| {row.sampler} | {row.steps} | {row.spacing} | {row.calls} | {row.distance:.2f} | "
            f"{row.low:.2f} to {row.high:.2f} | {row.kernel:.4f} | {row.seconds_an_image:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the table, the JSON file and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=1000, help="images per cell (default: 1000)")
    parser.add_argument("--model", default="fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/samplers"))
    parser.add_argument("--kept", type=Path, default=Path("runs/samplers"), help="folder for the images")
    parser.add_argument("--cells", type=int, nargs="*", help="only cells with these numbers of network calls")
    options = parser.parse_args()
    run = load_as(DiffusionRun, options.model)
    chosen = [cell for cell in CELLS if not options.cells or cell.calls in options.cells]
    rows = measured(run, chosen, options.num, options.kept, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    table = as_table(rows)
    (options.out / "samplers.md").write_text(table + "\n", encoding="utf-8")
    record = {"version": nelbo.__version__, "model": options.model, "rows": [asdict(row) for row in rows]}
    (options.out / "samplers.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = {
        name: [(row.calls, row.distance, row.low, row.high) for row in rows if row.sampler == name]
        for name in dict.fromkeys(row.sampler for row in rows)
    }
    save(curves_against_calls(lines), options.out / "samplers.png")
    print(table)


if __name__ == "__main__":
    main()
