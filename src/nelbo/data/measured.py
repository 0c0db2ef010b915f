"""Measured values as a set to train on, split into a training part and a held-out part."""

from dataclasses import replace

from nelbo.data.datasets import Split
from nelbo.data.folders import DataWarning
from nelbo.data.held_out import split_off
from nelbo.data.names import Range
from nelbo.data.scanning import first
from nelbo.data.values import as_measured
from nelbo.display import counted
from nelbo.errors import DataError, option, warn


def load_measured(
    images: object, range: Range | str, quantum: float, held_out: float | None, on_reject: str, seed: int
) -> Split:
    """Load measured values; the arguments are those of `nelbo.data.load_data`.

    Raises:
        DataError: the data is missing, of several shapes, damaged, or has values outside of a given range.
        ConfigurationError: the quantum makes more than 65,536 levels.

    Warns:
        DataWarning: values are rounded to the nearest level, or files are left out.
    """
    values = as_measured(images)
    if values.rejects:
        reason = f"{values.name}: {counted(len(values.rejects), 'file')} cannot be used: {first(values.rejects)}"
        if on_reject == "stop":
            raise DataError(
                f"{reason}; repair or remove such files, or leave them out with {option('on_reject', 'skip')}."
            )
        warn(f"{reason}.", DataWarning)
    scale = values.scale(range, quantum)
    rounded = sum(scale.rounds(array) for array in values.arrays)
    if rounded:
        warn(
            f"{values.name}: {counted(rounded, 'image has', 'images have')} values between the levels, which are "
            f"{quantum:.12g} apart; they are rounded to the nearest level.",
            DataWarning,
        )
    return replace(split_off(values.dataset(scale), held_out, seed), scale=scale)
