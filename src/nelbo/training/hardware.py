"""What this machine can do: compile, multiply in bfloat16, keep memory."""

import ctypes
import os
import shutil
import sys
import warnings
from typing import cast

import torch
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
LARGEST_KEPT, NEVER = 32 * 2**20, 2**31 - 1  # bytes: the most that glibc takes for the one, and an int for the other


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


def compiled(network: nn.Module, device: torch.device, *, recorded: bool) -> nn.Module:
    """`torch.compile` of a network; where it is `recorded`, a graphics card plays its launches back from one record.

    A step of a small network there is mostly launches: 42 ms recorded, 61 compiled and 88 as it is (fashion-mnist's
    U-Net, 512 images, an H200). A record's outputs last until it is played again, so gradients cannot be summed over
    several.
    """
    mode = "reduce-overhead" if recorded and device.type == "cuda" else None
    return cast(nn.Module, torch.compile(network, mode=mode))


def bf16_wanted(precision: str) -> bool:
    """Whether the network runs in bfloat16: as asked, or where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors leave, instead of giving it back and taking it again.

    glibc returns blocks of a few MB to the system as soon as they are free, and the system clears every page of the
    next one: a tenth to a fifth of a step on a processor. Afterwards the process stays as large as it once was. Nothing
    is done on other systems, or where the environment sets glibc's own variables (MALLOC_TRIM_THRESHOLD_ and the like).
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGEST_KEPT)
        set_option(M_TRIM_THRESHOLD, NEVER)
