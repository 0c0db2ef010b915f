"""How records and models show themselves: a few lines of text, HTML with pictures in a notebook, and data frames."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nelbo.errors import ConfigurationError, type_and_shape

if TYPE_CHECKING:
    from torch import Tensor

Frame = Any  # pandas.DataFrame, which is known only where pandas is installed

FEW_ITEMS, MOST_CHARACTERS = 8, 200  # shown in one line
THUMBNAIL = 72  # pixels: the side of a small image in a notebook
BINS = 40  # of a histogram
BAR, BARS_HEIGHT, BARS_WIDTH = (0, 114, 178), 80, 400  # colour and size in pixels of a picture of bars


class _Shown:
    """A base class whose `__repr__` its subclasses keep, also as dataclasses."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = cls.__repr__  # type: ignore[method-assign]  # a dataclass keeps a `__repr__` of the class itself


class Brief(_Shown):
    """A dataclass that shows its fields in one line: tensors and networks by their kind and size."""

    def __repr__(self) -> str:
        named = fields(self)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{each.name}={brief(getattr(self, each.name))}' for each in named)})"


def brief(value: object) -> str:
    """Write a value in few characters: a tensor as its dtype and shape, a network as its class, a long list as a count.

    >>> brief(3.5), brief("a name"), brief(list(range(100)))
    ('3.5', "'a name'", '[100 items]')
    """
    if (described := type_and_shape(value)) is not None:
        return f"<{described}>"
    if hasattr(value, "state_dict"):
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple | dict) and len(value) > FEW_ITEMS:
        return f"[{len(value)} items]"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(brief, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    text = repr(value)
    return text if len(text) <= MOST_CHARACTERS and "\n" not in text else f"<{type(value).__name__}>"


class Displayed(_Shown):
    """An object that shows itself by a title and a few rows."""

    def summary(self) -> Mapping[str, str]:
        """Return what to show, one line for each name."""
        raise NotImplementedError

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return PNG files to show in a notebook, by caption."""
        return {}

    @property
    def title(self) -> str:
        """The first line; by default the name of the class."""
        return type(self).__name__

    def __repr__(self) -> str:
        """Return one line for each row; names of files in them cannot control the terminal."""
        rows = self.summary()
        width = max(map(len, rows), default=0)
        return "\n".join([self.title, *(f"  {name:<{width}}  {escaped(text)}" for name, text in rows.items())])

    def _repr_html_(self) -> str:
        """Return the rows and the pictures for a notebook. All text is escaped, and the pictures are part of it."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(escaped(text))}</td></tr>"
            for name, text in self.summary().items()
        )
        pictures = "".join(_figure(caption, files) for caption, files in self.pictures().items())
        return f"<div><strong>{html.escape(self.title)}</strong><table>{rows}</table>{pictures}</div>"


class Scored(Displayed):
    """A report with a score in bits/dim for each image."""

    scores: "Tensor"

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return a histogram of the scores."""
        scores = [score for score in self.scores.tolist() if math.isfinite(score)]
        if len(scores) < 2:
            return {}
        low, high = min(scores), max(scores)
        counts = [0.0] * BINS
        for score in scores:
            counts[min(int((score - low) / ((high - low) or 1) * BINS), BINS - 1)] += 1
        return {f"number of images by score, from {low:.3f} (left) to {high:.3f} bits/dim (right)": [bars(counts)]}

    def to_pandas(self) -> "Frame":
        """Return the scores as a data frame of pandas: one row for each image.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        scores = self.scores.tolist()
        return data_frame({"image": range(len(scores)), "bits_per_dim": scores})


def _figure(caption: str, files: Sequence[bytes]) -> str:
    """Return PNG files with a caption as HTML; a small image is enlarged without smoothing."""
    style = f"min-width:{THUMBNAIL}px;max-width:100%;margin:1px;image-rendering:pixelated"
    caption = escaped(caption)
    images = "".join(
        f"<img alt='{html.escape(caption)}' style='{style}' "
        f"src='data:image/png;base64,{base64.b64encode(content).decode('ascii')}'>"
        for content in files
    )
    return f"<figure style='margin:4px 0'>{images}<figcaption>{html.escape(caption)}</figcaption></figure>"


def escaped(text: str) -> str:
    """Return a text with characters that cannot be printed, such as control characters in names, as escapes.

    >>> print(escaped("a\\x1b[2Jb"))
    a\\x1b[2Jb
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def to_bytes(images: "Tensor", levels: int) -> "Tensor":
    """Convert integer levels of any shape to uint8 for a picture; level k becomes 255 k / (levels - 1), rounded."""
    return (images.cpu().double() * (255 / (levels - 1))).round().byte()


def pngs(images: "Tensor", levels: int) -> list[bytes]:
    """Return each of the images (N, C, H, W), integer levels of grey or RGB, as a PNG file of its own size."""
    from PIL import Image

    shown = to_bytes(images, levels).permute(0, 2, 3, 1).numpy()
    return [_png(Image.fromarray(each[..., 0] if each.shape[2] == 1 else each)) for each in shown]


def bars(values: Sequence[float]) -> bytes:
    """Draw bars from 0 to the largest value as a PNG file; where they are many, a column shows the largest of its."""
    from PIL import Image, ImageDraw

    num = min(len(values), BARS_WIDTH)
    values = [value if math.isfinite(value) else 0.0 for value in values]
    groups = [values[i * len(values) // num : (i + 1) * len(values) // num] for i in range(num)]
    top = max([*values, 0.0]) or 1.0
    image = Image.new("RGB", (BARS_WIDTH, BARS_HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for i, group in enumerate(groups):
        height = round(max([*group, 0.0]) / top * (BARS_HEIGHT - 1))
        left, right = i * BARS_WIDTH // num, (i + 1) * BARS_WIDTH // num - 1
        draw.rectangle((left, BARS_HEIGHT - 1 - height, max(left, right), BARS_HEIGHT - 1), fill=BAR)
    return _png(image)


def _png(image: Any) -> bytes:
    """Return a Pillow image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def data_frame(columns: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]) -> "Frame":
    """Return columns by name, or rows, as a data frame of pandas.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigurationError(
            "a data frame needs the package pandas; install it by `pip install 'nelbo[notebook]'`."
        ) from error
    return pandas.DataFrame(columns)


def with_error(value: float, error: float, unit: str = "bits/dim", digits: int = 4) -> str:
    """Write a number with its standard error, such as "3.4561 +- 0.0120 bits/dim"; NaN leaves the error out."""
    spread = "" if math.isnan(error) else f" +- {error:.{digits}f}"
    return f"{value:.{digits}f}{spread} {unit}"


def counted(num: int, one: str, many: str | None = None) -> str:
    """Write a number with a noun, such as "1 image" or "1,500 images"; `many` is a plural other than with an s."""
    return f"{num:,} {one if num == 1 else many or f'{one}s'}"
