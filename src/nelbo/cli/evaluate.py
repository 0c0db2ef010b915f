"""`nelbo evaluate`: the bound of a run, term by term."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, err, name_rejects, out
from nelbo.cli.kinds import refuse_chain_options
from nelbo.cli.options import BatchOption, DeviceOption
from nelbo.data import load_for_model
from nelbo.errors import ConfigurationError
from nelbo.evaluation import BoundReport, FormsReport, LikelihoodReport
from nelbo.plots import per_step_bound, save
from nelbo.runs import DiffusionRun, VAERun
from nelbo.studies import Listener, held_out_part
from nelbo.vae import ELBOReport


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")],
    data: Annotated[str | None, typer.Option(help="Other images than the ones held out in training.")] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring images of other sizes or modes to the model's.")
    ] = False,
    num: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly spread over the set.")] = None,
    steps_per_image: Annotated[
        int | None, typer.Option(min=0, help="Values of t looked at for each image (0: every t); 8 if absent.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Judge a stride of so many steps instead of the whole chain.")
    ] = None,
    variance: Annotated[str | None, typer.Option(help="calibrated, trained, fixed-large or fixed-small.")] = None,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="Hold predicted images within the range of data; not if absent."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and the choice of t.")] = 0,
    forms: Annotated[
        bool, typer.Option("--forms", help="Compare eq. 3's form of the bound with eq. 5's, 2 T calls a draw instead.")
    ] = False,
    known: Annotated[
        bool,
        typer.Option("--known", help="Add eq. 16 to --forms: the images taken as the whole distribution, 3 T calls."),
    ] = False,
    ode: Annotated[
        bool, typer.Option("--ode", help="Set the likelihood by the probability-flow ODE beside the bound.")
    ] = False,
    tolerance: Annotated[
        float | None, typer.Option(help="Of --ode: bits/dim that doubling its steps may move an image; 0.01 if absent.")
    ] = None,
    probes: Annotated[
        int | None,
        typer.Option(min=0, help="Of --ode: probes of the divergence (0: exact, a pass a dimension); 1 if absent."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON to this file (- for standard output).")
    ] = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Report the bound in bits/dim: L_T, the sum of L_{t-1}, L_0, and their total with its standard error.

    Of a variational autoencoder, the negative ELBO: reconstruction, KL, and their total with its standard error.
    """
    if forms and clip:
        raise ConfigurationError("--forms compares the two forms without --clip; leave one of them out.")
    if forms and steps_per_image is not None:
        raise ConfigurationError("--forms looks at every t, so it takes no --steps-per-image; leave one of them out.")
    if known and not forms:
        raise ConfigurationError("--known adds eq. 16 to what --forms compares; give that too.")
    if ode and (forms or clip or steps is not None):
        raise ConfigurationError("--ode takes steps of its own and no --clip or --forms; leave them and --steps out.")
    if not ode and (tolerance is not None or probes is not None):
        raise ConfigurationError("--tolerance and --probes are those of --ode; give that too.")
    if resize and data is None:
        raise ConfigurationError("--resize brings the images of --data to the model's size; give that too.")
    model = nelbo.load(run, device=device)
    if isinstance(model, VAERun):
        chain = {"--steps": steps, "--variance": variance, "--clip/--no-clip": clip}
        comparing = {"--forms": forms or None, "--known": known or None, "--ode": ode or None}
        refuse_chain_options(run, {"--steps-per-image": steps_per_image, **chain, **comparing})
    with bars() as bar:
        listener = Listener(on_stage=bar)
        if data is None:
            images = held_out_part(model, None, listener)
        else:
            images, _ = load_for_model(
                data, model.shape, resize=resize, progress=lambda done, total: bar("reading images", done, total)
            )
        rejects = images.rejects
        # a file that cannot be read is of neither part of a run's own data: it is named, and no held-out image missing
        available = len(images) if data is None else len(images) + len(rejects)
        if num is not None and num < len(images):
            images = images.spread(num)

        def scoring(done: int, total: int) -> None:
            bar("scoring", done, total)

        report: BoundReport | ELBOReport
        likelihood: LikelihoodReport | None = None
        if isinstance(model, VAERun):
            report = model.bound(images, seed=seed, batch_size=batch_size, progress=scoring)
        elif forms:
            compared = model.forms(
                images,
                known=known,
                steps=steps,
                variance=variance,
                seed=seed,
                batch_size=batch_size,
                progress=lambda done, total: bar("forms of the bound", done, total),
            )
            show_forms(compared, json)
            return
        else:
            report = model.bound(
                images,
                steps_per_image=8 if steps_per_image is None else steps_per_image or None,
                steps=steps,
                variance=variance,
                clip=bool(clip),
                seed=seed,
                batch_size=batch_size,
                progress=scoring,
            )
            if ode:
                likelihood = model.likelihood(
                    images,
                    tolerance=0.01 if tolerance is None else tolerance,
                    probes=probes or 1,
                    exact=probes == 0,
                    variance=variance,
                    seed=seed,
                    batch_size=batch_size,
                    progress=lambda done, total: bar("likelihood (at most)", done, total),
                )
    if json is not None:
        used = {"fraction_of_images": len(images) / available, "rejects": [vars(reject) for reject in rejects]}
        flow = {} if likelihood is None else {"ode": likelihood.to_json()}
        emit_json({**report.to_json(), **flow, **used, "version": nelbo.__version__}, json)
    if likelihood is not None and not likelihood.reached:
        err.print(
            f"the tolerance of {likelihood.tolerance:g} bits/dim was not reached: the likelihood took all "
            f"{likelihood.steps} steps of the schedule, {movement(likelihood)}",
            highlight=False,
            soft_wrap=True,
        )
    if str(json) == "-":
        return
    show(report, f"{run} on {len(images)} of {available} images of {images.name}")
    if likelihood is not None:
        show_likelihood(likelihood, report)
    if isinstance(model, DiffusionRun) and model.mse is None and not model.reverse().variance.learned:
        err.print("not calibrated yet: the run was stopped, or is still training; finish it for a tighter bound")
    name_rejects(rejects)
    if not Path(run).is_dir() or isinstance(report, ELBOReport):
        return
    picture = model.folder / "bound-per-step.png"
    save(per_step_bound([vars(step) for step in report.per_step]), picture)
    err.print(f"the bound by t: {picture}", highlight=False)


