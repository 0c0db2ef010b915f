"""The tab VAE: the plane of the two busiest dimensions of z, and what the decoder makes of a point on it."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.probability import levels_to_data
from nelbo.runs import Run, VAERun
from nelbo.runs.sampling import pixels_of
from nelbo.studies import Listener, data_of, train
from nelbo.studio.collection import Collection
from nelbo.studio.inline import grid, picture, row, said
from nelbo.studio.speaking import BAR, speaking
from nelbo.vae import busiest

REACH, POINTS = 2.5, 11  # standard deviations of p(z) on either side, and points along a side of the map
SMALL = "a small VAE of the digits"
STEPS = 1500  # of its training: half a minute of one core
SEEN = 256  # images by which the busiest dimensions are found


@dataclass(frozen=True, eq=False)
class Plane:
    """Two dimensions of the z of a VAE; all others are 0.

    Attributes:
        run: the VAE.
        dims: (2,) int64, across and up.
    """

    run: VAERun
    dims: Tensor

    @classmethod
    def of(cls, run: VAERun) -> "Plane":
        """Choose the two dimensions that training images use most."""
        images = data_of(run).train.spread(SEEN)
        x_0 = levels_to_data(images.images(torch.arange(len(images))), run.levels)
        return cls(run, busiest(run.network, x_0.to(run.network.log_stddev.device), 2).sort().values)

    @torch.no_grad()
    def at(self, across: Tensor, up: Tensor) -> Tensor:
        """Return the mean of p(x|z) at points (N,) of the plane: uint8 (N, C, H, W)."""
        z = torch.zeros(len(across), len(self.run.network.prior.mean), device=self.dims.device)
        z[:, self.dims[0]], z[:, self.dims[1]] = across.to(z), up.to(z)
        return pixels_of(self.run.network.likelihood(z).mean, self.run.levels)

    def map(self) -> Tensor:
        """Return the images on a square lattice, row by row from the top left: uint8 (121, C, H, W)."""
        line = torch.linspace(-REACH, REACH, POINTS)
        up, across = torch.meshgrid(-line, line, indexing="ij")
        return self.at(across.flatten(), up.flatten())


def plane_of(collection: Collection, name: str, progress: Any = None) -> Plane:
    """Return the plane of a VAE of the page, or of one of the digits, which is trained when it is asked for first.

    Raises:
        ConfigurationError: a name that the page does not have, or that of another kind of model.
    """

    def make() -> Plane:
        run = _small(collection, progress) if name == SMALL else collection.run(name)
        if not isinstance(run, VAERun):
            raise ConfigurationError(f"{name} is no VAE.")
        return Plane.of(run)

    return collection.once(("plane", name), make)


def _small(collection: Collection, progress: Any) -> Run:
    """Train a VAE of the digits with two dimensions of z."""

    def step(done: Any) -> None:
        if progress is not None:
            progress(done.fraction, desc="training a small VAE, once")

    return train(
        "digits",
        collection.folder() / "vae",
        preset="vae-digits",
        steps=STEPS,
        overrides={"network.latent": 2},
        pictures=False,
        listener=Listener(on_step=step),
    )


def tab(collection: Collection) -> None:
    """Build the tab."""
    names = [*collection.vae_names, SMALL]
    gr.Markdown(
        "A variational autoencoder draws z from a normal distribution and decodes it. The map shows the decoded images "
        "over two dimensions of z; move the sliders to walk on it."
    )
    with gr.Row():
        name = gr.Dropdown(names, value=names[0], label="model", filterable=False)
        start = gr.Button("Show the map", variant="primary")
    with gr.Row():
        across = gr.Slider(-REACH, REACH, 0, step=0.05, label="across", elem_id="vae-across")
        up = gr.Slider(-REACH, REACH, 0, step=0.05, label="up")
    point, whole = gr.HTML(elem_id="vae-point"), gr.HTML(elem_id="vae-map")

    @speaking
    def show(name: str, across: float, up: float, progress: Any = BAR) -> tuple[str, str]:
        plane = plane_of(collection, name, progress)
        first, second = plane.dims.tolist()
        text = said(f"Dimension {first} of z across, dimension {second} up, from -{REACH:g} to {REACH:g}.")
        drawn = grid(plane.map(), plane.run.levels, "the plane", mark=place(across, up))
        return _point(plane, across, up), text + row([drawn])

    start.click(show, [name, across, up], [point, whole])
    for slider in (across, up):
        slider.release(show, [name, across, up], [point, whole], show_progress="hidden", trigger_mode="always_last")


def place(across: float, up: float) -> tuple[float, float]:
    """Return where a point lies on the map, in shares of its width from the left and of its height from the top."""
    return _share(across), _share(-up)


def _share(coordinate: float) -> float:
    return ((coordinate / REACH + 1) / 2 * (POINTS - 1) + 1 / 2) / POINTS


def _point(plane: Plane, across: float, up: float) -> str:
    [image] = plane.at(torch.tensor([float(across)]), torch.tensor([float(up)]))
    return row([picture(image, plane.run.levels, f"z at ({across:g}, {up:g})", width=150)])
