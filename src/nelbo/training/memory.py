"""How this process keeps the memory of freed tensors; no torch is imported here."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # constants of <malloc.h>
LARGEST_KEPT, NEVER = 32 * 2**20, 2**31 - 1  # bytes: glibc's maximum for M_MMAP_THRESHOLD, and the largest C int


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors in this process, for the next tensors.

    By default glibc returns freed blocks of a few MB to the system at once, and the system clears every page that it
    hands out again. On a CPU that takes a tenth to a fifth of a training step. Afterwards the process stays as large as
    it ever was. Does nothing on other systems than Linux, without glibc, or if the environment sets glibc's own
    variables (MALLOC_TRIM_THRESHOLD_ and others).
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has no mallopt
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGEST_KEPT)
        set_option(M_TRIM_THRESHOLD, NEVER)
