"""`nelbo studio`: a local web page to see, steer and judge a model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from nelbo.cli.console import say
from nelbo.cli.options import DeviceOption
from nelbo.errors import ConfigurationError


def studio(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN ...]", help="Run folders, or names of bundled models; by default all of these."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the page; by default the first free one from 7860."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: DeviceOption = None,
) -> None:
    """Open a page that shows models at work: noise, samples, bits, files, restored images and training.

    The page is on this computer only, and needs no network. It needs the extra `studio`: `pip install 'nelbo[studio]'`.
    Press Ctrl-C to stop it.
    """
    if find_spec("gradio") is None:
        raise ConfigurationError(
            "the studio needs the package gradio, version 6 or newer; install it by `pip install 'nelbo[studio]'`."
        )
    from nelbo.studio import launch

    say("loading the models")
    launch(
        runs or (),
        port,
        device,
        open_browser=browser,
        on_ready=lambda address: say(f"the studio is at {address}; press Ctrl-C to stop it"),
    )
