"""The tab Noise: the forward process, what the network predicts from x_t, and what each step costs."""

from dataclasses import dataclass

import gradio as gr
import torch
from torch import Tensor

from nelbo.diffusion import ForwardProcess, NoiseSchedule, VariationalBound, bits_per_dim
from nelbo.plots import CURVE_LEFT, CURVE_RIGHT, figure_png, step_curve
from nelbo.probability import data_to_levels, levels_to_data
from nelbo.randomness import standard_normal
from nelbo.runs import DiffusionRun
from nelbo.studio.choosing import Chooser, Start
from nelbo.studio.collection import Collection
from nelbo.studio.inline import DPI, picture, row, said, source, table
from nelbo.studio.speaking import speaking

SEED = 0  # of the noise: the same at every t, so that x_t changes smoothly
CURVE_STEPS = 64  # values of t on the curve
LINEAR_STEPS = 1000  # with fewer, its betas leave a part of the image in x_T: a stride of it is shown


@dataclass(frozen=True, eq=False)
class Look:
    """An image at one t.

    Attributes:
        x_t, x_0: (C, H, W) x_t and the xhat_0 that the network predicts from it, in [-1, 1].
        log_snr: at t.
        bits: one draw of L_{t-1}, or of L_0 at t = 1, in bits/dim.
        rmse: of xhat_0, on the scale 0..255.
    """

    x_t: Tensor
    x_0: Tensor
    log_snr: float
    bits: float
    rmse: float


@torch.no_grad()
def look(run: DiffusionRun, image: Tensor, t: int) -> Look:
    """Add noise to an image (C, H, W) uint8 up to step t, and predict it back."""
    reverse = run.reverse()
    x_0 = levels_to_data(image[None], run.levels).to(reverse.schedule.device)
    at = torch.tensor([t], device=x_0.device)
    x_t = reverse.forward_process.sample(x_0, at, _noise(x_0))
    prediction = reverse.predict(x_t, at)
    seen = prediction.x_0.clamp(-1, 1)
    return Look(
        x_t[0].cpu(),
        seen[0].cpu(),
        float(reverse.schedule.log_snr[t]),
        float(bits_per_dim(VariationalBound(reverse).step_of(prediction, x_0, x_t, at), x_0.numel())),
        127.5 * float((seen - x_0).square().mean().sqrt()),
    )


def schedules(run: DiffusionRun) -> dict[str, NoiseSchedule]:
    """Return the schedules that are compared, with as many steps as the model has."""
    num, log_snr = run.schedule.num_steps, run.schedule.log_snr
    linear = NoiseSchedule.linear(max(num, LINEAR_STEPS))
    return {
        "linear (Ho et al.)": linear if num >= LINEAR_STEPS else linear.strided(num),
        "cosine (Nichol & Dhariwal)": NoiseSchedule.cosine(num),
        "log-linear (even in log SNR)": NoiseSchedule.log_linear(num, float(log_snr[1]), float(log_snr[-1])),
    }


def compared(run: DiffusionRun, image: Tensor, t: int) -> list[tuple[str, float, Tensor]]:
    """Return x_t by each schedule, with its name and its log SNR, from the same noise."""
    x_0, at = levels_to_data(image[None], run.levels), torch.tensor([t])
    return [
        (name, float(schedule.log_snr[t]), ForwardProcess(schedule).sample(x_0, at, _noise(x_0))[0])
        for name, schedule in schedules(run).items()
    ]


def curve(run: DiffusionRun, image: Tensor) -> str:
    """Return the curve of L_{t-1} of an image as the address of a picture."""
    report = run.bound(image[None], steps_per_image=min(CURVE_STEPS, max(run.schedule.num_steps - 1, 1)))
    return source(figure_png(step_curve([vars(step) for step in report.per_step], run.schedule.num_steps), DPI))


def shown(run: DiffusionRun, image: Tensor, t: int, address: str) -> str:
    """Return the tab's pictures as HTML: x_0, x_t and xhat_0, the curve with a mark at t, and the schedules."""
    found, levels = look(run, image, t), run.levels
    share = CURVE_LEFT + (CURVE_RIGHT - CURVE_LEFT) * (t - 1) / max(run.schedule.num_steps - 1, 1)
    term = "L_0" if t == 1 else "L_{t-1}"
    facts = [
        ("t", f"{t} of {run.schedule.num_steps}"),
        ("log SNR", f"{found.log_snr:.2f}"),
        (f"{term}, one draw", f"{found.bits:.3g} bits/dim"),
        ("error of the prediction", f"{found.rmse:.1f} grey levels of 255"),
    ]
    main = [
        picture(image, levels, "x_0", note="the image"),
        picture(_levels(found.x_t, levels), levels, f"x_{t}", note="with noise"),
        picture(_levels(found.x_0, levels), levels, "predicted x_0", note="from x_t, by the network"),
    ]
    marked = (
        f"<div class='curve'><img class='figure' alt='L_{{t-1}} against t' src='{address}'>"
        f"<div class='cursor' style='left:{100 * share:.2f}%'></div></div>"
    )
    others = (
        picture(_levels(x_t, levels), levels, name, width=150, note=f"log SNR {log_snr:.2f}")
        for name, log_snr, x_t in compared(run, image, t)
    )
    note = said("The curve has few draws at each t, so a single draw lies beside it. L_0, at t = 1, is not on it.")
    title = said(f"The same noise at t = {t} by three schedules:")
    return f"{row(main)}{table(facts)}{marked}{note}{title}{row(others)}"


def _noise(like: Tensor) -> Tensor:
    return standard_normal(like.shape, torch.Generator().manual_seed(SEED), like)


def _levels(x: Tensor, levels: int) -> Tensor:
    return data_to_levels(x.clamp(-1, 1), levels)


def tab(collection: Collection, start: Start, last: gr.State) -> None:
    """Build the tab; `start` is what shows it, and `last` the last choice on any tab."""
    gr.Markdown(
        "The forward process adds noise to an image, step by step (eq. 4 of Ho et al. 2020). Move the slider to see "
        "the noisy image x_t, and what the network predicts from it. The signal-to-noise ratio (SNR) falls with t, and "
        "L_{t-1} is what the step t costs in a file."
    )
    chooser = Chooser.build(collection, collection.diffusion_names, last)
    steps = collection.diffusion(collection.diffusion_names[0]).schedule.num_steps
    slider = gr.Slider(1, steps, steps // 4, step=1, label="t", elem_id="noise-t")
    view, address = gr.HTML(elem_id="noise-view"), gr.State("")

    @speaking
    def begin(name: str, image: Tensor) -> tuple[str, dict[str, object], str]:
        run = collection.diffusion(name)
        t, found = run.schedule.num_steps // 4, curve(run, image)
        return found, gr.update(maximum=run.schedule.num_steps, value=t), shown(run, image, t, found)

    @speaking
    def move(name: str, image: Tensor, t: float | None, found: str) -> str:
        run = collection.diffusion(name)
        return shown(run, image, min(max(int(t or 1), 1), run.schedule.num_steps), found)

    chooser.on_choice(begin, [address, slider, view], start)
    slider.input(
        move,
        [chooser.model, chooser.image, slider, address],
        view,
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
    )
