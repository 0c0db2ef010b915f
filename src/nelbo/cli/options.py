"""Arguments and options that several commands share; no torch is imported here."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from nelbo.cli.flags import as_flag
from nelbo.errors import SETTING, ConfigurationError
from nelbo.options import help_of
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.studies.data_request import DataRequest


def flag_help(kind: type[Any], name: str, prefix: str = "") -> str:
    """Return the help text of a field of an options dataclass, with other fields of it named as flags.

    Args:
        prefix: comes before the names of fields, such as `f"{SETTING}training."` for settings of a recipe.
    """
    names = {field.name for field in fields(kind)}
    return re.sub(
        r"`(\w+)`",
        lambda found: as_flag(f"{prefix}{found[1]}", None) if found[1] in names else found[0],
        help_of(kind, name),
    )


RUN_HELP = "Run folder, or a bundled model such as fashion-mnist."
STDOUT = "(- for standard output)"

RunArgument = Annotated[str, typer.Argument(help=RUN_HELP)]
ModelOption = Annotated[str, typer.Option("--model", "-m", help=RUN_HELP)]
FileModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Run folder or bundled model that the file was compressed with. By default, nelbo looks for the "
        "fingerprint stored in the file among the bundled models, in ./runs and in the folders of $NELBO_MODELS.",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="Images to use instead of the run's held-out images: a folder, a .npy or .npz file, or the name of a "
        "built-in data set."
    ),
]
ResizeOption = Annotated[
    bool,
    typer.Option(
        "--resize/--no-resize",
        help="Convert images to the size and colour mode of the model, as training does. With --no-resize, images of "
        "another size or mode are left out.",
    ),
]
MaskOption = Annotated[str | None, typer.Option(metavar="FOLDER", help=flag_help(DataRequest, "mask"))]
TableOption = Annotated[str | None, typer.Option(metavar="FILE.csv", help=flag_help(DataRequest, "table"))]
ConditionImagesOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help=flag_help(DataRequest, "condition_images"))
]
RESIZE = "leave out --no-resize"  # the remedy for images of another shape, where ResizeOption is offered
SeedOption = Annotated[int, typer.Option(help="Random seed.")]
JsonOption = Annotated[Path | None, typer.Option(help=f"Write the results as JSON to this file {STDOUT}.")]
SamplerOption = Annotated[str | None, typer.Option(help=help_of(SamplingOptions, "sampler"))]
StepsOption = Annotated[int | None, typer.Option(help=help_of(SamplingOptions, "steps"))]
SpacingOption = Annotated[str | None, typer.Option(help=help_of(SamplingOptions, "spacing"))]
GuidanceOption = Annotated[float | None, typer.Option(help=help_of(SamplingOptions, "guidance"))]
GuidanceIntervalOption = Annotated[
    tuple[float, float] | None, typer.Option(help=help_of(SamplingOptions, "guidance_interval"))
]
PrecisionOption = Annotated[str | None, typer.Option(help=help_of(SamplingOptions, "precision"))]
VectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Numbers to condition on: in the order of the table's columns, such as 1.5,3, or by column, such as "
        "age=1.5,depth=3; a column that is left out, or nan, is unknown.",
    ),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Images per pass through the network.")]
TilesOption = Annotated[
    int,
    typer.Option(
        "--batch-size", min=1, help="Image tiles (blocks of the model's image size) per pass through the network."
    ),
]
DeviceOption = Annotated[str | None, typer.Option(help="Device, such as cpu or cuda; by default a GPU if available.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a setting, such as --set network.base=64; repeatable. `nelbo presets NAME` lists the settings.",
    ),
]


def parse_setting(text: str) -> tuple[str, Any]:
    """Split `NAME=VALUE` of --set; the value is read as JSON, or as a string if it is not JSON.

    Raises:
        ConfigurationError: the text is not of this form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"--set {text!r} is not of the form NAME=VALUE, such as --set training.ema=0.999.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def parse_vector(text: str | None) -> list[float] | dict[str, float] | None:
    """Read the numbers of --vector: `1.5,nan,3` in the order of the columns, or `age=1.5,depth=3`.

    Raises:
        ConfigurationError: something else.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        if all("=" in part for part in parts):
            return {name.strip(): float(value) for name, _, value in (part.rpartition("=") for part in parts)}
        return [float(part) for part in parts]
    except ValueError:
        raise ConfigurationError(
            f"--vector {text!r} is neither numbers, such as 1.5,3, nor columns, such as age=1.5,depth=3."
        ) from None


def parse_settings(texts: Sequence[str] | None, flags: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read every `NAME=VALUE` of --set.

    Args:
        flags: settings given by flags of their own, by name.

    Raises:
        ConfigurationError: a text is not of this form, or a setting is given twice with different values.
    """
    found: dict[str, Any] = {}
    said = {name: as_flag(f"{SETTING}{name}", _written(value)) for name, value in (flags or {}).items()}
    for text in texts or ():
        name, value = parse_setting(text)
        before = {**(flags or {}), **found}
        if name in before and before[name] != value:
            raise ConfigurationError(f"{said[name]} and --set {text} contradict each other; give one of them.")
        found[name], said[name] = value, f"--set {text}"
    return found


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
