"""Which images to use and how to read them; no torch is imported here."""

from dataclasses import dataclass

from nelbo.options import Annotated, Doc


@dataclass(frozen=True)
class DataRequest:
    """Which images to use and how to read them; see `nelbo.data.load_data`."""

    spec: Annotated[str, Doc("A built-in name such as digits, or the path of a folder or file of images.")]
    size: Annotated[
        int | None, Doc("Side in pixels to resize and crop the images to; by default they keep their size.")
    ] = None
    mode: Annotated[str | None, Doc("L (grey) or RGB; detected by default.")] = None
    held_out: Annotated[
        float | None, Doc("Share (below 1) or number of images to hold out; by default 5%, at most 10,000 images.")
    ] = None
    on_reject: Annotated[str, Doc("What to do about files that cannot be decoded: skip or stop.")] = "skip"
