"""Pictures and words as HTML that needs no further file: a change of a slider is one answer."""

import base64
import html
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from torch import Tensor

from nelbo.display import pngs
from nelbo.plots import figure_png, sample_grid

WIDTH = 220  # pixels of a picture on the page
DPI = 110  # of a figure on the page


def source(png: bytes) -> str:
    """Return a PNG file as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def picture(image: Tensor, levels: int, caption: str, *, width: int = WIDTH, note: str = "") -> str:
    """Return an image (C, H, W) of levels, enlarged without smoothing, with a caption.

    Args:
        note: a second line.
    """
    [png] = pngs(image[None], levels)
    return _captioned(png, caption, note, f"class='picture' style='width:{width}px'")


def grid(images: Tensor, levels: int, caption: str, *, note: str = "", mark: tuple[float, float] | None = None) -> str:
    """Return images (N, C, H, W) uint8 as one picture, row by row, with a caption.

    Args:
        mark: the place of a ring on it, in shares of the width from the left and of the height from the top.
    """
    file = BytesIO()
    sample_grid(images, levels).save(file, "PNG", compress_level=1)
    return _captioned(file.getvalue(), caption, note, "class='picture grid'", mark)


def _captioned(png: bytes, caption: str, note: str, attributes: str, mark: tuple[float, float] | None = None) -> str:
    caption, more = html.escape(caption, quote=True), f"<br><small>{html.escape(note)}</small>" if note else ""
    image = f"<img alt='{caption}' src='{source(png)}'>"
    if mark is not None:
        place = f"left:{100 * mark[0]:.1f}%;top:{100 * mark[1]:.1f}%"
        image = f"<div class='marked'>{image}<div class='mark' style='{place}'></div></div>"
    return f"<figure {attributes}>{image}<figcaption>{caption}{more}</figcaption></figure>"


def row(pictures: Iterable[str]) -> str:
    """Return pictures beside each other; on a narrow screen, below each other."""
    return f"<div class='pictures'>{''.join(pictures)}</div>"


def drawn(figure: Any, alt: str) -> str:
    """Return a figure of `nelbo.plots` as HTML, at most as wide as the page."""
    return f"<img class='figure' alt='{html.escape(alt, quote=True)}' src='{source(figure_png(figure, DPI))}'>"


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values as a table."""
    lines = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table class='facts'>{''.join(lines)}</table>"


def said(text: str) -> str:
    """Return a sentence as a paragraph."""
    return f"<p class='said'>{html.escape(text)}</p>"
