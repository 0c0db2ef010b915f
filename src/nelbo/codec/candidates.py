"""The candidates that sender and receiver share: standard normals as a function of (step, chunk, index) alone.

Philox4x64-10 (Salmon et al. 2011) generates 16-bit integers, and a frozen table of integer quantiles maps them to
normals. Neither depends on how a library draws normals, so that a file stays readable with later versions of one.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from nelbo.codec.version import FORMAT

WIDTH = 16  # normals from one block of Philox, four words of 64 bits
UNIT = 2.0**-12  # of the integers in the table of quantiles
START = 2**32 - 1  # the step whose candidate 0 is x_T


@cache
def normal_quantiles() -> NDArray[np.int16]:
    """Return the quantiles (65536,) of N(0, 1) at (k + 1/2) / 65536, in units of 2^-12, rounded."""
    with (files("nelbo") / "codec" / "normal-quantiles.npy").open("rb") as file:
        table: NDArray[np.int16] = np.load(file, allow_pickle=False)
    return table


def candidates(step: int, chunk: int, first: int, num: int, dims: int) -> NDArray[np.int16]:
    """Return candidates first..first+num-1 of a chunk: normals (num, dims) in units of 2^-12.

    Number j of candidate i is 16 bits of the Philox block with the counter (i + 1, j // 16, 0, 0) and the key
    (format << 32 | step, chunk), from the lowest of its 256 bits up. The first dims do not depend on how many there
    are.
    """
    if dims == 0:
        return np.zeros((num, 0), dtype=np.int16)
    blocks = -(-dims // WIDTH)
    words = np.empty((num, blocks, WIDTH // 4), dtype="<u8")
    key = np.array([FORMAT << 32 | step, chunk], dtype=np.uint64)
    for block in range(blocks):
        generator = np.random.Philox(counter=np.array([first, block, 0, 0], dtype=np.uint64), key=key)
        words[:, block] = generator.random_raw(num * WIDTH // 4).reshape(num, -1)  # NumPy adds 1 to the counter first
    places = words.view("<u2").reshape(num, -1)[:, :dims]
    normals: NDArray[np.int16] = normal_quantiles().take(places, mode="wrap")  # nothing wraps; skips the bounds check
    return normals


def start(dims: int) -> NDArray[np.int16]:
    """Return x_T (dims,), which is never sent, in units of 2^-12."""
    first: NDArray[np.int16] = candidates(START, 0, 0, 1, dims)[0]
    return first


@cache
def scan_order(dims: int) -> NDArray[np.int64]:
    """Return the order (dims,) in which dimensions are cut into chunks: shuffled, so that a chunk covers the image."""
    words = np.random.Philox(counter=0, key=np.array([FORMAT << 32 | START, 1], dtype=np.uint64)).random_raw(dims)
    return np.argsort(words, kind="stable")
