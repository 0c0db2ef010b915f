"""The page of the studio: its tabs, its look, and the server on this computer."""

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from nelbo.errors import ConfigurationError, NelboWarning, option
from nelbo.studio import bits, counts, latent, noise, restore, sample, send, training
from nelbo.studio.collection import Collection
from nelbo.studio.guard import GUARDS
from nelbo.studio.speaking import warn_on_page
from nelbo.studio.training import Trainings

CSS = Path(__file__).with_name("page.css")
HOST = "127.0.0.1"
MOST_UPLOADED = "20mb"  # of a file
FONTS = ["system-ui", "sans-serif"]  # of the visitor's computer: nothing is fetched from elsewhere


def theme() -> gr.themes.Base:
    """Return the look of the page."""
    return gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "monospace"])


def build(collection: Collection, trainings: Trainings | None = None) -> gr.Blocks:
    """Build the page of some models.

    Args:
        trainings: where trainings are started; None for a page that starts none.
    """
    with gr.Blocks(title="nelbo studio", analytics_enabled=False) as page:
        gr.Markdown("# nelbo studio")
        if collection.diffusion_names:
            last = gr.State(None)
            with gr.Tab("Noise") as first:
                noise.tab(collection, partial(gr.on, [page.load, first.select]), last)
            with gr.Tab("Sample"):
                sample.tab(collection)
            for name, tab in {"Bits": bits.tab, "Send": send.tab, "Restore": restore.tab}.items():
                with gr.Tab(name) as shown:
                    tab(collection, shown.select, last)
        with gr.Tab("Train"):
            training.tab(collection, trainings)
        with gr.Tab("KL") as shown:
            counts.tab(shown.select)
        with gr.Tab("VAE"):
            latent.tab(collection)
    return page.queue(default_concurrency_limit=2)


def launch(
    names: Sequence[str] = (),
    port: int | None = None,
    device: str | None = None,
    *,
    open_browser: bool = False,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Open the page on this computer, and serve it until a signal stops it.

    Args:
        names: see `Collection`.
        port: of the page; None for the first free one from 7860.
        device: of the networks.
        on_ready: called with the address when the page can be used.

    Raises:
        ConfigurationError: the port cannot be used, or no port is free.
    """
    trainings = Trainings()
    page = build(Collection(names, device), trainings)
    warnings.simplefilter("always", NelboWarning)  # each visitor sees it
    warnings.showwarning = warn_on_page
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            inbrowser=open_browser,
            theme=theme(),
            css_paths=CSS,
            quiet=True,
            show_error=True,
            max_file_size=MOST_UPLOADED,
            footer_links=["gradio", "settings"],
            prevent_thread_lock=True,
            app_kwargs={"middleware": GUARDS},
        )
    except OSError as error:
        place = "no port is free" if port is None else f"{option('port', port)} cannot be used"
        raise ConfigurationError(f"{place}: {error}; choose another {option('port')}.") from error
    on_ready(page.local_url)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        trainings.stop_all()
        page.close(verbose=False)
