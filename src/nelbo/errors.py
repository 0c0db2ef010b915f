"""What can go wrong by a person's hand: each message says what was given, what was expected, and what to change.

The command line prints the message of a `NelboError` as one sentence and exits with code 2; a traceback is for bugs.
"""


class NelboError(Exception):
    """A mistake that the person at the keyboard can mend. Base of every error that nelbo raises on purpose."""


class ConfigurationError(NelboError):
    """An option, preset or combination of options that cannot work."""


class ShapeError(NelboError):
    """A tensor or image whose shape or number of levels is not the one expected."""


class ScheduleError(NelboError):
    """A noise schedule that is no schedule: beta >= 1, a rising signal, or an index outside 1..T."""


class DataError(NelboError):
    """A data set that is missing, empty, corrupt, or of another kind than the model's."""


class RunError(NelboError):
    """A run folder that is missing, incomplete, damaged, or of another configuration."""


class CodecError(NelboError):
    """A compressed file that is damaged, cut short, of another model or version, or no such file at all."""


class NonFiniteError(NelboError):
    """A loss, gradient or weight that became NaN or infinite; carries the step, t and the tensor's name."""
