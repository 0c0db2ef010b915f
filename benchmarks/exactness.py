"""Count the files that decode exactly in fresh processes, in every way that may round differently.

    python -m benchmarks.exactness [--num 1000] [--model fashion-mnist] [--kept runs/exactness]

The ways: as usual; one thread and one tile at a time; two threads and 64 tiles; oneDNN switched off; and the oldest
processor instructions that the libraries can be restricted to. Each image is encoded once and decoded once in each way.
With --kept, results in that folder are reused, so that a stopped run resumes.
"""

import argparse
import json
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
from nelbo.files import write_whole
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import held_out_part

WITHOUT_ONEDNN = "import torch; torch.backends.mkldnn.enabled = False; import nelbo.cli; nelbo.cli.main()"


@dataclass(frozen=True)
class Way:
    """How a fresh process decodes.

    Attributes:
        start: arguments of Python that start nelbo.
        environment: variables that it adds.
        options: of `nelbo decompress`.
    """

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


def decoded_in_every_way(
    files: Sequence[Bitstream | RawImage], images: Tensor, model: str, record: Path | None = None
) -> dict[str, int]:
    """Count the files that decode to exactly their images (N, 1, H, W), in each way.

    Args:
        record: a JSON file of counts, written after each way. Ways that it already holds are not run again.
    """
    found: dict[str, int] = json.loads(record.read_text("utf-8")) if record and record.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for i, file in enumerate(files):
            (Path(folder) / f"{i:05d}.nelbo").write_bytes(file.to_bytes())
        for name, way in WAYS.items():
            if name in found:
                continue
            began = time.perf_counter()
            found[name] = _decoded(Path(folder), images, model, way)
            seconds = time.perf_counter() - began
            print(
                f"decoded in a fresh process, {name}: {found[name]} of {len(images)} exact, {seconds:.0f} s", flush=True
            )
            if record:
                text = json.dumps(found, indent=1) + "\n"
                write_whole(record, lambda place, text=text: place.write_text(text, "utf-8"))  # type: ignore[misc]
    return found


def _decoded(folder: Path, images: Tensor, model: str, way: Way) -> int:
    with tempfile.TemporaryDirectory() as back:
        command = [sys.executable, *way.start, "decompress", str(folder), "-m", model, "-o", back, *way.options]
        subprocess.run(command, check=True, env={**os.environ, **way.environment})
        return sum(
            bool(np.array_equal(np.asarray(Image.open(Path(back) / f"{i:05d}.png")), image[0].numpy()))
            for i, image in enumerate(images)
        )


def kept_files(folder: Path, run: DiffusionRun, images: Tensor) -> list[Bitstream | RawImage]:
    """Return the files of the images: encode those that the folder lacks into it, and read the others."""
    folder.mkdir(parents=True, exist_ok=True)
    places = [folder / f"{i:05d}.nelbo" for i in range(len(images))]
    missing = [i for i, place in enumerate(places) if not place.exists()]
    codec, began = run.codec(batch_size=64), time.perf_counter()
    for start in range(0, len(missing), 64):
        some = missing[start : start + 64]
        for i, file in zip(some, codec.encode([images[i] for i in some], verify=False), strict=True):
            write_whole(places[i], lambda place, file=file: place.write_bytes(file.to_bytes()))  # type: ignore[misc]
        print(f"encoded {start + len(some)} of {len(missing)}, {time.perf_counter() - began:.0f} s", flush=True)
    return [Bitstream.from_bytes(place.read_bytes()) for place in places]


def main() -> None:
    """Encode, decode and count. The exit code is 1 if an image is not exact."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=1000, help="Number of images.")
    parser.add_argument("--model", default="fashion-mnist", help="A run folder or a bundled model.")
    parser.add_argument("--kept", type=Path, help="Folder that keeps files and counts.")
    options = parser.parse_args()
    run = load_as(DiffusionRun, options.model)
    images = held_out_part(run).spread(options.num).images(range(options.num))
    with tempfile.TemporaryDirectory() as passing:
        kept = options.kept or Path(passing)
        files = kept_files(kept / f"{options.num} files", run, images)
        found = decoded_in_every_way(files, images, options.model, kept / f"{options.num}.json")
    sys.exit(0 if set(found.values()) == {options.num} else 1)


if __name__ == "__main__":
    main()
