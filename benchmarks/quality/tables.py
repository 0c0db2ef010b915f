"""The table stage: the figures of all models as Markdown and JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import nelbo
from benchmarks.quality.clock import RECORD
from benchmarks.quality.comparison import Comparison
from benchmarks.quality.distances import Interval
from benchmarks.quality.drawing import chosen_sampler
from benchmarks.quality.measuring import FLOOR, Figures, read_figures
from benchmarks.quality.plan import Job
from nelbo.files import write_json, write_text

Row = tuple[str, str, Figures]  # name, minutes, figures


def write_tables(jobs: Sequence[Job], which: str, comparison: Comparison) -> str:
    """Write `first.md` and `first.json` (or those of the second classifier) of all measured models; return the text."""
    measured = [(job, found) for job in jobs if (found := read_figures(job.place / f"{which}.json"))]
    floor = read_figures(comparison.out / f"{FLOOR}-{which}.json")
    rows: list[Row] = [] if floor is None else [("other held-out images", "", floor)]
    rows += [(job.label, f"{job.minutes:g}", found) for job, found in measured]
    parts = [described(which, comparison, rows), training_table([job for job, _ in measured]), quality_table(rows)]
    parts += [ancestral_table(rows), nearest_table(rows)]
    text = "\n\n".join(part for part in parts if part)
    write_text(comparison.out / f"{which}.md", text + "\n")
    plain: dict[str, Any] = {
        "version": nelbo.__version__,
        "classifier": asdict(comparison.classifier(which).card),
        "floor": floor and asdict(floor),
        "models": [
            {"label": job.label, "minutes": job.minutes, "training": _training(job), **asdict(found)}
            for job, found in measured
        ],
    }
    write_json(comparison.out / f"{which}.json", plain)
    return text


def described(which: str, comparison: Comparison, rows: Sequence[Row]) -> str:
    """Say what the figures compare."""
    trained = comparison.classifier(which)
    options, card = trained.network.options, trained.card
    numbers = rows[0][2] if rows else None
    compared = f"{numbers.num:,} images per row against {numbers.num:,} held-out images. " if numbers else ""
    sure = f"Sure: the most likely class has a probability of at least {numbers.threshold:g}. " if numbers else ""
    return (
        f"{compared}{options.num_features} features of the {which} classifier (widths "
        f"{', '.join(map(str, options.widths))}, seed {card.seed}, accuracy {card.accuracy:.1%}). {sure}"
        "Intervals: 95%, bootstrap."
    )


def training_table(jobs: Iterable[Job]) -> str:
    """Return the table of the trainings."""
    lines = []
    for job in jobs:
        done, sampler = _training(job), chosen_sampler(job.place)
        lines.append(
            f"| {job.label} | {job.minutes:g} | {done['version']} | {done['parameters'] / 1e6:.2f}M | "
            f"{done['steps']:,} | {done['peak_bytes'] / 2**20:,.0f} | {sampler.sampler}, {sampler.steps} steps, "
            f"{sampler.spacing}{f', guidance {sampler.guidance:g}' if sampler.guidance != 1 else ''} |"
        )
    return _table("model | minutes | library | parameters | steps | peak, MiB | best sampler", lines)


def quality_table(rows: Sequence[Row]) -> str:
    """Return the table of the distances."""
    lines = [
        f"| {name} | {minutes} | {_with_interval(found.frechet, 2)} | {_with_interval(found.kernel, 4)} | "
        f"{found.density:.3f} | {found.coverage:.3f} | {found.sure:.1%} |"
        for name, minutes, found in rows
    ]
    return _table(
        "model | minutes | Frechet distance | interval | kernel distance | interval | density | coverage | sure", lines
    )


def ancestral_table(rows: Sequence[Row]) -> str:
    """Return the table of the images drawn with all steps, or "" if there are none."""
    lines = [
        f"| {name} | {minutes} | {found.num_ancestral} | {_with_interval(found.ancestral, 4)} |"
        for name, minutes, found in rows
        if found.ancestral is not None
    ]
    return _table("ancestral sampler, all steps | minutes | images | kernel distance | interval", lines)


def nearest_table(rows: Sequence[Row]) -> str:
    """Return the table of the distances to training images."""
    lines = [
        f"| {name} | {minutes} | {found.nearest['samples']:.2f} | {found.nearest['held_out']:.2f} | "
        f"{found.nearest['ratio']:.3f} |"
        for name, minutes, found in rows
    ]
    return _table(
        "nearest training image, RMSE in grey levels | minutes | samples | held-out images | ratio training / held out",
        lines,
    )


def _table(titles: str, lines: Sequence[str]) -> str:
    rule = "|---" * len(titles.split(" | ")) + "|"
    return "\n".join([f"| {titles} |", rule, *lines]) if lines else ""


def _with_interval(interval: Interval, digits: int) -> str:
    """Return a value and its interval, as two cells."""
    return f"{interval.value:.{digits}f} | {interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _training(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job.place / RECORD).read_text("utf-8"))
    return found
