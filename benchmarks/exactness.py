"""Files decoded in fresh processes, in every way that might round differently: are the pixels exact each time?

    python -m benchmarks.exactness [--num 1000] [--model fashion-mnist]

The ways: as usual; one thread and one tile at a time; two threads and 64 tiles; oneDNN switched off; and the plainest
instructions that the libraries can be held to. What is encoded here once is decoded once in each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from nelbo.codec import Bitstream, RawImage
from nelbo.config import DiffusionRun, held_out_part, load_as

WITHOUT_ONEDNN = "import torch; torch.backends.mkldnn.enabled = False; import nelbo.cli; nelbo.cli.main()"


@dataclass(frozen=True)
class Way:
    """How a fresh process decodes: how the program is started, its environment, and options of `nelbo decompress`."""

    start: tuple[str, ...] = ("-m", "nelbo")
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


WAYS = {
    "as usual": Way(),
    "1 thread, 1 tile": Way(environment={"OMP_NUM_THREADS": "1"}, options=("--batch-size", "1")),
    "2 threads, 64 tiles": Way(environment={"OMP_NUM_THREADS": "2"}, options=("--batch-size", "64")),
    "oneDNN off": Way(start=("-c", WITHOUT_ONEDNN)),
    "plainest instructions": Way(
        environment={"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
    ),
}


def decoded_in_every_way(files: Sequence[Bitstream | RawImage], images: Tensor, model: str) -> dict[str, int]:
    """How many of the files come back as exactly their images (N, 1, H, W), by way."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, file in enumerate(files):
            (Path(folder) / f"{i:05d}.nelbo").write_bytes(file.to_bytes())
        for name, way in WAYS.items():
            began = time.perf_counter()
            found[name] = _decoded(Path(folder), images, model, way)
            seconds = time.perf_counter() - began
            print(
                f"decoded in a fresh process, {name}: {found[name]} of {len(images)} exact, {seconds:.0f} s", flush=True
            )
    return found


def _decoded(folder: Path, images: Tensor, model: str, way: Way) -> int:
    with tempfile.TemporaryDirectory() as back:
        command = [sys.executable, *way.start, "decompress", str(folder), "-m", model, "-o", back, *way.options]
        subprocess.run(command, check=True, env={**os.environ, **way.environment})
        return sum(
            bool(np.array_equal(np.asarray(Image.open(Path(back) / f"{i:05d}.png")), image[0].numpy()))
            for i, image in enumerate(images)
        )


def main() -> None:
    """Encode, decode, count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--model", default="fashion-mnist")
    options = parser.parse_args()
    run = load_as(DiffusionRun, options.model)
    images = held_out_part(run).spread(options.num).images(range(options.num))
    codec, files, began = run.codec(batch_size=64), [], time.perf_counter()
    for start in range(0, options.num, 64):
        files += codec.encode(list(images[start : start + 64]), verify=False)
        print(f"encoded {len(files)} of {options.num}, {time.perf_counter() - began:.0f} s", flush=True)
    found = decoded_in_every_way(files, images, options.model)
    sys.exit(0 if set(found.values()) == {options.num} else 1)


if __name__ == "__main__":
    main()
