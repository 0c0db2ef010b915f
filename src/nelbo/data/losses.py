"""What a file has and its pixels lack, in words: for work that must not lose anything without saying so."""

from collections.abc import Sequence

from PIL import Image

PLAIN_MODES = ("1", "L", "P", "PA", "LA", "RGB", "RGBA", "I", "F")
DESCRIPTIONS = {
    "exif": "EXIF",
    "xmp": "XMP",
    "comment": "comment",
    "photoshop": "Photoshop data",
    "dpi": "resolution",
    "jfif_density": "resolution",
}
COLOUR = {"icc_profile": "profile", "gamma": "gamma", "chromaticity": "primaries"}


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
    if colour := _named(image, COLOUR):
        lost.append(f"its colour {in_words(colour)} {_verb(colour)} ignored")
    return lost


def frames_of(image: Image.Image) -> int:
    """Return the number of frames of an animation or a JPEG file of several pictures, of which the first one is read.

    It is 1 for a page of a TIFF file, because each page is an image of its own.
    """
    return 1 if image.format == "TIFF" else getattr(image, "n_frames", 1)


def metadata_of(image: Image.Image) -> str:
    """Say which data about a loaded image is not in its pixels; "" if there is none."""
    found = _named(image, DESCRIPTIONS)
    if getattr(image, "text", None):
        found.append("text")
    return f"its {in_words(found)} {_verb(found)} left out" if found else ""


def in_words(names: Sequence[str]) -> str:
    """Join names or phrases by commas and "and"."""
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + list(names[-1:]))


def _named(image: Image.Image, names: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(name for key, name in names.items() if image.info.get(key)))


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 and names[0] != "primaries" else "are"
