"""Paths as people type them, and whether something can be written there, checked before long work."""

import os
from pathlib import Path

from nelbo.errors import RunError, option, shown


def expanded(path: str | os.PathLike[str], name: str | None = None) -> Path:
    """Return a path with `~` as the home folder; the `~name` of an unknown user stays as it was typed.

    Args:
        name: the argument that the path was given as, such as "out"; None to call it a path.

    Raises:
        RunError: it is no path, or one that no system can have, with a null character.
    """
    try:
        typed = Path(path)
        possible = b"\0" not in os.fsencode(typed)
    except (TypeError, UnicodeEncodeError):
        possible = False
    if not possible:
        what = "the path" if name is None else option(name)
        raise RunError(f"{what} is {shown(path)}; expected a path, as text without null characters or as pathlib.Path.")
    try:
        return typed.expanduser()
    except RuntimeError:
        return typed


def check_target(path: Path) -> None:
    """Check before long work that a file can be written to `path`; its folders are created at the write.

    Raises:
        RunError: `path` is a folder or a device, or too long; one of its parents is a file, or the folder cannot be
            written.
    """
    if os.path.isdir(path):
        raise RunError(f"{path} is a folder; name a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise RunError(f"{path} is a device or a pipe, which cannot be replaced as a whole; name a file.")
    _check_parents(path)


def check_folder(path: Path, name: str = "out") -> None:
    """Check before long work that files can be written into the folder `path`, which is created if it is missing.

    Args:
        name: the option that named the folder, for the message.

    Raises:
        RunError: `path` or one of its parents is a file, or the folder cannot be written.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise RunError(f"{path} is a file; {option(name)} needs a folder, or a name that does not exist yet.")
    _check_parents(path / "x", path)


def _check_parents(path: Path, shown: Path | None = None) -> None:
    """Check that the nearest folder above `path` that exists can be written; an error names `shown`, or else `path`."""
    named = shown or path
    for folder in path.parents:
        if not os.path.exists(folder):  # unlike Path.exists, it raises nothing below a folder that cannot be read
            continue
        if not os.path.isdir(folder):
            raise RunError(f"{named} cannot be written: {folder} is a file, not a folder.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RunError(
                f"{named} cannot be written: you have no permission to write in {folder.absolute()}; choose another "
                "folder."
            )
        break
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # such as a name that is too long
        raise RunError(f"{path} cannot be written: {error.strerror}; choose another name.") from error
