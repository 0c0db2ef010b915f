"""`nelbo evaluate`: the bound of a run on images, term by term."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, name_rejects, say, show
from nelbo.cli.engine import (
    AddressOption,
    EngineOption,
    GpusOption,
    Parts,
    PartSizeOption,
    PartsOption,
    WorkersOption,
    kept_parts,
    parts_given,
)
from nelbo.cli.evaluate_options import PROBES, STEPS_PER_IMAGE, TOLERANCE, EvaluateOptions
from nelbo.cli.evaluated import Evaluated, evaluated
from nelbo.cli.options import (
    BatchOption,
    ConditionImagesOption,
    DataOption,
    DeviceOption,
    JsonOption,
    MaskOption,
    ResizeOption,
    RunArgument,
    SeedOption,
    TableOption,
)
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.errors import ConfigurationError
from nelbo.progress import Bars
from nelbo.runs.sampling_options import VARIANCES

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.evaluation import BoundReport, FormsReport, LikelihoodReport
    from nelbo.latent import LatentReport
    from nelbo.runs import DiffusionRun, Run
    from nelbo.vae import ELBOReport

    AnyBound = BoundReport | ELBOReport | LatentReport


def evaluate(
    run: RunArgument,
    data: DataOption = None,
    mask: MaskOption = None,
    table: TableOption = None,
    condition_images: ConditionImagesOption = None,
    resize: ResizeOption = True,
    num: Annotated[
        int | None, typer.Option(min=1, help="Number of images, evenly spaced in the data set; all by default.")
    ] = None,
    steps_per_image: Annotated[
        int | None,
        typer.Option(
            min=0, help=f"Number of time steps to evaluate per image; 0 means all, {STEPS_PER_IMAGE} by default."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Evaluate the model with this many reverse steps instead of all.")
    ] = None,
    variance: Annotated[str | None, typer.Option(help=f"Variance of the reverse process: {VARIANCES}")] = None,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="Clip the predicted image to the range of the data; off by default."),
    ] = None,
    seed: SeedOption = 0,
    forms: Annotated[
        bool,
        typer.Option(
            "--forms",
            help="Instead of the report, compare two estimators of the bound (eqs. 3 and 5 of Ho et al. 2020). Slow: "
            "4 T network calls per image, where T is the number of diffusion steps.",
        ),
    ] = False,
    known: Annotated[
        bool,
        typer.Option(
            "--known",
            help="With --forms: also compute eq. 16, with the images as the complete data distribution. 6 T network "
            "calls per image.",
        ),
    ] = False,
    ode: Annotated[
        bool, typer.Option("--ode", help="Also estimate the log-likelihood with the probability-flow ODE.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="With --ode: double the number of ODE steps until the estimates change by at most this much on "
            f"average, in bits/dim; {TOLERANCE} by default."
        ),
    ] = None,
    probes: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --ode: number of random vectors for the divergence estimate; 0 computes it exactly, with one "
            f"network pass per dimension; {PROBES} by default.",
        ),
    ] = None,
    json: JsonOption = None,
    target: PartsOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    part_size: PartSizeOption = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Report the variational bound in bits/dim: L_T, the sum of L_{t-1}, L_0, and their total with standard error.

    The terms are those of eq. 5 of Ho et al. (2020). For a variational autoencoder, the command reports the negative
    ELBO: reconstruction, KL and their total. For a latent diffusion model, it reports the reconstruction, E[log q(z|x)]
    and the chain's bound on -log p(z).
    """
    parts = parts_given(target, engine, workers, address, gpus, part_size)
    options = EvaluateOptions(
        steps_per_image, steps, variance, clip, forms, known, ode, tolerance, probes, seed, batch_size, parts
    )
    beside = {"mask": mask, "table": table, "condition_images": condition_images}
    if data is None and not resize:
        raise ConfigurationError("--no-resize leaves images of --data out; give --data too.")
    check_outputs({"--json": json}, [data], run)
    import nelbo

    own = data is None and num is None  # all held-out images of the run
    model = nelbo.load(run, device=device)
    model.refuse_chain_options(options.of_the_chain)
    model.require_decoder()  # before the images are read
    with bars() as bar:
        images = evaluated(model, data, resize, num, bar, beside, in_place=parts is not None)
        if forms:
            compared = _forms(model, images.chosen, options, bar)
        else:
            report, likelihood = _bound(model, images.chosen, options, bar, device)
    if forms:
        _show_forms(compared, images, json)
    elif _show_bound(model, run, report, likelihood, images, json) and own and options.whole_chain:
        _draw_per_step(report, model.folder)


def _forms(model: Run, images: ImageDataset, options: EvaluateOptions, bar: Bars) -> FormsReport:
    """Compare the forms of the bound."""
    return _diffusion(model).forms(
        images,
        known=options.known,
        steps=options.steps,
        variance=options.variance,
        progress=bar.of("forms of the bound"),
        **options.draws,
    )


