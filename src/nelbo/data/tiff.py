"""The tags of a TIFF file: its pages, and whether Pillow reads their pixels rightly."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from nelbo.data.stored import SIGNATURE_BYTES, StoredImage, Unreadable, format_of

SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, SAMPLES, PLANAR = 254, 258, 259, 262, 270, 277, 284
SAMPLE_FORMAT, SUBSAMPLING = 339, 530
REDUCED_OR_MASK = 1 | 4  # bits of the tag SUBFILE: a smaller copy of another page, or a mask for one
WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS = {
    WHITE_IS_ZERO: "white-is-zero grey",
    GREY: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    8: "CIE Lab",
    9: "ICC Lab",
    10: "ITU Lab",
    32803: "colour filter array (raw)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
KINDS = {1: "unsigned", 2: "signed", 3: "floating-point"}
DEEP_GREY = (
    ("unsigned", 12),
    ("unsigned", 16),
    ("signed", 16),
    ("unsigned", 32),
    ("signed", 32),
    ("floating-point", 32),
)


@dataclass(frozen=True)
class Layout:
    """How a page stores its samples.

    Attributes:
        photometric: the tag PhotometricInterpretation.
        bits: bits per sample; 0 if they differ.
        samples: samples per pixel.
        planar: whether each colour is a plane of its own.
        kind: unsigned, signed or floating-point.
        subsampled: whether colours are stored at a lower resolution without compression, which Pillow reads wrongly.
        hidden: number of images of a stack whose pages have no tags of their own, as ImageJ writes above 4 GB.
    """

    photometric: int
    bits: int
    samples: int
    planar: bool
    kind: str
    subsampled: bool = False
    hidden: int = 0

    @classmethod
    def of(cls, tags: Mapping[int, Any]) -> "Layout":
        """Read the layout from the tags of a page."""
        bits = set(tags.get(BITS, (1,)))
        described = re.match(r"ImageJ=(?s:.*?)\nimages=(\d+)", str(tags.get(DESCRIPTION, "")))
        return cls(
            photometric=tags.get(PHOTOMETRIC, WHITE_IS_ZERO),
            bits=bits.pop() if len(bits) == 1 else 0,
            samples=tags.get(SAMPLES, 1),
            planar=tags.get(PLANAR, 1) == 2,
            kind=KINDS.get(max(tags.get(SAMPLE_FORMAT, (1,))), "undefined"),
            subsampled=tags.get(COMPRESSION, 1) == 1 and tags.get(SUBSAMPLING, (2, 2)) != (1, 1),
            hidden=int(described[1]) if described else 0,
        )

    @property
    def in_words(self) -> str:
        """Such as "RGB, 3 unsigned samples of 16 bits in separate planes"."""
        colours = COLOURS.get(self.photometric, f"PhotometricInterpretation {self.photometric}")
        depth = f"{self.bits} bit{'s' * (self.bits > 1)}" if self.bits else "different depths"
        planes = " in separate planes" if self.planar and self.samples > 1 else ""
        return f"{colours}, {self.samples} {self.kind} sample{'s' * (self.samples > 1)} of {depth}{planes}"

    @property
    def is_read(self) -> bool:
        """Whether Pillow reads the pixels of such a page, and rightly; a test shows it for each of these layouts."""
        if self.kind == "unsigned" and self.bits in (1, 2, 4, 8):
            whole_ycbcr = self.photometric == YCBCR and not self.subsampled
            return self.photometric in (WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK) or whole_ycbcr
        if self.samples == 1 and self.photometric in (WHITE_IS_ZERO, GREY):
            return (self.kind, self.bits) in DEEP_GREY
        return (self.kind, self.bits, self.planar) == ("unsigned", 16, False) and self.photometric in (RGB, CMYK)

    @property
    def inverted(self) -> bool:
        """Whether 0 is white and Pillow leaves it so: it inverts up to 8 bits only."""
        return self.photometric == WHITE_IS_ZERO and self.bits > 8


def layouts(file: BinaryIO) -> Iterator[tuple[Layout, bool]]:
    """Yield the layout of each page, and whether it is an image, not a smaller copy or a mask of one.

    Raises:
        Unreadable: the chain of pages is damaged.
    """
    file.seek(0)
    header = file.read(8)
    if b"+" in header[2:4]:  # BigTIFF
        header += file.read(8)
    tags, seen = ImageFileDirectory_v2(header), set[int]()
    while (here := tags.next) and here not in seen:
        seen.add(here)
        file.seek(here)
        tags.load(file)
        if tags.next == here and (len(seen) > 1 or not tags):  # Pillow stopped reading, with a warning only
            raise Unreadable(f"the tags of its page {len(seen) - 1} are damaged or cut off")
        yield Layout.of(tags), not tags.get(SUBFILE, 0) & REDUCED_OR_MASK


def pages_of(stored: StoredImage) -> list[StoredImage]:
    """Return each page of a TIFF file of several images; any other file, or a damaged one, alone."""
    try:
        with stored.open() as file:
            if format_of(file.read(SIGNATURE_BYTES)) != "TIFF":
                return [stored]
            pages = [page for page, (_, is_image) in enumerate(layouts(file)) if is_image]
    except Exception:  # `decode` reports what is wrong
        return [stored]
    if len(pages) == 1:
        return [stored if pages == [0] else replace(stored, page=pages[0])]
    return [replace(stored, page=page) for page in pages] or [stored]


def layout_of(image: Image.Image) -> Layout | None:
    """Return the layout of a page that Pillow has opened but not decoded; None for an image of another format.

    Raises:
        Unreadable: Pillow would read wrong pixels, or one image of a stack.
    """
    if not isinstance(image, TiffImageFile):
        return None
    layout = Layout.of(image.tag_v2)
    if not layout.is_read:
        raise Unreadable(
            f"a TIFF of {layout.in_words}, which nelbo does not read; save it as grey or RGB of 8 or 16 bits, such as "
            "PNG"
        )
    if layout.hidden > 1 and not image.tag_v2.next:
        raise Unreadable(
            f"an ImageJ stack of {layout.hidden} images that are stored as one page; save it as an image sequence"
        )
    return layout


def refuse_stack(image: Image.Image, file: BinaryIO) -> None:
    """Raise `Unreadable` if a TIFF file of several images was opened as a file of one image."""
    if not isinstance(image, TiffImageFile) or not image.tag_v2.next:
        return
    images = sum(is_image for _, is_image in layouts(file))
    if images > 1:
        raise Unreadable(f"a TIFF of {images} pages under another ending; rename it to .tif to read every page")


def unopened(file: BinaryIO, page: int) -> str:
    """Describe the layout of a page that Pillow does not open."""
    return next(islice(layouts(file), page, None))[0].in_words
