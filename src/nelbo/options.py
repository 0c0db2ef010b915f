"""Options as frozen dataclasses: built from names and values, with unknown names refused and the nearest suggested.

Each field carries its help text in its annotation, `Annotated[int, Doc("...")]`: the command line, the error messages
and the documentation read it there. No torch is imported here.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from annotated_doc import Doc

from nelbo.errors import ConfigurationError, option, shown

Kind = TypeVar("Kind")
JSON, PYTHON = ("true", "false", "null"), ("True", "False", "None")


def known(name: str, names: Iterable[str], what: str) -> str:
    """Return `name` if it is one of `names`.

    Args:
        what: the kind of name, for the message, such as "sampler".

    Raises:
        ConfigurationError: it isn't; the nearest name is suggested.
    """
    choices = sorted(names)
    if is_one_of(name, choices):
        return name
    near = difflib.get_close_matches(name, choices, n=1) if isinstance(name, str) else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(f"unknown {what} {shown(name)}; {hint}choose from {', '.join(choices)}.")


def is_one_of(value: object, names: Iterable[str]) -> bool:
    """Whether a value is one of some names; a value of any other type, also an array, is not."""
    return isinstance(value, str) and value in names


def help_of(kind: type[Any], name: str) -> str:
    """Return the help text of a field of an options dataclass."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return next(note.documentation for note in hint.__metadata__ if isinstance(note, Doc))


def options_from(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """Build an options dataclass from keyword arguments.

    Raises:
        ConfigurationError: a name that is not a field (the nearest is suggested), or what the class itself refuses.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        known(name, names, "option")
    return kind(**values)


def given_options(kind: type[Kind], options: Kind | None, changes: Mapping[str, Any]) -> Kind:
    """Build an options dataclass from keyword arguments, or return `options` as they are.

    Raises:
        ConfigurationError: an unknown name (the nearest is suggested), both forms at once, or `options` of another
            type.
    """
    if options is None:
        return options_from(kind, changes)
    if not isinstance(options, kind):
        raise ConfigurationError(f"{option('options')} is {shown(options)}; expected {kind.__name__} or None.")
    if changes:
        raise ConfigurationError(f"give {option('options')} or single options ({', '.join(changes)}), not both.")
    return options


def check_types(options: Any, named: Callable[[str], str] = option) -> None:
    """Check the fields of an options dataclass whose annotations are plain: numbers, words, booleans, tuples, None.

    Args:
        named: writes the name of a field in a message, such as `nelbo.errors.setting` with a prefix.

    Raises:
        ConfigurationError: a value of another type.
    """
    for name, hint in get_type_hints(type(options)).items():
        value = getattr(options, name)
        if _is_plain(hint) and not _fits(value, hint):
            raise ConfigurationError(f"{named(name)} is {shown(value)}; expected {_in_words(hint, PYTHON)}.")


def check_type(name: str, value: object, hint: Any) -> None:
    """Check that an argument is of a plain type: see `check_types`.

    Args:
        name: the argument, such as "clip".
        hint: the type, such as `bool` or `float | None`.

    Raises:
        ConfigurationError: a value of another type.
    """
    if not _fits(value, hint):
        raise ConfigurationError(f"{option(name)} is {shown(value)}; expected {_in_words(hint, PYTHON)}.")


def check_functions(name: str, value: object) -> None:
    """Check that an argument is a tuple or a list of functions.

    Raises:
        ConfigurationError: it is something else.
    """
    if not (isinstance(value, tuple | list) and all(map(callable, value))):
        raise ConfigurationError(f"{option(name)} is {shown(value)}; expected a list of functions.")


def check_whole(name: str, value: object, least: int | None = 1) -> None:
    """Check that an argument is a whole number.

    Args:
        name: the argument, such as "batch_size".
        least: the smallest number that is allowed; None for any.

    Raises:
        ConfigurationError: it is something else, such as "12", 1.5 or True, or smaller.
    """
    if not _fits(value, int) or (least is not None and value < least):  # type: ignore[operator]
        limit = "" if least is None else f", at least {least}"
        raise ConfigurationError(f"{option(name)} must be a whole number{limit}, got {shown(value)}.")


def record_from(kind: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    """Build a dataclass from plain values, such as those of a JSON file; a list becomes a tuple.

    Args:
        prefix: comes before the names in messages, such as "network.".

    Raises:
        ConfigurationError: an unknown key, or a value of another type than the field's.
    """
    every = get_type_hints(kind)
    hints = {each.name: every[each.name] for each in fields(kind)}
    for key, value in values.items():
        known(key, hints, f"{kind.__name__} setting")
        if not _fits(value, hints[key]):
            expected = _in_words(hints[key], JSON)
            raise ConfigurationError(f"the setting {prefix}{key} is {shown(value)}; expected {expected}.")
    return kind(**{key: as_plain(value) for key, value in values.items()})


def as_plain(value: Any) -> Any:
    """Return a list as a tuple, and a number of NumPy, which JSON does not know, as one of Python."""
    if isinstance(value, list | tuple):
        return tuple(map(as_plain, value))
    if isinstance(value, int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _is_plain(hint: Any) -> bool:
    """Whether `_fits` can judge an annotation."""
    if isinstance(hint, UnionType) or get_origin(hint) is tuple:
        return all(_is_plain(choice) for choice in get_args(hint) if choice is not Ellipsis)
    return hint in (int, float, bool, str, type(None))


def _in_words(hint: Any, constants: tuple[str, str, str]) -> str:
    """Describe what an annotation accepts.

    Args:
        constants: how true, false and null are written: `JSON` or `PYTHON`.
    """
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    *others, last = [word for choice in choices for word in _words(choice, constants)]
    return f"{', '.join(others)} or {last}" if others else last


def _words(hint: Any, constants: tuple[str, str, str]) -> list[str]:
    """Return the alternatives of an annotation that is no union."""
    true, false, null = constants
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        number = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return [f"a list of {number}values, each {_in_words(inner[0], constants)}"]
    words = {int: ["a whole number"], float: ["a number"], bool: [true, false], str: ["a string"], type(None): [null]}
    return words.get(hint, [getattr(hint, "__name__", str(hint))])


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; a whole number passes for a float, a list for a tuple."""
    if isinstance(hint, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        long_enough = inner[-1] is Ellipsis or (isinstance(value, list | tuple) and len(value) == len(inner))
        return isinstance(value, list | tuple) and long_enough and all(_fits(item, inner[0]) for item in value)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    return isinstance(value, hint)


__all__ = [
    "Annotated",
    "Doc",
    "as_plain",
    "check_functions",
    "check_type",
    "check_types",
    "check_whole",
    "help_of",
    "is_one_of",
    "known",
    "options_from",
    "record_from",
]
