"""What this machine can do for training: compile, multiply in bfloat16; and whether this process is the first."""

import os
import shutil
import warnings

import torch


class TrainingWarning(UserWarning):
    """Training goes on, but not quite as asked."""


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has the C++ compiler that it needs for a processor; warns where it hasn't.

    Warns:
        TrainingWarning: no compiler; training goes on without, with the same mathematics.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type != "cpu" or shutil.which(compiler) or shutil.which("clang++"):
        return True
    warnings.warn(
        f"torch.compile needs a C++ compiler and {compiler} was not found: training goes on without it, more slowly; "
        "install one (Debian: apt-get install g++), or give --no-compile to silence this.",
        TrainingWarning,
        stacklevel=3,
    )
    return False


def bf16_wanted(precision: str) -> bool:
    """Whether the network runs in bfloat16: as asked, or where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun or accelerate launch started."""
    return os.environ.get("RANK", "0") == "0"
