"""`nelbo compress` and `nelbo decompress` for images of measured values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nelbo.cli.compressed import batches, some
from nelbo.cli.console import bars, name_rejects, say
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import versioned, write_results
from nelbo.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from nelbo.codec.measured_codec import MeasuredCodec

ENDINGS = (".tif", ".tiff", ".npy")


def compress_measured(codec: MeasuredCodec, spec: str, target: Path | None, effort: int, json: Path | None) -> None:
    """Compress images of measured values, losslessly, and print the size of each file.

    Raises:
        ConfigurationError: no output is named, or it is another file already.
        DataError: the images cannot be read, or have values outside of the model's scale.
    """
    from nelbo.data import measured_dataset, read_values
    from nelbo.files import write_bytes

    if target is None:
        raise ConfigurationError("measured values are compressed to files; set --out to the file or folder to write.")
    values = read_values(spec)
    name_rejects(values.rejects, "")
    levels = measured_dataset(values, codec.scale)
    paths = _targets(target, [Path(name) for name in values.names], ".nelbo")
    if taken := [path for path in paths if path.exists()]:
        raise ConfigurationError(f"files exist already ({some(taken)}); choose another --out, or delete them.")
    rows, total = [], 0
    with bars() as bar:
        for batch in batches(range(len(levels)), lambda number: levels[number].numel()):
            images, seen = list(levels.images(batch)), levels.observed(batch)
            masks = None if seen is None else list(seen)
            files = codec.encode(
                images, masks, effort=effort, progress=bar.of(f"compressing from image {batch[0] + 1}")
            )
            for number, image, file in zip(batch, images, files, strict=True):
                content = file.to_bytes()
                if codec.decode(type(file).from_bytes(content)).status != "lossless":
                    raise DataError(f"{values.names[number]} does not decode to the same levels; nothing is written.")
                write_bytes(paths[number], content)
                total += len(content)
                bits = 8 * len(content) / image.numel()
                rows.append({"image": values.names[number], "bytes": len(content), "bits_per_dim": round(bits, 5)})
    mean = 8 * total / sum(levels[0].numel() for _ in rows)
    say(f"{len(rows)} image{'s' * (len(rows) != 1)} of measured values: {total:,} bytes, {mean:.3f} bits/dim")
    write_results(versioned({"files": rows}), json, rows, None)


def decompress_measured(paths: Sequence[Path], target: Path, model: str | None, verify: bool, part: int | None) -> int:
    """Decode files of measured values to TIFF or `.npy` files. Returns how many are only previews.

    Args:
        paths: the files.
        target: the image, or a folder.
        model: the run.
        verify: check the levels.
        part: bytes to decode of each file, or None.

    Raises:
        ConfigurationError: no model is named, or an image exists.
        CodecError: a file is damaged, or of another model.
    """
    from nelbo.codec.measured_file import MeasuredFile
    from nelbo.data import write_values
    from nelbo.runs import DiffusionRun, load_as

    if model is None:
        raise ConfigurationError("files of measured values state no bundled model; name the run by --model.")
    codec = load_as(DiffusionRun, model).measured_codec()
    previews = 0
    targets = _targets(target, list(paths), ".tif")
    if taken := [path for path in targets if path.exists()]:
        raise ConfigurationError(f"images exist already ({some(taken)}); choose another --out, or delete them.")
    with bars() as bar:
        for path, out in zip(paths, targets, strict=True):
            file: MeasuredFile = MeasuredFile.from_bytes(path.read_bytes()[:part])
            found = codec.decode(file, verify=verify, progress=bar.of(f"decompressing {path.name}"))
            out.parent.mkdir(parents=True, exist_ok=True)
            write_values(out, codec.scale.to_values(found.image, found.observed))
            if found.status == "truncated":
                say(f"{path}: a preview, which cannot be verified")
                previews += part is None
    return previews


def _targets(target: Path, names: Sequence[Path], ending: str) -> list[Path]:
    """Return the file for each name: `target` for one, else a file in that folder."""
    if len(names) == 1 and not target.is_dir() and target.suffix:
        allowed = (ending,) if ending == ".nelbo" else ENDINGS
        if target.suffix.lower() not in allowed:
            raise ConfigurationError(f"--out {target} must end in {' or '.join(allowed)}.")
        check_outputs({"--out": target})
        return [target]
    stems = [name.stem for name in names]
    if len(set(stems)) < len(stems):
        stems = [f"{number:05d}-{stem}" for number, stem in enumerate(stems)]
    paths = [target / f"{stem}{ending}" for stem in stems]
    check_outputs({"--out": paths[0]})
    return paths
