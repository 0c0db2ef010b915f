"""The tab Restore: what a damaged image may have been: several draws, their mean, and where they differ."""

from typing import Any

import gradio as gr
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.display import to_bytes
from nelbo.errors import DataError
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.restoration import Restoration
from nelbo.runs import DiffusionRun
from nelbo.studio.choosing import Chooser, Start
from nelbo.studio.collection import Collection
from nelbo.studio.inline import picture, row, said
from nelbo.studio.speaking import BAR, speaking

CANVAS = 320  # pixels of the longer side of the picture on which a mask is painted
PAINTED = 0.3  # of the area of a pixel, from which it counts as missing
INPAINT, DENOISE, ENLARGE, COLOUR = "paint out", "noise", "enlarge", "colour"
SEED = 0


def damaged(image: Tensor, damage: str, *, levels: int, noise: float, factor: int) -> Tensor:
    """Return what is left of an image (C, H, W) uint8 after a damage, as levels.

    Raises:
        DataError: the sides cannot be divided by the factor.
    """
    if damage == DENOISE:
        generator, scale = torch.Generator().manual_seed(SEED), (levels - 1) / 255
        noisy = image + noise * scale * torch.randn(image.shape, generator=generator)
        return noisy.round().clamp(0, levels - 1).to(torch.uint8)
    if damage == ENLARGE:
        if any(side % factor for side in image.shape[1:]):
            raise DataError(f"images of {image.shape[2]} x {image.shape[1]} pixels cannot be reduced by {factor}.")
        small = torch.nn.functional.avg_pool2d(image[None].double(), factor)[0]
        return small.round().to(torch.uint8)
    if damage == COLOUR:
        grey = levels_to_data(image.double().mean(0, keepdim=True), levels)
        return ((grey + 1) * (levels - 1) / 2).round().to(torch.uint8)
    return image


def restore(
    run: DiffusionRun,
    image: Tensor,
    damage: str,
    *,
    mask: Tensor | None = None,
    noise: float = 25.0,
    factor: int = 2,
    num: int = 4,
    progress: Progress | None = None,
) -> tuple[Tensor, Restoration]:
    """Damage an image and restore it: what was left of it, and the draws.

    Args:
        mask: (H, W) bool, true where pixels are missing; needed to paint out.
        noise: standard deviation, in grey levels of 255.

    Raises:
        DataError: nothing is painted.
    """
    seen = damaged(image, damage, levels=run.levels, noise=noise, factor=factor)
    given: dict[str, Any] = {"num": num, "seed": SEED, "progress": progress, "resize": False}
    if damage == INPAINT:
        if mask is None or not bool(mask.any()):
            raise DataError("nothing is painted; paint over the part of the image that is to be drawn anew.")
        left = image.clone()
        left[:, mask] = 0
        return left, run.restore(image, mask=mask, **given)
    if damage == DENOISE:
        return seen, run.restore(seen, noise=noise * (run.levels - 1) / 255, **given)
    if damage == ENLARGE:
        return seen, run.restore(seen, upscale=factor, **given)
    return seen, run.restore(seen, colour=True, **given)


def mask_of(layers: list[NDArray[np.uint8]], shape: tuple[int, int]) -> Tensor:
    """Return where the layers of a drawing are painted, at the size (H, W) of the image: bool.

    Args:
        layers: (height, width, 4) uint8 RGBA each, of the canvas.
    """
    painted = torch.zeros(shape)
    for layer in layers:
        alpha = torch.from_numpy(layer[..., 3].astype(np.float32) / 255)[None, None]
        painted = torch.maximum(painted, torch.nn.functional.interpolate(alpha, shape, mode="area")[0, 0])
    return painted > PAINTED


def canvas_of(image: Tensor, levels: int) -> dict[str, Any]:
    """Return an image as the background of an empty drawing, enlarged without smoothing."""
    factor = max(1, CANVAS // max(image.shape[1:]))
    shown = to_bytes(image, levels).permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
    return {
        "background": np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3))),
        "layers": [],
        "composite": None,
    }


