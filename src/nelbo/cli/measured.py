"""`nelbo compress` and `nelbo decompress` for images of measured values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nelbo.cli.compressed import batches, some
from nelbo.cli.console import bars, name_rejects, say
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import versioned, write_results
from nelbo.errors import ConfigurationError, DataError, NelboError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.codec.measured_codec import MeasuredCodec
    from nelbo.data import ImageDataset

ENDINGS = (".tif", ".tiff", ".npy")


def compress_measured(codec: MeasuredCodec, spec: str, target: Path | None, effort: int, json: Path | None) -> None:
    """Compress images of measured values, losslessly, and print the size of all files.

    Files that are complete and hold the same levels are kept, so that an interrupted command can be repeated.

    Raises:
        ConfigurationError: no output is named, or files exist that hold something else.
        DataError: the images cannot be read, or have values outside of the model's scale.
    """
    from nelbo.codec.measured_file import hash_of_levels
    from nelbo.data import measured_dataset, read_values
    from nelbo.files import write_bytes

    if target is None:
        raise ConfigurationError("measured values are compressed to files; set --out to the file or folder to write.")
    values = read_values(spec)
    name_rejects(values.rejects, "")
    levels = measured_dataset(values, codec.scale)
    paths = _targets(target, [Path(name) for name in values.names], ".nelbo")
    hashes = {path: hash_of_levels(levels[number]) for number, path in enumerate(paths) if path.exists()}
    kept = [number for number, path in enumerate(paths) if path in hashes and _holds(path, codec, hashes[path])]
    if taken := [path for number, path in enumerate(paths) if path in hashes and number not in kept]:
        raise ConfigurationError(f"files exist already and are others ({some(taken)}); choose another --out.")
    if kept:
        say(f"{len(kept)} of {len(paths)} files exist already and are kept")
    missing = [number for number in range(len(levels)) if number not in kept]
    with bars() as bar:
        for batch in batches(missing, lambda number: levels[number].numel()):
            seen = levels.observed(batch)
            progress = bar.of(f"compressing from image {batch[0] + 1}")
            masks = None if seen is None else list(seen)
            for number, file in zip(
                batch, codec.encode(list(levels.images(batch)), masks, effort=effort, progress=progress), strict=True
            ):
                content = file.to_bytes()
                codec.decode(type(file).from_bytes(content))  # checks the levels
                write_bytes(paths[number], content)
    rows = [_row(levels, number, values.names[number], path) for number, path in enumerate(paths)]
    total, bits = sum(row["bytes"] for row in rows), sum(row["bits_per_dim"] for row in rows) / len(rows)
    say(f"{len(rows)} image{'s' * (len(rows) != 1)} of measured values: {total:,} bytes, {bits:.3f} bits/dim")
    write_results(versioned({"files": rows}), json, rows, None)


def _holds(path: Path, codec: MeasuredCodec, level_hash: bytes) -> bool:
    """Return whether a file is complete, by this model, and of these levels."""
    from nelbo.codec.measured_file import MeasuredFile

    try:
        file = MeasuredFile.from_bytes(path.read_bytes())
        file.verify()
    except (NelboError, OSError):
        return False
    return not file.truncated and (file.fingerprint, file.level_hash) == (codec.fingerprint, level_hash)


def _row(levels: ImageDataset, number: int, name: str, path: Path) -> dict[str, Any]:
    """Return the size of a file, in bits per observed value."""
    seen = levels.observed([number])
    dims = levels[number].numel() if seen is None else max(int(seen.expand(1, *levels.shape).sum()), 1)
    size = path.stat().st_size
    return {"image": name, "bytes": size, "bits_per_dim": round(8 * size / dims, 5)}


def decompress_measured(
    paths: Sequence[Path], target: Path, model: str | None, verify: bool, part: int | None, device: str | None
) -> int:
    """Decode files of measured values to TIFF or `.npy` files. Returns the exit code of the command.

    A file that cannot be decoded does not stop the others. Existing images are kept if they are the same.

    Args:
        paths: the files.
        target: the image, or a folder.
        model: the run.
        verify: check the levels.
        part: bytes to decode of each file, or None.
        device: of the diffusion network.

    Raises:
        ConfigurationError: no model is named, or the output has another ending.
    """
    from nelbo.runs import DiffusionRun, load_as

    if model is None:
        raise ConfigurationError("files of measured values state no bundled model; name the run by --model.")
    codec = load_as(DiffusionRun, model, device=device).measured_codec()
    targets, codes = _targets(target, list(paths), ".tif"), [0]
    with bars() as bar:
        for path, out in zip(paths, targets, strict=True):
            try:
                status = _decoded(codec, path, out, verify, part, bar)
            except NelboError as error:
                say(f"error: {path}: {error}")
                codes.append(2)
            else:
                codes.append(int(status == "truncated" and part is None))
    return max(codes)


def _decoded(codec: MeasuredCodec, path: Path, out: Path, verify: bool, part: int | None, bar: Bars) -> str:
    """Decode one file, write its image, and return its status."""
    import numpy as np

    from nelbo.codec.measured_file import MeasuredFile
    from nelbo.data import read_values, write_values

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}.") from error
    found = codec.decode(
        MeasuredFile.from_bytes(content[:part]), verify=verify, progress=bar.of(f"decompressing {path.name}")
    )
    values = codec.scale.to_values(found.image, found.observed)
    if out.exists():
        if not np.array_equal(read_values(str(out)).arrays[0], values, equal_nan=values.dtype.kind == "f"):
            raise ConfigurationError(f"{out} exists already and is another image; choose another --out.")
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_values(out, values)
    if found.status == "truncated":
        say(f"{path}: a preview, which cannot be verified")
    elif found.status == "unverified":
        say(f"{path}: unverified: this image may be wrong")
    return found.status


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
