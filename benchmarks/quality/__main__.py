"""The command line of the benchmark; `benchmarks.quality` describes it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks import quality
from benchmarks.quality.clock import RECORD as TRAINED
from benchmarks.quality.comparison import FIRST, SECOND, Comparison
from benchmarks.quality.drawing import RECORD as DRAWN
from benchmarks.quality.drawing import Drawing, draw
from benchmarks.quality.libraries import require
from benchmarks.quality.measuring import measure, measure_floor
from benchmarks.quality.plan import DEFAULT, ENTRIES, Entry, Job, chosen_entries, in_order, parse_recipe, parse_sampler
from benchmarks.quality.tables import write_tables
from benchmarks.quality.widths import default_parameters
from benchmarks.quality.worker import trained
from nelbo.errors import NelboError
from nelbo.evaluation import require_torchmetrics
from nelbo.options import known
from nelbo.runs.sampling_options import DEFAULT_GUIDANCE
from nelbo.samplers.names import GUIDED_STEPS
from nelbo.studies import DataRequest

STAGES = ("train", "sample", "measure", "table")
SAMPLERS = (
    "dpm-solver++sde:20:karras",
    "dpm-solver++sde:20:even",
    "dpm-solver++:20:karras",
    "ddim:20:even",
    f"dpm-solver++sde:{GUIDED_STEPS}:karras:{DEFAULT_GUIDANCE}",  # about as many evaluations; for models of classes
)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    summary = (quality.__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=summary)
    add: Callable[..., object] = parser.add_argument
    add("--out", type=Path, required=True, help="folder for models, images and figures")
    add("--minutes", type=float, nargs="+", required=True, help="training time of each model, one or several")
    add("--models", nargs="+", help=f"models to compare: {', '.join(ENTRIES)} (default: {' '.join(DEFAULT)})")
    add(
        "--recipe",
        type=parse_recipe,
        action="append",
        default=[],
        metavar="NAME:PRESET,SETTING=VALUE",
        help="a further model of nelbo: a preset with changed settings; repeatable. Without --models, only the recipes",
    )
    add("--again", nargs="+", default=[], help="models to train twice, the second time in the reverse order")
    add("--stage", choices=STAGES, help="only this stage (default: all)")
    add("--final", action="store_true", help="measure with the second classifier, not with the first one")
    add("--data", default="fashion-mnist", help="labelled images with held-out ones, as for `nelbo train`")
    add("--size", type=int, help="image side in pixels, if the images are to be resized")
    add("--num", type=int, default=5000, help="images per model, at most half of the held-out images (5000)")
    add("--samplers", type=parse_sampler, nargs="+", default=[parse_sampler(text) for text in SAMPLERS])
    add("--trial", type=int, default=500, help="images by which the best of the samplers is chosen (500)")
    add("--ancestral", type=int, default=0, help="images to draw by the ancestral sampler with all steps (0)")
    add("--sure", type=float, default=0.8, help="probability from which on a classifier is sure (0.8)")
    add("--threads", type=int, default=2, help="threads of PyTorch, in training and sampling (2)")
    add("--parameters", type=int, help="parameters of the other libraries' networks (those of nelbo's default)")
    add("--classifier-steps", type=int, help="optimizer steps of each classifier (3000 for fashion-mnist)")
    return parser.parse_args(given)


def planned(options: argparse.Namespace, entries: Sequence[Entry], request: DataRequest, parameters: int) -> list[Job]:
    """Return all trainings in their order: by budget, then the models, then the second trainings in reverse order."""
    jobs: list[Job] = []
    names = [entry.name for entry in entries]
    again = [known(name, names, "model") for name in options.again]
    for minutes in options.minutes:
        first, second = (
            [
                Job(
                    **vars(entry),
                    out=str(options.out),
                    data=vars(request),
                    minutes=minutes,
                    repeat=repeat,
                    threads=options.threads,
                    parameters=parameters,
                )
                for entry in entries
                if not repeat or entry.name in again
            ]
            for repeat in (0, 1)
        )
        jobs += in_order(first, second)
    return jobs


def run(options: argparse.Namespace) -> bool:
    """Run the stages; return False if a signal stopped the training."""
    torch.set_num_threads(options.threads)
    require_torchmetrics()
    request = DataRequest(options.data, options.size)
    comparison = Comparison.of(options.out, request, options.num, options.classifier_steps)
    entries = chosen_entries(options.models, options.recipe)
    for entry in entries:
        require(entry.library)
    if options.again:
        comparison.require_repeatable(request)
    jobs = planned(options, entries, request, options.parameters or default_parameters(comparison.data))
    which = SECOND if options.final else FIRST
    stages = STAGES if options.stage is None else (options.stage,)
    if "train" in stages and not all(map(trained, jobs)):
        return False
    if "sample" in stages:
        drawing = Drawing(options.num, min(options.trial, options.num), options.samplers, options.ancestral)
        for job in _ready(jobs, TRAINED):
            draw(job, drawing, comparison)
    if "measure" in stages:
        measure_floor(which, comparison, options.ancestral, options.sure)
        for job in _ready(jobs, DRAWN):
            measure(job, which, comparison, options.sure)
    if "table" in stages:
        print(write_tables(jobs, which, comparison))
    return True


def _ready(jobs: Sequence[Job], record: str) -> list[Job]:
    """Return the jobs that an earlier stage has finished; print the others."""
    for job in jobs:
        if not (job.place / record).exists():
            print(f"{job}: {record} is missing, so this model is left out", flush=True)
    return [job for job in jobs if (job.place / record).exists()]


def main() -> None:
    """Run the command; errors are printed without a traceback."""
    try:
        finished = run(arguments())
    except NelboError as error:
        sys.exit(f"error: {error}")
    sys.exit(not finished)


if __name__ == "__main__":
    main()
