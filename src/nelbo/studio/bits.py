"""The tab Bits: what an image costs, where its bits are, and how surprising it is."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from torch import Tensor

from nelbo.evaluation import BoundReport, HeatMap
from nelbo.plots import per_step_bound
from nelbo.runs import DiffusionRun
from nelbo.studio.choosing import Chooser, Start
from nelbo.studio.collection import Collection
from nelbo.studio.inline import drawn, picture, row, said, table
from nelbo.studio.speaking import BAR, speaking

STEPS = 32  # values of t for each image, as in `nelbo score`


@dataclass(frozen=True, eq=False)
class Account:
    """The bits of an image.

    Attributes:
        report: the bound with its terms; its only score is that of `nelbo score` for the image alone.
        map: the bits of each pixel, from the same draws.
    """

    report: BoundReport
    map: HeatMap

    @classmethod
    def of(cls, run: DiffusionRun, image: Tensor) -> "Account":
        """Measure an image (C, H, W) uint8."""
        return cls(run.bound(image[None], steps_per_image=STEPS), run.heat_map(image, steps_per_image=STEPS))

    @property
    def score(self) -> float:
        """The bound in bits/dim."""
        return float(self.report.scores[0])

    @property
    def num_bytes(self) -> float:
        """What the bound promises for a file, in bytes."""
        return self.score * self.report.num_dims / 8

    def facts(self) -> list[tuple[str, str]]:
        """Return the terms of eq. 5 in words and numbers."""
        report = self.report
        dims = report.num_dims
        return [
            ("bound", f"{self.score:.4f} bits/dim: {self.num_bytes:,.0f} bytes instead of {dims:,}"),
            ("prior L_T", f"{report.prior:.5f} bits/dim"),
            (f"denoising, L_1 to L_{report.num_steps - 1}", f"{report.denoising:.4f} bits/dim"),
            ("decoder L_0", f"{report.decoder:.4f} bits/dim"),
            ("uncertainty of the draws", f"{report.draw_error:.4f} bits/dim"),
        ]


def shown(run: DiffusionRun, image: Tensor, account: Account) -> str:
    """Return the account of an image as HTML."""
    pixels = account.map.pixels.clamp(min=0)
    scaled = (255 * pixels / pixels.max().clamp(min=1e-9)).round()
    middle, most = float(pixels.median()), float(pixels.max())
    pictures = [
        picture(image, run.levels, "the image"),
        picture(scaled[None], 256, "bits of each pixel", note=f"black 0, white {most:.1f}; median {middle:.1f}"),
    ]
    figure = per_step_bound([vars(step) for step in account.report.per_step])
    return row(pictures) + table(account.facts()) + drawn(figure, "bits/dim of each step against t")


def ranked(run: DiffusionRun, images: Tensor) -> list[tuple[int, float]]:
    """Return the number and the score of each image alone, most surprising first."""
    scores = [float(run.score(image[None], steps_per_image=STEPS)[0]) for image in images]
    return sorted(enumerate(scores), key=lambda pair: -pair[1])


def tab(collection: Collection, start: Start, last: gr.State) -> None:
    """Build the tab; `start` is what shows it, and `last` the last choice on any tab."""
    gr.Markdown(
        "The variational bound (eq. 5 of Ho et al. 2020) is the number of bits in which the model could store the "
        "image, here for each value of a pixel (bits/dim). An image with many bits surprises the model. The prior L_T, "
        "the steps L_{t-1} and the decoder L_0 are its parts, from noise to the exact pixels."
    )
    chooser = Chooser.build(collection, collection.diffusion_names, last)
    with gr.Row():
        compare = gr.Button("How surprising is it?")
        order = gr.Button("Put the ten images in order")
    placed, ordered = gr.HTML(elem_id="bits-place"), gr.HTML(elem_id="bits-order")
    view = gr.HTML(elem_id="bits-view")

    @speaking
    def begin(name: str, image: Tensor) -> tuple[str, str]:
        run = collection.diffusion(name)
        return shown(run, image, Account.of(run, image)), ""

    @speaking
    def place(name: str, image: Tensor, progress: Any = BAR) -> str:
        run = collection.diffusion(name)
        score = float(run.score(image[None], steps_per_image=STEPS)[0])
        report = lambda done, total: progress((done, total), desc="scoring other images, once")  # noqa: E731
        return said(f"{score:.4f} bits/dim. {collection.scores(name, report).place(score)}")

    @speaking
    def in_order(name: str) -> str:
        run, images = collection.diffusion(name), collection.examples(name).images
        found = ranked(run, images)
        pictures = [
            picture(images[i], run.levels, f"{score:.3f} bits/dim", width=100, note=f"image {i + 1}")
            for i, score in found
        ]
        return said("The most surprising image comes first:") + row(pictures)

    chooser.on_choice(begin, [view, placed], start)
    compare.click(place, [chooser.model, chooser.image], placed)
    order.click(in_order, chooser.model, ordered)