def show(report: BoundReport | ELBOReport, title: str) -> None:
    """The terms, their total with its error, and what it was computed with."""
    if isinstance(report, ELBOReport):
        terms = {"reconstruction": report.reconstruction, "KL(q(z|x) || p(z))": report.kl}
        total = "-ELBO (total)"
        computed = (
            f"{report.decoder} decoder, its stddev {report.stddev:.3g} levels, {report.draws} draws of z an image"
            f"{'' if report.decoder == 'discretized' else ': a density, no bound on the bits of the levels'}"
        )
    else:
        terms = {
            "L_T (prior)": report.prior,
            "L_1 .. L_{T-1} (denoising)": report.denoising,
            "L_0 (decoder)": report.decoder,
        }
        total = "L (total)"
        computed = (
            f"{report.num_steps} steps, variance {report.variance}, clip {'on' if report.clip else 'off'}, "
            f"{report.steps_per_image} values of t an image"
        )
    drawn = min(report.draw_error, report.standard_error)  # both are estimates, the first from above
    table = Table(title=title, title_justify="left")
    table.add_column("term")
    table.add_column("bits/dim", justify="right")
    for name, bits in terms.items():
        table.add_row(name, f"{bits:.4f}")
    alone = math.isnan(report.standard_error)
    table.add_row(total, f"{report.total:.4f}{'' if alone else f' +- {report.standard_error:.4f}'}", style="bold")
    out.print(table)
    spread = "+- tells how far the mean over all such images may be from this one"
    out.print(
        f"{computed}, {report.levels} levels, {report.num_dims} dimensions\n"
        f"{'how far other such images are from it one image cannot tell' if alone else spread}; of these very images "
        "the bound is known "
        f"{'but for an error that one draw cannot tell' if math.isnan(drawn) else f'to +- {drawn:.4f}'}",
        highlight=False,
        soft_wrap=True,
    )


def show_likelihood(found: LikelihoodReport, bound: BoundReport | ELBOReport) -> None:
    """The likelihood by the flow beside the bound, what it was computed with, and what it cost."""
    table = Table(title="of the same images", title_justify="left")
    table.add_column("bound on -log2 p(x_0)")
    table.add_column("bits/dim", justify="right")
    rows = {"variational, by the chain": bound, "by the probability-flow ODE": found}
    for name, row in rows.items():
        alone = math.isnan(row.standard_error)
        table.add_row(name, f"{row.total:.4f}{'' if alone else f' +- {row.standard_error:.4f}'}")
    out.print(table)
    traced = "the exact trace" if found.probes == 0 else f"{found.probes} probe{'s' * (found.probes > 1)} an image"
    known = "" if found.probes < 2 else f", known to +- {found.probe_error:.4f} by them"
    out.print(
        f"{found.steps} steps of Heun's method, {movement(found)} (tolerance {found.tolerance:g}); {traced}{known}; "
        f"{found.calls} calls of the network an image in all",
        highlight=False,
        soft_wrap=True,
    )


def movement(found: LikelihoodReport) -> str:
    """What the last doubling of the steps did."""
    if math.isnan(found.change):
        return "which are too few for a doubling to tell their error"
    return f"whose last doubling moved an image by {found.change:.4f} bits/dim"


def show_forms(report: FormsReport, json: Path | None) -> None:
    """Eq. 3 beside eq. 5, and eq. 16 where asked for: the same mean, and how much a draw of each varies."""
    if json is not None:
        found = {**asdict(report), "z": report.z, "variance_ratio": report.variance_ratio, "known_z": report.known_z}
        emit_json({**found, "version": nelbo.__version__}, json)
    if str(json) == "-":
        return
    table = Table(title=f"{report.num_images} images, {report.draws} draws each", title_justify="left")
    for name in ("form of the bound", "bits/dim", "variance of a draw"):
        table.add_column(name, justify="left" if name.startswith("form") else "right")
    rows = {"eq. 3: ratios along a path": report.ratio, "eq. 5: a KL at each t": report.divergence}
    if report.known is not None:
        rows["eq. 16: a KL at each t, and H(x_0)"] = report.known
    for name, row in rows.items():
        table.add_row(name, f"{row.bits_per_dim:.4f}", f"{row.variance:.3g}")
    out.print(table)
    out.print(
        f"eq. 3 and eq. 5 are apart by {report.z:+.2f} standard errors ({report.standard_error:.4f} bits/dim); "
        f"a draw of eq. 3 has {report.variance_ratio:.3g} times the variance of one of eq. 5",
        highlight=False,
    )
    if report.known is not None:
        out.print(
            f"eq. 16, these images taken as the whole distribution, is apart from eq. 5 by {report.known_z:+.2f} "
            f"standard errors; H(x_0) is {report.entropy:.4f} bits/dim of it",
            highlight=False,
        )
