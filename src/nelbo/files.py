"""Files that are complete or absent: written to a temporary file in the same folder, flushed, then renamed."""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

from nelbo.errors import NelboError, NelboWarning, RunError, option, warn
from nelbo.paths import expanded

LOCK_FILE = ".lock"
LOCK_SECONDS = 5.0  # data workers of a killed process may hold the lock this long before they exit
POINTER = b"version https://git-lfs.github.com/spec/"  # how the pointer begins that git-lfs leaves in place of a file
IS_POINTER = (
    "is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository, or download the file from there"
)
MOST_NAMED = 4  # tensors of each kind that an error names


class WriteWarning(NelboWarning):
    """A file could not be written, and the work continues without it."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`: if killed, the old or the new file is complete.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a.txt", lambda temporary: temporary.write_text("complete"))
    ...     print(*(path.name for path in Path(folder).iterdir()))
    a.txt

    Args:
        path: where the file goes; its folders are created.
        write: called with the path of the temporary file, in the same folder.

    Raises:
        RunError: the disk is full, or the folder cannot be written; an old file at `path` is unchanged.
    """
    temporary = path.with_name(f".{_shortened(path.name)}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} could not be written: {reason(error)}; an earlier file there is unchanged.") from error
    finally:
        with suppress(OSError):  # after success it is gone; after an error its folder may not exist
            temporary.unlink()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder to fill, and move its content to `folder` at the end: `folder` is complete or not there.

    After an error or a kill, `folder` is as before, so that the work can be repeated. What a killed writer left is
    removed first.

    Args:
        folder: absent, or without files; it may be a disk of its own.

    Raises:
        RunError: the folder cannot be written.
    """
    inside = folder.is_dir()
    name = f".{_shortened(folder.name)}" * (not inside)
    part = (folder if inside else folder.parent) / f"{name}.{os.getpid()}.part"
    try:
        for left in part.parent.glob(f"{escape(name)}.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{folder} could not be written: {reason(error)}.") from error
    try:
        yield part
        try:
            for entry in sorted(part.iterdir()) if inside else []:
                os.replace(entry, folder / entry.name)
            if not inside:
                os.rename(part, folder)
        except OSError as error:
            raise RunError(f"{folder} could not be written: {reason(error)}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def or_warn() -> Iterator[None]:
    """Turn the error of a file that cannot be written into a `WriteWarning`, where the work can do without the file."""
    try:
        yield
    except RunError as error:
        warn(error.marked, WriteWarning)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock the folder against a second writer. The lock ends with this process, even if it is killed.

    Raises:
        RunError: another process holds the lock, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise RunError(
            f"another process is writing to {folder}; wait for it, stop it, or choose another folder with "
            f"{option('out')}."
        ) from error
    except OSError as error:
        raise RunError(f"{folder} could not be written: {reason(error)}.") from error
    try:
        yield
    finally:
        lock.release()


def _shortened(name: str) -> str:
    """Return the beginning of a file name: with an addition, it must fit into the 255 bytes of most file systems."""
    return name.encode()[:200].decode(errors="ignore")


def remove_parts(folder: Path) -> None:
    """Delete the temporary files and folders that killed writers left in a folder and its sub-folders."""
    for part in list(folder.rglob(".*.part")):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """Explain a failed write in words for an error message; the option in it is marked (see `nelbo.errors.option`)."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    return f"the disk is full; free space or choose another folder with {option('out')}" if full else str(error)


def refuse_pointer(path: Path, kind: type[NelboError] = RunError) -> None:
    """Check that a file is not only the pointer that git-lfs leaves in place of a large file.

    Raises:
        NelboError: it is; of the class `kind`.
    """
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise kind(f"{path} {IS_POINTER}.")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, completely or not at all."""

    def write(place: Path) -> None:
        place.write_bytes(content)

    write_whole(path, write)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, completely or not at all."""
    write_bytes(path, text.encode())


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as .npy, completely or not at all."""
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, completely or not at all."""
    text = json.dumps(value, indent=2, sort_keys=False) + "\n"
    write_text(path, text)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file, completely or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"nelbo": json.dumps(metadata)}
    # as bytes, because safetensors itself writes through temporary files that only their owner may read
    write_bytes(path, save(plain, metadata=header))


def read_metadata(path: Path) -> dict[str, Any]:
    """Read only the metadata of a file that `write_tensors` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return _metadata(file)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        refuse_pointer(path)
        raise RunError(f"{path} cannot be read: {error}.") from error


def _metadata(file: Any) -> dict[str, Any]:
    """Return the metadata that `write_tensors` stored."""
    metadata: dict[str, Any] = json.loads((file.metadata() or {}).get("nelbo", "{}"))
    return metadata


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the metadata of a file that `write_tensors` wrote.

    Raises:
        RunError: the file is missing, truncated or damaged.
    """
    path = expanded(path)
    if not os.path.isfile(path):
        raise RunError(f"{path} is missing; expected the weights that training saves there.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = _metadata(file)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        refuse_pointer(path)
        raise RunError(
            f"{path} is damaged or cut short ({path.stat().st_size} bytes: {error}); restore it from a copy, or remove "
            "the run folder and train again."
        ) from error
    return tensors, metadata


def misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Describe how tensors differ from the expected ones in names and shapes, a few of each kind, or return ""."""
    shapes = {name: list(tensor.shape) for name, tensor in given.items()}
    other = [
        f"{name} is {shapes[name]}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if shapes.get(name, list(tensor.shape)) != list(tensor.shape)
    ]
    kinds = {
        "missing": sorted(expected.keys() - shapes.keys()),
        "not of this network": sorted(shapes.keys() - expected.keys()),
        "of another shape": other,
    }
    return "; ".join(f"{len(names)} {kind} ({_first(names)})" for kind, names in kinds.items() if names)


def _first(names: Collection[str]) -> str:
    """List the first few names."""
    listed = list(names)[:MOST_NAMED]
    return ", ".join(listed + (["..."] if len(names) > MOST_NAMED else []))


def fingerprint(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Return 32 bytes of SHA-256 over plain values and tensors."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    hash_tensors(digest, tensors)
    return digest.digest()


def hash_tensors(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Add tensors to a hash in the order of their names: name, dtype, shape and bytes."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
