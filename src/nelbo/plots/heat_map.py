"""An image beside the bits of each of its pixels."""

import math

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import INK, new_figure
from nelbo.plots.table import bare, show_image

SIDE = 2.6  # inches, of the longer side of a picture


def heat_map_figure(image: Tensor, bits: Tensor, levels: int, title: str = "") -> Figure:
    """Draw an image beside the bits of each pixel, with a colour bar.

    The scale is the same for all images of a kind, so that figures can be compared: it goes from 0 to the bits of a
    pixel without a model, C log2 K. Pixels above have the colour of its end.

    Args:
        image: (C, H, W) in [-1, 1], grey or in colour.
        bits: (H, W), bits per pixel.
        levels: K.

    Raises:
        ShapeError: tensors of other shapes.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or bits.shape != image.shape[1:]:
        raise ShapeError(
            f"an image {tuple(image.shape)} with bits {tuple(bits.shape)} cannot be drawn; give (C, H, W) with C = 1 "
            "or 3, and (H, W)."
        )
    height, width = bits.shape
    scale, most = SIDE / max(height, width), image.shape[0] * math.log2(levels)
    figure = new_figure(2 * scale * width + 1.0, scale * height + 0.5)
    left, right = figure.subplots(1, 2)
    bare(left)
    bare(right)
    show_image(left, image)
    shown = right.imshow(bits.clamp(min=0).cpu().numpy(), cmap="magma", vmin=0, vmax=most, interpolation="nearest")
    above = float(bits.max()) > most
    bar = figure.colorbar(shown, ax=right, extend="max" if above else "neither", shrink=0.9)
    bar.set_label(f"bits per pixel ({most:.3g} without a model)", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    figure.suptitle(title, fontsize=9, color=INK)
    return figure
