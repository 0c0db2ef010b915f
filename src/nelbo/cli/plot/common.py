"""What the figures of `nelbo plot` have in common: options, images, and where the picture goes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nelbo.cli.console import err
from nelbo.data import ImageDataset, load_for_model
from nelbo.errors import ConfigurationError
from nelbo.plots import Picture, check_ending, save
from nelbo.runs import DiffusionRun, Run, load_as
from nelbo.studies import Listener, held_out_part


def _drawable(path: Path) -> Path:
    """Refuse a wrong ending before the work."""
    return check_ending(path)


RunArgument = Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")]
DataOption = Annotated[str | None, typer.Option(help="Other images than the ones held out in training.")]
SeedOption = Annotated[int, typer.Option(help="Of everything that is drawn.")]
OutOption = Annotated[Path, typer.Option("--out", help="The picture: .png, .pdf or .svg.", callback=_drawable)]
AnimateOption = Annotated[bool, typer.Option("--animate", help="A moving picture (.gif, .webp) instead.")]


def model_of_images(run: str, device: str | None = None) -> DiffusionRun:
    """The diffusion model of a name, where it makes pictures.

    Raises:
        ConfigurationError: it makes points or the like, or is of another kind.
    """
    model = load_as(DiffusionRun, run, device=device)
    if model.shape[0] not in (1, 3):
        raise ConfigurationError(
            f"{run} makes no pictures of 1 or 3 channels; what makes points is drawn by `nelbo plot points {run}`."
        )
    return model


def images_for(model: Run, data: str | None, num: int | None, bar: Any) -> ImageDataset:
    """So many images of `data`, or of those that the run held out; all of them for None.

    Raises:
        ShapeError, DataError: images of another shape or number of levels than the model's.
    """
    if data is None:
        images = held_out_part(model, None, Listener(on_stage=bar))
    else:
        images, _ = load_for_model(data, model.shape, progress=lambda done, total: bar("reading images", done, total))
    images = model.dataset_of(images)
    return images if num is None else images.spread(num)


def default_path(path: Path | None, name: str, animate: bool) -> Path:
    """Where the picture goes: as given, or to the figure's own name. Raises ConfigurationError for a wrong ending."""
    return check_ending(path or Path(f"{name}.{'gif' if animate else 'png'}"), animation=animate)


def keep(picture: Picture, path: Path) -> None:
    """Write the picture and say where it is."""
    save(picture, path)
    err.print(f"the picture: {path}", highlight=False, soft_wrap=True)


def spread_steps(total: int, rows: int) -> list[int]:
    """So many steps of 1..total, evenly spread, the last of them first."""
    return sorted({max(round(total * row / rows), 1) for row in range(1, rows + 1)}, reverse=True)
