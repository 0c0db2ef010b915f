"""Options, images and output files that the figures of `nelbo plot` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import name_changes, name_rejects, say
from nelbo.cli.options import STDOUT
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.plots import Picture
    from nelbo.runs import DiffusionRun, Run

OutOption = Annotated[Path, typer.Option("--out", help="Output file (.png, .pdf or .svg).")]
AnimateOption = Annotated[
    bool, typer.Option("--animate", help="Write an animation (.gif, .webp) instead of a still image.")
]
ChainStepsOption = Annotated[
    int | None,
    typer.Option(
        help="Number of steps of Algorithm 2, from 1 to T, the number of diffusion steps of the model; T by default."
    ),
]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help=f"Write the values in the figure as CSV to this file {STDOUT}.")
]


def figure_path(
    path: Path | None,
    name: str = "",
    *,
    animate: bool = False,
    json: Path | None = None,
    csv: Path | None = None,
    run: str | None = None,
    inputs: Sequence[str | None] = (),
) -> Path:
    """Return the path of a figure or an animation, before any work is done; without `path`, NAME.png or NAME.gif.

    Args:
        json: another output, see `check_outputs`.
        csv: another output.
        run: the run that the command reads, see `check_outputs`.
        inputs: other files that it reads.

    Raises:
        ConfigurationError: the name has an ending that it cannot be written to, or see `check_outputs`.
        RunError: an output cannot be written.
    """
    from nelbo.plots import check_ending

    path = check_ending(path or Path(f"{name}.{'gif' if animate else 'png'}"), animation=animate)
    check_outputs({"--out": path, "--csv": csv, "--json": json}, inputs, run)
    return path


def keep(picture: Picture, path: Path) -> None:
    """Write a picture and print its path."""
    from nelbo.plots import save

    save(picture, path)
    say(f"picture: {path}")


def model_of_images(run: str, device: str | None = None) -> DiffusionRun:
    """Load a diffusion model of images.

    Raises:
        ConfigurationError: a model of points, or of another family.
    """
    from nelbo.runs import DiffusionRun, load_as

    model = load_as(DiffusionRun, run, device=device)
    if model.shape[0] not in (1, 3):
        raise ConfigurationError(
            f"{run} does not generate images of 1 or 3 channels; `nelbo plot points {run}` draws a model of points."
        )
    return model


def images_for(model: Run, data: str | None, num: int | None, bar: Bars) -> ImageDataset:
    """Read `num` images of `data`, or of those that the run held out, evenly spread over the set; all for None.

    Raises:
        ShapeError, DataError: images of another shape or number of levels than the model's.
    """
    from nelbo.studies import Listener, held_out_part

    if data is None:
        images = held_out_part(model, Listener(on_stage=bar))
    else:
        prepared = model.read(data, progress=bar.of("reading images"))
        images = prepared.images
        name_changes(prepared, "")
        name_rejects(images.rejects, "`nelbo data` lists them")
    images = model.dataset_of(images)
    return images if num is None else images.spread(num)


def spread_steps(total: int, rows: int) -> list[int]:
    """Return `rows` steps of 1..total, evenly spread, the last step first; fewer if total < rows."""
    return sorted({max(round(total * row / rows), 1) for row in range(1, rows + 1)}, reverse=True)
