"""How an error message names an option on the command line: `num` of Python is `--num` here."""

from nelbo.errors import SETTING

# Settings of a recipe that `nelbo train` offers as flags of their own; the others go by --set.
OWN_FLAGS = {
    "training.minutes": "--minutes",
    "training.steps": "--steps",
    "training.batch_size": "--batch-size",
    "training.micro_batch": "--micro-batch",
    "training.learning_rate": "--learning-rate",
    "training.seed": "--seed",
    "training.precision": "--precision",
    "training.workers": "--workers",
    "training.save_every": "--save-every",
    "training.preview_every": "--preview-every",
    "conditional": "--conditional",
}


def as_flag(name: str, value: str | None) -> str:
    """Write an option as the shell takes it: `--num`, `--num 4`, `--no-clip`, `--set training.ema=0.999`."""
    if name.startswith(SETTING):
        name = name.removeprefix(SETTING)
        if name in OWN_FLAGS:
            return OWN_FLAGS[name] if value is None else f"{OWN_FLAGS[name]} {value}"
        return f"--set {name}" if value is None else f"--set {name}={value}"
    flag = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{flag}" if value == "True" else f"--no-{flag}"
    return f"--{flag}" if value is None else f"--{flag} {value}"
