"""Options that several commands take in the same words."""

from typing import Annotated

import typer

from nelbo.runs import SPACINGS
from nelbo.samplers import SAMPLERS

SamplerOption = Annotated[str | None, typer.Option(help=f"{', '.join(SAMPLERS)}; ancestral if absent.")]
StepsOption = Annotated[int | None, typer.Option(help="Reverse steps, 1..T; all T if absent.")]
SpacingOption = Annotated[
    str | None, typer.Option(help=f"How the steps are spread: {', '.join(SPACINGS)}; even if absent.")
]
GuidanceOption = Annotated[
    float | None, typer.Option(help="How far the label is followed: 1 is the model itself, 2 to 4 exaggerate.")
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Of the network: bf16, fp32, or auto by the hardware, as if absent.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Images a pass through the network.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the best one if absent.")]
