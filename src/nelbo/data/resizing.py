"""Resizing and cropping, and the reduction of a large picture by a whole factor before it.

A picture is reduced while it is decoded (JPEG) and by averaging blocks of pixels, so that its sides are still at least
`GAP` times as long as they should be; the Lanczos filter does the rest. Its result then differs from that of the whole
picture by little: `tests/data/test_resizing.py` states how much.
"""

from PIL import Image, ImageOps

from nelbo.data.names import Size

GAP = 4


def reduction(picture: Size, size: Size | None) -> int:
    """Return the whole factor by which a picture of (H, W) can be reduced before it is resized to `size`."""
    return (
        1 if size is None else max(1, min(side // (GAP * target) for side, target in zip(picture, size, strict=True)))
    )


def draft(image: Image.Image, size: Size, turned: int) -> int:
    """Let a JPEG image that is not loaded yet be decoded at 1/2, 1/4 or 1/8 of its size, if `size` allows it.

    Args:
        size: (H, W) of the upright image.
        turned: its EXIF orientation.

    Returns:
        The factor by which it is reduced.
    """
    width, height = image.size
    if turned > 1 and (width % 8 or height % 8):
        return 1  # its last pixels would be cut blocks, and they could come first when it is turned
    rows, columns = size[::-1] if turned >= 5 else size
    found = image.draft(None, (GAP * columns, GAP * rows))
    return 1 if found is None else round(width / found[1][2])


def fitted(picture: Image.Image, size: Size, whole: Size, factor: int = 1, *, nearest: bool = False) -> Image.Image:
    """Cut out the largest centred box of the shape of `size`, and resize it.

    Args:
        size: (H, W) to resize to.
        whole: (H, W) of the picture before it was reduced by `factor`.
        nearest: resize to the nearest pixel.
    """
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    (height, width), (rows, columns) = whole, size
    if factor == 1:
        return ImageOps.fit(picture, (columns, rows), method)
    across, down = min(width, height * columns / rows), min(height, width * rows / columns)
    left, top = (width - across) / 2, (height - down) / 2
    right, bottom = min((left + across) / factor, picture.width), min((top + down) / factor, picture.height)
    return picture.resize((columns, rows), method, box=(left / factor, top / factor, right, bottom))
