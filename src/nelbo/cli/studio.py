"""`nelbo studio`: a local web page to see, steer and judge a model."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from typing import Annotated

import typer

from nelbo.cli.console import say
from nelbo.cli.options import DeviceOption
from nelbo.errors import ConfigurationError

HOST = "127.0.0.1"
FIRST_PORT = 7860


def studio(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN ...]", help="Run folders, or names of bundled models; by default all of these."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help=f"Port of the page; by default the first free one from {FIRST_PORT}."),
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
    if port is not None and not _is_free(port):
        raise ConfigurationError(f"--port {port} is in use; choose another one, or leave it out.")
    from nelbo.studio import launch

    chosen = port or next((each for each in range(FIRST_PORT, FIRST_PORT + 100) if _is_free(each)), None)
    if chosen is None:
        raise ConfigurationError(f"no port from {FIRST_PORT} to {FIRST_PORT + 99} is free; choose one by --port.")
    say("loading the models")
    launch(
        runs or (),
        chosen,
        device,
        open_browser=browser,
        on_ready=lambda: say(f"the studio is at http://{HOST}:{chosen}; press Ctrl-C to stop it"),
    )


def _is_free(port: int) -> bool:
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HOST, port))
        except OSError:
            return False
    return True
