"""Files decoded in fresh processes, in every way that might round differently: are the pixels exact each time?

    python -m benchmarks.exactness [--num 1000] [--model fashion-mnist] [--kept runs/exactness]

The ways: as usual; one thread and one tile at a time; two threads and 64 tiles; oneDNN switched off; and the plainest
instructions that the libraries can be held to. What is encoded here once is decoded once in each; with --kept, what was
done before in that folder is not done again.
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


def decoded_in_every_way(
    files: Sequence[Bitstream | RawImage], images: Tensor, model: str, record: Path | None = None
) -> dict[str, int]:
    """How many of the files come back as exactly their images (N, 1, H, W), by way.

    What the record has already is not decoded again; it is written after every way.
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
    """The files of the images: those that lie in a folder already, and the others encoded into it."""
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
    """Encode, decode, count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--model", default="fashion-mnist")
    parser.add_argument("--kept", type=Path)
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
