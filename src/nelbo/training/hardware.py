"""What this machine supports: compiling and bfloat16."""

import os
import shutil
import warnings
from typing import cast

import torch
from torch import nn

from nelbo.errors import NelboWarning, setting


class TrainingWarning(NelboWarning):
    """Training continues, but not exactly as requested."""


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` works here: on the CPU it needs a C++ compiler.

    Warns:
        TrainingWarning: no compiler was found; the caller trains without compiling, with the same mathematics.
    """
    compiler = os.environ.get("CXX", "g++")
    if device.type != "cpu" or shutil.which(compiler) or shutil.which("clang++"):
        return True
    warnings.warn(
        f"torch.compile needs a C++ compiler, and {compiler} was not found: training continues without compiling, more "
        "slowly. Install one (Debian: apt-get install g++), or set "
        f"{setting('training.compile', False)}.",
        TrainingWarning,
        stacklevel=4,
    )
    return False


def compiled(network: nn.Module, device: torch.device, *, recorded: bool) -> nn.Module:
    """Return the network compiled by `torch.compile`.

    Launching kernels dominates the training step of a small network on a GPU: 42 ms with CUDA graphs, 61 ms compiled
    without them, 88 ms eager (the fashion-mnist U-Net, 512 images, H200).

    Args:
        recorded: on a GPU, record the kernel launches as a CUDA graph and replay it. The outputs of a replay are valid
            only until the next one, so gradients cannot be accumulated over several passes.
    """
    mode = "reduce-overhead" if recorded and device.type == "cuda" else None
    return cast(nn.Module, torch.compile(network, mode=mode))


def bf16_wanted(precision: str) -> bool:
    """Whether the network runs in bfloat16, given "bf16", "fp32" or "auto" (bfloat16 if the hardware multiplies it)."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
