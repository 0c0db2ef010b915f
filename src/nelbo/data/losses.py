"""What a file has and its pixels lack, in words: for work that must not lose anything without saying so."""

from collections.abc import Mapping, Sequence

from PIL import Image

from nelbo.data.file_parts import COMMENT
from nelbo.data.metadata import TRAILING, chunks_of

PLAIN_MODES = ("1", "L", "P", "PA", "LA", "RGB", "RGBA", "I", "F")
INFO = {
    "exif": "EXIF",
    "xmp": "XMP",
    "comment": "comment",
    "photoshop": "Photoshop data",
    "dpi": "resolution",
    "jfif_density": "resolution",
}
COLOUR_INFO = {"icc_profile": "profile", "gamma": "gamma", "chromaticity": "primaries"}

# Side data by the name of its chunk in a PNG file or the number of its tag in a TIFF file. Pillow knows few of them.
COLOUR_PARTS: dict[str | int, str] = {
    "iCCP": "profile",
    "gAMA": "gamma",
    "cHRM": "primaries",
    "cICP": "coding (cICP)",
    290: "response curve",
    291: "response curve",
    301: "transfer function",
    318: "white point",
    319: "primaries",
    34675: "profile",
}
PARTS: dict[str | int, str] = {
    "eXIf": "EXIF",
    "pHYs": "resolution",
    "tEXt": "text",
    "zTXt": "text",
    "iTXt": "text",
    "sRGB": "sRGB mark",
    "mDCV": "mastering display (mDCV)",
    "cLLI": "light levels (cLLI)",
    "sBIT": "significant bits (sBIT)",
    "bKGD": "background colour",
    "hIST": "palette histogram",
    "sPLT": "suggested palette",
    "tIME": "time of last change",
    "caBX": "C2PA data",
    COMMENT: "comment",
    TRAILING: "trailing bytes",
    269: "document name",
    270: "description",
    271: "camera",
    272: "camera",
    282: "resolution",
    283: "resolution",
    285: "page name",
    286: "place on the page",
    287: "place on the page",
    296: "resolution",
    305: "software",
    306: "date",
    315: "artist",
    316: "host computer",
    330: "further images (SubIFDs)",
    700: "XMP",
    33432: "copyright",
    33723: "IPTC data",
    34377: "Photoshop data",
    34665: "EXIF",
    34853: "GPS data",
}
# What the pixels have, and frames, which are counted: chunks, and tags of the layout, tiles and JPEG compression.
PIXEL_PARTS: frozenset[str | int] = frozenset(
    (
        *("IHDR", "PLTE", "IDAT", "tRNS", "acTL", "fcTL", "fdAT"),
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289),
        *(292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 332, 333, 334, 336, 338, 339, 340, 341, 347),
        *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    )
)
MOST_NAMED = 4  # chunks or tags that have no name in words
PLURAL = ("primaries", "significant bits (sBIT)", "light levels (cLLI)", "trailing bytes", "further images (SubIFDs)")


def losses_of(image: Image.Image) -> list[str]:
    """Name what the pixels of the first frame of an open image lack; 16 bits and alpha are not looked at.

    Args:
        image: a loaded image; Pillow reads the chunks at the end of a file while it loads.
    """
    lost = list[str]()
    if (frames := frames_of(image)) > 1:
        lost.append(f"{frames - 1} of its {frames} frames {'are' if frames > 2 else 'is'} left out")
    if image.mode not in PLAIN_MODES and not image.mode.startswith("I;16"):
        lost.append(f"its {image.mode} became RGB")
    if colour := _named(image, COLOUR_INFO, parts_of(image), COLOUR_PARTS):
        lost.append(f"its colour {in_words(colour)} {_verb(colour)} ignored")
    return lost


def frames_of(image: Image.Image) -> int:
    """Return the number of frames of an animation or a JPEG file of several pictures, of which the first one is read.

    It is 1 for a page of a TIFF file, because each page is an image of its own.
    """
    return 1 if image.format == "TIFF" else getattr(image, "n_frames", 1)


def metadata_of(image: Image.Image) -> str:
    """Say which data about a loaded image is not in its pixels; "" if there is none."""
    parts = parts_of(image)
    found = _named(image, INFO, parts, PARTS)
    if getattr(image, "text", None) and "text" not in found:
        found.append("text")
    found += _others([part for part in parts if part not in PARTS and part not in COLOUR_PARTS])
    return f"its {in_words(found)} {_verb(found)} left out" if found else ""


def parts_of(image: Image.Image) -> list[str | int]:
    """Return the side data in the file of an open image: chunks, tags of a page of a TIFF file, and trailing bytes."""
    tags = sorted(getattr(image, "tag_v2", ())) if image.format == "TIFF" else []
    return [part for part in [*tags, *chunks_of(image)] if part not in PIXEL_PARTS]


def in_words(names: Sequence[str]) -> str:
    """Join names or phrases by commas and "and"."""
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + list(names[-1:]))


def _named(
    image: Image.Image, info: Mapping[str, str], parts: Sequence[str | int], names: Mapping[str | int, str]
) -> list[str]:
    """Name what Pillow found in an image, and the parts of its file.

    Args:
        info: names in words, by Pillow's name.
        names: names in words, by the part.
    """
    made_up: tuple[str, ...] = (
        ("dpi",) if image.format == "TIFF" else ()
    )  # Pillow adds a resolution if there is no tag of it
    if not image.info.get("jfif_unit"):
        made_up += ("jfif_density",)  # only the shape of a pixel, mostly 1:1
    found = [name for key, name in info.items() if image.info.get(key) and key not in made_up]
    return list(dict.fromkeys(found + [names[part] for part in parts if part in names]))


def _others(parts: Sequence[str | int]) -> list[str]:
    """Name chunks or tags that have no name in words: the first ones, and the number of the others."""
    kinds = [f"{'tag' if isinstance(part, int) else 'chunk'} {part}" for part in parts]
    more = len(kinds) - MOST_NAMED
    return kinds[:MOST_NAMED] + ([f"{more} more"] if more > 0 else [])


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 and names[0] not in PLURAL else "are"
