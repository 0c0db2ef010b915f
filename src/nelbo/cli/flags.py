"""How an error message names an option on the command line: the Python argument `num` is the flag `--num`.

This module defines no flags and no help texts. The help text of a flag is the `Doc` beside the field of its options
dataclass (such as training/options.py), or in the signature of its command. cli/options.py has the shared flags.
"""

from collections.abc import Callable
from functools import partial

from nelbo.errors import SETTING

# Settings of a recipe that `nelbo train` has flags for; every other setting is given by --set.
OWN = (
    "training.minutes",
    "training.steps",
    "training.batch_size",
    "training.micro_batch",
    "training.learning_rate",
    "training.seed",
    "training.flip",
    "training.precision",
    "training.compile",
    "training.workers",
    "training.save_every",
    "training.preview_every",
    "conditional",
)
# Flags that differ from the Python name of their option, by command.
RENAMED = {
    "codec": {"end_steps": "--steps", "end_images": "--images"},
    "decompress": {"max_bytes": "--bytes"},
}


def as_flag(name: str, value: str | None, command: str = "") -> str:
    """Write an option as the shell takes it: `--num`, `--num 4`, `--no-clip`, `--set training.ema=0.999`.

    Args:
        name: the Python name; a setting of a recipe begins with `nelbo.errors.SETTING`.
        value: the value to show, or None for the flag alone.
        command: the command whose flags are meant, such as "decompress".
    """
    if name.startswith(SETTING):
        name = name.removeprefix(SETTING)
        if name not in OWN:
            return f"--set {name}" if value is None else f"--set {name}={value}"
        name = name.rpartition(".")[2]
    flag = RENAMED.get(command, {}).get(name) or f"--{name.replace('_', '-')}"
    if (flag, value) == ("--conditional", "False"):
        return "--unconditional"
    if value in ("True", "False"):
        return flag if value == "True" else f"--no-{flag.removeprefix('--')}"
    return flag if value is None else f"{flag} {value}"


def flags_of(command: str) -> Callable[[str, str | None], str]:
    """Return `as_flag` for a command, to pass to `NelboError.message`."""
    return partial(as_flag, command=command)
