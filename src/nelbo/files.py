"""Files that are whole or absent: written beside their place, flushed to disk, then moved into it."""

import errno
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

from nelbo.errors import RunError

LOCK_FILE = ".lock"
LOCK_SECONDS = 5.0  # as long as the data workers of a killed process may take to notice
MOST_NAMED = 4  # tensors of each kind, in an error


def check_target(path: Path) -> None:
    """Check, before the work, that a file can stand at `path` after it; its folders are made when it is written.

    Raises:
        RunError: there is a folder, or a file where a folder should be.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file in it.")
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{path} cannot be written: {folder} is a file, not a folder.")


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a temporary file beside `path`, then move it there: a kill leaves the old file or the new one.

    Raises:
        RunError: the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} could not be written: {reason(error)}; what was there before is untouched.") from error
    finally:
        with suppress(OSError):  # gone already where all went well; or its folder can't be
            temporary.unlink()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder against a second writer; the lock ends with this process, however that ends.

    Raises:
        RunError: another process holds it, or the folder can't be written.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise RunError(
            f"another process is writing to {folder}; wait for it, stop it, or choose another folder by --out."
        ) from error
    except OSError as error:
        raise RunError(f"{folder} could not be written: {reason(error)}.") from error
    try:
        yield
    finally:
        lock.release()


def remove_parts(folder: Path) -> None:
    """Delete what killed writers left in a folder and below it: their temporary files."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def reason(error: Exception) -> str:
    """What a person needs to know of a failed write."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    return "the disk is full, make room or choose another folder by --out" if full else str(error)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, whole or not at all."""

    def write(place: Path) -> None:
        place.write_bytes(content)

    write_whole(path, write)


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    write_bytes(path, text.encode())


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as .npy, whole or not at all."""
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(path, content.getvalue())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=False) + "\n"
    write_text(path, text)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"nelbo": json.dumps(metadata)}
    # as bytes, because safetensors' own file writing makes temporary files of its own, readable by nobody else
    write_bytes(path, save(plain, metadata=header))


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone of a file that `write_tensors` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return _metadata(file)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error


def _metadata(file: Any) -> dict[str, Any]:
    """What `write_tensors` was given beside the tensors."""
    metadata: dict[str, Any] = json.loads((file.metadata() or {}).get("nelbo", "{}"))
    return metadata


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that `write_tensors` wrote.

    Raises:
        RunError: the file is missing, truncated or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path} is missing; expected the weights that `nelbo train` saves there.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = _metadata(file)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or cut short ({path.stat().st_size} bytes: {error}); restore it from a copy, or remove "
            "the run folder and train again."
        ) from error
    return tensors, metadata


def misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """How tensors differ from those expected, in names and shapes: the first few of each kind; "" if they do not."""
    shapes = {name: list(tensor.shape) for name, tensor in given.items()}
    other = [
        f"{name} is {shapes[name]} and not {list(tensor.shape)}"
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
    listed = list(names)[:MOST_NAMED]
    return ", ".join(listed + (["..."] if len(names) > MOST_NAMED else []))
