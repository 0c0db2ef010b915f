"""The files of `nelbo compress`: their paths, and those that exist already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nelbo.cli.compressed import read_file, some
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError, NelboError

if TYPE_CHECKING:
    from nelbo.cli.compress_images import Known
    from nelbo.cli.compressed import File
    from nelbo.codec import Bitstream, ProgressiveCodec


@dataclass(frozen=True)
class Coded:
    """A file that is written or kept.

    Attributes:
        num_bytes: its size.
        raw: whether it is stored without the model.
        file: its content, if a report needs it.
    """

    num_bytes: int
    raw: bool
    file: File | None = None

    @classmethod
    def of(cls, file: File, num_bytes: int, keep: bool) -> Coded:
        """Describe a file, with its content or without."""
        from nelbo.codec import RawImage

        return cls(num_bytes, isinstance(file, RawImage), file if keep else None)


def paths_of(target: Path, spec: str, images: Sequence[Known], json: Path | None) -> list[Path]:
    """Return the path of each file: `target` itself for one image, else a file in that folder with the image's name.

    Raises:
        ConfigurationError: the name does not end in .nelbo, or a file would overwrite an image or the JSON.
        RunError: a file cannot be written there.
    """
    from nelbo.paths import expanded

    if len(images) == 1 and not expanded(spec).is_dir() and not target.is_dir():
        if target.suffix != ".nelbo":
            raise ConfigurationError(f"--out {target} must end in .nelbo.")
        paths = [target]
    else:
        names = [Path(image.name).stem for image in images]
        if len(set(names)) < len(names):
            names = [f"{i:05d}-{name}" for i, name in enumerate(names)]
        paths = [target / f"{name}.nelbo" for name in names]
    given = {Path(image.path).resolve() for image in images if image.path is not None}
    for path in paths:
        check_outputs({"--out": path, "--json": json})
        if path.resolve() in given:
            raise ConfigurationError(f"{path} would overwrite an image that is read; choose another --out.")
    return paths


def existing(
    paths: Sequence[Path], images: Sequence[Known], codec: ProgressiveCodec, effort: int, keep: bool
) -> dict[int, Coded]:
    """Return the files that are there already, lossless and made by this model at this effort, by number.

    Others are left out, to be written again: incomplete, damaged, lossy and raw files.

    Args:
        keep: whether their content is needed.

    Raises:
        ConfigurationError: files hold other images, losslessly: they may be the only copies.
    """
    from nelbo.codec import Bitstream
    from nelbo.codec.raw_image import hash_of

    kept: dict[int, Coded] = {}
    others = []
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        if not path.exists():
            continue
        try:
            file = read_file(path)
        except NelboError:
            continue
        stored = file.pixel_hash if isinstance(file, Bitstream) else hash_of(file.pixels)
        if stored is None:
            continue
        if stored != image.pixel_hash:
            others.append(path)
        elif isinstance(file, Bitstream) and not file.truncated and _made_by(file, codec, effort):
            kept[number] = Coded.of(file, path.stat().st_size, keep)
    if others:
        raise ConfigurationError(
            f"{len(others)} of {len(paths)} files exist already and hold other images ({some(others)}); choose another "
            "--out, or delete them."
        )
    return kept


def _made_by(file: Bitstream, codec: ProgressiveCodec, effort: int) -> bool:
    """Return whether a file is by this model, of which it holds the first bytes of the fingerprint."""
    return file.effort == effort and codec.fingerprint.startswith(file.fingerprint)
