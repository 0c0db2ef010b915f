"""The tab Send: an image as a file whose first bytes are a preview, beside other formats at the same bytes."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from torch import Tensor

from nelbo.codec import Bitstream, ProgressiveCodec, RawImage, rmse
from nelbo.display import to_bytes
from nelbo.errors import DataError, NelboError
from nelbo.evaluation import available_codecs, encode_image
from nelbo.files import write_bytes
from nelbo.runs import DiffusionRun, codec_for, find_model
from nelbo.studio.choosing import Chooser, Start
from nelbo.studio.collection import Collection
from nelbo.studio.inline import picture, row, said, table
from nelbo.studio.speaking import BAR, on_page, speaking

QUALITIES = range(1, 101)
MOST_BYTES = 1 << 20  # of a file that a visitor gives


@dataclass(frozen=True, eq=False)
class Preview:
    """The picture of the first bytes of a file.

    Attributes:
        num_bytes: that it needs.
        image: (C, H, W) uint8 levels.
        rmse: in grey levels of 255.
    """

    num_bytes: int
    image: Tensor
    rmse: float


@dataclass(frozen=True, eq=False)
class Sent:
    """An image in every format.

    Attributes:
        image: (C, H, W) uint8 levels.
        content: the .nelbo file.
        previews: for each format, its pictures by ascending bytes; "nelbo" comes first.
        num_dims: of the image.
        levels: K.
    """

    image: Tensor
    content: bytes
    previews: dict[str, Sequence[Preview]]
    num_dims: int
    levels: int

    def after(self, num_bytes: int) -> Preview | None:
        """Return the next picture of the .nelbo file that needs more bytes; None at the end."""
        return next((each for each in self.previews["nelbo"] if each.num_bytes > num_bytes), None)

    def at(self, name: str, num_bytes: int) -> Preview | None:
        """Return the best picture of a format within a number of bytes; None if there is none."""
        own = self.previews[name]
        place = bisect_right([each.num_bytes for each in own], num_bytes)
        return own[place - 1] if place else None


def send(
    run: DiffusionRun, codec: ProgressiveCodec, image: Tensor, progress: Callable[[int, int], None] | None = None
) -> Sent:
    """Compress an image (C, H, W) uint8 of the model, and keep the picture of every beginning of the file."""
    [file] = codec.encode([image], progress=progress)
    content, scale = file.to_bytes(), 255 / (run.levels - 1)
    found: dict[str, Sequence[Preview]] = {"nelbo": list(_beginnings(codec, file, image, scale))}
    shown = to_bytes(image, run.levels)
    for name in available_codecs():
        found[name] = _by_size([encode_image(name, shown, quality) for quality in QUALITIES])
        if name != "JPEG":
            found[name] = _by_size([*found[name], encode_image(name, shown, None)])
    return Sent(image, content, found, image.numel(), run.levels)


def _beginnings(codec: ProgressiveCodec, file: Bitstream | RawImage, image: Tensor, scale: float) -> Iterator[Preview]:
    """Yield the picture after each element of a file; none is worse than an earlier one with fewer bytes."""
    for decoded in codec.stream([file.to_bytes()]):
        yield Preview(decoded.bytes_used, decoded.image, scale * rmse(decoded.image, image))


def _by_size(found: Sequence[Any]) -> list[Preview]:
    """Return what is better than everything smaller, by ascending bytes."""
    kept = list[Preview]()
    for each in sorted(found, key=lambda each: (each.num_bytes, each.rmse)):
        if not kept or each.rmse < kept[-1].rmse:
            kept.append(Preview(each.num_bytes, each.image, each.rmse))
    return kept


def shown(sent: Sent, num_bytes: int) -> str:
    """Return the pictures of all formats within a number of bytes as HTML."""
    pictures, following = [picture(sent.image, sent.levels, "original", width=190)], sent.after(num_bytes)
    for name, own in sent.previews.items():
        found, levels = sent.at(name, num_bytes), sent.levels if name == "nelbo" else 256
        if found is None:
            note = f"<br><small>needs at least {own[0].num_bytes:,} bytes</small>"
            pictures.append(f"<figure class='picture absent'><div></div><figcaption>{name}{note}</figcaption></figure>")
            continue
        bits = 8 * found.num_bytes / sent.num_dims
        error = "exact" if found.rmse == 0 else f"RMSE {found.rmse:.1f} grey levels"
        note = f"{found.num_bytes:,} bytes, {bits:.2f} bits/dim, {error}"
        pictures.append(picture(found.image, levels, name, width=190, note=note))
    next_one = "" if following is None else said(f"The next picture of nelbo needs {following.num_bytes:,} bytes.")
    return row(pictures) + next_one


def facts(sent: Sent) -> str:
    """Return the size of the file, and of the smallest exact file of the other formats, as HTML."""
    rows = [
        (
            "the .nelbo file, lossless",
            f"{len(sent.content):,} bytes, {8 * len(sent.content) / sent.num_dims:.3f} bits/dim",
        )
    ]
    for name, own in sent.previews.items():
        if name != "nelbo" and own[-1].rmse == 0:
            rows.append((f"{name}, lossless", f"{own[-1].num_bytes:,} bytes"))
    rows.append(("PNG", f"{encode_image('PNG', to_bytes(sent.image, sent.levels), None).num_bytes:,} bytes"))
    return table(rows) + said("A file is larger than the bound: it has a header, and an index for each chunk.")


def received(path: str) -> tuple[Tensor, int, str]:
    """Decode a .nelbo file that a visitor gives, by the bundled model that made it: the image, its levels, its status.

    Raises:
        DataError: the file is too large.
        CodecError: it is no .nelbo file, is damaged, or was made by another model.
    """
    if Path(path).stat().st_size > MOST_BYTES:
        raise DataError(f"the file has {Path(path).stat().st_size:,} bytes; the studio takes at most {MOST_BYTES:,}.")
    file = Bitstream.from_bytes(Path(path).read_bytes())
    if isinstance(file, RawImage):
        return file.pixels, 256, "lossless, stored without a model"
    codec = codec_for(find_model(file.fingerprint), file.fingerprint)
    height, width = file.size or codec.shape[1:]
    if codec.shape[0] * height * width > 1 << 18:
        raise DataError(f"the file is an image of {width} x {height} pixels; decode it with `nelbo decompress`.")
    [decoded] = codec.decode([file])
    return decoded.image, codec.chain.levels, decoded.status


def why_not(collection: Collection, name: str) -> str:
    """Return why a model cannot compress, or "" if it can."""
    try:
        collection.codec(name)
    except NelboError as error:
        return error.message(on_page)
    return ""


def tab(collection: Collection, start: Start, last: gr.State) -> None:
    """Build the tab; `start` is what shows it, and `last` the last choice on any tab."""
    names = [name for name in collection.diffusion_names if not why_not(collection, name)]
    gr.Markdown(
        "A .nelbo file sends an image from coarse to fine: its first bytes are a preview, and the whole file is exact. "
        "Move the slider to see the picture that each number of bytes gives."
    )
    for name in collection.diffusion_names:
        if why := why_not(collection, name):
            gr.Markdown(f"`{name}` cannot compress here: {why}")
    if not names:
        return
    chooser = Chooser.build(collection, names, last)
    slider = gr.Slider(1, 1000, 100, step=1, label="bytes", elem_id="send-bytes")
    view, sizes, state = gr.HTML(elem_id="send-view"), gr.HTML(elem_id="send-facts"), gr.State(None)
    download = gr.DownloadButton("Download the .nelbo file")
    with gr.Accordion("Open a .nelbo file", open=False):
        given = gr.File(label=".nelbo file", file_types=[".nelbo"], type="filepath", elem_id="send-file")
        decoded = gr.HTML(elem_id="send-decoded")

    @speaking
    def begin(name: str, image: Tensor, progress: Any = BAR) -> tuple[Any, ...]:
        run = collection.diffusion(name)
        report = lambda done, total: progress((done, total), desc="compressing")  # noqa: E731
        sent = send(run, collection.codec(name), image, report)
        first, last = sent.previews["nelbo"][0].num_bytes, len(sent.content)
        middle = (first + last) // 4
        path = collection.folder() / "image.nelbo"
        write_bytes(path, sent.content)
        moved = gr.update(minimum=first, maximum=last, value=max(middle, first))
        return sent, moved, shown(sent, max(middle, first)), facts(sent), str(path)

    @speaking
    def move(sent: Sent | None, num_bytes: float) -> str:
        return "" if sent is None else shown(sent, int(num_bytes))

    @speaking
    def open_file(path: str | None) -> str:
        if path is None:
            return ""
        image, levels, status = received(path)
        return row([picture(image, levels, status)])

    chooser.on_choice(begin, [state, slider, view, sizes, download], start)
    slider.input(move, [state, slider], view, queue=False, show_progress="hidden", trigger_mode="always_last")
    given.change(open_file, given, decoded)
