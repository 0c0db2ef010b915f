"""Tables of `nelbo evaluate`: the bound, the likelihood by the ODE, and the forms of the bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.table import Table

from nelbo.cli.console import out, show

if TYPE_CHECKING:
    from nelbo.evaluation import BoundReport, FormsReport, LikelihoodReport
    from nelbo.latent import LatentReport
    from nelbo.vae import ELBOReport

    AnyBound = BoundReport | ELBOReport | LatentReport


def show_bound(report: AnyBound, title: str) -> None:
    """Print the terms, their total with its standard error, and the settings they were computed with."""
    from nelbo.latent import LatentReport
    from nelbo.vae import ELBOReport

    if isinstance(report, ELBOReport):
        terms, total, settings = _of_vae(report)
    else:
        terms, total, settings = _of_latents(report) if isinstance(report, LatentReport) else _of_chain(report)
    table = _bits_table(title, "term")
    for name, bits in terms.items():
        table.add_row(name, f"{bits:.4f}")
    table.add_row(total, _with_error(report), style="bold")
    out.print(table)
    show(f"{settings}, {report.levels} levels, {report.num_dims} dimensions\n{_errors_in_words(report)}")


def _of_vae(report: ELBOReport) -> tuple[dict[str, float], str, str]:
    """Return the terms of a negative ELBO, the name of their total, and the settings in words."""
    density = "" if report.decoder == "discretized" else ": a density, not a bound on the bits of the levels"
    settings = (
        f"{report.decoder} decoder, stddev {report.stddev:.3g} levels, {report.draws} draws of z per image{density}"
    )
    return {"reconstruction": report.reconstruction, "KL(q(z|x) || p(z))": report.kl}, "-ELBO (total)", settings


def _of_chain(report: BoundReport) -> tuple[dict[str, float], str, str]:
    """Return the terms of a diffusion model's bound, the name of their total, and the settings in words."""
    terms = {
        "L_T (prior)": report.prior,
        "L_1 .. L_{T-1} (denoising)": report.denoising,
        "L_0 (decoder)": report.decoder,
    }
    settings = (
        f"{report.num_steps} steps, variance {report.variance}, clip {'on' if report.clip else 'off'}, "
        f"{report.steps_per_image} values of t per image"
    )
    return terms, "L (total)", settings


def _of_latents(report: LatentReport) -> tuple[dict[str, float], str, str]:
    """Return the terms of a latent diffusion model's bound, the name of their total, and the settings in words."""
    terms = {
        "-log p(x|z) (reconstruction)": report.reconstruction,
        "E[log q(z|x)] (encoder)": report.encoder,
        "L_T (prior of the chain)": report.prior,
        "L_1 .. L_{T-1} (denoising)": report.denoising,
        "-log p(z_0|z_1) (last step, a density)": report.last_step,
        "Jacobian of the scaling of z": report.scaling,
    }
    settings = (
        f"{report.num_steps} steps on {report.latent_dims} latent dimensions, variance {report.variance}, "
        f"{report.draws} draws of z per image with {report.steps_per_image} values of t"
    )
    return terms, "bound on -log p(x) (total)", settings


def _errors_in_words(report: AnyBound) -> str:
    """Explain the two errors: over all such images, and for these images alone."""
    drawn = min(report.draw_error, report.standard_error)  # both are estimates; the first one is an upper estimate
    if math.isnan(report.standard_error):
        population = "one image cannot show how far the mean over all such images is from its bound"
    else:
        population = "+- is the standard error of the mean over all such images"
    if math.isnan(drawn):
        return f"{population}; the error for these images alone cannot be estimated from one draw"
    return f"{population}; for these images alone the error is +- {drawn:.4f}"


def show_likelihood(found: LikelihoodReport, bound: AnyBound) -> None:
    """Print the likelihood by the ODE beside the bound, with its settings and its cost."""
    table = _bits_table("on the same images", "bound on -log2 p(x_0)")
    table.add_row("variational, by the chain", _with_error(bound))
    table.add_row("by the probability-flow ODE", _with_error(found))
    out.print(table)
    if found.probes == 0:
        divergence = "exact divergence"
    else:
        divergence = f"{found.probes} probe{'s' * (found.probes > 1)} per image"
    error = "" if found.probes < 2 else f", with an error of +- {found.probe_error:.4f}"
    show(
        f"{found.steps} steps of Heun's method, {movement(found)} (tolerance {found.tolerance:g}); {divergence}{error}"
        f"; {found.calls} network calls per image in total"
    )


def movement(found: LikelihoodReport) -> str:
    """Say how far the last doubling of the steps moved the likelihood."""
    if math.isnan(found.change):
        return "too few to double, so their error is unknown"
    return f"whose last doubling changed an image by {found.change:.4f} bits/dim"


def show_forms(report: FormsReport) -> None:
    """Print eq. 3 beside eq. 5, and eq. 16 if it was computed: means, and the variance of a draw."""
    table = Table(title=f"{report.num_images} images, {report.draws} draws each", title_justify="left")
    for name in ("form of the bound", "bits/dim", "variance of a draw"):
        table.add_column(name, justify="left" if name.startswith("form") else "right")
    rows = {"eq. 3: ratios along a path": report.ratio, "eq. 5: a KL at each t": report.divergence}
    if report.known is not None:
        rows["eq. 16: a KL at each t, and H(x_0)"] = report.known
    for name, row in rows.items():
        table.add_row(name, f"{row.bits_per_dim:.4f}", f"{row.variance:.3g}")
    out.print(table)
    show(
        f"eq. 3 and eq. 5 differ by {report.z:+.2f} standard errors ({report.standard_error:.4f} bits/dim); a draw of "
        f"eq. 3 has {report.variance_ratio:.3g} times the variance of a draw of eq. 5"
    )
    if report.known is not None:
        show(
            f"eq. 16, with these images as the whole distribution, differs from eq. 5 by {report.known_z:+.2f} "
            f"standard errors; {report.entropy:.4f} bits/dim of it are H(x_0)"
        )


def _bits_table(title: str, rows: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(rows)
    table.add_column("bits/dim", justify="right")
    return table


def _with_error(report: AnyBound | LikelihoodReport) -> str:
    """Write a total with its standard error, if there is one."""
    alone = math.isnan(report.standard_error)
    return f"{report.total:.4f}{'' if alone else f' +- {report.standard_error:.4f}'}"