def _bound(
    model: Run, images: ImageDataset, options: EvaluateOptions, bar: Bars, device: str | None
) -> tuple[AnyBound, LikelihoodReport | None]:
    """Compute the bound, and with --ode the likelihood."""
    from nelbo.runs import LatentRun, VAERun

    if options.parts is not None:
        return _by_parts(model, images, options, options.parts, bar, device), None
    if isinstance(model, VAERun):
        return model.bound(images, progress=bar.of("scoring"), **options.draws), None
    if isinstance(model, LatentRun):
        how: dict[str, Any] = {"steps_per_image": options.steps_of_all, "steps": options.steps}
        how["variance"] = options.variance
        return model.bound(images, progress=bar.of("scoring"), **how, **options.draws), None
    chain = _diffusion(model)
    report = chain.bound(
        images,
        steps_per_image=options.steps_of_all,
        steps=options.steps,
        variance=options.variance,
        clip=bool(options.clip),
        progress=bar.of("scoring"),
        **options.draws,
    )
    if not options.ode:
        return report, None
    likelihood = chain.likelihood(
        images,
        tolerance=TOLERANCE if options.tolerance is None else options.tolerance,
        probes=options.probes or PROBES,
        exact=options.probes == 0,
        variance=options.variance,
        progress=bar.of("likelihood (at most)"),
        **options.draws,
    )
    return report, likelihood


def _by_parts(
    model: Run, images: ImageDataset, options: EvaluateOptions, parts: Parts, bar: Bars, device: str | None
) -> BoundReport:
    """Compute the bound part by part, into a folder."""
    from nelbo.data import names_of
    from nelbo.engines import ImageParts, measure, opened
    from nelbo.runs import BoundOptions

    chain, clip = opened(model), bool(options.clip)
    how = BoundOptions(options.steps_of_all, options.steps, options.variance, clip, options.seed, options.batch_size)
    given: dict[str, Any] = {"engine": parts.engine, "part_size": parts.part_size, "device": device}
    found = measure(chain, ImageParts(images, names_of(images)), parts.out, how, **given, progress=bar.of("scoring"))
    say(kept_parts(found))
    return chain.report_of(found.sums, found.scores, how)


def _diffusion(model: Run) -> DiffusionRun:
    """The model as a diffusion model; `refuse_chain_options` and `_bound` handle the other families."""
    from nelbo.runs import DiffusionRun

    assert isinstance(model, DiffusionRun)
    return model


def _show_forms(report: FormsReport, images: Evaluated, json: Path | None) -> None:
    """Write and print a comparison of the forms."""
    from nelbo.cli.bound_tables import show_forms

    estimates = {"z": report.z, "variance_ratio": report.variance_ratio, "known_z": report.known_z}
    if prints_table(json):
        show_forms(report)
        name_rejects(images.rejects)
    write_results(versioned({**asdict(report), **estimates, **images.to_json()}), json)


def _show_bound(
    model: Run,
    run: str,
    report: AnyBound,
    likelihood: LikelihoodReport | None,
    images: Evaluated,
    json: Path | None,
) -> bool:
    """Print and write a bound; return whether it was printed."""
    from nelbo.cli.bound_tables import movement

    flow = {} if likelihood is None else {"ode": likelihood.to_json()}
    if likelihood is not None and not likelihood.reached:
        say(
            f"the tolerance of {likelihood.tolerance:g} bits/dim was not reached: the likelihood used all "
            f"{likelihood.steps} steps of the schedule, {movement(likelihood)}"
        )
    printed = prints_table(json)
    if printed:
        _print_bound(model, run, report, likelihood, images)
    write_results(versioned({**report.to_json(), **flow, **images.to_json()}), json)
    return printed


def _print_bound(
    model: Run,
    run: str,
    report: AnyBound,
    likelihood: LikelihoodReport | None,
    images: Evaluated,
) -> None:
    """Print a bound."""
    from nelbo.cli.bound_tables import show_bound, show_likelihood
    from nelbo.runs.folder import why_not_calibrated

    show_bound(report, f"{run} on {images.in_words}")
    show(f"bits/dim without a model: {images.baselines}")
    if likelihood is not None:
        show_likelihood(likelihood, report)
    if not model.calibrated:
        say(f"{why_not_calibrated(model.folder, model.config.data)}: the bound is then tighter")
    name_rejects(images.rejects)


def _draw_per_step(report: AnyBound, folder: Path) -> None:
    """Draw the bound by t into the run folder, if the model is none of the bundled ones and has a chain."""
    from nelbo.evaluation import BoundReport
    from nelbo.files import or_warn
    from nelbo.plots import per_step_bound, save
    from nelbo.runs.folder import bundled_models

    if not isinstance(report, BoundReport) or folder in bundled_models().values() or not 0 < report.total < math.inf:
        return
    with or_warn():  # the run may be shared and read-only
        path = save(per_step_bound([vars(step) for step in report.per_step]), folder / "bound-per-step.png")
        say(f"the bound by t: {path}")
