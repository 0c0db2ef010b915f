"""Animations: frames and how long each is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.grid import GAP_LEVEL, sample_grid
from nelbo.plots.style import INK, figure_png
from nelbo.probability import data_to_levels

FRAME, REST = 90, 1800  # milliseconds
BAND, LETTERS = 22, 14  # pixels: height of the caption's band, and of its letters


@dataclass(frozen=True)
class Animation:
    """Frames of one size, repeated forever; `milliseconds` holds the duration of each."""

    frames: Sequence[Image.Image]
    milliseconds: Sequence[int]

    def encode(self, kind: str) -> bytes:
        """Return the bytes of a file of this kind, "GIF" or "WEBP" (lossless)."""
        first, *rest = self.frames
        options = {"lossless": True} if kind == "WEBP" else {"optimize": False}
        buffer = BytesIO()
        first.save(buffer, kind, save_all=True, append_images=rest, duration=list(self.milliseconds), loop=0, **options)
        return buffer.getvalue()


def animate(frames: Iterable[Image.Image | Figure]) -> Animation:
    """Make an animation of pictures or figures; the last frame is shown longest. Raises ShapeError without frames."""
    drawn = [rasterised(frame) if isinstance(frame, Figure) else frame for frame in frames]
    if not drawn:
        raise ShapeError("an animation needs at least one frame.")
    return Animation(drawn, [FRAME] * (len(drawn) - 1) + [REST])


def animate_images(batches: Iterable[tuple[str, Tensor]], columns: int) -> Animation:
    """Make an animation with a frame for each (caption, images (N, C, H, W) in [-1, 1]): a grid below its caption.

    Values outside [-1, 1] are clipped. Raises ShapeError without frames, or for tensors that are not images.
    """
    return animate(
        captioned(sample_grid(data_to_levels(images, 256).byte().cpu(), columns=columns), caption)
        for caption, images in batches
    )


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return the image with a line of text above it."""
    framed = Image.new("RGB", (image.width, image.height + BAND), (GAP_LEVEL,) * 3)
    framed.paste(image, (0, BAND))
    font = ImageFont.load_default(LETTERS)  # Pillow's own font is the same everywhere
    ImageDraw.Draw(framed).text((4, BAND / 2), caption, fill=INK, font=font, anchor="lm")
    return framed


def rasterised(figure: Figure) -> Image.Image:
    """Return a figure as pixels."""
    return Image.open(BytesIO(figure_png(figure))).convert("RGB")