def shown(run: DiffusionRun, image: Tensor, seen: Tensor, found: Restoration) -> str:
    """Return a restoration as HTML."""
    levels, side = run.levels, 150
    spread = (255 * found.spread.mean(0) / max(float(found.spread.mean(0).max()), 1e-9)).round()
    error = 255 / (levels - 1) * float((found.mean - image.double()).square().mean().sqrt())
    most = 255 / (levels - 1) * float(found.spread.max())
    mean = found.mean.round().clamp(0, levels - 1)
    first = [
        picture(image, levels, "original", width=side),
        picture(seen, levels, "damaged", width=side),
        picture(mean, levels, "mean of the draws", width=side, note=f"RMSE {error:.1f}"),
        picture(spread[None], 256, "where the draws differ", width=side, note=f"white: {most:.1f} grey levels"),
    ]
    draws = [picture(draw, levels, f"draw {i}", width=side) for i, draw in enumerate(found.draws, 1)]
    return row(first) + said("The draws:") + row(draws)


def _canvas() -> gr.ImageEditor:
    """Build the picture on which a mask is painted."""
    return gr.ImageEditor(
        label="paint over what is to be drawn anew",
        type="numpy",
        image_mode="RGBA",
        sources=[],
        transforms=[],
        layers=False,
        brush=gr.Brush(default_size=24, colors=["#ff5500"], color_mode="fixed"),
        canvas_size=(CANVAS, CANVAS),
        buttons=[],
        elem_id="restore-canvas",
    )


def tab(collection: Collection, start: Start, last: gr.State) -> None:
    """Build the tab; `start` is what shows it, and `last` the last choice on any tab."""
    names = collection.diffusion_names
    gr.Markdown(
        "Damage an image, and draw what it may have been. The draws agree where the damaged image determines the "
        "result, and differ where it does not."
    )
    chooser = Chooser.build(collection, names, last)
    with gr.Row():
        editor = _canvas()
        with gr.Column():
            damage = gr.Radio([INPAINT, DENOISE, ENLARGE], value=INPAINT, label="damage")
            noise = gr.Slider(1, 100, 25, step=1, label="noise, grey levels", visible=False)
            factor = gr.Radio([2, 4], value=2, label="enlarge by", visible=False)
            num = gr.Slider(1, 16, 4, step=1, label="draws")
            with gr.Row():
                draws, stop = gr.Button("Restore", variant="primary"), gr.Button("Stop")
    view = gr.HTML(elem_id="restore-view")

    @speaking
    def begin(name: str, image: Tensor) -> tuple[Any, ...]:
        run = collection.diffusion(name)
        choices = [INPAINT, DENOISE, ENLARGE, *([COLOUR] if run.shape[0] == 3 else [])]
        return canvas_of(image, run.levels), gr.update(choices=choices, value=INPAINT), ""

    @speaking
    def draw(
        name: str,
        image: Tensor,
        drawing: dict[str, Any] | None,
        damage: str,
        noise: float,
        factor: int,
        num: float,
        progress: Any = BAR,
    ) -> str:
        run = collection.diffusion(name)
        height, width = image.shape[1:]
        mask = mask_of((drawing or {}).get("layers") or [], (height, width))
        options: dict[str, Any] = {"mask": mask, "noise": float(noise), "factor": int(factor), "num": int(num)}
        report = lambda done, total: progress((done, total), desc="restoring")  # noqa: E731
        seen, found = restore(run, image, damage, progress=report, **options)
        return shown(run, image, seen, found)

    def fitting(damage: str) -> tuple[Any, ...]:
        return (*(gr.update(visible=damage == each) for each in (INPAINT, DENOISE, ENLARGE)), "")

    damage.change(fitting, damage, [editor, noise, factor, view], queue=False)
    chooser.on_choice(begin, [editor, damage, view], start)
    inputs = [chooser.model, chooser.image, editor, damage, noise, factor, num]
    drawing = draws.click(draw, inputs, view)
    stop.click(lambda: gr.Info("stopped"), cancels=[drawing], queue=False)
