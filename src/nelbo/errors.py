"""The errors that nelbo raises on purpose: each message says what was given, what was expected, and what to change.

A message names options by `option` and `setting`. Python shows them as arguments (`num`), the command line as flags,
so that both refuse the same things in the same words.
"""

import re
import sys
import warnings
from collections.abc import Callable

_START, _BETWEEN, _END = "\ue000", "\ue001", "\ue002"  # private-use characters: no message holds them otherwise
_MARK = re.compile(f"{_START}([^{_BETWEEN}{_END}]*)(?:{_BETWEEN}([^{_END}]*))?{_END}")
MOST_SHOWN = 60  # characters of a value that was given
SETTING = "recipe."  # begins the mark of a recipe's setting


def option(name: str, value: object = None) -> str:
    """Name an option inside an error message, alone or with a value.

    Args:
        name: the Python argument, such as "num".
        value: what it is or should be set to, or None to name the option alone.
    """
    return f"{_START}{name}{_END}" if value is None else f"{_START}{name}{_BETWEEN}{value}{_END}"


def setting(name: str, value: object = None) -> str:
    """Name a setting of a recipe inside an error message, such as "loss" or "training.ema": see `option`."""
    return option(f"{SETTING}{name}", value)


def shown(value: object) -> str:
    """Write a value that was given, for an error message: one line of at most 60 characters.

    >>> shown("abc"), shown([1, 2]), len(shown("x" * 1000))
    ("'abc'", '[1, 2]', 60)
    """
    text = _written(value)
    if isinstance(value, list | tuple) and any(map(_is_array, value)):
        text = f"[{', '.join(map(_written, value[:MOST_SHOWN]))}]"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _written(value: object) -> str:
    """Write a value in one line, an array or a tensor by its type and shape."""
    if not _is_array(value):
        return re.sub(r"\s*\n\s*", " ", repr(value))
    kind = "a tensor" if type(value).__module__.partition(".")[0] == "torch" else "an array"
    return f"{kind} of {type_and_shape(value)}"


def type_and_shape(value: object) -> str | None:
    """Write the type of the numbers of an array or a tensor and its shape, such as "float32 (3, 4)"; None for others.

    A nested tensor, whose rows have different lengths, raises an error instead of a shape.
    """
    try:
        shape = getattr(value, "shape", None)
        written = str(tuple(shape)) if isinstance(shape, tuple) else None
    except RuntimeError:
        written = "(several shapes)"
    if written is None or not hasattr(value, "dtype"):
        return None
    return f"{str(value.dtype).removeprefix('torch.')} {written}"


def _is_array(value: object) -> bool:
    """Whether a value is an array or a tensor; a single number of NumPy's types is none, and has no items to set."""
    return hasattr(value, "__setitem__") and type_and_shape(value) is not None


def as_argument(name: str, value: str | None) -> str:
    """Write an option as Python does: `num`, `num=4`, `method='repaint'`."""
    name = name.removeprefix(SETTING)
    if value is None:
        return name
    plain = value in ("True", "False", "None") or re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", value)
    return f"{name}={value if plain else repr(value)}"


class _Marked(Exception):
    """A message in which options are marked."""

    def __str__(self) -> str:
        return self.message(as_argument)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def marked(self) -> str:
        """The message with its options still marked, to build another error's message from."""
        return str(self.args[0]) if self.args else ""

    @property
    def options(self) -> tuple[str, ...]:
        """The options that the message names, in order."""
        return tuple(found[1] for found in _MARK.finditer(self.marked))

    def message(self, named: Callable[[str, str | None], str]) -> str:
        """The message with each option written by `named`, which maps a name and a value or None to words."""
        return _MARK.sub(lambda found: named(found[1], found[2]), self.marked)


class NelboError(_Marked):
    """A mistake that the caller can correct. Base of every error that nelbo raises on purpose."""


class NelboWarning(_Marked, UserWarning):
    """Something that the caller should know. Base of every warning that nelbo issues."""


def warn(message: str, category: type[NelboWarning]) -> None:
    """Issue a warning at the line of the caller's own program: the nearest outside nelbo and torch's decorators."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("nelbo", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class ConfigurationError(NelboError):
    """An option, preset or combination of options that cannot work."""


class ShapeError(NelboError):
    """A tensor or image of an unexpected shape or number of levels."""


class ScheduleError(NelboError):
    """An invalid noise schedule: beta >= 1, a signal that rises, or an index outside 1..T."""


class DataError(NelboError):
    """A data set that is missing, empty, corrupt, or of another kind than the model's."""


class RunError(NelboError):
    """A run folder that is missing, incomplete, damaged, or of another configuration."""


class CodecError(NelboError):
    """A compressed file that is damaged, truncated, or made by another model or version; or not such a file."""


class NonFiniteError(NelboError):
    """A loss, gradient or weight that became NaN or infinite; the message names the step, t and the tensor."""
